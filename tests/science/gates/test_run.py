"""The gates against independent implementations, by simulation, and on bad input."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score
from statsmodels.stats.proportion import proportion_confint

from tasks.science.data.protected import protected_groups
from tasks.science.examination.benchmarks import benchmark_rows
from tasks.science.examination.examination import Examination
from tasks.science.examination.verdicts import rows_needed
from tasks.science.gates.run import GATES, run_gate
from tasks.science.stats.comparison import delong, metric_interval
from tasks.spec.errors import ConfigError
from tasks.spec.evidence import GateResult
from tasks.spec.gates import GATE_KINDS, ComparisonGate, DataGate, FairnessGate, FloorGate, RulesGate, TransparencyGate
from tasks.spec.model import Benchmark, load_model
from tasks.spec.rules import Direction, ExpertRules, ForbiddenDriver
from tests.conftest import ROOT

RNG = np.random.default_rng(7)


def world(n: int, seed: int = 0, sharpness: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    label = rng.random(n) < 0.3
    odds = sharpness * (label - 0.5) + rng.normal(size=n)
    return label, 1 / (1 + np.exp(-odds))


def examination(n: int = 2000, **changes: Any) -> Examination:
    label, score = world(n)
    rows = pd.DataFrame({"income": RNG.normal(size=n), "sex": np.where(np.arange(n) % 2, "f", "m")})
    values: dict[str, Any] = {
        "rows": rows,
        "label": label,
        "score": score,
        "champion_score": None,
        "benchmark": np.full(n, "holdout"),
        "groups": pd.DataFrame({"sex": rows["sex"]}),
        "attributions": pd.DataFrame({"income": RNG.normal(size=200)}),
        "predict": lambda frame: 1 / (1 + np.exp(-frame["income"].to_numpy())),
        "features": ("income",),
        "decision_threshold": 0.5,
        "seed": 1,
        "rules": None,
        "data_check": None,
    }
    return Examination(**(values | changes))


FLOOR = FloorGate(name="floor", kind="floor", metric="roc_auc", limit=0.7)
COMPARE = ComparisonGate(name="compare", kind="comparison", metric="roc_auc", margin=0.01)
FAIR = FairnessGate(
    name="fair", kind="fairness", attribute="sex", measure="true_positive_rate", statistic="difference", limit=0.2
)
RULES = RulesGate(name="rules", kind="rules")


def test_every_gate_that_a_config_may_list_runs() -> None:
    assert set(GATES) == set(GATE_KINDS)


WHOLE: dict[str, Any] = {"materiality": "medium", "asked": 7, "missing": [], "statements": None, "stale": []}


@pytest.mark.parametrize(
    ("card", "state", "says"),
    [
        (None, "fail", "nobody looked at the candidate's model card, and this gate is there to see it"),
        ({"error": "card.json holds no model card"}, "fail",
         "the candidate's model card cannot be checked: card.json holds no model card"),
        (WHOLE, "pass", "all 7 texts that medium materiality asks for are there; no card.json is committed"),
        (WHOLE | {"statements": 90}, "pass",
         "all 7 texts that medium materiality asks for are there; card.json follows from the records"),
        (WHOLE | {"missing": ["card.limits", "card.ethics"]}, "fail",
         "medium materiality asks for card.limits, card.ethics, and nobody has written them"),
        (WHOLE | {"statements": 90, "stale": ["a: it is another"] * 7}, "fail",
         f"card.json does not follow from the records: {'; '.join(['a: it is another'] * 5)}; and 2 more statements"),
    ],
)  # fmt: skip
def test_a_card_is_whole_or_the_gate_names_what_is_not(card: dict[str, Any] | None, state: str, says: str) -> None:
    found = run_gate(TransparencyGate(name="transparency", kind="transparency"), examination(card=card))
    assert (found.state, found.reason) == (state, says)
    helps = {"missing": "write card.limits and card.ethics in model.yaml", "stale": "make card.json anew"}
    assert all(said in found.remedy for key, said in helps.items() if (card or {}).get(key))


def test_delong_gives_sklearns_auc_and_the_variance_of_resampling() -> None:
    label, score = world(800)
    auc, covariance = delong(label, score[None, :])
    assert auc[0] == pytest.approx(roc_auc_score(label, score), abs=1e-12)
    draws = RNG.integers(800, size=(800, 800))
    assert np.sqrt(covariance[0, 0]) == pytest.approx(
        np.std([roc_auc_score(label[i], score[i]) for i in draws]), rel=0.12
    )


def test_the_accuracy_interval_is_the_exact_one_of_statsmodels() -> None:
    label, score = world(1000)
    found = metric_interval("accuracy", label, score, 0.5, 0.975, 0)
    low, high = proportion_confint(int(((score >= 0.5) == label).sum()), 1000, alpha=0.05, method="beta")
    assert (found.low, found.high) == pytest.approx((low, high), abs=1e-12)


def test_a_floor_passes_fails_or_is_undecided_by_its_interval() -> None:
    states = [run_gate(FLOOR.model_copy(update={"limit": limit}), examination()).state for limit in (0.7, 0.99)]
    assert states == ["pass", "fail"]
    auc = roc_auc_score(*world(2000))
    assert run_gate(FLOOR.model_copy(update={"limit": auc - 0.001}), examination()).state == "insufficient_evidence"


def test_rows_in_another_order_give_the_same_answer() -> None:
    label, score = world(2000)
    order = np.random.default_rng(0).permutation(2000)
    one = run_gate(FLOOR, examination()).measurements[0]
    two = run_gate(FLOOR, examination(label=label[order], score=score[order])).measurements[0]
    assert (one.value, one.low) == pytest.approx((two.value, two.low), abs=1e-12)


def test_the_challenger_is_compared_on_the_same_rows() -> None:
    _, worse = world(2000, seed=9)
    label, score = world(2000)
    assert run_gate(COMPARE, examination()).reason.startswith("there is no champion")
    assert run_gate(COMPARE, examination(champion_score=score)).state == "pass"
    assert run_gate(COMPARE, examination(score=worse, champion_score=score)).state == "fail"


@pytest.mark.parametrize(
    ("gate", "changes", "state", "says"),
    [
        (
            FLOOR,
            {"benchmark": np.full(2000, "other")},
            "fail",
            "benchmark 'holdout' has no rows; there are: all, other",
        ),
        (FLOOR, {"score": np.full(2000, np.nan)}, "fail", "scores are NaN or outside 0 to 1"),
        (FLOOR, {"score": np.full(2000, 0.5)}, "fail", "roc_auc is 0.5000"),
        (FLOOR, {"label": np.ones(2000, bool)}, "insufficient_evidence", "smaller class of holdout has 0"),
        (FAIR, {"groups": pd.DataFrame({"sex": ["one"] + ["m"] * 1999})}, "insufficient_evidence", "too few positives"),
        (FAIR, {"groups": pd.DataFrame({"sex": [None] * 2000})}, "fail", "0 group"),
        (RULES, {}, "fail", "rules.yaml is missing"),
        (DataGate(name="data", kind="data"), {}, "fail", "were not checked"),
    ],
)
def test_bad_evidence_is_never_a_pass(gate: Any, changes: dict[str, Any], state: str, says: str) -> None:
    result = run_gate(gate, examination(**changes))
    assert result.state == state
    assert says in result.reason


def test_expert_rules_see_a_forbidden_driver_a_wrong_sign_and_an_unknown_column() -> None:
    def judge(*rules: Any, **changes: Any) -> Any:
        return run_gate(RULES, examination(rules=ExpertRules(rules=rules), **changes))

    rises = Direction(rule="direction", column="income", sign="rises", because="known")
    falls = rises.model_copy(update={"sign": "falls"})
    sex = ForbiddenDriver(rule="forbidden_driver", column="sex", share=0.05, because="law")
    driven = pd.DataFrame({"income": RNG.normal(size=200), "sex": RNG.normal(size=200)})
    assert judge(rises, sex).state == "pass"
    assert judge(falls).state == "fail"
    assert judge(sex, attributions=driven).state == "fail"
    assert "no input column (allowed: income, sex)" in judge(rises.model_copy(update={"column": "wage"})).reason


def rules_state(*rules: Any, **changes: Any) -> str:
    return run_gate(RULES, examination(rules=ExpertRules(rules=rules), **changes)).state


RISES = Direction(rule="direction", column="income", sign="rises", because="known")
DRIVER = ForbiddenDriver(rule="forbidden_driver", column="income", share=1.0, because="law")


def test_a_model_that_answers_with_no_number_breaks_a_direction_rule() -> None:
    assert rules_state(RISES, predict=lambda frame: np.full(len(frame), np.nan)) == "fail"


@pytest.mark.parametrize(
    "attributions",
    [{"income": [np.nan] * 200}, {"other": [1.0] * 200}, {"income": []}],
    ids=["not numbers", "feature missing", "empty"],
)
def test_attributions_that_cannot_be_used_are_never_a_pass(attributions: dict[str, Any]) -> None:
    assert rules_state(DRIVER, attributions=pd.DataFrame(attributions, dtype=float)) == "insufficient_evidence"


def test_a_perfect_auc_has_no_interval_and_is_no_pass() -> None:
    label = np.arange(60) % 2 == 0
    result = run_gate(FLOOR, examination(n=60, label=label, score=label.astype(float)))
    assert (result.state, "no interval" in result.reason) == ("insufficient_evidence", True)


@pytest.mark.parametrize(("limit", "state"), [(0.94, "pass"), (0.96, "insufficient_evidence")])
def test_a_perfect_share_of_rows_is_as_sure_as_their_number(limit: float, state: str) -> None:
    """Sixty right of sixty: at least 0.05 to the power of 1/60 = 0.951."""
    label = np.arange(60) % 2 == 0
    gate = FLOOR.model_copy(update={"metric": "accuracy", "limit": limit})
    assert run_gate(gate, examination(n=60, label=label, score=label.astype(float))).state == state


@pytest.mark.parametrize(("rows", "state"), [(200, "insufficient_evidence"), (2000, "pass")])
def test_models_that_never_disagree_are_near_as_far_as_their_rows_show(rows: int, state: str) -> None:
    """None of 200 rows lost is not none at all: Tango's bound is -0.013 and the margin 0.01; of 2,000 it is -0.0014."""
    gate = COMPARE.model_copy(update={"metric": "accuracy"})
    label, score = world(2000)
    apart = examination(
        rows, label=label[:rows], score=score[:rows], champion_score=np.where(score >= 0.5, 0.9, 0.1)[:rows]
    )
    assert run_gate(gate, apart).state == state
    assert (
        run_gate(gate, examination(rows, label=label[:rows], score=score[:rows], champion_score=score[:rows])).state
        == "pass"
    )


def test_a_direction_of_a_column_that_the_model_does_not_use_is_no_pass() -> None:
    result = run_gate(
        RULES,
        examination(
            rules=ExpertRules(rules=(RISES,)),
            features=("sex",),
            attributions=pd.DataFrame({"sex": RNG.normal(size=200)}),
        ),
    )
    assert result.state == "fail"
    assert (
        "the model does not use income, so it cannot follow this rule; use it as a feature or drop the rule"
        in result.reason
    )


def test_an_unknown_protected_attribute_is_named() -> None:
    with pytest.raises(ConfigError, match="'caste', which has no groups; allowed: sex"):
        run_gate(FAIR.model_copy(update={"attribute": "caste"}), examination())
    config = load_model(ROOT, "care")
    with pytest.raises(ConfigError, match=r"race \(column black\).*columns there: female, xage"):
        protected_groups(config, pd.DataFrame({"female": ["1"], "xage": [30.0]}))


@pytest.mark.parametrize("gate", [FLOOR, FAIR], ids=["floor", "fairness"])
def test_scores_outside_zero_to_one_are_refused(gate: Any) -> None:
    result = run_gate(gate, examination(score=world(2000)[1] * 3))
    assert (result.state, "scores are NaN or outside 0 to 1" in result.reason) == ("fail", True)


def test_a_gate_that_lacks_evidence_says_how_many_rows_would_tell() -> None:
    """The rows it asks for are enough, and half of them are not."""
    label, score = world(200_000, sharpness=1.5)
    limit = float(roc_auc_score(label, score)) - 0.01

    def at(n: int) -> GateResult:
        few = examination(n, label=label[:n], score=score[:n])
        return run_gate(FloorGate(name="floor", kind="floor", metric="roc_auc", limit=limit), few)

    first = next(
        found
        for n in range(300, 900, 50)
        if (found := at(n)).state == "insufficient_evidence" and (found.measurements[0].value or 0) > limit
    )
    m = first.measurements[0]
    needed = rows_needed(m)
    assert needed is not None and f"about {needed:,} rows instead of {m.rows:,} would decide" in first.remedy
    assert m.value is not None and m.low is not None
    at_needed = m.value - (m.value - m.low) * np.sqrt(m.rows / needed)
    assert at_needed == pytest.approx(limit, abs=0.002)


def test_a_gate_that_fails_says_what_has_to_move() -> None:
    label, score = world(2000)
    found = run_gate(
        FloorGate(name="floor", kind="floor", metric="roc_auc", limit=0.99), examination(2000, label=label, score=score)
    )
    assert (
        found.state == "fail"
        and found.remedy.startswith("to pass, 0.8")
        and found.remedy.endswith("has to rise to 0.99 with its interval")
    )
    assert run_gate(FLOOR, examination(2000, label=label, score=score)).remedy == ""


def test_a_named_benchmark_is_its_rows_and_fails_when_they_change() -> None:
    """The same rows in another order are the same benchmark; one label that changes is another."""
    config = load_model(ROOT, "care")

    def named(where: str, sha256: str | None, **changes: Any) -> Examination:
        return examination(
            2000,
            config=config.model_copy(update={"benchmarks": {"rich": Benchmark(rows=where, sha256=sha256)}}),
            entity=np.arange(2000),
            **changes,
        )

    gate = FLOOR.model_copy(update={"benchmark": "rich"})
    label, score = world(2000)
    rows = pd.DataFrame({"income": np.arange(2000.0), "sex": np.where(np.arange(2000) % 2, "f", "m")})
    x = named("income >= 1000", None, rows=rows, label=label, score=score)
    assert benchmark_rows("rich", x).sum() == 1000 and run_gate(gate, x).measurements[0].rows == 1000
    told = run_gate(gate, named("income >= 1000", "sha256:" + "0" * 64, rows=rows, label=label, score=score))
    assert told.state == "fail" and "and model.yaml pins sha256:000" in told.reason
    pinned = told.reason.split("has digest ")[1].split(",")[0]
    order = np.random.default_rng(1).permutation(2000)
    again = named(
        "income >= 1000", pinned, rows=rows.iloc[order].reset_index(drop=True), label=label[order], score=score[order]
    )
    assert run_gate(gate, again).state == "pass"
    flipped = label.copy()
    flipped[1500] = not flipped[1500]
    assert (
        "a benchmark that changes compares nothing"
        in run_gate(gate, named("income >= 1000", pinned, rows=rows, label=flipped, score=score)).reason
    )
    assert (
        "no row of the base holdout fits"
        in run_gate(gate, named("income > 5000", None, rows=rows, label=label, score=score)).reason
    )
    assert (
        "benchmarks.rich.rows is 'wage > 1'"
        in run_gate(gate, named("wage > 1", None, rows=rows, label=label, score=score)).reason
    )

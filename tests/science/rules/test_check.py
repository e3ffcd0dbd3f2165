"""Each expert rule on a model that keeps it, on one that breaks it, and where it cannot be asked; one file against
wrong models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from tasks.science.examination.examination import Examination
from tasks.science.rules.attribution import association
from tasks.science.rules.check import check_rule
from tasks.spec.base import validate
from tasks.spec.data import Column
from tasks.spec.errors import ConfigError
from tasks.spec.evidence import Measurement
from tasks.spec.model import load_model
from tasks.spec.rules import ExpertRules
from tests.conftest import ROOT
from tests.statistics.expert_rules import linear, people, stopped, wrong

N = 1500


def rows() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    female = rng.random(N) < 0.5
    return pd.DataFrame(
        {
            "income": rng.normal(50, 15, N),
            "age": rng.uniform(18, 80, N).round(),
            "sex": np.where(female, "female", "male"),
            "purchases": rng.normal(np.where(female, 2.0, 0.0), 1),
        }
    )


def judge(
    rule: dict[str, Any],
    odds: Any = lambda r: (50 - r["income"]) / 15,
    features: tuple[str, ...] = ("income",),
    **changes: Any,
) -> Measurement:
    """One rule of a YAML file against log-odds; attributions are those of the log-odds of each feature alone."""
    table = rows()
    middle = table.assign(**{c: table[c].median() if c != "sex" else "male" for c in table})
    single = {f: np.asarray(odds(middle.assign(**{f: table[f]})) - odds(middle), dtype=float) for f in features}
    values: dict[str, Any] = {
        "rows": table,
        "label": np.zeros(N, bool),  # as in a window whose labels are not known yet
        "score": expit(np.asarray(odds(table), dtype=float)),
        "champion_score": None,
        "benchmark": np.full(N, "holdout"),
        "groups": pd.DataFrame(index=table.index),
        "attributions": pd.DataFrame(single).head(400),
        "predict": lambda r: expit(np.asarray(odds(r), dtype=float)),
        "features": features,
        "decision_threshold": 0.5,
        "seed": 1,
        "rules": None,
        "data_check": None,
    }
    parsed = validate({"rules": [rule | {"because": "known"}]}, ExpertRules, "rules.yaml").rules[0]
    return check_rule(parsed, Examination(**(values | changes)), 0.95)


def by_sex(r: pd.DataFrame) -> pd.Series:
    return (50 - r["income"]) / 15 + 0.5 * (r["sex"] == "female")


def by_proxy(r: pd.DataFrame) -> pd.Series:
    return (50 - r["income"]) / 15 + 0.3 * r["purchases"]


def kinked(r: pd.DataFrame) -> pd.Series:
    return (50 - r["income"]) / 15 + 0.8 * ((r["income"] > 55) & (r["income"] < 63))


MONOTONE = {"rule": "monotone", "column": "income", "sign": "falls"}
BETWEEN = {"rule": "vignette", "case": {"income": 90}, "between": [0.0, 0.2]}
ABOVE = {"rule": "vignette", "case": {"income": 30}, "above": {"income": 60}, "margin": 0.1}
RANGE = {"rule": "score_range", "rows": "income > 60", "high": 0.4}
SEX = {"rule": "invariance", "column": "sex", "at_most": 0.02}
PROXY = {"rule": "proxy", "column": "sex"}
REQUIRED = {"rule": "required_driver", "column": "income", "share": 0.8}
BOTH = {"odds": by_proxy, "features": ("income", "purchases")}


@pytest.mark.parametrize("rule", [MONOTONE, BETWEEN, ABOVE, RANGE, SEX, PROXY, REQUIRED], ids=lambda r: str(r["rule"]))
def test_a_model_that_keeps_the_rule_passes(rule: dict[str, Any]) -> None:
    assert judge(rule).state == "pass"


@pytest.mark.parametrize(
    ("rule", "model"),
    [
        (MONOTONE, {"odds": kinked}),
        (MONOTONE | {"sign": "rises"}, {}),
        (BETWEEN | {"between": [0.2, 0.3]}, {}),
        (ABOVE | {"margin": 0.9}, {}),
        (ABOVE | {"case": {"income": 60}, "above": {"income": 60}, "margin": 0.0}, {}),
        (RANGE | {"high": 0.2}, {}),
        (SEX, {"odds": by_sex, "features": ("income", "sex")}),
        (PROXY, BOTH),
        (REQUIRED, BOTH),
    ],
)
def test_a_model_that_breaks_the_rule_fails_with_its_number(rule: dict[str, Any], model: dict[str, Any]) -> None:
    found = judge(rule, **model)
    assert found.state == "fail"
    assert found.value is not None


def test_a_proxy_is_named_and_may_be_allowed() -> None:
    assert "purchases by AUC 0.9" in judge(PROXY, **BOTH).label
    assert judge(PROXY | {"allowed": ["purchases"]}, **BOTH).state == "pass"
    assert judge(PROXY | {"share": 0.5}, **BOTH).state == "pass"


@pytest.mark.parametrize(
    ("rule", "model", "state", "says"),
    [
        (MONOTONE | {"column": "age", "sign": "rises"}, {}, "fail", "does not use age"),
        (MONOTONE | {"column": "age"}, {"features": ("income", "age")}, "fail", "does not use age"),
        ({"rule": "direction", "column": "age", "sign": "falls"}, {}, "fail", "does not use age"),
        ({"rule": "required_driver", "column": "age", "share": 0.1}, {}, "fail", "does not use age"),
        (ABOVE | {"case": {"age": 70}, "above": {"age": 20}}, {}, "fail", "does not use age"),
        (MONOTONE | {"column": "sex"}, {"features": ("income", "sex")}, "fail", "holds no numbers"),
        (MONOTONE | {"column": "wage"}, {}, "fail", "allowed: income, age, sex, purchases"),
        (BETWEEN | {"case": {"wage": 1}}, {}, "fail", "allowed: income, age, sex, purchases"),
        (BETWEEN | {"case": {"sex": "femal"}}, {}, "fail", "sex has no value 'femal'; allowed: female, male"),
        (
            BETWEEN | {"case": {"income": "much"}},
            {},
            "fail",
            "income is of type number, and 'much' is no finite number",
        ),
        (PROXY | {"allowed": ["purchase"]}, {}, "fail", "allowed names purchase"),
        (RANGE | {"rows": "wage > 3"}, {}, "fail", "allowed columns: income"),
        (RANGE | {"rows": "income > 1000"}, {}, "insufficient_evidence", "0 rows"),
        (MONOTONE | {"rows": "income > 1000"}, {}, "insufficient_evidence", "0 rows"),
        (SEX, {"predict": lambda r: np.full(len(r), np.nan)}, "fail", "scores are NaN or outside 0 to 1"),
        (MONOTONE, {"predict": lambda r: np.full(len(r), 2.0)}, "fail", "scores are NaN or outside 0 to 1"),
        (RANGE, {"score": np.full(N, np.nan)}, "fail", "scores lie"),
        (REQUIRED, {"attributions": pd.DataFrame({"income": [np.nan] * 50})}, "insufficient_evidence", "incomplete"),
        (PROXY, {"attributions": pd.DataFrame({"other": [1.0] * 50})}, "insufficient_evidence", "incomplete"),
        (RANGE | {"tolerance": 0.001, "high": 0.999}, {}, "insufficient_evidence", "scores lie"),
    ],
)
def test_a_rule_that_cannot_be_asked_is_never_a_pass(
    rule: dict[str, Any], model: dict[str, Any], state: str, says: str
) -> None:
    found = judge(rule, **model)
    assert found.state == state
    assert says in found.label


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({"rule": "vignette", "case": {"age": 1}}, "give either above"),
        (RANGE | {"low": 0.5}, "low must be the smaller"),
        (RANGE | {"tolerance": 0}, "greater than 0"),
        (MONOTONE | {"signs": "rises"}, "did you mean 'sign'?"),
    ],
)
def test_a_wrong_rule_is_one_sentence_with_the_fix(rule: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        validate({"rules": [rule | {"because": "known"}]}, ExpertRules, "rules.yaml")
    assert says in str(caught.value)


def test_many_rare_values_do_not_look_like_knowledge() -> None:
    table = rows().assign(code=lambda r: np.random.default_rng(2).integers(500, size=len(r)).astype(str))
    fields: dict[str, Any] = (
        dict.fromkeys(Examination.__dataclass_fields__) | {"kind": "binary", "classes": ()} | {"rows": table, "seed": 1}
    )
    found = association("sex", ["code", "purchases"], Examination(**fields), 0.95)
    assert found is not None
    assert found["code"][0] == pytest.approx(0.5, abs=0.05)
    assert found["purchases"][0] == pytest.approx(0.921, abs=0.02)  # Phi(2 / sqrt 2) of two normals


def test_one_file_of_rules_stops_wrong_models_and_lets_good_ones_pass() -> None:
    """A sample of the simulation in tests/statistics/expert_rules.py."""
    models = wrong(1)
    chosen = [
        "sex, of the young alone",
        "proxy of sex, a number",
        "tenure with the wrong sign",
        "a kink in income",
        "identifier, by heart",
        "the old are lost",
    ]
    assert [name for name in chosen if not stopped(models[name][0], 1)[0]] == []
    assert [reason for hit, reason in (stopped(linear(*people(4000, 50 + s)), 50 + s) for s in range(3)) if hit] == []


STEPS = (
    Column(name="visits", type="integer", minimum=0, maximum=4),
    Column(name="rate", type="number", minimum=0, maximum=1),
    Column(name="due", type="date", maximum="2020-06-30"),
    Column(name="insured", type="boolean"),
)


def stepped(odds: Any, **rule: Any) -> tuple[Measurement, pd.DataFrame]:
    """The rule on 600 rows, and all rows that the model was asked about."""
    rng = np.random.default_rng(2)
    table = pd.DataFrame(
        {
            "visits": rng.integers(0, 5, 600).astype(float),
            "rate": rng.uniform(0, 1, 600),
            "due": 18443.0 - rng.integers(0, 4, 600),  # the last days of June 2020
            "insured": pd.Series(rng.choice(["true", "false"], 600), dtype="str"),
        }
    )
    care, asked = load_model(ROOT, "care"), list[pd.DataFrame]()
    config = care.model_copy(update={"data": care.data.model_copy(update={"columns": STEPS})})

    def predict(rows: pd.DataFrame) -> np.ndarray:
        asked.append(rows)
        return np.asarray(expit(odds(rows).to_numpy(float)))

    fields: dict[str, Any] = dict.fromkeys(Examination.__dataclass_fields__) | {
        "rows": table, "predict": predict, "config": config, "features": tuple(table.columns), "kind": "binary",
        "classes": (), "label": np.zeros(600, bool), "score": np.full(600, 0.5), "seed": 1,
    }  # fmt: skip
    made = {"rules": [{"rule": "direction", "because": "known", **rule}]}
    found = check_rule(validate(made, ExpertRules, "rules.yaml").rules[0], Examination(**fields), 0.95)
    return found, pd.concat(asked)


def test_a_direction_is_asked_in_steps_that_the_model_can_meet() -> None:
    """Whole numbers by whole steps, dates by days, booleans flipped; never beyond what the service takes."""
    found, asked = stepped(lambda r: 0.3 * r["visits"], column="visits", sign="rises")
    assert (found.state, found.value) == ("pass", 0.0)
    assert set(asked["visits"]) == {0.0, 1.0, 2.0, 3.0, 4.0}
    found, asked = stepped(lambda r: 0.3 * (r["visits"] % 1 > 0) - 0.2 * r["visits"], column="visits", sign="rises")
    assert (found.state, found.value) == ("fail", 1.0)  # half a visit is nobody's, and would have hidden it
    found, asked = stepped(lambda r: (18443 - r["due"]) / 5, column="due", sign="falls")
    assert (found.state, found.value) == ("pass", 0.0)
    assert asked["due"].max() == 18443.0 and (asked["due"] % 1 == 0).all()
    found, _ = stepped(lambda r: 0.5 * (r["insured"] == "true"), column="insured", sign="rises")
    assert (found.state, found.value) == ("pass", 0.0)
    found, _ = stepped(lambda r: 0.5 * (r["insured"] == "true"), column="insured", sign="falls")
    assert (found.state, found.value) == ("fail", 1.0)
    found, asked = stepped(lambda r: r["rate"], column="rate", sign="rises", rows="insured and visits > 1")
    assert (found.state, found.value) == ("pass", 0.0) and asked["rate"].max() <= 1

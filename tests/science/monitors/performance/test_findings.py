"""The monitor of performance: every kind of target, abstention in words, fairness without labels, the estimator's
record."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn import metrics as sk

from tasks.science.monitors.performance.estimators import choose_estimator
from tasks.science.monitors.performance.expected_metrics import expected, realized
from tasks.science.monitors.performance.findings import performance_findings
from tasks.science.monitors.performance.multiclass import expected_classes
from tasks.science.monitors.performance.realized import measured
from tasks.spec.evidence import Decision, Finding, WindowReport
from tasks.spec.metrics import METRIC_NAMES
from tasks.spec.model import ModelConfig
from tasks.spec.targets import MulticlassTarget, RegressionTarget
from tests.statistics.estimation import people, scored, small_world

ALPHA = 0.001


@pytest.fixture(scope="module")
def config() -> ModelConfig:
    return small_world()


@pytest.fixture(scope="module")
def reference() -> pd.DataFrame:
    return inputs(people(3000, 0.0, np.random.default_rng(0)))


def inputs(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(black=np.arange(len(rows)) % 2 * 1.0, female=np.where(np.arange(len(rows)) % 3, "1", "0"))


def window(n: int = 600, seed: int = 1) -> pd.DataFrame:
    return inputs(people(n, 0.0, np.random.default_rng(seed)))


def kinds(findings: list[Finding]) -> dict[str, list[Finding]]:
    return {
        kind: [f for f in findings if f.kind == kind]
        for kind in ("estimated_performance", "estimated_fairness", "realized_performance", "estimator")
    }


@pytest.mark.parametrize("metric", METRIC_NAMES["binary"])
def test_labels_as_probabilities_give_the_realized_metric(metric: str) -> None:
    rng = np.random.default_rng(0)
    score, label = rng.integers(1, 10, 300) / 10, rng.random(300) < 0.4
    taken = score >= 0.3
    peers = {
        "roc_auc": lambda: sk.roc_auc_score(label, score),
        "average_precision": lambda: sk.average_precision_score(label, score),
        "log_loss": lambda: sk.log_loss(label, score),
        "brier": lambda: sk.brier_score_loss(label, score),
        "accuracy": lambda: sk.accuracy_score(label, taken),
        "balanced_accuracy": lambda: sk.balanced_accuracy_score(label, taken),
        "f1": lambda: sk.f1_score(label, taken),
        "precision": lambda: sk.precision_score(label, taken),
        "recall": lambda: sk.recall_score(label, taken),
    }
    assert expected(metric, label.astype(float), score, 0.3).value == pytest.approx(peers[metric](), abs=1e-12)
    assert realized(metric, label[None, :], score, 0.3)[0] == pytest.approx(peers[metric](), abs=1e-12)


@pytest.mark.parametrize("metric", METRIC_NAMES["multiclass"])
def test_multiclass_metrics_are_those_of_scikit_learn(metric: str) -> None:
    rng = np.random.default_rng(0)
    p = rng.dirichlet([1, 2, 3], 400)
    code = np.array([rng.choice(3, p=q) for q in p])
    top, truth = p.argmax(axis=1), np.eye(3)[code]
    peers = {
        "roc_auc": lambda: sk.roc_auc_score(code, p, multi_class="ovr"),
        "log_loss": lambda: sk.log_loss(code, p),
        "brier": lambda: ((p - truth) ** 2).sum(axis=1).mean(),
        "accuracy": lambda: sk.accuracy_score(code, top),
        "balanced_accuracy": lambda: sk.balanced_accuracy_score(code, top),
        "f1": lambda: sk.f1_score(code, top, average="macro"),
    }
    assert expected_classes(metric, truth, p).value == pytest.approx(peers[metric](), abs=1e-12)


def test_a_quiet_window_is_estimated_by_group_and_compared_with_its_labels(
    config: ModelConfig, reference: pd.DataFrame
) -> None:
    found = kinds(performance_findings(config, reference, window(), {}, ALPHA, 0))
    assert not [f for part in found.values() for f in part if f.alarm]
    (estimated,), (seen,), (own,) = found["estimated_performance"], found["realized_performance"], found["estimator"]
    assert estimated.low < seen.value < estimated.high and own.value == pytest.approx(abs(estimated.value - seen.value))
    subjects = {f.subject for f in found["estimated_fairness"]}
    assert {
        "true_positive_rate difference by sex",
        "precision difference by race",
        "false_positive_rate difference by age_band",
    } <= subjects


def test_a_stuck_column_is_named_and_the_estimate_does_not_follow_the_broken_score(
    config: ModelConfig, reference: pd.DataFrame
) -> None:
    rng, truth = np.random.default_rng(3), window(2000, 3)
    broken = inputs(scored(truth.assign(xage=40.0), rng, truth))
    choice = choose_estimator(config, reference, broken.assign(_label=np.nan), {}, 0)
    assert not choice.score_believed and "xage" in choice.why and choice.estimate is not None
    found, shown = choice.estimate("log_loss"), measured(config, "log_loss", broken).value
    assert found.low <= shown <= found.high
    fairness = kinds(performance_findings(config, reference, broken.assign(_label=np.nan), {}, ALPHA, 0))[
        "estimated_fairness"
    ]
    assert all(f.value is None and "xage" in f.sentence and not f.alarm for f in fairness)


def test_other_inputs_that_cannot_judge_the_reference_judge_no_window(config: ModelConfig) -> None:
    """One column decides nearly everything; without it, the others say of a good model that it is a bad one."""

    def drawn(n: int, seed: int) -> pd.DataFrame:
        rng = np.random.default_rng(seed)
        rows = inputs(people(n, 0.0, rng))
        score = expit(0.4 * (rows["xage"] - 45))
        return rows.assign(_score=score, _label=(rng.random(n) < score).astype(float))

    then, now = drawn(3000, 1), drawn(800, 2).assign(xage=44.0)
    now["_score"] = expit(0.4 * (now["xage"] - 45))
    (found,) = kinds(performance_findings(config, then, now.assign(_label=np.nan), {}, ALPHA, 0))[
        "estimated_performance"
    ]
    assert found.value is None and not found.alarm
    truth = measured(config, "log_loss", then).value
    assert found.sentence.endswith(f"where labels show {truth:.3f}, so they cannot judge this model"), found.sentence
    said = float(re.search(r"of the reference they say (\d\.\d+)", found.sentence)[1])  # type: ignore[index]
    assert said > 1.15 * truth


def test_the_first_look_stays_on_the_estimators_record(config: ModelConfig, reference: pd.DataFrame) -> None:
    """The second look no longer estimates what labels contradict, and takes the first report's place."""
    rows = window(1500)
    blind = performance_findings(config, reference, rows.assign(_label=np.nan), {}, ALPHA, 0)
    said = next(f for f in blind if f.kind == "estimated_performance")
    turned = rows.assign(_label=1 - rows["_label"])
    first = report(1, 0, 0).model_copy(update={"findings": tuple(blind)})
    again = performance_findings(config, reference, turned, {}, ALPHA, 0, [first], number=1)
    (of_it,) = kinds(again)["estimator"]
    shown = next(f for f in again if f.kind == "realized_performance")
    assert said.value is not None and shown.value is not None
    assert next(f for f in again if f.kind == "estimated_performance").value is None
    assert of_it.value == pytest.approx(abs(said.value - shown.value)) and "in 1 window," in of_it.sentence
    second = first.model_copy(update={"findings": tuple(again), "first_estimates": (said,)})
    (later,) = kinds(performance_findings(config, reference, rows, {}, ALPHA, 0, [second], number=2))["estimator"]
    assert "in 2 windows, of which 1 of 2 lay inside" in later.sentence, later.sentence


def test_a_stuck_column_that_the_score_ignores_is_no_reason_to_abstain(
    config: ModelConfig, reference: pd.DataFrame
) -> None:
    choice = choose_estimator(
        config, reference, window().assign(income=1.0), {"xage": 0.5, "ghindx": 0.4, "mhi": 0.095, "income": 0.005}, 0
    )
    assert choice.score_believed


def test_labels_that_contradict_it_make_it_abstain(config: ModelConfig, reference: pd.DataFrame) -> None:
    rows = window(1500)
    turned = rows.assign(_label=np.where(np.arange(1500) < 300, 1 - rows["_label"], np.nan))
    (found,) = kinds(performance_findings(config, reference, turned, {}, ALPHA, 0))["estimated_performance"]
    assert found.value is None and not found.alarm and "300 labelled rows contradict it" in found.sentence
    recent = rows.assign(_label=1 - rows["_label"])
    choice = choose_estimator(config, reference, window(500, 9).assign(_label=np.nan), {}, 0, recent)
    assert choice.estimate is None and "1,500 labelled rows contradict it" in choice.why


def test_regression_and_multiclass_are_estimated_and_realized(config: ModelConfig) -> None:
    rng = np.random.default_rng(0)

    def numbers(n: int) -> pd.DataFrame:
        rows = inputs(people(n, 0.0, rng))
        return rows.assign(_score=rows["xage"] / 10, _label=rows["xage"] / 10 + rng.normal(0, 1 + rows["ghindx"].abs()))

    target = RegressionTarget(kind="regression", expression="mdvis", unit="visits")
    regression = config.model_copy(
        update={
            "data": config.data.model_copy(update={"target": target}),
            "monitoring": config.monitoring.model_copy(update={"metrics": {"mae": 0.1, "rmse": 0.1, "r2": 0.1}}),
        }
    )
    found = kinds(performance_findings(regression, numbers(2500), numbers(800), {}, ALPHA, 0))
    assert len(found["estimated_performance"]) == 3 and not any(f.alarm for part in found.values() for f in part)
    for estimated, seen in zip(found["estimated_performance"], found["realized_performance"], strict=True):
        assert estimated.low - 0.1 < seen.value < estimated.high + 0.1 and seen.low < seen.value < seen.high

    def classes(n: int) -> pd.DataFrame:
        rows, p = inputs(people(n, 0.0, rng)), rng.dirichlet([2, 2, 2], n)
        named = np.array(list("abc"))[[rng.choice(3, p=q) for q in p]]
        return rows.assign(
            **{"_score:a": p[:, 0], "_score:b": p[:, 1], "_score:c": p[:, 2], "_score": p.max(axis=1), "_label": named}
        )

    target = MulticlassTarget(kind="multiclass", expression="site", classes=("a", "b", "c"))
    named = config.model_copy(
        update={
            "data": config.data.model_copy(update={"target": target}),
            "monitoring": config.monitoring.model_copy(update={"metrics": {"f1": 0.1, "roc_auc": 0.1}}),
        }
    )
    found = kinds(performance_findings(named, classes(2500), classes(800), {}, ALPHA, 0))
    assert [
        f.value is not None and not f.alarm for f in (*found["estimated_performance"], *found["realized_performance"])
    ] == [True] * 4


@pytest.mark.parametrize(
    "damage",
    [
        "empty window",
        "one row",
        "no reference labels",
        "one class",
        "one score",
        "missing scores",
        "column gone",
        "all inputs missing",
    ],
)
def test_what_cannot_be_estimated_is_said_in_words(config: ModelConfig, reference: pd.DataFrame, damage: str) -> None:
    rows, known = window(300).assign(_label=np.nan), reference
    if damage in ("empty window", "one row"):
        rows = rows.head(1 if damage == "one row" else 0)
    elif damage == "no reference labels":
        known = reference.assign(_label=np.nan)
    elif damage == "one class":
        known = reference.assign(_label=1.0)
    elif damage == "one score":
        known, rows = reference.assign(_score=0.5), rows.assign(_score=0.5)
    elif damage == "missing scores":
        rows = rows.assign(_score=np.where(np.arange(300) == 7, np.nan, rows["_score"]))
    elif damage == "column gone":
        rows = rows.drop(columns=["xage"])
    else:
        rows = rows.assign(**{c.name: None for c in config.inputs})
    found = kinds(performance_findings(config, known, rows, {}, ALPHA, 0))
    (estimated,) = found["estimated_performance"]
    assert estimated.sentence and not (damage != "column gone" and estimated.alarm)
    if damage != "column gone":
        assert estimated.value is None and "is not estimated" in estimated.sentence
    else:
        assert "the score is not believed" in estimated.sentence


def report(number: int, estimated: float, shown: float) -> WindowReport:
    both = (
        Finding(
            kind="estimated_performance",
            subject="log_loss",
            value=estimated,
            low=estimated - 0.02,
            high=estimated + 0.02,
            rows=500,
            alarm=False,
            sentence="-",
        ),
        Finding(kind="realized_performance", subject="log_loss", value=shown, rows=500, alarm=False, sentence="-"),
    )
    return WindowReport(
        model="care",
        version="v1.0.0",
        window=number,
        first="",
        last="",
        first_seq=0,
        last_seq=0,
        rows=500,
        labelled=500,
        created=f"2026-01-{number:02d}",
        findings=both,
        decision=Decision(action="nothing", reason="-", policy="-"),
    )


@pytest.mark.parametrize(("missed", "alarm"), [(0, False), (1, False), (6, True)])
def test_the_estimators_record_alarms_where_it_misses_more_than_chance_says(
    config: ModelConfig, reference: pd.DataFrame, missed: int, alarm: bool
) -> None:
    history = [report(i + 1, 0.5, 0.6 if i < missed else 0.51) for i in range(10)]
    (found,) = kinds(performance_findings(config, reference, window().assign(_label=np.nan), {}, ALPHA, 0, history))[
        "estimator"
    ]
    assert (
        found.alarm is alarm
        and f"{10 - missed} of 10" in found.sentence
        and found.value == pytest.approx((0.1 * missed + 0.01 * (10 - missed)) / 10)
    )

"""The groups of a reference, what can be said of a window, and what cannot: in words."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import adjusted_rand_score

from tasks.science.models.embeddings import embed, representing
from tasks.science.monitors.groupings.clustering import adjusted_rand, coherence
from tasks.science.monitors.groupings.events import Sides, _square
from tasks.science.monitors.groupings.findings import grouping_findings
from tasks.science.monitors.groupings.reference import GroupReference, fit_groupings, load_groupings
from tasks.science.monitors.groupings.words import apart
from tasks.spec.errors import ConfigError, CorruptionError
from tasks.spec.evidence import Finding
from tasks.spec.groupings import EmbeddingMap, GroupSummary
from tasks.spec.model import ModelConfig
from tests.statistics.groupings import config, rows, scored, world

KIND = "logistic_regression"
SUBJECTS = {"shares", "silhouette", "stability", "label coherence"}


def plane(pipeline: Any, frame: pd.DataFrame) -> np.ndarray:
    return frame[["x1", "x2", "x3"]].to_numpy(float)


def constant(pipeline: Any, frame: pd.DataFrame) -> np.ndarray:
    return np.ones((len(frame), 3))


def with_function(c: ModelConfig, name: str) -> ModelConfig:
    return c.model_copy(
        update={
            "monitoring": c.monitoring.model_copy(
                update={"embedding": f"tests.science.monitors.groupings.test_groupings:{name}"}
            )
        }
    )


def looked(
    c: ModelConfig, pipeline: Any, reference: GroupReference, frame: pd.DataFrame
) -> tuple[list[Finding], GroupSummary, EmbeddingMap | None]:
    assert reference.space is not None
    return grouping_findings(
        c, reference, embed(representing(pipeline, c), c, frame, reference.space), frame, 0.05, 1, number=7
    )


def test_the_planted_groups_are_found_named_and_described() -> None:
    _, reference = world(KIND, 1)
    assert [g.name for g in reference.groups] == ["A", "B", "C", "D"]
    assert [g.share for g in reference.groups] == pytest.approx([0.35, 0.3, 0.2, 0.15], abs=0.03)
    assert all(
        g.stability > 0.95 and g.stability_low <= g.stability <= g.stability_high + 1e-9 for g in reference.groups
    )
    assert any("x1 at least" in words for words in reference.groups[0].typical) and reference.choice.startswith(
        "4 groups"
    )


def test_what_is_kept_comes_back_bit_for_bit_and_another_format_is_refused() -> None:
    pipeline, reference = world(KIND, 1)
    document = json.loads(json.dumps(reference.document(), allow_nan=False))
    loaded, frame = load_groupings(document), scored(config(KIND), pipeline, rows(400, np.random.default_rng(0)))
    assert looked(config(KIND), pipeline, loaded, frame) == looked(config(KIND), pipeline, reference, frame)
    with pytest.raises(ConfigError, match="format 2, a newer one; this code reads format 1 only"):
        load_groupings({**document, "format": 2})
    with pytest.raises(CorruptionError, match="cannot be read"):
        load_groupings({k: v for k, v in document.items() if k != "centres"})


def test_a_window_like_the_reference_is_quiet_and_drawn_without_inputs() -> None:
    pipeline, reference = world(KIND, 1)
    frame = scored(config(KIND), pipeline, rows(1200, np.random.default_rng(3)))
    frame.loc[frame.index[:100], "_label"] = np.nan
    findings, summary, drawn = looked(config(KIND), pipeline, reference, frame)
    assert (
        not any(f.alarm for f in findings)
        and summary.holds
        and {f.subject for f in findings} == SUBJECTS | {f"{k} groups" for k in ("new", "merged", "split", "vanished")}
    )
    assert drawn is not None and len(drawn.points) == 600 and {p.window for p in drawn.points} == {"reference", 7}
    assert set(drawn.model_dump()["points"][0]) == {"x", "y", "score", "label", "group", "window"}
    other = looked(config(KIND), pipeline, reference, frame.head(300))[2]
    assert other is not None and (other.x, other.y, other.groups) == (drawn.x, drawn.y, drawn.groups)


@pytest.mark.parametrize(
    ("event", "subject", "says"),
    [
        ("new", "new group N1", "x3 at most"),
        ("merged", "groups B and C", "They were: "),
        ("split", "group A", "smaller part apart"),
        ("vanished", "group C", "Its rows were: "),
    ],
)
def test_a_planted_event_is_named_with_its_size_and_what_sets_it_apart(event: str, subject: str, says: str) -> None:
    pipeline, reference = world(KIND, 1)
    findings, summary, _ = looked(
        config(KIND), pipeline, reference, scored(config(KIND), pipeline, rows(1000, np.random.default_rng(4), event))
    )
    found = next(f for f in findings if f.subject == subject)
    assert found.alarm and says in found.sentence and summary.holds is False and found.sentence in summary.events
    if event == "new":
        assert found.value == pytest.approx(0.06, abs=0.02)


def test_labels_that_no_longer_follow_the_groups_are_seen() -> None:
    pipeline, reference = world(KIND, 1)
    frame = scored(config(KIND), pipeline, rows(1500, np.random.default_rng(5)))
    frame["_label"] = np.random.default_rng(6).permutation(frame["_label"])
    alarms = [f.subject for f in looked(config(KIND), pipeline, reference, frame)[0] if f.alarm]
    assert alarms == ["label coherence"]


@pytest.mark.parametrize(
    ("n", "says"), [(0, "the window has 0 rows"), (1, "the window has 1 row"), (49, "50 are needed")]
)
def test_a_window_too_small_says_so(n: int, says: str) -> None:
    pipeline, reference = world(KIND, 1)
    (finding,), summary, drawn = looked(
        config(KIND), pipeline, reference, scored(config(KIND), pipeline, rows(50, np.random.default_rng(0))).head(n)
    )
    assert finding.value is None and not finding.alarm and says in finding.sentence and summary.holds is None
    assert drawn is not None and sum(p.window == 7 for p in drawn.points) == n


def test_rows_without_a_place_are_counted_and_a_window_of_them_says_so() -> None:
    c = with_function(config(KIND), "plane")
    pipeline, _ = world(KIND, 1)
    reference = fit_groupings(c, representing(pipeline, c), scored(c, pipeline, rows(800, np.random.default_rng(0))), 0)
    frame = scored(c, pipeline, rows(300, np.random.default_rng(1)))
    frame.loc[frame.index[:30], "x1"] = np.nan
    findings, _, _ = looked(c, pipeline, reference, frame)
    assert next(f.value for f in findings if f.subject == "rows without a place") == 0.1
    (finding,), _, _ = looked(c, pipeline, reference, frame.assign(x1=np.nan))
    assert "300 of them without finite numbers" in finding.sentence


def test_a_reference_that_is_too_small_or_constant_has_no_groups_and_says_why() -> None:
    pipeline, _ = world(KIND, 1)
    frame = scored(config(KIND), pipeline, rows(300, np.random.default_rng(0)))
    for c, given, says in (
        (config(KIND), frame.head(60), "the reference has 60 rows and 200 are needed"),
        (with_function(config(KIND), "constant"), frame, "all reference rows have the same place"),
    ):
        reference = fit_groupings(c, representing(pipeline, c), given, 0)
        assert says in reference.reason and load_groupings(reference.document()) is not None
        (finding,), summary, drawn = grouping_findings(c, reference, np.zeros((len(frame), 1)), frame, 0.05, 0)
        assert says in finding.sentence and finding.value is None and summary.holds is None and drawn is None


def test_rows_without_groups_are_one_group_in_which_something_new_is_still_seen() -> None:
    c, rng = with_function(config(KIND), "plane"), np.random.default_rng(8)
    pipeline, _ = world(KIND, 1)
    blob = rows(1500, rng)
    blob[["x1", "x2", "x3"]] = rng.normal(size=(1500, 3))
    blob = scored(c, pipeline, blob)
    reference = fit_groupings(c, representing(pipeline, c), blob.head(1000), 0)
    assert len(reference.groups) == 1 and "so there is one" in reference.choice
    window = blob.tail(500).copy()
    findings, summary, _ = looked(c, pipeline, reference, window)
    assert (
        not any(f.alarm for f in findings)
        and summary.holds
        and all(f.value is None for f in findings if f.subject in SUBJECTS)
    )
    window.loc[window.index[:40], ["x1", "x2", "x3"]] = 6 + 0.5 * rng.normal(size=(40, 3))
    assert "new group N1" in [f.subject for f in looked(c, pipeline, reference, window)[0] if f.alarm]


@pytest.mark.parametrize("target", ["multiclass", "regression"])
def test_labels_of_other_kinds_are_explained_by_groups_too(target: str) -> None:
    c, rng = (
        with_function(config("ridge" if target == "regression" else KIND, target), "plane"),
        np.random.default_rng(9),
    )

    def made(n: int) -> pd.DataFrame:
        frame = rows(n, rng)
        value = frame["_group"] + 0.3 * rng.normal(size=n)
        label = (
            pd.Series(np.where(value < 0.5, "low", np.where(value < 1.5, "mid", "high")), dtype=object)
            if target == "multiclass"
            else value
        )
        return frame.assign(
            _label=label.where(rng.random(n) > 0.2, None if target == "multiclass" else np.nan), _score=0.5
        )

    reference = fit_groupings(c, representing(None, c), made(1200), 0)  # type: ignore[arg-type]
    findings, _, drawn = looked(c, None, reference, made(500))
    found = next(f for f in findings if f.subject == "label coherence")
    assert found.value is not None and found.value > 0.6 and not found.alarm and 380 < found.rows < 420
    assert drawn is not None and {type(p.label) for p in drawn.points} <= {
        str if target == "multiclass" else float,
        type(None),
    }
    assert ("mean label" in reference.groups[0].label_words) == (target == "regression")


def test_labels_that_are_missing_or_all_the_same_are_not_judged() -> None:
    pipeline, reference = world(KIND, 1)
    frame = scored(config(KIND), pipeline, rows(300, np.random.default_rng(0)))
    for given, says in (
        (frame.assign(_label=np.nan), "0 rows of the window"),
        (frame.assign(_label=1.0), "all labels of the window are the same"),
        (frame.drop(columns="_label"), "0 rows of the window"),
    ):
        found = next(f for f in looked(config(KIND), pipeline, reference, given)[0] if f.subject == "label coherence")
        assert found.value is None and says in found.sentence


def test_what_cannot_be_seen_in_a_small_window_is_said() -> None:
    pipeline, reference = world(KIND, 1)
    findings, _, _ = looked(
        config(KIND), pipeline, reference, scored(config(KIND), pipeline, rows(60, np.random.default_rng(0)))
    )
    assert "so there nothing is concluded" in next(f.sentence for f in findings if f.subject == "split groups")


def test_rows_of_a_few_persons_are_not_described() -> None:
    frame = rows(300, np.random.default_rng(0))
    assert apart(config(KIND), frame.head(9), frame.tail(200)) == ("too few rows to describe (9; 10 are needed)",)
    assert apart(config(KIND), frame.head(150), frame.head(150)) == ("like the rest in every column",)
    words = apart(config(KIND), frame.head(50).assign(x1=np.nan, kind="z"), frame.tail(200))
    assert set(words) >= {"x1 missing (100% of it, 0% of the rest)", "kind z (100% of it, 0% of the rest)"}


def test_numbers_agree_with_those_of_others() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 4, 200), rng.integers(0, 3, 200)
    assert adjusted_rand(a, b) == pytest.approx(adjusted_rand_score(a, b)) and adjusted_rand(a, a) == 1.0
    assert adjusted_rand(np.zeros(9, int), np.zeros(9, int)) == 1.0
    label = rng.normal(size=200)[:, None] + a[:, None]
    within = sum(((label[a == j] - label[a == j].mean()) ** 2).sum() for j in range(4))
    assert coherence(a, label, 4) == pytest.approx(1 - within / ((label - label.mean()) ** 2).sum())
    assert np.isnan(coherence(a, np.ones((200, 1)), 4))
    x = rng.normal(size=(30, 5))
    assert (
        _square(x, x) == pytest.approx(((x[:, None] - x) ** 2).sum(axis=2), abs=1e-4)
        and (np.diag(_square(x, x)) == 0).all()
    )


def test_rows_that_are_not_those_that_were_placed_are_refused() -> None:
    pipeline, reference = world(KIND, 1)
    with pytest.raises(ValueError, match="2 embedded rows and 3 rows"):
        grouping_findings(config(KIND), reference, np.zeros((2, 4)), rows(3, np.random.default_rng(0)), 0.05, 0)
    assert Sides.of(reference, reference.placed[:5]).own.shape == (5,)

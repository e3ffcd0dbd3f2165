"""Expert rules on a window: what is an alarm, what is told, which rows are named, and windows of which nothing can be
said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from tasks.science.examination.examination import Examination
from tasks.science.monitors.expert_rules.findings import live_rule_findings
from tasks.science.rules.check import check_rule
from tasks.spec.base import validate
from tasks.spec.evidence import Finding
from tasks.spec.rules import ExpertRules
from tests.statistics.live import WEIGHTS, biased, explained, people, rows_of, score, world

ALPHA = 0.001


def asked(
    window: pd.DataFrame, predict: Any = score, reference: pd.DataFrame | None = None, **changes: Any
) -> tuple[list[Finding], list[Any], list[Any]]:
    config, rules = world()
    rng = np.random.default_rng(5)
    reference = rows_of(2000, rng) if reference is None else reference
    sides = [
        changes.get(name, explained(side, 300, rng) if len(side) and "debt" in side else pd.DataFrame())
        for name, side in (("now", window), ("then", reference))
    ]
    return live_rule_findings(
        changes.get("config", config),
        changes.get("rules", rules),
        predict,
        window,
        reference,
        *sides,
        ALPHA,
        1,
        changes.get("pictures", "broken"),
    )


def window(n: int = 500, seed: int = 1) -> pd.DataFrame:
    return rows_of(n, np.random.default_rng(seed))


def by_start(findings: list[Finding], start: str) -> Finding:
    return next(f for f in findings if f.subject.startswith(start))


def test_every_rule_has_a_finding_with_its_number_and_the_reference() -> None:
    findings, plots, _ = asked(window())
    assert len(findings) == 1 + len(world()[1].rules)
    assert not any(f.alarm for f in findings)
    assert all(f.kind == "expert_rule" and f.value is not None for f in findings)
    assert by_start(findings, "the score falls with income").reference == 0.0
    assert plots[0].title.startswith("What drives")


def test_the_number_is_that_of_the_examination() -> None:
    rows = window()
    config, rules = world()
    inputs = rows[[*WEIGHTS, "sex"]]
    before = Examination(
        rows=inputs,
        label=np.zeros(len(rows), bool),
        score=rows["_score"].to_numpy(),
        champion_score=None,
        benchmark=np.full(len(rows), "holdout"),
        groups=pd.DataFrame(index=rows.index),
        attributions=explained(rows, 300, np.random.default_rng(0)),
        predict=score,
        features=config.features,
        decision_threshold=0.5,
        seed=1,
        rules=rules,
        data_check=None,
        config=config,
    )
    live = asked(rows, now=before.attributions)[0][1:]
    assert [f.value for f in live] == [check_rule(rule, before, 0.975).value for rule in rules.rules]


def test_labels_do_not_matter() -> None:
    rows = window()
    without, empty, there = (asked(r)[0] for r in (rows.drop(columns="_label"), rows, rows.assign(_label=1.0)))
    assert without == empty == there


def test_what_the_reference_breaks_too_is_told_and_no_alarm() -> None:
    finding = [f for f in asked(window(2000))[0] if f.subject.startswith("scores lie at most")][1]
    assert finding.value == pytest.approx(0.04, abs=0.02) and not finding.alarm
    assert "as it is in the reference" in finding.sentence


def test_a_step_behind_the_model_that_favours_one_group_is_refuted_and_its_rows_are_named() -> None:
    rows = window().assign(_id=[f"p{i}" for i in range(500)])
    findings, plots, breaks = asked(rows.assign(_score=biased(rows)), biased)
    moved = by_start(findings, "a change of sex alone")
    assert moved.alarm and moved.value is not None and moved.value > 0.99 and "is refuted" in moved.sentence
    assert by_start(findings, "examined scores").alarm
    mine = [b for b in breaks if b.rule.startswith("a change of sex alone")]
    assert (
        len(mine) == 200
        and {b.id for b in mine} <= set(rows["_id"])
        and mine[0].excess == pytest.approx(0.02, abs=1e-6)
    )
    assert all(rows["_id"][b.row] == b.id for b in mine)


def test_scores_that_this_version_does_not_give_are_an_alarm() -> None:
    rows = window()
    rows.loc[3, "_score"] = np.nan
    rows.loc[4, "_score"] += 0.01
    replay = by_start(asked(rows)[0], "logged scores")
    assert (
        replay.alarm
        and replay.value == pytest.approx(2 / 500)
        and "some logged scores are not finite" in replay.sentence
    )


def test_a_score_outside_its_range_names_the_row() -> None:
    rows = window().assign(_id=[f"p{i}" for i in range(500)])
    rows.loc[7, ["income", "debt"]] = [-60.0, 90.0]
    rows["_score"] = score(rows)
    worst = next(b for b in asked(rows)[2] if b.rule.startswith("scores lie at most"))
    assert (worst.id, worst.row) == ("p7", 7)


def test_a_vignette_that_a_typical_person_of_now_breaks_is_refuted() -> None:
    """People of now have more debt, so the typical one scores above what the expert calls plausible."""
    rules = validate(
        {"rules": [{"rule": "vignette", "case": {"sex": "male"}, "between": [0.0, 0.3], "because": "known"}]},
        ExpertRules,
        "rules",
    )
    rows = window(1000)
    assert not asked(rows, rules=rules)[0][1].alarm
    rows["debt"] += 15
    rows["_score"] = score(rows)
    finding = asked(rows, rules=rules)[0][1]
    assert finding.alarm and finding.rows == 1 and finding.limit == 0.3


def test_a_case_may_name_a_category_that_no_row_of_the_window_holds() -> None:
    assert by_start(asked(window().query("sex == 'female'"))[0], "sex male scores between").value is not None


@pytest.mark.parametrize(("n", "told"), [(0, "the window has 0 rows"), (1, "the window has 1 row")])
def test_a_window_too_small_says_so(n: int, told: str) -> None:
    (finding,) = asked(window().head(n))[0]
    assert (
        finding.value is None
        and not finding.alarm
        and told in finding.sentence
        and "none of the 12 rules" in finding.sentence
    )


def test_a_reference_without_rows_or_scores_says_so() -> None:
    for reference, told in (
        (window().head(0), "the reference has 0 rows"),
        (window().drop(columns="_score"), "the reference has no column _score"),
    ):
        assert told in asked(window(), reference=reference)[0][0].sentence


def test_an_input_that_did_not_come_leaves_its_rules_unchecked() -> None:
    rows = window()
    findings = asked(rows.drop(columns="sex").assign(strange=1))[0]
    moved = by_start(findings, "a change of sex alone")
    assert (
        moved.value is None
        and not moved.alarm
        and moved.sentence
        == (
            "a change of sex alone moves the score by at most 0.01: not checked "
            "(sex has fewer than two values in the rows; name two under values)"
        )
    )
    assert by_start(findings, "the score falls with income").value == 0.0


def test_a_version_that_cannot_score_the_rows_is_an_alarm() -> None:
    def fails(rows: pd.DataFrame) -> np.ndarray:
        raise ValueError("Input contains NaN")

    replay, rest = asked(window(), fails)[0]
    assert replay.alarm and "Input contains NaN" in replay.sentence
    assert not rest.alarm and "none of the 12 rules" in rest.sentence


def test_attributions_that_are_incomplete_leave_rules_on_drivers_unchecked() -> None:
    findings = asked(
        window(),
        now=explained(people(300, np.random.default_rng(0)), 300, np.random.default_rng(0)).drop(columns="debt"),
    )[0]
    driver = by_start(findings, "income must drive")
    assert driver.value is None and "incomplete" in driver.sentence and not driver.alarm


def test_no_rules_is_told() -> None:
    (finding,) = asked(window(), rules=world()[1].model_copy(update={"rules": ()}))[0]
    assert "holds no rule" in finding.sentence


def test_all_pictures_are_drawn_where_asked_for() -> None:
    assert len(asked(window(), pictures="all")[1]) > 8

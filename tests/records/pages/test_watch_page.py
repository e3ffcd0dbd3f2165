"""The page of a watched model says its state first, then what to look at, and hides nothing that is not known."""

from __future__ import annotations

import re

import pytest

from tasks.records.pages import watch
from tasks.records.pages.model import model_markdown, model_page
from tasks.records.pages.watch import ModelStatus
from tasks.records.pages.window import window_markdown
from tasks.science.windows.monitors import ranks
from tasks.spec.evidence import Finding, WindowReport
from tasks.spec.groupings import GroupSummary
from tests.records.pages.watched import life

SILENT = Finding(
    kind="feed",
    subject="predictions",
    value=4000.0,
    limit=3600.0,
    rows=0,
    alarm=True,
    sentence="no prediction came for 67 minutes",
)
QUIET, TROUBLE = life(14), life(10)


@pytest.mark.parametrize(
    ("watched", "css", "says"),
    [
        (
            ModelStatus("income", "Income", "v2.0.0", "", QUIET),
            "pass",
            "v2.0.0 serves and is fit: nothing to do after window 14",
        ),
        (ModelStatus("income", "Income", "v1.0.0", "", TROUBLE), "fail", "a retraining is due after window 10"),
        (
            ModelStatus("income", "Income", "v3.0.0", "", QUIET),
            "open",
            "newly assigned; the newest window was still answered by v2.0.0",
        ),
        (
            ModelStatus("income", "Income", "v2.0.0", "log_loss is beyond its limit", QUIET),
            "fail",
            "is stopped: log_loss is beyond",
        ),
        (
            ModelStatus("income", "Income", "v2.0.0", "", QUIET, silence=[SILENT]),
            "fail",
            "its feed is silent: no prediction came",
        ),
        (ModelStatus("income", "Income", "v1.0.0", "", []), "open", "no analysis window is complete yet"),
        (ModelStatus("income", "Income", None, "", []), "open", "No version serves yet"),
    ],
)
def test_the_state_is_one_sentence(watched: ModelStatus, css: str, says: str) -> None:
    found = watch.state(watched)
    assert found[0] == css and says in found[1]
    assert f'class="state {css} whole"' in model_page(watched)
    assert says.split(":")[0] in model_markdown(watched)


def test_what_to_look_at_next_names_each_kind_of_alarm_once() -> None:
    steps = watch.next_steps(ModelStatus("income", "Income", "v1.0.0", "", TROUBLE, silence=[SILENT], ranks=ranks()))
    assert steps[0] == SILENT.sentence and steps[1].startswith("log_loss is estimated")
    assert steps[2].startswith("sex Female: 14.0% selected (and 4 more: sex Male,")
    assert steps[-1] == "report outcomes: 1,100 more labelled rows let the retraining start"
    assert watch.next_steps(ModelStatus("income", "Income", "v2.0.0", "", QUIET)) == []


def test_no_line_crosses_from_one_version_to_the_next() -> None:
    (_, picture), *_ = watch.performance(QUIET)
    windows = [len(points.split()) for points in re.findall(r'<polyline points="([^"]*)"', picture)]
    assert windows == [9, 2, 10, 4]  # realized and estimated, each of v1.0.0 and of v2.0.0
    assert ">v2.0.0</text>" in picture


def test_rules_that_broke_come_first_with_their_windows() -> None:
    first, *others = watch.rules(TROUBLE)
    assert (first.css, first.strip) == ("fail", "✓✓✓✓✓✓✓✕✕✕")
    assert {rule.css for rule in others} == {"pass"}


def test_what_prefect_shows_holds_rules_and_answers_too() -> None:
    said = "3 predictions were appealed since window 1: open 1"
    watched = ModelStatus("income", "Income", "v1.0.0", "", TROUBLE, answers=(said,))
    shown = model_markdown(watched)
    assert f"- {said}" in shown and "- ✕ changing the region alone" in shown.replace("Changing", "changing")
    assert f"<p>{said}" in model_page(watched) and "Reviews, overrides and appeals" not in model_page(
        ModelStatus("income", "Income", "v1.0.0", "", TROUBLE)
    )


@pytest.mark.parametrize(
    ("reports", "columns"), [([], 0), (TROUBLE[:1], 2), ([TROUBLE[0].model_copy(update={"findings": ()})], 1)]
)
def test_prefects_table_of_pictures_has_as_many_columns_as_its_first_row(
    reports: list[WindowReport], columns: int
) -> None:
    """A table whose rule has another number of columns is shown as text, a picture's bytes and all."""
    lines = (
        window_markdown(reports[0], []).split("\n")
        if columns == 1
        else model_markdown(ModelStatus("income", "Income", "v1.0.0", "", reports)).split("\n")
    )
    rules = [i for i, line in enumerate(lines) if line and set(line) == {"|", "-"}]
    assert [lines[i].count("---") for i in rules] == ([columns] if columns else [])
    assert all(lines[i - 1].count("|") == lines[i].count("|") == lines[i + 1].count("|") for i in rules)


def test_what_happened_to_groups_is_told_where_they_are_shown() -> None:
    event = "a new group, N1: 1317 of 2000 rows lie close together where the reference has 0.1%"
    told = GroupSummary(
        sentence="the groups of the reference do not hold in this window: a new group, N1", holds=False, events=(event,)
    )
    watched = ModelStatus(
        "income", "Income", "v1.0.0", "", [*TROUBLE[:-1], TROUBLE[-1].model_copy(update={"groups": told})]
    )
    for shown in (model_page(watched), model_markdown(watched)):
        assert event.removeprefix("a") in shown and told.sentence.removeprefix("t") in shown


def test_drift_that_touches_the_output_comes_first() -> None:
    drawn = str(watch.drift(TROUBLE[-1]))
    names = re.findall(r">(?:▲ )?(education|dividends|migrati…region|occupation_code)</text>", drawn)
    assert names.index("dividends") < names.index("education") and names[-1] != "dividends"


def test_the_page_asks_nobody_outside_and_runs_no_script() -> None:
    page = model_page(ModelStatus("income", "Income <script>", "v1.0.0", "", TROUBLE))
    assert "<script" not in page and not re.search(r"(src|href)=\"?https?:", page)

"""Outcomes that are asked for: by a window whose estimate labels of before contradict, answered by command."""

from __future__ import annotations

import math
import re
import shutil
from collections.abc import Iterator
from copy import copy
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tasks import monitoring
from tasks.cli import review
from tasks.records.log.predictions import Prediction, PredictionLog, Window
from tasks.records.pages.watch import ModelStatus, next_steps
from tasks.records.pages.window import window_page
from tasks.science.data.tables import as_requests
from tasks.science.monitors.performance.findings import outranked
from tasks.science.monitors.performance.sampled import settled
from tasks.science.windows.label_requests import label_request, moved_rows
from tasks.science.windows.look import WindowResult, examine_window, judge_again
from tasks.spec.errors import ConfigError
from tasks.spec.evidence import Decision, Finding, WindowReport
from tasks.spec.settings import Settings
from tasks.versions import VersionFiles
from tasks.window_inputs import read_window, reference_of
from tests.cli.test_app import assay
from tests.conftest import ROOT
from tests.science.watched import config
from tests.worlds import NOW, VERSION, World, on_disk, world

ROWS = 600


class Home:
    """A log of two windows whose outcomes turned round; those of the first are known."""

    def __init__(self, folder: Path, care: World) -> None:
        self.folder = folder
        on_disk(care, folder)
        rng = np.random.default_rng(4)
        people = care.people(2 * ROWS, rng)
        self.rows = care.answered(people, rng, truth=1 - care.truth(people))
        self.log = PredictionLog(Settings(home=folder).log_database)
        asked = as_requests(care.config, self.rows)
        self.log.append(
            [
                Prediction(f"p{i}", "care", VERSION, NOW.isoformat(), asked[i], float(score), bool(score >= 0.5))
                for i, score in enumerate(self.rows["_score"])
            ]
        )
        self.log.outcomes("care", [(f"p{i}", bool(self.rows["_label"][i])) for i in range(ROWS)])
        self.log.next_windows("care", ROWS, 20, 10)
        self.files = VersionFiles(VERSION, folder / VERSION)
        self.reference = reference_of(self.files, Settings(home=folder).log_database)
        self.first = self.look()

    def copied(self, folder: Path) -> Home:
        """The same with a log of its own."""
        made = copy(self)
        made.folder = Path(shutil.copytree(self.folder, folder))
        made.log = PredictionLog(Settings(home=folder).log_database)
        return made

    def truth(self, name: str) -> bool:
        return bool(self.rows["_label"][int(name.removeprefix("p"))])

    @property
    def window(self) -> Window:
        found = self.log.window("care", 2)
        assert found is not None
        return found

    def look(self, before: WindowReport | None = None) -> WindowResult:
        given = read_window(self.log, self.files, self.reference, self.window)
        if before is None:
            return examine_window(self.files.config, self.reference, given)
        return judge_again(self.files.config, self.reference, given, before)

    def keep(self, seen: WindowResult, before: WindowReport | None = None) -> WindowReport:
        report = WindowReport(
            model="care",
            version=VERSION,
            window=2,
            first=NOW.isoformat(),
            last=NOW.isoformat(),
            first_seq=self.window.first_seq,
            last_seq=self.window.last_seq,
            rows=ROWS,
            labelled=0,
            created=NOW.isoformat(),
            findings=seen.findings,
            label_request=seen.request,
            asked_rounds=monitoring._asked_rounds(self.log, "care", self.window, seen.request),
            decision=Decision(action="nothing", reason="no alarm", policy="nothing to do"),
        )
        assert self.log.save_report(report, None, before)
        return report


@pytest.fixture(scope="module")
def care() -> World:
    return world()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, care: World) -> Home:
    made = Home(tmp_path_factory.mktemp("labelling"), care)
    made.log.close()
    return made


@pytest.fixture
def home(whole: Home, tmp_path: Path) -> Iterator[Home]:
    made = whole.copied(tmp_path / "home")
    yield made
    made.log.close()


def by_metric(seen: WindowResult, kind: str) -> Finding | None:
    return next((f for f in seen.findings if f.kind == kind and f.subject == "log_loss"), None)


def test_an_estimate_that_abstains_asks_and_the_answers_settle_it(home: Home, tmp_path: Path) -> None:
    first = home.first
    blind = by_metric(first, "estimated_performance")
    assert blind is not None and blind.value is None and "contradict" in blind.sentence
    request = first.request
    assert request is not None and request.why == blind.sentence
    assert len(request.rows) == 100 == len({row.id for row in request.rows}) and sum(request.strata) == ROWS
    assert {int(row.id[1:]) >= ROWS for row in request.rows} == {True}
    assert home.look().request == request, "the same rows, whoever draws them"
    report = home.keep(first)
    steps = next_steps(ModelStatus("care", "Care", VERSION, "", [report]))
    assert "100 outcomes of window 2 would settle what is open: assay label care" in steps
    page = window_page(report, [], "Care")
    assert "assay label care" in page and all(row.id in page for row in request.rows)

    listed = assay(home.folder, "label", "care")
    assert (
        listed.returncode == 0
        and request.rows[0].id in listed.stdout
        and "outcomes asked for in window 2" in listed.stdout
    )
    sheet = tmp_path / "asked.csv"
    done = assay(home.folder, "label", "care", "--csv", str(sheet))
    assert done.stdout.strip() == f"written: 100 predictions to {sheet}"
    filled = pd.read_csv(sheet, dtype=str)
    assert filled["id"].tolist() == [row.id for row in request.rows] and {"xage", "site", "outcome"} <= {*filled}
    assert not {"_score", "score"} & {*filled}, "who says the outcome is not told what the model said"
    filled["outcome"] = ["true" if home.truth(name) else "False" for name in filled["id"]]
    filled.loc[3, "outcome"] = "unknown"
    filled.loc[50:, "outcome"] = ""
    filled.to_csv(sheet, index=False, encoding="utf-8-sig")
    done = assay(home.folder, "label", "care", "--answers", str(sheet), "--because", "no file of this person")
    assert done.stdout.strip() == "recorded: 49 outcomes, 1 unknown; 50 outcomes still asked for", done.stderr
    share = home.files.config.monitoring.label_share
    assert monitoring._labels_came(home.log, report, share)

    half = home.look(report)
    found = by_metric(half, "sampled_performance")
    assert found is not None and found.value is not None and found.low is not None and found.high is not None
    assert (
        found.rows == 50
        and "by 50 of the 100 outcomes that were asked for, 1 of which nobody can say" in found.sentence
    )
    later = home.keep(half, report)
    assert not monitoring._labels_came(home.log, later, share), "nothing came since"
    rest = [(row.id, home.truth(row.id)) for row in request.rows[50:]]
    home.log.outcomes("care", rest[:29], "k")
    assert not monitoring._labels_came(home.log, later, share), "the next look is after eight rounds"
    home.log.outcomes("care", rest[29:], "k")
    assert monitoring._labels_came(home.log, later, share)
    whole = home.look(later)
    found = by_metric(whole, "sampled_performance")
    window = home.rows.iloc[ROWS:]
    safe = window["_score"].clip(1e-12, 1 - 1e-12)
    truth = float(-np.where(window["_label"] > 0.5, np.log(safe), np.log1p(-safe)).mean())
    assert found is not None and found.low is not None and found.high is not None and found.limit is not None
    assert found.low < truth < found.high and found.rows == 100
    assert found.alarm and found.low > found.limit and "it is beyond its limit" in found.sentence
    assert whole.request == request
    home.keep(whole, later)
    assert assay(home.folder, "label", "care").stdout.strip() == "no outcome of care is asked for"


def test_once_all_labels_are_in_they_outrank_the_sample(home: Home) -> None:
    report = home.keep(home.first)
    home.log.outcomes("care", [(f"p{i}", home.truth(f"p{i}")) for i in range(ROWS, 2 * ROWS)])
    seen = home.look(report)
    assert by_metric(seen, "sampled_performance") is None
    realized = by_metric(seen, "realized_performance")
    assert realized is not None and realized.value is not None
    home.keep(seen, report)
    assert assay(home.folder, "label", "care").stdout.strip() == "no outcome of care is asked for"


def test_labels_that_nobody_asked_for_are_no_sample(home: Home) -> None:
    report = home.keep(home.first)
    assert report.label_request is not None
    asked = {row.id for row in report.label_request.rows}
    others = [f"p{i}" for i in range(ROWS, 2 * ROWS) if f"p{i}" not in asked][:200]
    home.log.outcomes("care", [(name, home.truth(name)) for name in others])
    assert not monitoring._labels_came(home.log, report, home.files.config.monitoring.label_share)
    assert by_metric(home.look(report), "sampled_performance") is None


def test_a_wrong_sheet_is_refused_whole(home: Home, tmp_path: Path) -> None:
    report = home.keep(home.first)
    assert report.label_request is not None
    good, bad = (row.id for row in report.label_request.rows[:2])
    sheet = tmp_path / "sheet.csv"
    for table, says in [
        (
            f"id,outcome\n{good},true\np3,true\n",
            "of 'p3' is not asked for. List what is asked for with: assay label care",
        ),
        ("number,outcome\n1,true\n", "has no column 'id'; allowed is a file with id and outcome, as --csv writes it"),
        (f"id,outcome\n{good},true\n{good},false\n", f"gives '{good}' two outcomes, 'true' and 'false'; leave one"),
        ("", "cannot be read as CSV: No columns to parse from file; give the file that --csv wrote"),
    ]:
        sheet.write_text(table)
        with pytest.raises(ConfigError, match=re.escape(says)):
            review.label(Settings(home=home.folder), ROOT, "care", review.read_answers(sheet), "")
    sheet.write_text(f"id,outcome\n{good},true\n{bad},maybe\n")
    done = assay(home.folder, "label", "care", "--answers", str(sheet))
    told = f"the outcome of {bad} is 'maybe'; allowed: true (at least one visit) or false (no visit), or unknown. "
    assert (done.returncode, done.stderr.strip()) == (2, f"error: {told}Nothing was recorded.")
    assert home.log.count_labelled("care", ROWS) == 0


def test_asked_rows_count_for_the_window_only_as_often_as_the_others(home: Home) -> None:
    """Asked by their score, they are no picture of the window: one label from elsewhere must not make them one."""
    report = home.keep(home.first)
    assert report.label_request is not None
    asked = [row.id for row in report.label_request.rows]
    others = [f"p{i}" for i in range(ROWS, 2 * ROWS) if f"p{i}" not in asked]
    home.log.outcomes("care", [(name, home.truth(name)) for name in asked])
    share = home.files.config.monitoring.label_share
    enough = math.ceil(share * len(others))
    home.log.outcomes("care", [(name, home.truth(name)) for name in others[: enough - 1]])
    later = home.keep(home.look(report), report)
    assert later.asked_rounds == 10 and by_metric(home.look(later), "realized_performance") is None
    assert not monitoring._labels_came(home.log, later, share)
    home.log.outcomes("care", [(others[enough - 1], home.truth(others[enough - 1]))])
    assert monitoring._labels_came(home.log, later, share)
    seen = home.look(later)
    realized = by_metric(seen, "realized_performance")
    assert realized is not None and by_metric(seen, "sampled_performance") is None
    assert realized.rows == enough + int(share * 10) * 10, "as large a part of the asked rows as of the others"


def test_what_a_sample_leaves_open_silences_no_estimate() -> None:
    found = Finding(
        kind="sampled_performance", subject="log_loss", value=0.5, low=0.3, high=0.7, limit=0.6, rows=50, alarm=False,
        sentence="",
    )  # fmt: skip
    alarm = found.model_copy(update={"kind": "estimated_performance", "alarm": True})
    assert not settled(found) and settled(found.model_copy(update={"high": 0.59}))
    assert settled(found.model_copy(update={"alarm": True}))
    assert outranked([alarm], list(filter(settled, [found]))) == [alarm]


@pytest.mark.parametrize(
    ("kind", "given", "found"),
    [
        ("binary", "No Visit", False),
        ("binary", "1", True),
        ("multiclass", "middle", "middle"),
        ("regression", "7", 7.0),
    ],
)
def test_an_outcome_is_read_as_people_write_it(kind: str, given: str, found: object) -> None:
    assert review.outcome_of(config(kind), "p1", given) == found
    assert review.outcome_of(config(kind), "p1", "Unknown") is None
    for strange in ("", "nan", "inf", "2 visits"):
        with pytest.raises(ConfigError, match="allowed: "):
            review.outcome_of(config(kind), "p1", strange)


def test_the_models_own_words_win_and_a_sheet_keeps_its_columns(tmp_path: Path) -> None:
    care = config("binary")
    turned = care.data.target.model_copy(update={"positive": "No", "negative": "yes"})
    told = care.model_copy(update={"data": care.data.model_copy(update={"target": turned})})
    assert [review.outcome_of(told, "p1", text) for text in ("no", "YES", "true")] == [True, False, True]
    row = {"id": "p1", "window": 2, "round": 1, "inputs": {"id": 7, "outcome": "x", "town": "=1+1"}}
    assert review.write_asked([row], tmp_path / "sheet.csv") == 1
    first = pd.read_csv(tmp_path / "sheet.csv", dtype=str).iloc[0].to_dict()
    own = {"id": "p1", "window": "2", "round": "1", "id (input)": "7", "outcome (input)": "x", "town": "'=1+1"}
    assert {k: v for k, v in first.items() if k != "outcome"} == own and pd.isna(first["outcome"])
    assert (tmp_path / "sheet.csv").stat().st_mode & 0o77 == 0


def test_a_quiet_window_asks_for_nothing_and_a_budget_of_none_never_does(care: World) -> None:
    rng = np.random.default_rng(8)
    window = care.answered(care.people(300, rng), rng).assign(_id=[f"q{i}" for i in range(300)], _label=np.nan)
    known = Finding(kind="estimated_performance", subject="log_loss", value=0.5, rows=300, alarm=False, sentence="")
    blind = known.model_copy(update={"value": None, "sentence": "log_loss is not estimated"})
    ask = partial(label_request, reference=care.reference.rows, window=window, number=1)
    assert ask(care.config, findings=[known]) is None
    found = ask(care.config, findings=[blind])
    assert found is not None and len(found.rows) == 100
    less = care.config.monitoring.model_copy(update={"label_share": 0.1})
    few = ask(care.config.model_copy(update={"monitoring": less}), findings=[blind])
    assert few is not None and len(few.rows) <= 29, "fewer than would count as all labels of the window"
    off = less.model_copy(update={"labelling": less.labelling.model_copy(update={"most": 0})})
    assert ask(care.config.model_copy(update={"monitoring": off}), findings=[blind]) is None


def test_rows_whose_values_drifted_get_strata_of_their_own(care: World) -> None:
    rng = np.random.default_rng(9)
    window = care.people(400, rng)
    window.loc[:99, "site"] = "a new one"
    window.loc[100:159, "income"] = 1e6
    drift = [
        Finding(kind="data_drift", subject=name, value=0.4, rows=400, alarm=True, sentence="")
        for name in ("site", "income")
    ]
    moved = moved_rows(care.config, care.reference.rows, window, drift)
    assert moved[:160].all() and moved[160:].mean() < 0.1

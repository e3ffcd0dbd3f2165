"""Traps that somebody's table may hold: each is planted into a file, and a gate names its cause in words.

From ``model.yaml`` and a CSV through the stages to the gates; the clean table passes them all.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from tasks.science.gates.run import run_gate
from tasks.spec.errors import ConfigError
from tasks.spec.evidence import GateResult
from tasks.spec.model import load_model
from tasks.stages.common import ModelPaths
from tests.stages.worlds import run_stages, write
from tests.statistics.shipped import examination

ROWS = 6000


def stays(seed: int = 0) -> pd.DataFrame:
    """Stays in a hospital in the order of their admission, 12 a day; who is old, ill or alone often comes back."""
    rng = np.random.default_rng(seed)
    age = np.clip(rng.normal(62, 16, ROWS), 18, 99).round()
    ward = rng.choice(["surgery", "medicine", "geriatrics"], ROWS, p=[0.4, 0.4, 0.2])
    alone = rng.choice(["yes", "no"], ROWS, p=[0.3, 0.7])
    stay = np.ceil(rng.lognormal(1.4, 0.7, ROWS))
    blood = rng.normal(100, 15, ROWS).round(1)
    odds = 0.04 * (age - 62) + 0.6 * (alone == "yes") + 0.03 * (blood - 100) + 0.7 * (ward == "geriatrics") - 1.2
    back = rng.random(ROWS) < 1 / (1 + np.exp(-odds))
    frame = pd.DataFrame(
        {"age": age.astype(int), "ward": ward, "alone": alone, "stay": stay.astype(int), "blood": blood}
    )
    frame.loc[rng.random(ROWS) < 0.05, "blood"] = np.nan
    return frame.assign(day=np.arange(ROWS) // 12, back=np.where(back, "yes", "no"))


FEATURES = {"age": "integer", "ward": "category", "alone": "category", "stay": "integer", "blood": "number"}
LEAKAGE = {"name": "leakage", "kind": "leakage"}


def document(more: dict[str, str] | None = None, gate: dict[str, Any] | None = None, **data: Any) -> dict[str, Any]:
    """``model.yaml`` of the stays; ``more`` are features that a trap adds."""
    features = FEATURES | (more or {})
    columns: list[dict[str, Any]] = [{"name": n, "type": kind, "nullable": True} for n, kind in features.items()]
    return {
        "name": "stays", "title": "Comes back", "purpose": "A test.", "owner": "t@example.org",
        "materiality": "low", "seed": 11,
        "data": {
            "source": {"kind": "file", "path": "data/stays/source/table.csv", "format": "csv"},
            "columns": [
                *columns,
                {"name": "day", "type": "integer", "input": False},
                {"name": "back", "type": "category", "available": "after"},
            ],
            "target": {
                "kind": "binary", "expression": 'back == "yes"', "positive": "back within 30 days",
                "negative": "not back", "decision_threshold": 0.3,
            },
            "split": {"train": 0.6, "holdout": 0.4, "replay": 0.0},
            **data,
        },
        "protected": {"alone": {"column": "alone", "groups": {"yes": ["yes"], "no": ["no"]}}},
        "features": list(features),
        "estimator": {"kind": "hist_gradient_boosting", "parameters": {"max_iter": 60, "max_leaf_nodes": 7}},
        "gates": [
            {"name": "floor", "kind": "floor", "metric": "roc_auc", "limit": 0.6},
            LEAKAGE | (gate or {}),
        ],
    }  # fmt: skip


def answered(root: Path, config: dict[str, Any], frame: pd.DataFrame) -> GateResult:
    """What the leakage gate says once all stages have run on the file."""
    paths = write(root, config, frame)
    run_stages(paths)
    return judged(paths)


def judged(paths: ModelPaths) -> GateResult:
    gate = next(g for g in load_model(paths.root, paths.name).gates if g.kind == "leakage")
    return run_gate(gate, examination(paths))


@pytest.mark.parametrize("dated", [False, True])
def test_the_table_without_a_trap_passes(tmp_path: Path, dated: bool) -> None:
    result = answered(tmp_path, document(**({"period": "day"} if dated else {})), stays())
    assert result.state == "pass", result.reason


def _unfinished(frame: pd.DataFrame) -> pd.DataFrame:
    """The last seventh was exported before the thirty days were over: two of three who come back are not back yet."""
    late = (frame["day"] >= 430) & (np.random.default_rng(1).random(ROWS) < 0.67)
    return frame.assign(back=frame["back"].where(~late, "no"))


def _campaign(frame: pd.DataFrame) -> pd.DataFrame:
    """For 60 days everybody was called after the stay, and more of them came."""
    called = frame["day"].between(200, 259) & (np.random.default_rng(2).random(ROWS) < 0.4)
    return frame.assign(back=frame["back"].where(~called, "yes"))


def _contacts(frame: pd.DataFrame) -> pd.DataFrame:
    """How and on which day the hospital last saw them: who was seen within 30 days came back. Neither tells alone."""
    rng = np.random.default_rng(5)
    back = (frame["back"] == "yes").to_numpy()
    seen = back | (rng.random(ROWS) < 0.45)
    end = np.select([back, seen], [rng.integers(1, 31, ROWS), rng.integers(31, 120, ROWS)], rng.integers(1, 40, ROWS))
    return frame.assign(event=np.where(seen, "seen", "lost"), end=end)


def _two_days(frame: pd.DataFrame) -> pd.DataFrame:
    """When a case began and was closed: who comes back is closed within 30 days, the others later."""
    rng = np.random.default_rng(21)
    back, start = (frame["back"] == "yes").to_numpy(), rng.integers(0, 900, ROWS)
    closed = start + np.where(back, rng.integers(1, 31, ROWS), rng.integers(31, 61, ROWS))
    dates = [pd.Timestamp("2020-01-01") + pd.to_timedelta(days, unit="D") for days in (start, closed)]
    return frame.assign(start=dates[0], closed=dates[1])


def _afterwards(frame: pd.DataFrame, seen: float = 1.6, frail: float = 0.7) -> pd.DataFrame:
    """Calls of the weeks after, more for who came back: alone they tell less than a leak may, and with all else more.

    How frail somebody is was written down at the stay.
    """
    rng = np.random.default_rng(22)
    back = (frame["back"] == "yes").to_numpy()
    calls, frailty = (by * back + rng.normal(size=ROWS) for by in (seen, frail))
    return frame.assign(calls=calls.round(1), frailty=frailty.round(1))


def _letter(frame: pd.DataFrame) -> pd.DataFrame:
    """A letter is dictated after most stays; of those who came back it was overwritten by that of the next stay."""
    gone = np.random.default_rng(6).random(ROWS) < np.where(frame["back"] == "yes", 0.7, 0.1)
    return frame.assign(letter=pd.Series(frame["stay"].astype(float)).where(~gone))


def _two_forms(frame: pd.DataFrame) -> pd.DataFrame:
    """Two forms are filled in for half of the stays each: both or none for who came back, else one of them."""
    rng = np.random.default_rng(7)
    first = rng.random(ROWS) < 0.5
    second = first ^ (frame["back"] == "no") ^ (rng.random(ROWS) < 0.1)
    score = pd.Series(rng.integers(0, 10, ROWS).astype(float))
    return frame.assign(form_a=score.where(first), form_b=score.where(second))


def _series(frame: pd.DataFrame) -> pd.DataFrame:
    """Half-hourly rows of one machine: a fault lasts some days, and the meter only rises, so it tells which days."""
    rng = np.random.default_rng(8)
    fault = np.repeat(rng.random(ROWS // 200) < 0.4, 200) ^ (rng.random(ROWS) < 0.05)
    meter = np.cumsum(rng.random(ROWS)).round(1)
    return frame.assign(day=np.arange(ROWS), meter=meter, back=np.where(fault, "yes", "no"))


def _again(frame: pd.DataFrame, times: int, share: float) -> pd.DataFrame:
    copies = frame.sample(frac=share, random_state=9)
    return pd.concat([frame, *[copies] * (times - 1)]).sample(frac=1, random_state=10)


def _coded(frame: pd.DataFrame) -> pd.DataFrame:
    unknown = np.random.default_rng(11).random(ROWS) < 0.01
    return frame.assign(age=frame["age"].mask(unknown, 8888))


def _other_table(frame: pd.DataFrame) -> pd.DataFrame:
    """The outcomes come from another export, which was sorted by ward, and were put beside the stays by position."""
    return frame.assign(back=frame.sort_values("ward")["back"].sample(frac=1, random_state=12).to_numpy())


DATED, FILE = document(period="day"), document()

Trap = tuple[dict[str, Any], Callable[[pd.DataFrame], pd.DataFrame], tuple[str, ...]]
TRAPS: dict[str, Trap] = {
    "ordered by outcome": (
        FILE,
        lambda frame: frame.sort_values("back", kind="stable"),
        ("label rate along the holdout rows: 1 in rows ", "it may be a file ordered by its outcome"),
    ),
    "follow-up that is not over": (
        DATED,
        # the file is shuffled: only the declared period knows the order
        lambda frame: _unfinished(frame).sample(frac=1, random_state=4),
        (
            "in day from 425 to 499 against ",
            "it may be a follow-up that is not over yet, so that late rows had no time to become back within 30 days",
            "leave these rows out in data.rows, or excuse the place in excused_jumps",
        ),
    ),
    "leak by a pair": (
        document({"event": "category", "end": "integer"}),
        _contacts,
        (
            "AUC of event and end together (0.786 by the better of them alone) is 1, and 0.95 is the limit; ",
            "AUC that event and end give a model of all features, which has 1.000 with and 0.7",
            "columns that tell so much are often known only after the outcome: declare them available: after",
        ),
    ),
    "leak by the difference of two dates": (
        document({"start": "date", "closed": "date"})
        | {"estimator": {"kind": "hist_gradient_boosting", "parameters": {"max_iter": 60}}},
        lambda frame: _two_days(frame).head(2500),
        (
            "AUC that start and closed give a model of all features, which has 0.9",
            "(the examined model itself has 0.9",
            "columns that tell so much are often known only after the outcome: declare them available: after",
        ),
    ),
    "leak short of what a single column may tell": (
        document({"calls": "number", "frailty": "number"}, gate={"dominant_share": 0.95}),
        _afterwards,
        (
            "a leak: AUC that calls give a model of all features, which has 0.9",
            ", and 0.1 is the limit; columns that tell so much are often known only after the outcome",
        ),
    ),
    "leak by a gap": (
        document({"letter": "number"}),
        _letter,
        ("a leak: AUC of the mere fact that letter is missing is 0.8",),
    ),
    "leak by two gaps": (
        document({"form_a": "number", "form_b": "number"}),
        _two_forms,
        ("AUC of the mere fact which values are missing, of blood, form_a, form_b together (0.5",),
    ),
    "leak by time": (
        document({"meter": "number"}, period="day"),
        lambda frame: _series(frame).sample(frac=1, random_state=13),
        (
            "share of the label's variance that random folds seem to explain, and blocks of day do not, is 0.",
            "a random split puts neighbours in time on both sides, so the holdout is answered from the rows beside it: "
            "write split: {by: time, ...}",
        ),
    ),
    "rows given twice": (
        FILE,
        lambda frame: _again(frame, 2, 1.0),
        ("rows that are there exactly 2 times beyond what single rows give (", "; the same rows were given 2 times: "),
    ),
    "some rows given four times": (
        FILE,
        lambda frame: _again(frame, 4, 0.1),
        ("rows that are there exactly 4 times beyond what single rows give (", "; the same rows were given 4 times: "),
    ),
    "codes": (
        FILE,
        _coded,
        (
            "age is 8888 in ",
            " rows and else at most 99; it looks like a code for what is missing: list it under missing of the column, "
            "declare maximum: 8888 if the scale ends there, or excuse it in excused_values",
        ),
    ),
    "label of another table": (
        FILE,
        _other_table,
        ("it is no better than chance: the labels may belong to other rows, of another table or in another order",),
    ),
    "campaign": (
        DATED,
        _campaign,
        ("in day from 2", "it may be a campaign or a way of recording that changed: leave these rows out"),
    ),
}


def test_two_honest_columns_may_be_nearly_all_that_a_model_knows(tmp_path: Path) -> None:
    """Both tell much, and together lift a model from 0.77 over 0.9."""
    frame = _afterwards(stays(), 1.2, 1.2)
    result = answered(tmp_path, document({"calls": "number", "frailty": "number"}), frame)
    assert result.state == "pass", result.reason
    assert [m.limit for m in result.measurements if "of all features together" in m.label] == [0.95]


@pytest.mark.parametrize("trap", TRAPS)
def test_each_trap_is_named_by_its_cause(trap: str, tmp_path: Path) -> None:
    config, plant, words = TRAPS[trap]
    result = answered(tmp_path, config, plant(stays()))
    assert result.state == "fail"
    assert [part for part in words if part not in result.reason] == [], result.reason


def test_a_jump_that_is_known_is_excused_at_its_place_alone(tmp_path: Path) -> None:
    excused = {"excused_jumps": [{"first": 425, "last": 499, "because": "exported on day 500"}]}
    result = answered(tmp_path / "one", document(gate=excused, period="day"), _unfinished(stays()))
    assert result.state == "pass", result.reason
    label = "label rate along the holdout rows: left out from 425 to 499 (excused: exported on day 500)"
    assert label in [m.label for m in result.measurements]
    both = answered(tmp_path / "two", document(gate=excused, period="day"), _campaign(_unfinished(stays())))
    assert both.state == "fail" and "in day from 2" in both.reason


def test_a_jump_is_told_and_excused_by_date(tmp_path: Path) -> None:
    frame = _campaign(stays())
    frame["day"] = pd.Timestamp("2023-01-01") + pd.to_timedelta(frame["day"], unit="D")

    def dated(*excused: dict[str, Any]) -> dict[str, Any]:
        config = document(gate={"excused_jumps": list(excused)}, period="day")
        next(c for c in config["data"]["columns"] if c["name"] == "day")["type"] = "date"
        return config

    paths = write(tmp_path, dated(), frame)
    run_stages(paths)

    def told(*excused: dict[str, Any]) -> GateResult:
        """Gates are judged anew; nothing that makes the model has changed."""
        (tmp_path / "deployments/models/stays/model.yaml").write_text(yaml.safe_dump(dated(*excused)))
        return judged(paths)

    found = told()
    assert found.state == "fail" and "in day from 2023-07-" in found.reason, found.reason
    # a date without quotes, as YAML reads one
    called = {"first": date(2023, 7, 20), "last": date(2023, 9, 17), "because": "the call centre's campaign"}
    assert told(called).state == "pass"
    wrong = told(called | {"last": "autumn"})
    assert "excused_jumps names 2023-07-20 to autumn, and these are no values of day" in wrong.reason


def test_a_code_beyond_a_declared_bound_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    config = document()
    next(c for c in config["data"]["columns"] if c["name"] == "age")["maximum"] = 120
    paths = write(tmp_path, config, _coded(stays()))
    with pytest.raises(ConfigError) as refused:
        run_stages(paths)
    assert "age" in str(refused.value) and "8888" in str(refused.value) and "120" in str(refused.value)


def test_a_misspelled_group_is_named_with_what_the_file_holds(tmp_path: Path) -> None:
    config = document()
    config["protected"] = {"alone": {"column": "alone", "groups": {"yes": ["yes"], "no": ["No"]}}}
    fairness = {"attribute": "alone", "measure": "true_positive_rate", "statistic": "difference", "limit": 0.5}
    config["gates"].append({"name": "fair", "kind": "fairness", **fairness})
    paths = write(tmp_path, config, stays())
    run_stages(paths)
    gate = next(g for g in load_model(tmp_path, paths.name).gates if g.kind == "fairness")
    found = run_gate(gate, examination(paths))
    assert found.state == "insufficient_evidence"
    assert found.reason.startswith(
        "no row is in no of alone, which the config declares; values of alone in no group: 'no' (1,"
    )

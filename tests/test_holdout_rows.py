"""Two models over the same rows: the price belongs to the rows, whichever model is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tasks.data import refuse_labels
from tasks.holdout_rows import note_shown
from tasks.holdouts import asking, over_budget, refuse_shown
from tasks.records.pages.verdict import holdout_sentence
from tasks.records.registry.registry import Registry
from tasks.records.repository import workspace
from tasks.science.stats.reuse import level_share
from tasks.spec.errors import ConfigError
from tasks.spec.expectations import Expectations
from tasks.spec.models import LISTED
from tasks.spec.settings import Settings
from tests.asked_twice import Holdout
from tests.candidates import commit_run, passed
from tests.conftest import git
from tests.stages import worlds
from tests.test_holdouts import holdout, seals, verdict

__all__ = ["holdout"]
PAY = {"name": "lohn", "source": "pay", "type": "number", "input": False}


@pytest.fixture
def other(holdout: Holdout, tmp_path: Path) -> Holdout:
    """Another model over a file of other bytes, with fewer columns, one of another name, and another target."""
    return second(holdout, tmp_path, "b" * 64)


def second(holdout: Holdout, folder: Path, sha256: str, *left: str, **data: Any) -> Holdout:
    document = worlds.document("binary")
    columns = [c for c in document["data"]["columns"] if c["name"] in (left or ("age", "hours", "sex"))]
    source = document["data"]["source"] | {"path": "data/other/source/table.csv"}
    changed = {
        "source": source,
        "columns": [*columns, PAY],
        "target": document["data"]["target"] | {"expression": "lohn > 25"},
        **data,
    }
    names = [column["name"] for column in columns]
    made = Holdout(
        holdout.settings, folder / "other", name="other", features=names, data=document["data"] | changed,
        holdout_budget=4, gates=[gate for gate in document["gates"] if gate["kind"] in ("data", "floor", "comparison")],
    )  # fmt: skip
    made.made_from(sha256)
    return made


def test_answers_of_another_model_about_the_same_rows_count(holdout: Holdout, other: Holdout) -> None:
    for actor in ("ann@example.org", "eve@example.org"):
        holdout.trained(actor)
    assert (other.use().asked, other.use().elsewhere, other.use().counted, other.use().unknown) == (3, 2, 3, 0)
    assert holdout_sentence(verdict(other.use())) == (
        "the 1,000 rows of the holdout answer for the 3rd of 4 times, asked by 2 names, 2 of them as the rows of "
        "another model; a bound that holds whatever was read of them is 1.6 times as wide as of a first answer"
    )
    other.holds(range(500, 1500))
    assert other.use().counted == pytest.approx(2, abs=0.1)
    other.holds(range(1000, 2000))
    assert (other.use().asked, other.use().elsewhere) == (1, 0)
    other.holds(range(1000))
    for _ in range(2):
        other.trained()
    found = asking(holdout.settings, holdout.candidate())
    assert (found.use.asked, found.use.elsewhere, found.use.counted) == (5, 2, 5)
    assert over_budget(found, holdout.config()) is not None


def test_where_nobody_can_tell_rows_of_one_file_all_count(holdout: Holdout, tmp_path: Path) -> None:
    """Columns without twins are gone, cells are read otherwise, the home lost what it kept, or it is from before."""
    holdout.trained()
    for sha256, counted in (("a" * 64, 2), ("b" * 64, 1)):
        few = second(holdout, tmp_path / sha256[:1], sha256, "sex", columns=[
            {"name": "sex", "type": "category"}, {"name": "stufe", "source": "level", "type": "category"},
        ], target={"kind": "binary", "expression": "stufe == 'high'", "positive": "h", "negative": "l",
                   "decision_threshold": 0.5})  # fmt: skip
        few.holds(range(2000, 3000))
        assert (few.use().counted, few.use().unknown) == (counted, counted - 1)
    source = worlds.document("binary")["data"]["source"] | {"path": "data/other/source/table.csv", "trim": True}
    read = second(holdout, tmp_path / "read", "a" * 64, source=source)
    read.holds(range(2000, 3000))
    assert (read.use().counted, read.use().unknown) == (2, 1)
    same = second(holdout, tmp_path / "same", "a" * 64)
    same.holds(range(2000, 3000))
    assert (same.use().counted, same.use().unknown) == (1, 0)
    for kept in (holdout.settings.home / "holdouts" / holdout.name).glob("*.npz"):
        assert kept.stat().st_mode & 0o077 == 0
        kept.write_bytes(b"another")
    assert (same.use().counted, same.use().unknown) == (2, 1)
    holdout.trained(told=False)
    assert (same.use().counted, same.use().unknown) == (3, 2)


def test_rows_of_a_sealed_holdout_are_in_no_open_model(settings: Settings, holdout: Holdout, other: Holdout) -> None:
    refuse_shown(settings, other.paths, other.config())
    seals(holdout)
    holdout.trained()
    with pytest.raises(ConfigError) as error:
        refuse_shown(settings, other.paths, other.config())
    assert str(error.value) == (
        "about 1,000 of the 1,000 rows of the sealed holdout of small are in the source of other, whose answers about "
        "them would be read. Write holdout: sealed under data of other, and give it the source, seed and split "
        "of small, so that they are in its holdout alone; or bring other rows."
    )
    seals(other)
    refuse_shown(settings, other.paths, other.config())
    use = other.use()
    assert (use.level, use.elsewhere) == (level_share(2, 0), 1)
    other.holds(range(900, 1200), side="train")
    with pytest.raises(ConfigError) as error:
        refuse_shown(settings, other.paths, other.config())
    assert str(error.value) == (
        "about 100 of the 1,000 rows of the sealed holdout of small are among those that other trains on or replays, "
        "which would tell their labels. Give other the source, seed and split of small, so that they are in its "
        "holdout alone."
    )


def test_what_a_promoted_version_left_behind_seals_no_more(
    settings: Settings, holdout: Holdout, other: Holdout
) -> None:
    """Later rows examine, and earlier ones may train: here as there."""
    seals(holdout)
    seals(other)
    holdout.trained()
    holdout.holds(range(1000, 2000))
    other.holds(range(1000, 2000))
    other.holds(range(500), side="train")
    with pytest.raises(ConfigError, match="about 500 of the 1,000 rows of the sealed holdout of small"):
        refuse_shown(settings, other.paths, other.config())
    with workspace.worktree(settings, "main") as tree:
        commit = commit_run(settings, tree, "candidate", "assay/candidates/small/one")
    holdout.trained(commit=commit)
    Registry(settings).promote(holdout.name, commit, passed(holdout.name, commit), "test", "person", None)
    refuse_shown(settings, other.paths, other.config())
    other.holds(range(1500), side="train")
    with pytest.raises(ConfigError, match="about 500 of the 1,000 rows of the sealed holdout of small"):
        refuse_shown(settings, other.paths, other.config())


def test_expectations_of_a_sealed_model_ask_no_labels_of_another(
    holdout: Holdout, other: Holdout, developer: Path
) -> None:
    seals(holdout)
    folder = f"deployments/models/{holdout.name}"
    (developer / folder).mkdir(parents=True)
    (developer / folder / "model.yaml").write_text((holdout.paths.root / folder / "model.yaml").read_text())
    (developer / LISTED).write_text(f"models: [{holdout.name}]\n")
    git(developer, "add", ".")
    git(developer, "commit", "--quiet", "-m", "sealed")
    git(developer, "push", "--quiet", "origin", "main")
    other.use()  # the clone follows the origin
    asked = {"type": "expect_table_row_count_to_be_between", "min_value": 1, "row_condition": "lohn > 30 and age == 40"}
    refuse_labels(other.config(), Expectations(prepared=(asked,)))
    own = other.config()  # whose own label has nothing to do with it
    target = own.data.target.model_copy(update={"expression": "hours > 25"})
    own = own.model_copy(update={"data": own.data.model_copy(update={"target": target})})
    with pytest.raises(ConfigError, match="asks 'lohn', which tells labels of all rows, and the holdout of small is"):
        refuse_labels(own, Expectations(ingested=(asked,)))


def test_what_is_shown_without_an_entry_counts(settings: Settings, holdout: Holdout, other: Holdout) -> None:
    """Rows of another seed's holdout, of which today's has a half; and a note that nobody can read."""
    rows = holdout.source.iloc[500:1500][["age", "hours", "job", "sex"]].assign(_label=True, _row=range(500, 1500))
    note_shown(settings, holdout.name, holdout.config(), rows, ["a" * 64], 3)
    assert (holdout.use().asked, holdout.use().unknown) == (4, 0)
    assert holdout.use().counted == pytest.approx(2.5, abs=0.02)  # some rows have a twin by these columns
    assert other.use().counted == pytest.approx(2.5, abs=0.1)
    (note,) = (settings.home / "holdouts" / holdout.name).glob("shown-*.json")
    assert note.stat().st_mode & 0o077 == 0
    note.write_text("{}")
    assert (holdout.use().counted, holdout.use().unknown) == (2, 1)

"""Tags that a stranger pushed where the next promotion wants its own: they end no promotion, and change nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.proof.verify import check
from tasks.records.registry import ledger
from tasks.records.registry.registry import Registry, mend
from tasks.records.registry.verification import told, verify
from tasks.records.repository.git import Git
from tasks.spec.errors import PromotionRefused
from tasks.spec.settings import Settings
from tests.conftest import git
from tests.records.registry.test_registry import candidate, promote, tags


def pushed(developer: Path, *names: str) -> None:
    git(developer, "push", "--quiet", "origin", *(f"main:refs/tags/{name}" for name in names))


def both(settings: Settings) -> tuple[list[str], list[str]]:
    """What a look at the tags says, and what the verifier alone says; its notices, too."""
    found = check(Path(settings.origin), ledger.begin(settings).root)
    assert verify(settings) == found.problems
    return sorted(told(settings)[1]), sorted([*found.problems, *found.notices])


def test_a_number_far_beyond_ends_no_promotion(settings: Settings, developer: Path) -> None:
    promote(settings, candidate(settings, "one"), None)
    far = ("999999999", "1000000000", "99999999999999999999", "\u0663", "900000000")
    pushed(developer, *(f"income#champion#{number}" for number in far))
    for text, before in (("two", "v1.0.0"), ("three", "v2.0.0")):
        promote(settings, candidate(settings, text), before)
    Registry(settings).assign("income", "v1.0.0", "rolled_back", {}, "test", "person", "v3.0.0")
    assert {*tags(settings.clone)} - {f"income#champion#{number}" for number in far} == {
        *(f"income@v{n}.0.0" for n in (1, 2, 3)), *(f"income#champion#{n}" for n in (1, 2, 3, 4)),
    }  # fmt: skip
    none = "is none that Assay makes; it changes nothing. Remove it from the origin"
    evidence = "names no evidence: it was not made by Assay, and changes nothing"
    foreign = [f"tag income#champion#{n} {none if n in far[1:4] else evidence}" for n in far]
    assert both(settings) == (sorted(foreign), sorted(foreign))


def test_an_own_tag_that_was_moved_far_beyond_is_named_and_ends_nothing(settings: Settings, developer: Path) -> None:
    promote(settings, candidate(settings, "one"), None)
    promote(settings, candidate(settings, "two"), "v1.0.0")
    git(developer, "fetch", "--quiet", "--tags", "origin")
    message = git(developer, "for-each-ref", "--format=%(contents)", "refs/tags/income#champion#2")
    far = "income#champion#999999999"
    git(developer, "tag", "-a", "-m", message, far, "income#champion#2^{commit}")
    git(developer, "push", "--quiet", "origin", far, ":refs/tags/income#champion#2")
    said = [
        "tag income#champion#2 of entry 3 is missing or moved, and what serves stays as it is. Put it back with: assay "
        "ledger --mend",
        f"tag {far} repeats another tag of its entry: it was not made by Assay, and changes nothing",
    ]
    assert both(settings) == (said, said)
    promote(settings, candidate(settings, "three"), "v2.0.0")
    assert both(settings) == (said, said) and "income#champion#3" in tags(settings.clone)
    assert mend(settings) == ["income#champion#2"] and both(settings) == (said[1:], said[1:])


def test_a_tag_below_the_next_name_is_left_out_as_a_taken_one(settings: Settings, developer: Path) -> None:
    promote(settings, candidate(settings, "one"), None)
    names = ("income#champion#2/x", "income#champion#3/x/y", "income@v2.0.0/x", "income@v3.0.0/x/y")
    pushed(developer, *names)
    assert promote(settings, candidate(settings, "two"), "v1.0.0") == "v4.0.0"
    assert {*tags(settings.clone)} - {*names} == {
        "income@v1.0.0", "income@v4.0.0", "income#champion#1", "income#champion#4",
    }  # fmt: skip
    none = [f"tag {n} is none that Assay makes; it changes nothing. Remove it from the origin" for n in sorted(names)]
    assert both(settings) == (none, none)
    assert promote(settings, candidate(settings, "three"), "v4.0.0") == "v5.0.0"
    assert both(settings) == (none, none)


def test_what_stands_in_the_way_of_a_tag_is_told_in_a_sentence(settings: Settings) -> None:
    promote(settings, candidate(settings, "one"), None)
    commit, lock = candidate(settings, "two"), settings.clone / ".git/refs/tags/income@v2.0.0.lock"
    lock.touch()
    with pytest.raises(PromotionRefused) as error:
        promote(settings, commit, "v1.0.0")
    assert str(error.value).startswith(
        "income v2.0.0 cannot be tagged as income@v2.0.0 and income#champion#2, and nothing was changed. Remove what "
        "stands in the way from the origin, or start the run again; git says: "
    )
    assert str(error.value).count("\n") == 0 and str(lock) in str(error.value)
    assert sorted(tags(settings.clone)) == ["income#champion#1", "income@v1.0.0"]
    lock.unlink()
    assert promote(settings, commit, "v1.0.0") == "v2.0.0" and verify(settings) == []
    assert sorted(Git(settings.clone).lines("tag")) == [
        "income#champion#1", "income#champion#2", "income@v1.0.0", "income@v2.0.0",
    ]  # fmt: skip

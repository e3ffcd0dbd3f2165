"""``assay why`` where no training is needed for the answer, and what it refuses, a sentence each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.stages.worlds import NAME, TARGETS
from tests.told import CONFIG, SPLITTING, Past, home_of, model_yaml


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Past, list[str]]]:
    with home_of(tmp_path_factory.mktemp("why")) as made:
        made.write(CONFIG, model_yaml())
        commits = [made.push("first")]
        made.write(CONFIG, model_yaml(lambda found: found.update(seed=8)))
        made.write(SPLITTING, lambda text: f"# a comment\n{text}\n")
        commits.append(made.push("seed"))
        made.write(
            CONFIG, model_yaml(lambda found: found["data"].update(target=TARGETS["binary"] | {"positive": "much"}))
        )
        commits.append(made.push("target"))
        made.write(CONFIG, model_yaml(lambda found: found["data"].update(holdout="sealed")))
        commits.append(made.push("sealed"))
        made.write(CONFIG, lambda _: "name: small\n")
        commits.append(made.push("broken"))
        made.write(CONFIG, lambda _: model_yaml()(""))  # what main says counts, too: it seals nothing, and can be read
        made.push("as it was")
        yield made, commits


@pytest.fixture(autouse=True)
def at_home(pushed: tuple[Past, list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has a home of its own else."""
    monkeypatch.setenv("HOME", str(pushed[0].folder))
    monkeypatch.setenv("ASSAY_HOME", str(pushed[0].settings.home))
    monkeypatch.setenv("ASSAY_ORIGIN", pushed[0].settings.origin)


def test_another_seed_is_no_cause(pushed: tuple[Past, list[str]]) -> None:
    made, (first, seed, *_) = pushed
    done = made.assay("why", NAME, first, seed)
    assert done.returncode == 0 and done.stderr == ""
    assert "cause      nothing that makes the model differs but its seed" in done.stdout
    assert "parameters: seed 7 to 8" in done.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("0", "1", "--metric", "mae"), "--metric is 'mae'; a binary model is measured by roc_auc, average_precision"),
        (("0", "1", "--seeds", "1"), "--seeds is 1; allowed are 2 to 50, since one seed says nothing of chance."),
        (("0", "2"), "predict different targets, so no metric of both moved."),
        (("0", "3"), "the holdout of small is sealed, and what moved a metric is measured on it. Ask assay diff."),
        (("0", "4"), "cannot be read, so it cannot be mixed with another."),
        (("0", "no-such"), "revision 'no-such' is not a commit that the origin knows."),
    ],
)
def test_what_cannot_be_asked(pushed: tuple[Past, list[str]], words: tuple[str, ...], said: str) -> None:
    made, commits = pushed
    named = [commits[int(word)] if word.isdigit() and n < 2 else word for n, word in enumerate(words)]
    assert said in refused(made, NAME, *named)


def refused(made: Past, *words: str) -> str:
    done = made.assay("why", *words)
    assert done.returncode == 2 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_a_model_that_a_commit_does_not_have(pushed: tuple[Past, list[str]]) -> None:
    made, commits = pushed
    said = f"commit {commits[0][:12]} has no model 'other'; name a commit that has its model.yaml."
    assert said in refused(made, "other", *commits[:2])

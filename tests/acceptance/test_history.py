"""What the commands tell of a model's past, compared with what was done to it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tasks.records.registry import ledger
from tasks.records.repository import dvc, workspace
from tasks.records.repository.git import Git
from tasks.serving.release import load_release
from tests.stages.worlds import NAME
from tests.told import Past, past

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Past]:
    with past(tmp_path_factory.mktemp("past")) as made:
        yield made


@pytest.fixture(autouse=True)
def at_home(told: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each test has a home of its own else."""
    monkeypatch.setenv("HOME", str(told.folder))
    monkeypatch.setenv("ASSAY_HOME", str(told.settings.home))
    monkeypatch.setenv("ASSAY_ORIGIN", told.settings.origin)


def as_json(told: Past, *words: str, code: int = 0) -> Any:
    done = told.assay(*words, "--json")
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def test_history_tells_every_candidate_and_what_was_done_to_it(told: Past) -> None:
    found = as_json(told, "history", NAME)
    first, harder, second = found["candidates"]
    assert [(c["version"], c["state"]) for c in found["candidates"]] == [
        ("v1.0.0", "became v1.0.0"), (None, "refused"), ("v2.0.0", "became v2.0.0"),
    ]  # fmt: skip
    assert [c["commit"] for c in found["candidates"]] == [made.commit for made in told.candidates.values()]
    assert (first["who"], first["reason"], first["changed"]) == ("anna@example.org", "push", "the first candidate")
    assert harder["changed"] == "parameters: estimator.parameters.C none to 0.001"  # comments and layout are no change
    assert second["changed"] == (
        "code: splitting._place; data: prepared; parameters: seed 7 to 8, estimator.parameters.C 0.001 to 0.3; "
        "environment: joblib 1.6.0 to 0.1.6.0; 1,500 rows became 1,560"
    )
    (metric,) = second["metrics"]
    verdict = ledger.verdict(told.settings, second["entries"][-1]["evidence"])
    assert verdict is not None
    floor, comparison = (g.measurements[0] for g in verdict.gates)
    assert [metric[k] for k in ("value", "low", "high")] == [floor.value, floor.low, floor.high]
    assert [metric[k] for k in ("difference", "difference_low", "difference_high")] == [
        comparison.value, comparison.low, comparison.high,
    ]  # fmt: skip
    assert (metric["label"], second["champion"]) == ("roc_auc on holdout", "v1.0.0")


def test_history_says_when_each_version_served_and_for_how_long(told: Past) -> None:
    found = as_json(told, "history", NAME)
    entries = {e.sequence: e for e in ledger.entries(told.settings)}
    order = [(s["version"], s["begun_by"]["kind"], (s["ended_by"] or {}).get("kind")) for s in found["served"]]
    assert order == [
        ("v1.0.0", "promoted", "promoted"), ("v2.0.0", "promoted", "rolled_back"),
        ("v1.0.0", "rolled_back", "stopped"), (None, "stopped", None),
    ]  # fmt: skip
    for span in found["served"][:-1]:
        begin, end = (entries[span[key]["sequence"]] for key in ("begun_by", "ended_by"))
        assert (span["from"], span["until"]) == (begin.time, end.time)
        seconds = _moment(end.time) - _moment(begin.time)
        assert span["seconds"] == pytest.approx(seconds, abs=0.002) and not span["clock_ran_backwards"]


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def test_a_card_of_real_evidence_follows_from_it_and_finds_an_edit(told: Past, tmp_path: Path) -> None:
    """What no hand wrote: the stages' manifest, machine and base rates, and the numbers of real gates."""
    file, page = tmp_path / "card.json", tmp_path / "card.html"
    document = as_json(told, "card", NAME, "v2.0.0", "--page", str(page))
    said = {one["id"]: one for one in document["statements"]}
    verdict = ledger.verdict(told.settings, said["verdict.passed"]["sources"][0]["digest"])
    assert verdict is not None and said["gate.floor.0"]["value"]["value"] == verdict.gates[0].measurements[0].value
    rates = [one["value"] for id, one in said.items() if id.startswith("base_rates.")]
    assert [(r["side"], r["group"]) for r in rates] == [
        (side, group) for side in ("train", "holdout") for group in (None, "f", "m")
    ]
    assert all(sum(r["counts"].values()) == r["rows"] for r in rates)
    assert rates[0]["rows"] == said["training.rows"]["value"] and said["training.machine"]["value"]["threads"] > 0
    file.write_text(json.dumps(document))
    for whole in (file, page):
        checked = as_json(told, "card", NAME, "--check", str(whole))
        assert checked["stale"] == [] and [one["id"] for one in checked["missing"] if one["asked"]] == []
    text = said["gate.floor.0"]["text"]
    file.write_text(json.dumps(document).replace(text, text.replace("0.", "0.9", 1)))
    checked = as_json(told, "card", NAME, "--check", str(file), code=1)
    assert [one["id"] for one in checked["stale"]] == ["gate.floor.0"]


def test_history_is_read_in_80_columns_and_nothing_of_a_name_steers_the_terminal(told: Past) -> None:
    done = told.assay("history", NAME)
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "asked by <script>[red]bob@example.org" in done.stdout
    assert "too few rows" not in done.stdout and "refused: 2 of 3 gates passed" in done.stdout


def test_served_answers_for_every_moment_in_one_sentence(told: Past) -> None:
    spans = as_json(told, "history", NAME)["served"]
    middle = _between(spans[1]["from"], spans[1]["until"])
    found = as_json(told, "served", NAME, "--at", middle)
    assert (found["version"], found["certain"], found["zone_given"]) == ("v2.0.0", True, True)
    begin, end = spans[1]["begun_by"]["sequence"], spans[1]["ended_by"]["sequence"]
    assert found["sentence"].endswith(
        f"(entry {begin}); v1.0.0 was rolled back to at {_at(spans[1]['until'])} (entry {end})"
    )
    # the first moment of a version is its own, and the last belongs to the next one
    assert as_json(told, "served", NAME, "--at", spans[1]["from"])["version"] == "v2.0.0"
    assert as_json(told, "served", NAME, "--at", spans[1]["until"])["version"] == "v1.0.0"

    plain = told.assay("served", NAME, "--at", "2020-01-01T00:00:00")
    assert plain.returncode == 1
    assert plain.stdout.startswith(
        f"nothing served for {NAME} at 2020-01-01 00:00:00 UTC, which is before its first release; v1.0.0 was promoted"
    )
    assert plain.stdout.endswith("(2020-01-01T00:00:00 names no zone and is taken as UTC)\n")
    stopped = told.assay("served", NAME, "--at", spans[-1]["from"])
    assert stopped.returncode == 1 and "it was stopped since" in stopped.stdout
    assert stopped.stdout.rstrip().endswith("because nobody looks at it")
    for at, said in (
        ("2999-01-01T00:00:00+02:00", "2998-12-31 22:00:00 UTC is to come, and nobody knows what will serve then"),
        ("yesterday", "--at is 'yesterday', which is no time; write ISO 8601 with a zone"),
        ("9999-12-31T23:59:59-12:00", "which is no time"),
    ):  # fmt: skip
        done = told.assay("served", NAME, "--at", at)
        assert done.returncode == 2 and said in done.stderr, done.stderr
        assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def _between(begin: str, end: str) -> str:
    return datetime.fromtimestamp((_moment(begin) + _moment(end)) / 2, UTC).isoformat()


def _at(time: str) -> str:
    return time[:19].replace("T", " ")


def test_a_decision_comes_out_with_the_same_bits_again(told: Past) -> None:
    for place, answer in enumerate(told.answers):
        found = as_json(told, "decision", answer["id"])
        assert (found["score"], found["decision"], found["version"]) == (answer["score"], answer["decision"], "v2.0.0")
        assert found["again"]["same"] is True and found["again"]["scores"] == [answer["score"]]
        assert [o["value"] for o in found["outcomes"]] == ([True] if place == 0 else [])
        assert found["threshold"] == 0.5 and found["asked_by"].endswith("(tests)")
        assert found["ledger"].startswith(f"v2.0.0 served for {NAME} at ")
    text = told.assay("decision", told.answers[1]["id"], "--explain").stdout
    assert "v2.0.0 gives the same score and decision again, bit for bit" in text.replace("\n" + " " * 12, " ")
    assert "[red]seenU+001B[2J" in text.replace("\n" + " " * 12, "") and "\x1b" not in text
    assert "moved by" in text and "key " in text and max(map(len, text.splitlines())) <= 80


def test_diff_tells_what_was_done_and_what_it_did(told: Past, tmp_path: Path) -> None:
    page = tmp_path / "diff.html"
    found = as_json(told, "diff", NAME, "v1.0.0", "v2.0.0", "--page", str(page))
    assert [(c["file"], c["name"], c["kind"]) for c in found["changed"]["code"]] == [
        ("tasks/science/data/splitting.py", "_place", "changed")
    ]
    assert found["pipeline"] == {"estimator.C": [1.0, 0.3], "estimator.random_state": [7, 8]}
    assert found["changed"]["packages"] == {"joblib": ["1.6.0", "0.1.6.0"]} and found["seeds"] == [7, 8]
    rows = {k: found["data"]["rows"][k] for k in ("old", "new", "same", "added", "removed")}
    assert rows == {"old": 1500, "new": 1560, "same": 1480, "added": 80, "removed": 20}
    states = {c["name"]: c["state"] for c in found["data"]["columns"]}
    assert states["hours"] == "moved" and states["sex"] == "same"
    assert set(found["importance"]) == {"age", "hours", "job"}
    assert_effects(told, found)
    text = told.assay("diff", NAME, "v1.0.0", "v2.0.0").stdout
    assert max(map(len, text.splitlines())) <= 80 and "\x1b" not in text
    shown = page.read_text()
    assert "<script" not in shown and "http" not in shown.replace("http-equiv", "") and "<svg" in shown
    # by commits, a candidate that was refused, and the commit that it was trained from
    base = Git(told.developer).rev_parse("HEAD~1")
    harder = told.candidates["harder"].commit
    one, other = (as_json(told, "diff", NAME, "v1.0.0", name) for name in (harder[:12], base))
    assert one["new"]["commit"] == other["new"]["commit"] == harder and one["changed"]["code"] == []


def assert_effects(told: Past, found: dict[str, Any]) -> None:
    """Accuracy and flips, counted again from the two model files on the rows that neither was trained on."""
    frames, scores = [], []
    for name in ("first", "second"):
        with workspace.worktree(told.settings, told.candidates[name].commit) as tree:
            dvc.restore(tree, f"prepare@{NAME}", f"train@{NAME}")
            data = tree / f"data/{NAME}"
            frames.append({side: pd.read_parquet(data / f"prepared/{side}.parquet") for side in ("train", "holdout")})
            shutil.copytree(data / "model", told.folder / f"copy-{name}", dirs_exist_ok=True)
    columns = ["age", "hours", "job", "sex", "_label"]
    known = set(frames[0]["train"][columns].astype(str).itertuples(index=False, name=None))
    holdout = frames[1]["holdout"]
    fresh = holdout[[row not in known for row in holdout[columns].astype(str).itertuples(index=False, name=None)]]
    scores = [load_release(told.folder / f"copy-{name}").score(fresh) for name in ("first", "second")]
    old, new = (score >= 0.5 for score in scores)
    effects = found["effects"]
    assert (effects["rows"], effects["left_out"]) == (len(fresh), len(holdout) - len(fresh))
    accuracy = next(m for m in effects["metrics"] if m["name"] == "accuracy")
    assert (accuracy["old"], accuracy["new"]) == pytest.approx([(d == fresh["_label"]).mean() for d in (old, new)])
    assert (effects["flips"]["up"], effects["flips"]["down"]) == (int((new & ~old).sum()), int((old & ~new).sum()))
    women = (fresh["sex"] == "f").to_numpy()
    group = next(g for g in effects["groups"] if g["group"] == "f")
    rate = group["effects"][0]
    assert (group["rows"], rate["old"], rate["new"]) == (women.sum(), old[women].mean(), new[women].mean())


def test_an_origin_that_is_away_is_one_sentence(told: Past) -> None:
    gone = told.folder / "away.git"
    Path(told.settings.origin).rename(gone)
    try:
        lost = told.assay("history", NAME)
        assert lost.returncode == 7 and lost.stderr.startswith("error: the origin ") and lost.stderr.count("\n") == 1
    finally:
        gone.rename(told.settings.origin)


def test_unknown_names_are_one_sentence(told: Past) -> None:
    for words, said in (
        (("history", "[red]nobody"), "model '[red]nobody' is not listed in deployments/models.yaml"),
        (("served", "nobody", "--at", "2026-01-01"), "model 'nobody' is not listed"),
        (
            ("decision", "no\x1b[2Jbody"),
            "no logged prediction has the id 'no\\x1b[2Jbody', and none was ever forgotten",
        ),
    ):
        done = told.assay(*words)
        assert done.returncode == 2 and said in done.stderr and done.stderr.count("\n") == 1, done.stderr


def test_a_commit_that_the_origin_lost_is_named(told: Past, tmp_path: Path) -> None:
    """A home on a shallow copy of the origin."""
    shallow = tmp_path / "shallow.git"
    origin = Git(Path(told.settings.origin))
    branches = [
        b for b in origin.lines("for-each-ref", "--format=%(refname:short)", "refs/heads") if "candidates" not in b
    ]
    Git(tmp_path).run("init", "--quiet", "--bare", str(shallow))
    Git(shallow).run("fetch", "--quiet", told.settings.origin, *(f"refs/heads/{b}:refs/heads/{b}" for b in branches))
    done = told.assay("history", NAME, ASSAY_HOME=str(tmp_path / "home"), ASSAY_ORIGIN=str(shallow))
    assert done.returncode == 0, done.stderr
    assert f"unknown: the clone has no commit {told.candidates['first'].commit[:12]}" in " ".join(done.stdout.split())
    for words in (("diff", NAME, "v1.0.0", "v2.0.0"), ("rebuild", NAME, "v1.0.0", "--reuse", "--no-record")):
        done = told.assay(*words, ASSAY_HOME=str(tmp_path / "home"), ASSAY_ORIGIN=str(shallow))
        said = " ".join((done.stdout + done.stderr).split())
        assert done.returncode in (2, 3) and "Traceback" not in said, said
        assert told.candidates["first"].commit[:12] in said, said

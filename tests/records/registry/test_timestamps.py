"""Timestamps by an authority that OpenSSL plays: what is kept, what it proves to an auditor, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tasks.proof.verify import LATER, main
from tasks.records.registry import ledger, timestamps
from tasks.records.registry.branch import BRANCH
from tasks.records.registry.registry import Registry
from tasks.records.registry.state import state
from tasks.records.repository import workspace
from tasks.records.repository.git import Git
from tasks.spec.errors import ConfigError, TimestampError
from tasks.spec.ledger import EntryDraft
from tasks.spec.settings import Settings
from tasks.timestamps import ask_for_timestamp, timestamp_ledger
from tests.authority import Authority, authority, certified
from tests.candidates import commit_run, passed
from tests.conftest import git

DRAFT = EntryDraft(kind="examined", model="income", commit="0" * 40, actor="a", reason="push", sentence="Examined.")


@pytest.fixture(scope="module")
def tsa(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Authority]:
    with authority(tmp_path_factory.mktemp("authority") / "own") as made:
        yield made


@pytest.fixture
def promoted(settings: Settings, tsa: Authority, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A ledger whose newest entry is a promotion, and settings that name the authority."""
    tsa.answer = None
    with workspace.worktree(settings, "main") as tree:
        commit = commit_run(settings, tree, "candidate", "assay/candidates/income/one")
    Registry(settings).promote("income", commit, passed("income", commit), "test", "person", None)
    for name, value in {"HOME": settings.home, "ORIGIN": settings.origin, "TIMESTAMP_URL": tsa.url,
                        "TIMESTAMP_CA": tsa.ca}.items():  # fmt: skip
        monkeypatch.setenv(f"ASSAY_{name}", str(value))
    return Settings()


def refs(settings: Settings) -> list[str]:
    return git(Path(settings.origin), "for-each-ref", "--format=%(refname)", timestamps.REFS).split()


def told(capsys: pytest.CaptureFixture[str], repository: Path, *words: str) -> tuple[int, dict[str, Any]]:
    code = main([str(repository), "--json", *words])
    return code, json.loads(capsys.readouterr().out)


def test_an_auditor_gets_the_token_with_the_clone_and_needs_no_other_anchor(
    promoted: Settings, tsa: Authority, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = timestamps.timestamp(promoted)
    assert said.startswith("entry 2 of the ledger was there on ") and said.endswith(f" GMT, by {tsa.url}")
    assert refs(promoted) == ["refs/assay/timestamps/000002"]
    ledger.append(promoted, DRAFT)
    git(tmp_path, "clone", "--quiet", "--mirror", promoted.origin, "mirror.git")
    token, root = tmp_path / "head.tsr", state(promoted).root
    token.write_bytes(Git(tmp_path / "mirror.git").read("show", "refs/assay/timestamps/000002"))
    words = ("--root", root, "--anchor", str(token), "--tsa", str(tsa.ca))
    code, found = told(capsys, tmp_path / "mirror.git", *words)
    digest = ledger.entries(promoted)[1].digest()
    assert (code, found["problems"], found["not_excluded"]) == (0, [], [LATER])  # entry 3 came after the token
    assert found["timestamp"].startswith(f"{digest} was there on ") and found["timestamp"].endswith(" GMT")
    assert main([str(tmp_path / "mirror.git"), *words]) == 0
    assert f"\ntimestamp: {found['timestamp']}\n" in f"\n{capsys.readouterr().out}"
    for name in ("income@v1.0.0", "income#champion#1"):  # the tail is cut off with its tags
        git(tmp_path / "mirror.git", "tag", "--delete", name)
    git(tmp_path / "mirror.git", "update-ref", f"refs/heads/{BRANCH}", f"{BRANCH}~2")
    assert told(capsys, tmp_path / "mirror.git", "--root", root)[0] == 0
    code, found = told(capsys, tmp_path / "mirror.git", *words)
    assert code == 3 and found["problems"] == [
        f"the ledger does not hold {digest}: what was written up to there was changed or cut off"
    ]


def test_what_is_no_token_of_this_ledger_is_a_sentence(
    promoted: Settings, tsa: Authority, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    origin, root, digest = Path(promoted.origin), state(promoted).root, str(state(promoted).digest)
    certified(tmp_path / "stranger")
    genuine, other, token = tsa.token(digest), f"sha256:{'1' * 64}", tmp_path / "head.tsr"
    changed = bytearray(genuine)
    changed[-5] ^= 1  # in the signature
    moved = genuine.replace(bytes.fromhex(digest[7:]), bytes.fromhex(other[7:]))
    cases = [
        (genuine, tmp_path / "stranger/ca.pem", "certificate verify error: Verify error:"),
        (tsa.token(other), tsa.ca, f"the ledger does not hold {other}: what was written up to there was changed"),
        (bytes(changed), tsa.ca, f"the timestamp {token} does not hold by {tsa.ca}; openssl says: "),
        (moved, tsa.ca, f"the timestamp {token} does not hold by {tsa.ca}; openssl says: "),
        (genuine[:-40], tsa.ca, f"{token} is no timestamp of a SHA-256"),
        (b"", tsa.ca, f"{token} is no timestamp of a SHA-256"),
        (genuine, token, f"the timestamp {token} does not hold by {token}; openssl says: "),
    ]
    for content, ca, says in cases:
        token.write_bytes(content)
        code, found = told(capsys, origin, "--root", root, "--anchor", str(token), "--tsa", str(ca))
        assert code == 3 and len(found["problems"]) == 1 and says in found["problems"][0], (says, found)
        assert len(found["not_excluded"]) == 1
    for words, says in (
        (("--anchor", str(token)), f"{token} is no digest (sha256: and 64 digits), nor for --anchor 40 of a commit or"),
        (("--tsa", str(tsa.ca)), ". is no file; name a timestamp token with --anchor, and a PEM file with --tsa"),
        (("--anchor", str(token), "--tsa", "none.pem"), "none.pem is no file; name a timestamp token with --anchor"),
    ):
        assert main([str(origin), *words]) == 2 and capsys.readouterr().err.startswith(says)


def test_an_authority_that_does_not_vouch_changes_nothing_and_is_told(
    promoted: Settings, tsa: Authority, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reply, other = "application/timestamp-reply", tsa.token(f"sha256:{'1' * 64}")
    certified(tmp_path / "stranger")
    cases: list[tuple[dict[str, Any], tuple[int, str, bytes] | None, str]] = [
        ({}, (500, "text/html", b"<p>later</p>"), f"{tsa.url} answers 500 with text/html, not 200 with application/ti"),
        ({}, (200, "text/html", b"<p>hello</p>"), f"{tsa.url} answers 200 with text/html, not 200 with application/ti"),
        ({}, (200, reply, b"nothing"), f"the token of {tsa.url} is not kept: "),
        (
            {},
            (200, reply, other),
            f"the token of {tsa.url} is over sha256:{'1' * 64}, not over {state(promoted).digest}",
        ),
        ({}, (200, reply, b"0" * (1 << 21)), f"{tsa.url} answers more than {1 << 20} bytes, or for longer than 20 s"),
        ({"timestamp_ca": tmp_path / "stranger/ca.pem"}, None, f"the token of {tsa.url} is not kept: the timestamp "),
        ({"timestamp_ca": None}, None, "ASSAY_TIMESTAMP_CA is '', and must be a PEM file of the certificates that "),
        ({"timestamp_url": "http://127.0.0.1:9/"}, None, "http://127.0.0.1:9/ does not answer ("),
    ]
    for change, answer, says in cases:
        tsa.answer = answer
        with pytest.raises(TimestampError) as refused:
            timestamps.timestamp(promoted.model_copy(update=change))
        assert str(refused.value).startswith(says), refused.value
    assert refs(promoted) == [] and timestamps.due(promoted)
    tsa.answer = cases[0][1]
    ended = ask_for_timestamp.fn()
    assert (ended.name, ended.is_completed()) == ("Not timestamped", True)
    assert (
        capsys.readouterr().out
        == f"The ledger was not timestamped: {cases[0][2]}mestamp-reply. The next run asks again.\n"
    )


def test_nobody_is_asked_unless_a_setting_names_who_and_nobody_twice(
    promoted: Settings, settings: Settings, tsa: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = len(tsa.asked)
    assert not timestamps.due(settings) and timestamps.due(promoted) and timestamps.due(promoted, timestamps.DAY)
    assert ask_for_timestamp.fn().name == "Timestamped" and len(tsa.asked) == before + 1
    assert not timestamps.due(promoted)
    ledger.append(promoted, DRAFT)
    assert timestamps.due(promoted) and not timestamps.due(promoted, timestamps.DAY)
    kept = promoted.home / timestamps.KEPT
    kept.write_text(kept.read_text().replace('"time": "20', '"time": "19'))
    assert timestamps.due(promoted, timestamps.DAY)
    kept.write_text("[]")
    assert timestamps.due(promoted, timestamps.DAY)
    monkeypatch.delenv("ASSAY_TIMESTAMP_URL")
    timestamp_ledger()
    assert len(tsa.asked) == before + 1 and refs(promoted) == ["refs/assay/timestamps/000002"]


def test_settings_of_an_authority_are_looked_at(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASSAY_TIMESTAMP_CA", "ca.pem")
    assert Settings().timestamp_ca == tmp_path / "ca.pem" and Settings(timestamp_ca="").timestamp_ca is None
    monkeypatch.setenv("ASSAY_TIMESTAMP_URL", "tsa.example.org")
    with pytest.raises(ConfigError, match="ASSAY_TIMESTAMP_URL is 'tsa.example.org': it must begin with http:// or "):
        Settings()

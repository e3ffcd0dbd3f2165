"""Tasks of the envelope: what a retraining that nobody asked for did, held against what was allowed (docs/envelope.md).

An envelope is a permission and no more. It answers where a person would have to sign because one source alone labelled
what was learned. It forbids nothing that passes without it, and lets nothing through that a gate refuses.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from tasks.asked import envelope_signature, main_config
from tasks.labels import Sources, labels_policy
from tasks.records.log.predictions import PredictionLog
from tasks.records.log.values import Label, same
from tasks.records.registry import envelopes
from tasks.records.registry.registry import Registry, Version
from tasks.records.registry.state import Branch, state
from tasks.records.registry.waivers import Place
from tasks.records.repository.changes import changed_paths, collected_until
from tasks.records.repository.git import Git, GitError
from tasks.records.repository.lockfile import pointed
from tasks.science.data.tables import LABEL, SOURCE
from tasks.spec.base import parse_yaml
from tasks.spec.columns import to_table
from tasks.spec.data_source import collected_folder
from tasks.spec.errors import AssayError
from tasks.spec.evidence import EnvelopeCheck, EnvelopeUse, GateResult, State, answerable
from tasks.spec.gates import ComparisonGate, FloorGate
from tasks.spec.line import flat
from tasks.spec.model import ModelConfig
from tasks.spec.models import model_folder
from tasks.spec.settings import Settings
from tasks.spec.sources import concerns
from tasks.spec.waivers import Bounds, Envelope, EnvelopeSignature, hyperparameters
from tasks.spec.wording import plural
from tasks.versions import Candidate, version_files

Measure = Callable[[Sequence[FloorGate | ComparisonGate]], list[GateResult]]
NONE = "no envelope says what it may do without a person (envelope in model.yaml of the branch {branch})"
TOGETHER = re.compile(r"<([^<>]*)>")
ADDED = re.compile(r"rows-([0-9]{1,18})-([0-9]{1,18})\.parquet\.dvc")
"""What a retraining adds: the pointer to rows between two positions of the log."""


def envelope_use(
    candidate: Candidate, requesters: tuple[str, ...], doubt: Sequence[GateResult], sealed: bool, measure: Measure
) -> EnvelopeUse:
    """Hold a candidate that nobody asked for against the main branch's envelope.

    Args:
        requesters: who asked for it, or wrote what is new in it.
        doubt: the gates for which a person would have to sign.
        sealed: whether what is measured on the holdout is withheld.
        measure: runs criteria on the rows that the gates look at.
    """
    model, branch = candidate.model, Settings().branch
    main = main_config(model)
    envelope = main.envelope if main is not None else None
    if envelope is None:
        return EnvelopeUse(problem=NONE.format(branch=branch))
    found = EnvelopeUse(terms=envelope.model_dump(mode="json"))
    try:
        signed = envelope_signature(model)
        authors = tuple(dict.fromkeys([*requesters, *writers(model)]))
        why = _problem(candidate, signed, envelope, authors) or _unanswered(candidate, doubt, sealed)
        found = found.model_copy(update={"signed": signed, "authors": authors, "problem": why})
        champion = Registry(Settings()).champion(model)
        if why or champion is None:
            return found.model_copy(update={"problem": why or "nothing serves yet that it could be compared with"})
        checks = tuple(_checks(candidate, champion, envelope, measure))
    except (AssayError, ValueError, OSError) as error:
        why = f"what the envelope allows could not be looked at: {flat(str(error))}"
        return found.model_copy(update={"problem": why})
    return found.model_copy(update={"checks": checks})


def _problem(
    candidate: Candidate, signed: EnvelopeSignature | None, envelope: Envelope, authors: tuple[str, ...]
) -> str:
    """Why the envelope counts as none by its signature."""
    model, settings = candidate.model, Settings()
    if signed is None:
        return f"the envelope of {model} is not signed; an approver signs it with: assay envelope {model}"
    if candidate.config.envelope != envelope:
        return f"the candidate's envelope is another than that of the branch {settings.branch}"
    now = state(settings)
    source = Branch(Git(settings.clone), now.tip)
    today = max(datetime.now(UTC).date().isoformat(), now.newest[:10])  # a clock set back gives nobody more time
    place = Place(
        model=model,
        version="",
        gate="",
        requesters=authors,
        day=date.fromisoformat(today),
        approvers={p.name: p.keys for p in now.policy.who("approver")} if now.policy else {},
        list=now.policy_digest,
        holds=lambda number, digest: number <= now.sequence and source.digest_of(number) == digest,
    )
    return envelopes.problem(signed.model_dump(mode="json"), envelope.model_dump(mode="json"), place)


def _unanswered(candidate: Candidate, doubt: Sequence[GateResult], sealed: bool) -> str:
    """Why no envelope answers for this doubt."""
    if not answerable(doubt):
        return "no envelope answers for labels that fail a gate"
    if sealed:
        return "the holdout is sealed, so what the retraining did is not told, and no envelope answers for it"
    return ""


def writers(model: str) -> Iterator[str]:
    """Who ever wrote a part of the main branch's envelope: authors of commits after which its terms are others.

    Whoever merges wrote nothing, unless the merge holds terms that no side of it had; whoever removes it neither.
    """
    settings = Settings()
    git, path = Git(settings.clone), f"{model_folder(Path(), model).as_posix()}/model.yaml"
    together = "%(trailers:key=Co-authored-by,valueonly,only)"
    told = git.run(
        "log", "--full-history", f"--format=%x01%H%x02%P%x02%ae%n{together}",
        f"refs/remotes/origin/{settings.branch}", "--", f":(literal){path}",
    )  # fmt: skip
    known: dict[str, str] = {}

    def terms(commit: str) -> str:
        if commit not in known:
            known[commit] = _terms(git, commit, path)
        return known[commit]

    for part in filter(None, told.split("\1")):
        head, *others = part.strip().split("\n")
        commit, parents, author = head.split("\2")
        if terms(commit) and all(terms(parent) != terms(commit) for parent in parents.split()):
            yield author
            yield from ((TOGETHER.findall(line) or [line.strip()])[-1] for line in others if line.strip())


def _terms(git: Git, commit: str, path: str) -> str:
    """The envelope of a commit as text; empty where it has none."""
    try:
        text = git.run("show", f"{commit}:{path}")
    except GitError:
        return ""
    try:
        found = parse_yaml(text, path).get("envelope")
    except AssayError:  # nobody can say what it held
        return text if "envelope" in text else ""
    return "" if found is None else json.dumps(found, sort_keys=True, default=str)


def _checks(candidate: Candidate, champion: Version, envelope: Envelope, measure: Measure) -> Iterator[EnvelopeCheck]:
    """Every bound and criterion, with what the candidate did against the serving version."""
    settings = Settings()
    before = version_files(settings, candidate.model, champion).config
    yield from _data(candidate, champion, envelope)
    yield _nothing_else(candidate, champion, before)
    yield from _chosen(before, candidate.config, envelope)
    asked = [one.model_copy(update={"mandatory": False}) for one in envelope.performance]
    for one, found in zip(asked, measure(asked), strict=True):
        limit = f"limit {one.limit:g}" if isinstance(one, FloorGate) else f"margin {one.margin:g} to {champion.tag}"
        yield EnvelopeCheck(
            name=one.name,
            allowed=f"asked is {one.metric} on {one.benchmark}, {limit}, bound at {one.confidence:.0%} included",
            found=found.reason,
            state=found.state,
        )


def _data(candidate: Candidate, champion: Version, envelope: Envelope) -> Iterator[EnvelopeCheck]:
    """Whose rows were added, how many, and how new they are."""
    settings, model = Settings(), candidate.model
    git = Git(settings.clone)
    since, until = (collected_until(git, commit, model) for commit in (champion.commit, candidate.commit))
    rows = _new_rows(git, candidate, champion)
    by = rows[SOURCE]
    names = sorted(by.dropna().astype(str).unique())
    known = bool(len(by)) and not by.isna().any()
    yield _check(
        "sources", f"allowed are labels of {', '.join(envelope.sources)}",
        f"it learned labels of {', '.join(names) or 'nobody who is recorded'}",
        known and set(names) <= set(envelope.sources),
    )  # fmt: skip
    yield _check(
        "rows", f"allowed are {envelope.rows:,}", f"it adds {plural(len(by), 'row')} from production",
        0 < len(by) <= envelope.rows,
    )  # fmt: skip
    with closing(PredictionLog(settings.log_database)) as log:
        strange = _not_logged(log, candidate, rows)
        times = log.frame(model, since + 1, until, columns=["_seq", "_time"])["_time"]
    yield _check(
        "log", "allowed are rows that the log has, with inputs, a source and its label as there",
        f"{strange or 'none'} of its {plural(len(rows), 'new row')} {'is' if strange == 1 else 'are'} otherwise",
        not strange,
    )  # fmt: skip
    if envelope.until is not None:
        newest = str(times.max())[:10] if len(times) else ""
        yield _check(
            "until", f"allowed is {envelope.until}", f"its newest row is of {newest or 'a day nobody knows'}",
            bool(newest) and newest <= envelope.until,
        )  # fmt: skip


def _new_rows(git: Git, candidate: Candidate, champion: Version) -> pd.DataFrame:
    """Rows of every collected file that the stage ``prepare`` reads and the serving version's commit lacks.

    Returns:
        (n, any): id, source and label of each, the ``name`` of its file, and in ``_row`` its inputs; None of a file
        that lacks one.
    """
    folder = f"{collected_folder(candidate.model)}/"
    known = set(git.lines("ls-tree", "--name-only", "-z", champion.commit, folder, end="\0"))
    parts = [pd.DataFrame({"_id": [], SOURCE: [], LABEL: [], "name": [], "_row": []}, dtype="object")]
    for file in sorted(candidate.paths.collected.glob("*.parquet")):
        if known.isdisjoint((f"{folder}{file.name}", f"{folder}{file.name}.dvc")):
            whole = pd.read_parquet(file)
            part = whole[["_id", SOURCE, LABEL]].astype("object")
            inputs = pd.Series(_inputs(candidate.config, whole), whole.index, dtype="object")
            parts.append(part.assign(name=file.name, _row=inputs))
    return pd.concat(parts, ignore_index=True)


def _inputs(config: ModelConfig, table: pd.DataFrame) -> list[tuple[Any, ...] | None]:
    """(n,) the values of each row's inputs, None for a gap; nothing but None where a column is absent."""
    names = [column.name for column in config.inputs]
    if not set(names) <= set(table.columns):
        return [None] * len(table)
    values = table[names].astype("object")
    return list(values.where(values.notna(), None).itertuples(index=False, name=None))


def _not_logged(log: PredictionLog, candidate: Candidate, rows: pd.DataFrame) -> int:
    """How many rows the log does not know between the positions that their file names, or has otherwise."""
    found = {str(name): ADDED.fullmatch(f"{name}.dvc") for name in rows["name"].unique()}
    spans = {name: (int(span[1]), int(span[2])) for name, span in found.items() if span}
    first, last = min((a for a, _ in spans.values()), default=0), max((b for _, b in spans.values()), default=0)
    logged = log.frame(candidate.model, first, last, columns=["_seq", "_id"])
    places = dict(zip(logged["_id"], logged["_seq"], strict=True))
    sources = Sources.of(Settings(), labels_policy(candidate.config))
    labels: dict[tuple[int, str | None], list[Label]] = {}
    for told in log.told(candidate.model, first - 1):
        if told.asker is None or told.asker != told.sender:
            labels.setdefault((told.prediction, sources.source(told)), []).append(told.label)
    inputs = {name: _logged_inputs(log, candidate, part["_id"].map(places)) for name, part in rows.groupby("name")}
    strange, seen = 0, set[str]()
    for key, source, label, name, row in rows[["_id", SOURCE, LABEL, "name", "_row"]].itertuples(index=False):
        place, (begin, end) = places.get(key, -1), spans.get(name, (0, -1))
        there = begin <= place <= end and key not in seen and isinstance(source, str)
        said = labels.get((place, source), []) if there and row == inputs[name].get(place, ()) else []
        strange += not any(same(label, one) for one in said)
        seen.add(key)
    return strange


def _logged_inputs(log: PredictionLog, candidate: Candidate, places: pd.Series) -> dict[int, tuple[Any, ...] | None]:
    """Inputs of one file's rows by their position, as a retraining takes them from the log."""
    known = sorted({int(place) for place in places.dropna()})
    if not known:
        return {}
    found, config = log.at(candidate.model, known), candidate.config
    try:
        table = to_table(config.inputs, found)
    except (ValueError, TypeError):  # a request may hold what no pipeline takes, and no retraining takes it either
        return {}
    return dict(zip(found["_seq"], _inputs(config, table), strict=True))


def _nothing_else(candidate: Candidate, champion: Version, before: ModelConfig) -> EnvelopeCheck:
    """Code, rows that were known before, and all of the config that no bound is about."""
    git, model = Git(Settings().clone), candidate.model
    folder, collected = model_folder(Path(), model).as_posix(), collected_folder(model)
    own = {f"{folder}/model.yaml", f"{folder}/envelope.yaml", f"{collected}/.gitignore"}
    dvc_yaml, other = (candidate.worktree / "dvc.yaml").read_text(), list[str]()
    for path in changed_paths(git, champion.commit, candidate.commit):
        if path not in own and not _adds(candidate, champion, path) and concerns([path], dvc_yaml, model):
            other.append(flat(path))
    here, there = _besides(candidate.config), _besides(before)
    other += [f"{key} of model.yaml" for key in sorted(here.keys() | there.keys()) if here.get(key) != there.get(key)]
    return _check(
        "anything else", "allowed is nothing beside weights, rows and what the envelope names",
        f"it changes {', '.join(other[:5]) or 'nothing'}" + f" and {len(other) - 5} more" * (len(other) > 5), not other,
    )  # fmt: skip


def _adds(candidate: Candidate, champion: Version, path: str) -> bool:
    """Whether a path is new and stands for one file of rows, all after those that the serving version knows."""
    git, folder = Git(Settings().clone), f"{collected_folder(candidate.model)}/"
    found = ADDED.fullmatch(path.removeprefix(folder)) if path.startswith(folder) else None
    if found is None or git.run("ls-tree", champion.commit, "--", f":(literal){path}"):
        return False
    text = git.run("show", f"{candidate.commit}:{path}")
    own = [Path(path).name.removesuffix(".dvc")]  # a pointer may name any other file, and what makes it
    plain = parse_yaml(text, path).keys() <= {"outs"} and [out["path"] for out in pointed(text, path)] == own
    return plain and int(found[1]) > collected_until(git, champion.commit, candidate.model)


def _besides(config: ModelConfig) -> dict[str, Any]:
    """All that no bound of an envelope is about, by the top key."""
    found = config.model_dump(mode="json", exclude={"envelope"})
    for key in ("parameters", "network"):
        found["estimator"].pop(key)
    found["data"]["target"].pop("decision_threshold", None)
    return found


def _chosen(before: ModelConfig, now: ModelConfig, envelope: Envelope) -> Iterator[EnvelopeCheck]:
    """Hyperparameters and the threshold; what is as it was needs no bound."""
    here, there = hyperparameters(now.estimator), hyperparameters(before.estimator)
    asked = {name: (there.get(name), here.get(name), envelope.estimator.get(name)) for name in sorted({*here, *there})}
    for name, (old, new, bounds) in asked.items():
        if json.dumps(old, default=str) != json.dumps(new, default=str):
            yield _moved(f"estimator.{name}", old, new, bounds)
    if before.decision_threshold != now.decision_threshold:
        yield _moved("threshold", before.decision_threshold, now.decision_threshold, envelope.threshold)


def _moved(name: str, old: Any, new: Any, bounds: Bounds | None) -> EnvelopeCheck:
    number = isinstance(new, int | float) and not isinstance(new, bool)
    allowed = "it may not change" if bounds is None else f"allowed is {bounds[0]:g} to {bounds[1]:g}"
    inside = bounds is not None and number and bounds[0] <= new <= bounds[1]
    return _check(name, allowed, f"it goes from {old} to {new}", inside)


def _check(name: str, allowed: str, found: str, holds: bool) -> EnvelopeCheck:
    state: State = "pass" if holds else "fail"
    return EnvelopeCheck(name=name, allowed=allowed, found=found, state=state)

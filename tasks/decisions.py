"""One logged prediction, rebuilt: what is on record about it, and whether its version gives the same score again."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tasks.history import moment, served
from tasks.records.log.predictions import PredictionLog
from tasks.records.log.single import Logged
from tasks.records.registry import ledger
from tasks.records.registry.registry import Registry
from tasks.serving.bodies import Explanation
from tasks.serving.elsewhere import load_elsewhere
from tasks.serving.explaining import Explainer, explainer
from tasks.serving.keys import KeyFile
from tasks.serving.release import Release, load_release
from tasks.spec.base import digest_file
from tasks.spec.errors import AssayError, ConfigError, CorruptionError
from tasks.spec.ledger import ForgottenDetails
from tasks.spec.manifest import Manifest
from tasks.spec.settings import Settings
from tasks.spec.wording import plural
from tasks.versions import version_files


@dataclass(frozen=True)
class Again:
    """What the version answers to the same input now."""

    scores: tuple[float, ...] = ()
    """One; of a multiclass model one for each class, in the order of the manifest's classes."""
    decision: bool | str | None = None
    same: bool | None = None
    """Whether score and decision are the logged ones, bit for bit; None where nobody can say."""
    largest: float | None = None
    """The largest difference of a score."""
    why: str = ""
    """Why it was not answered again, in a sentence; or what differs."""
    explanation: Explanation | None = None
    unexplained: str = ""


@dataclass(frozen=True)
class Decision:
    logged: Logged
    asked_by: str
    manifest: Manifest | None
    """Of the version; None where its files could not be had."""
    again: Again
    served: str
    """What the ledger says of the version and the moment, in a sentence."""


def decision(settings: Settings, key: str, explain: bool = False) -> Decision:
    """One prediction by its id.

    Args:
        explain: also why the version decides so.

    Raises:
        ConfigError: the log holds no such prediction, or not any more.
    """
    logged = _logged(settings, key)
    try:
        release = _release(settings, logged)
    except (AssayError, OSError) as error:
        again = Again(why=str(error), unexplained="its version could not be asked" if explain else "")
        return Decision(logged, _who(settings, logged.sender), None, again, "")
    try:
        again = _asked(release, logged, explain)
    finally:
        release.close()
    return Decision(logged, _who(settings, logged.sender), release.manifest, again, _order(settings, logged))


def _logged(settings: Settings, key: str) -> Logged:
    found = None
    if settings.has_log:
        log = PredictionLog(settings.log_database)
        try:
            found = log.single(key)
        finally:
            log.close()
    if found is None:
        raise ConfigError(f"no logged prediction has the id {key!r}{_forgotten(settings)}.")
    return found


def _forgotten(settings: Settings) -> str:
    """What the ledger says of rows that are gone: how many, never which, so that one id is known no more."""
    try:
        entries, _ = ledger.counting(settings)
    except AssayError:
        return ""
    gone = [(e.sequence, e.read.predictions) for e in entries if isinstance(e.read, ForgottenDetails)]
    count = sum(rows for _, rows in gone)
    if not count:
        return ", and none was ever forgotten; ids stand in the service's answers and in exports"
    named = ", ".join(str(sequence) for sequence, rows in gone[-5:] if rows)
    return (
        f"; {plural(count, 'prediction')} {'was' if count == 1 else 'were'} forgotten (ledger entries {named}), and "
        "whether it was among them is forgotten too"
    )


def _release(settings: Settings, logged: Logged) -> Release:
    """The version that answered, from its commit, its model file compared with the verdict on it.

    Raises:
        AssayError: its files cannot be had, or are others.
    """
    known = {version.tag: version for version in Registry(settings).versions(logged.model)}
    version = known.get(logged.version)
    if version is None:
        raise ConfigError(
            f"the ledger knows no {logged.model} {logged.version}; it knows {', '.join(known) or 'no version'}."
        )
    files = version_files(settings, logged.model, version)
    verdict = ledger.evidence(settings, version.evidence).get("verdict") if version.evidence else None
    examined = verdict.get("model_digest") if isinstance(verdict, dict) else None
    found = digest_file(files.model / "model.skops")
    if examined is not None and found != examined:
        raise CorruptionError(
            f"the kept model file of {logged.model} {version.tag} has digest {found}, and its verdict speaks of "
            f"{examined}. Remove {files.folder} and ask again: it is restored from its commit."
        )
    return load_release(files.model, elsewhere=load_elsewhere)


def _asked(release: Release, logged: Logged, explain: bool) -> Again:
    """What the release answers now, compared bit for bit."""
    try:
        scores = release.answer([logged.inputs])
        (decided,) = release.decide(scores)
    except (AssayError, ValueError, TypeError, KeyError, ArithmeticError) as error:
        return Again(why=f"the version does not take the logged input any more ({type(error).__name__}: {error})")
    classes = release.manifest.classes
    now = tuple(float(score) for score in (scores[0] if classes else scores[:1]))
    then = tuple((logged.scores or {}).get(name, math.nan) for name in classes) if classes else (logged.score,)
    apart = max(abs(one - other) for one, other in zip(now, then, strict=True))
    same = now == then and decided == logged.decision and max(now if classes else then) == logged.score
    why = ""
    if not same:
        what = f"the score by {apart:.3g}" if now != then else f"the decision, {decided} now and {logged.decision} then"
        why = f"it differs: {what}"
    reasons, unexplained = _explained(release, logged, scores, decided) if explain else (None, "")
    return Again(now, decided, same, apart, why, reasons, unexplained)


def _explained(release: Release, logged: Logged, scores: Any, decided: Any) -> tuple[Explanation | None, str]:
    explains = explainer(release)
    if not isinstance(explains, Explainer):
        return None, explains
    try:
        return explains.explain(logged.inputs, scores[0], decided), ""
    except (ValueError, ArithmeticError) as error:
        return None, f"its answer cannot be explained ({error})"


def _who(settings: Settings, sender: str | None) -> str:
    if sender is None:
        return "nobody knows: no key was asked for"
    try:
        key = KeyFile(settings.access_folder).keys().get(sender)
    except ConfigError:
        key = None
    return f"key {sender}" + (f" ({key.name})" if key else ", which this home does not know")


def _order(settings: Settings, logged: Logged) -> str:
    """Whether the ledger agrees that the version served when the prediction was made."""
    try:
        at, _ = moment(logged.time)
        found = served(settings, logged.model, at)
    except AssayError as error:
        return str(error)
    return found.sentence

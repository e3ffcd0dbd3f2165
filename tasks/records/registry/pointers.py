"""The service's pointers as the ledger has decided, whoever wrote what is there."""

from __future__ import annotations

from tasks.records.registry import releases
from tasks.records.registry.authority import ModelState
from tasks.records.registry.registry import Registry
from tasks.records.registry.state import state
from tasks.spec.errors import CorruptionError
from tasks.spec.settings import Settings

LOOKS = 5


def align(settings: Settings) -> list[str]:
    """Write every pointer anew that is not what the ledger proves; gives the models.

    Older releases signed nothing, a copy may have been put back, somebody may have removed it. A champion whose files
    are not in the store, or are not whole, is left to the next monitoring run, which restores them.
    """
    return [f.name for f in sorted(settings.releases.glob("[a-z]*")) if f.is_dir() and _align_one(settings, f.name)]


def behind(settings: Settings) -> dict[str, tuple[str, str]]:
    """Proven champions that the service is not pointed at, as where a promotion was killed after its push.

    Returns:
        By model: a sentence, and the digest of the entry that made the champion.
    """
    found, now = {}, state(settings)
    for model, proven in sorted(now.models.items()) if not now.unproven else ():
        pointer = releases.current(settings, model)
        is_there = pointer is not None and (pointer.version, pointer.height) == (proven.champion, proven.height)
        if proven.champion and not is_there:
            there = f"at {pointer.version} by entry {pointer.height}" if pointer else "at no version"
            said = f"{model} {proven.champion} is champion by entry {proven.height}, and the service is pointed {there}"
            found[model] = said, proven.entry
    return found


def _align_one(settings: Settings, model: str) -> bool:
    registry, before = Registry(settings), releases.current(settings, model)
    now: ModelState | None = None
    for _ in range(LOOKS):
        if now == (now := registry.state(model)):  # else a decision came between: a pointer may not fall behind it
            break
        if now.champion is None:
            return False
        try:
            releases.point(settings, model, now.champion, now.stopped, now.height, now.entry)
        except CorruptionError:
            return False
    return releases.current(settings, model) != before

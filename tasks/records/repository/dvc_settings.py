"""DVC's settings in a checkout: which of the repository's own count, and what a worktree is given."""

from __future__ import annotations

import io
import re
from pathlib import Path

from configobj import ConfigObj, ConfigObjError

from tasks.records.repository import lockfile
from tasks.spec.errors import StageError


def remotes(worktree: Path) -> dict[str, str]:
    """Name and address of each remote that the repository names."""
    named = {re.fullmatch(r"""'?remote "(.+)"'?""", s): v for s, v in config(worktree / ".dvc/config").items()}
    return {found[1]: str(values.get("url", "")) for found, values in named.items() if found}


def setting(worktree: Path, section: str, name: str, default: str) -> str:
    """One setting, by the repository's file and then by that of the checkout."""
    for file in ("config", "config.local"):
        default = config(worktree / ".dvc" / file).get(section, {}).get(name, default)
    return default


def config(path: Path) -> dict[str, dict[str, str]]:
    """The sections of a file of DVC's settings; what stands before the first of them means nothing to DVC.

    Raises:
        StageError: it is not in that notation.
    """
    try:
        read = ConfigObj(str(path), encoding="utf-8", interpolation=False)
        return {name: values for name, values in read.items() if isinstance(values, dict)}
    except (ConfigObjError, UnicodeDecodeError, OSError) as error:
        said = error.strerror if isinstance(error, OSError) else str(error).rstrip(".")
        raise StageError(f".dvc/{path.name} is no file of DVC's settings: {said}. Mend it.") from None


def write(worktree: Path, cache: Path, site: Path) -> None:
    """Let a worktree share a cache, in DVC's own notation: a comma or a ``#`` in a bare path would end it.

    Of the repository's own settings only its remotes count, and what comes from them is compared with its digest.
    Others name folders that DVC writes to, plugins that it loads, and links by which a stage writes into the cache.
    """
    theirs = config(worktree / ".dvc/config")
    kept = ConfigObj(encoding="utf-8", interpolation=False)
    remote = theirs.get("core", {}).get("remote")
    kept["core"] = {"remote": remote} if isinstance(remote, str) else {}
    for section, values in theirs.items():
        if re.match(r"""['"]?remote\b""", section):
            kept[section] = {**values, "verify": "true"}
    own = ConfigObj(encoding="utf-8", interpolation=False)
    own["core"] = {"analytics": "false", "check_update": "false", "site_cache_dir": str(site)}
    own["cache"] = {"dir": str(cache), "type": "reflink,copy"}
    for name, content in (("config", kept), ("config.local", own)):
        if name == "config" and not (worktree / ".dvc/config").exists():
            continue
        written = io.BytesIO()
        content.write(written)
        lockfile.replace(worktree, f".dvc/{name}", written.getvalue())

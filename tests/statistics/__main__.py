"""``make simulate``: play every case in full and write docs/evidence/, one page per theme.

Name themes to play these alone: ``python -m tests.statistics fairness``.
"""

from __future__ import annotations

import sys
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.conftest import ROOT
from tests.statistics.studies import Study

EVIDENCE = ROOT / "docs/evidence"
HERE = Path(__file__).parent
PROCESSES = 2


def themes() -> dict[str, tuple[Study, ...]]:
    """Every module beside this one that has ``STUDIES``, by its name."""
    found = {
        p.stem: import_module(f"tests.statistics.{p.stem}")
        for p in sorted(HERE.glob("*.py"))
        if not p.stem.startswith(("_", "test_"))
    }
    return {name: module.STUDIES for name, module in found.items() if hasattr(module, "STUDIES")}


def table(study: Study, rows: list[dict[str, Any]]) -> str:
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [
        f"## {study.title}\n",
        f"{study.says}\n",
        "| " + " | ".join(n.replace("_", " ") for n in names) + " |",
        "|" + "---|" * len(names),
    ]
    lines += ["| " + " | ".join(_cell(row.get(name)) for name in names) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return (
        f"{value:.3f}"
        if isinstance(value, float)
        else f"{value:,}"
        if isinstance(value, int)
        else str(value).replace("_", " ")
    )


def page(theme: str) -> str:
    title = theme.replace("_", " ")
    head = (
        f"# Evidence: {title}\n\nMade by `python -m tests.statistics {theme}`, seeded; a smaller version of every "
        "case runs in `make test`.\n"
    )
    return "\n".join([head, *(table(study, study.rows()) for study in themes()[theme])])


def main(asked: list[str]) -> None:
    known = themes()
    strange = [name for name in asked if name not in known]
    if strange:
        sys.exit(f"no theme {', '.join(strange)}; allowed: {', '.join(known)}")
    EVIDENCE.mkdir(exist_ok=True)
    with ProcessPoolExecutor(PROCESSES) as pool:
        for theme, text in zip(asked or known, pool.map(page, asked or known), strict=True):
            (EVIDENCE / f"{theme}.md").write_text(text)
            print(text, flush=True)
    print(f"Written to {EVIDENCE.relative_to(EVIDENCE.parents[1])}/.")


if __name__ == "__main__":
    main(sys.argv[1:])

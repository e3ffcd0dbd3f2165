"""`assay check`: everything that is wrong with a model's folder, before anything is pushed or trained."""

from __future__ import annotations

from typing import Any

from tasks.checking import Checked
from tasks.checks.documents import Finding
from tasks.spec.data_record import losses
from tasks.spec.wording import plural


def as_json(done: Checked) -> dict[str, Any]:
    """Findings and counts for machines."""
    findings = [
        {"file": f.file, "line": f.line, "key": f.key, "level": "wrong" if f.wrong else "look", "message": f.message}
        for f in done.findings
    ]
    return {"model": done.model, "wrong": len(done.wrong), "findings": findings, **done.counted}


def as_text(done: Checked) -> str:
    """A line for each finding, as editors and terminals make links of them, and what there is of rows and groups."""
    lines = [_line(f) for f in done.findings]
    look = len(done.findings) - len(done.wrong)
    begin = f"{plural(len(done.wrong), 'thing')} to mend" if done.wrong else f"{done.model}: nothing is wrong"
    lines.append(f"{begin}, {plural(look, 'thing')} to look at." if look else f"{begin}.")
    if done.counted:
        lines.append(f"  rows: {_listed(done.counted['rows'])}")
        lines += [f"  {said}" for said in losses(done.counted["read"], done.counted["dropped"])]
    if done.counted.get("classes"):
        lines.append(f"  classes in the holdout: {_listed(done.counted['classes'])}")
    lines += [f"  {name} in the holdout: {_listed(groups)}" for name, groups in done.counted.get("groups", {}).items()]
    return "\n".join(lines)


def _line(finding: Finding) -> str:
    place = finding.file if finding.line is None else f"{finding.file}:{finding.line}"
    return f"{place}: {'' if finding.wrong else 'look: '}{finding.message}"


def _listed(counted: dict[str, int]) -> str:
    return ", ".join(f"{name} {rows:,}" for name, rows in counted.items())

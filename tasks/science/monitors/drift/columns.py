"""One input column of a window against the reference: its distance, and its shares of missing, new and out-of-range
values."""

from __future__ import annotations

import numpy as np
from scipy.stats import fisher_exact

from tasks.science.monitors.drift.distances import LN2, ColumnLayout, divergence
from tasks.science.monitors.drift.judged import Judged
from tasks.science.monitors.drift.reference import ColumnDrift, DriftReference
from tasks.science.monitors.profiles.layout import NAMED_ROWS, CategoryLayout, NumberLayout
from tasks.science.monitors.profiles.profile import Profile
from tasks.spec.columns import KINDS
from tasks.spec.evidence import Finding
from tasks.spec.kind import ColumnKind
from tasks.spec.model import ModelConfig

SHOWN = 3


def column_findings(
    config: ModelConfig, reference: DriftReference, window: Profile, layout: ColumnLayout, share: float, loud: bool
) -> list[Judged]:
    name, limit = layout.name, config.monitoring.drift_distance
    number = isinstance(layout, NumberLayout)
    absent = window.odd(name)["absent"] if number else int(window.counts[f"absent:{name}"][0])
    if absent == window.rows:
        text = f"{name}: the column is not in the window, whose {absent:,} rows were read as missing"
        return [
            Judged(
                Finding(
                    kind="missingness",
                    subject=name,
                    value=1.0,
                    rows=window.rows,
                    alarm=True,
                    importance=share,
                    sentence=text,
                ),
                None,
                certain=True,
            )
        ]
    found = reference.shift(layout, window)
    text = (
        f"{name}: Jensen-Shannon distance {found.excess:.3f} from the reference, carrying {share:.0%} of the "
        f"attribution ({share * found.excess:.3f} weighted)"
    )
    text += _moved(layout, kind_of(config, name), reference.profile, window, found)
    text += "" if loud or found.excess <= limit else "; too little of the output depends on it for an alarm"
    finding = Finding(
        kind="data_drift",
        subject=name,
        value=found.excess,
        limit=limit,
        rows=window.rows,
        alarm=found.excess > limit,
        importance=share,
        sentence=text,
    )
    judged = [Judged(finding, found.p_value, loud)]
    for kind, then, now, says in _rates(layout, reference.profile, window):
        p_value, excess = _two_rates(then, now)
        value, before = now[0] / now[1], then[0] / max(then[1], 1)
        text = f"{name}: {says.format(value=value, before=before)}"
        finding = Finding(
            kind=kind,
            subject=name,
            value=value,
            reference=before,
            rows=window.rows,
            alarm=excess > limit and (value > before or kind == "missingness"),
            importance=share,
            sentence=text,
        )
        judged.append(Judged(finding, p_value, loud))
    return judged


def kind_of(config: ModelConfig, name: str) -> ColumnKind:
    """The kind of an input, or a number where another version had the column."""
    return next((c.kind for c in config.inputs if c.name == name), KINDS["number"])


def _moved(layout: ColumnLayout, kind: ColumnKind, reference: Profile, window: Profile, found: ColumnDrift) -> str:
    """What a reader sees of the shift: means of a number, the category whose share changed most."""
    if isinstance(layout, NumberLayout):
        rows = [int(p.counts[f"bins:{layout.name}"].sum()) for p in (reference, window)]
        empty = [place for place, count in zip(("the reference", "the window"), rows, strict=True) if not count]
        if empty:
            return f"; {' and '.join(empty)} {'hold' if len(empty) > 1 else 'holds'} no number in it"
        (then, spread), (now, _) = (p.moments(layout) for p in (reference, window))
        if found.one_cell or (spread == 0 and now == then):
            return f"; it is {kind.text(now)} in every row of both windows"
        unit = f" {layout.unit}" if layout.unit else ""
        far = found.wasserstein
        moved = "" if far is None else f", values moved by {kind.distance(far)}{unit} on average"
        return f"; its mean is {kind.text(now)}, {kind.text(then)} in the reference{moved}"
    counts = [p.counts[f"names:{layout.name}"] for p in (reference, window)]
    shares = [part / max(part.sum(), 1) for part in counts]
    most = int(np.abs(shares[1] - shares[0]).argmax())
    title = [*(repr(n) for n in layout.names), "a category not listed", "nothing"][most]
    if found.one_cell:
        return f"; it holds {title} in every row of both windows"
    return f"; {title} in {shares[1][most]:.1%} of the rows, {shares[0][most]:.1%} in the reference"


def _rates(
    layout: ColumnLayout, reference: Profile, window: Profile
) -> list[tuple[str, tuple[int, int], tuple[int, int], str]]:
    """What is a share of rows: its kind, (rows, of all) then and now, and the sentence."""
    if isinstance(layout, CategoryLayout):
        then, now = (p.counts[f"names:{layout.name}"] for p in (reference, window))
        new = sorted(
            ((k, v) for k, v in window.unseen[layout.name].items() if v >= NAMED_ROWS),
            key=lambda item: (-item[1], item[0]),
        )
        listed = ": " + ", ".join(f"{k!r} in {v:,} rows" for k, v in new[:SHOWN]) if new else ""
        fresh = round(layout.fresh_share * reference.rows)
        says = (
            "{value:.1%} of the rows hold a category that the reference hardly knows, {before:.1%} are expected"
            + listed.replace("{", "{{").replace("}", "}}")
        )
        return [
            (
                "missingness",
                (int(then[-1]), reference.rows),
                (int(now[-1]), window.rows),
                "missing in {value:.0%} of the rows, {before:.0%} in the reference",
            ),
            ("new_category", (fresh, reference.rows), (int(now[-2]), window.rows), says),
        ]
    odd = reference.odd(layout.name), window.odd(layout.name)
    gone = [o["missing"] for o in odd]
    broken = [o["unreadable"] + o["infinity"] + o["minus_infinity"] for o in odd]
    outside = [int(p.counts[f"bins:{layout.name}"][[0, -1]].sum()) if layout.edges else 0 for p in (reference, window)]
    ruled = [o["under_minimum"] + o["over_maximum"] for o in odd]
    # Where nothing changed, rows beyond the reference's ends are few and not none: one is expected at each end.
    expected, seen = broken[0] + max(outside[0] + 2, ruled[0]), broken[1] + max(outside[1], ruled[1])
    o = odd[1]
    parts = [
        (ruled[1], "outside the declared range"),
        (outside[1], "outside what the reference held"),
        (broken[1] - o["unreadable"], "infinite"),
        (o["unreadable"], "no number at all"),
    ]
    told = ", ".join(f"{count:,} {what}" for count, what in parts if count) or "none"
    return [
        (
            "missingness",
            (gone[0], reference.rows),
            (gone[1], window.rows),
            "missing in {value:.0%} of the rows, {before:.0%} in the reference",
        ),
        (
            "out_of_range",
            (min(expected, reference.rows), reference.rows),
            (seen, window.rows),
            f"{{value:.1%}} of the rows are out of range ({told}), {{before:.1%}} expected",
        ),
    ]


def _two_rates(then: tuple[int, int], now: tuple[int, int]) -> tuple[float, float]:
    """Fisher's exact test (1935), and the Jensen-Shannon distance without what sampling adds, of two shares of rows."""
    table = np.array([[part[0], part[1] - part[0]] for part in (then, now)])
    if not table[:, 0].any():
        return 1.0, 0.0
    sampling = (1 / then[1] + 1 / now[1]) / (8 * LN2)
    return float(fisher_exact(table).pvalue), float(np.sqrt(max(float(divergence(table[0], table[1])) - sampling, 0.0)))

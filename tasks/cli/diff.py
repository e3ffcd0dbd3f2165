"""``assay diff`` and ``assay why``: two versions, candidates or commits, for a terminal, machines and browsers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tasks.cli.common import Json, Model, row, say, settings
from tasks.spec.display import metric_name, metric_said
from tasks.spec.errors import ConfigError
from tasks.spec.wording import number, plural

if TYPE_CHECKING:
    from tasks.causes import Why
    from tasks.comparison import Comparison
    from tasks.science.examination.causes import Share

OF = "A version such as v1.0.0, a candidate's commit, or a commit or branch of the origin."
INDENT, UNSURE, CODE, COLUMNS, FLIPS = 13, 3, 12, 12, 6
"""Where the text of a row begins; the exit code where what it did is unknown; how many functions, columns and moves of
classes a terminal lists."""


def diff(
    model: Model,
    old: Annotated[str, typer.Argument(metavar="A", help=OF)],
    new: Annotated[str, typer.Argument(metavar="B", help=OF)],
    page: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write a page with plots, as HTML.")] = None,
    as_json: Json = False,
) -> None:
    """Tell what changed from A to B, and what it did on the same rows: exit 3 where that cannot be shown."""
    from tasks.comparison import compare
    from tasks.records.pages.side_by_side import comparison_page
    from tasks.records.repository.differences import value_said

    found = compare(settings(), model, old, new)
    document = as_document(found)
    if page is not None:
        write(page, comparison_page(document, (found.old.name, found.new.name), value_said))
    say(document, as_json, text(found, document) + (f"\n\npage  {page}" if page else ""))
    raise typer.Exit(UNSURE if found.unknown else 0)


def why(
    model: Model,
    old: Annotated[str, typer.Argument(metavar="A", help=OF)],
    new: Annotated[str, typer.Argument(metavar="B", help=OF)],
    metric: Annotated[str | None, typer.Option(help="By default the one that the champion is compared by.")] = None,
    seeds: Annotated[int, typer.Option(help="How many trainings each mix of the changes gets.")] = 5,
    as_json: Json = False,
) -> None:
    """Tell which change moved a metric from A to B, by training every mix of them: exit 3 where that cannot be done."""
    from tasks.causes import why as asked

    found = asked(settings(), model, old, new, metric, seeds, lambda line: print(line, file=sys.stderr, flush=True))
    say(asdict(found), as_json, "\n".join(_causes(found)))
    raise typer.Exit(UNSURE if found.unknown else 0)


def _causes(found: Why) -> Iterator[str]:
    name = metric_name(found.metric)
    yield f"{found.model}: what moved {name} from {found.old.name} to {found.new.name}"
    yield ""
    yield from _row("changed", found.changed)
    if found.recorded is not None:
        was, now = (metric_said(value, found.metric) for value in found.recorded)
        yield from _row("recorded", f"{was} to {now}, {_moved(found.recorded[1] - found.recorded[0], found.metric)}")
    told = found.attribution
    if told is not None:
        same = f"{metric_said(told.old, found.metric)} to {metric_said(told.new, found.metric)}"
        yield from _row("same rows", f"{same}, over {told.seeds} seeds that all share, {plural(told.rows, 'row')}")
        indent = max(INDENT, *(len(share.cause) + 4 for share in told.shares))
        for share in told.shares:
            yield from row(share.cause, _share(share, found.metric), indent)
    elif not found.unknown:
        yield from _row("cause", "nothing that makes the model differs but its seed")
    if found.remainder is not None:
        said = f"{_moved(found.remainder, found.metric)} of the recorded difference comes of its own seed and rows"
        yield from _row("remainder", said)
    for said in found.joined:
        yield from _row("as one", said)
    if found.unknown:
        yield from _row("unknown", found.unknown)


def _share(share: Share, metric: str) -> str:
    value = _moved(share.value, metric)
    if share.low is None or share.high is None:
        return f"{value}, too few rows for an interval, so not told apart from chance"
    said = "" if share.moved else ", not told apart from chance"
    return f"{value} ({_moved(share.low, metric)} to {_moved(share.high, metric)}){said}"


def _moved(value: float, metric: str) -> str:
    return f"{'+' if value >= 0 else ''}{metric_said(value, metric)}"


def write(page: Path, text: str, option: str = "--page") -> None:
    """Write a file that an option names.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        page.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"{option} {page} cannot be written ({error.strerror}). Name a file in a folder that is there."
        ) from None


def as_document(found: Comparison) -> dict[str, Any]:
    """The comparison as JSON has it, with its sentences."""
    document = asdict(found)
    document["changed_any"], document["changed_said"] = found.changed.any, found.changed.sentence
    document["rows_said"] = rows_said(document["data"]) if found.data else ""
    if found.effects is not None:
        kind = found.effects.kind
        document["flips_said"] = flips_said(document["effects"]["flips"], kind)
        for group in document["effects"]["groups"]:
            group["flips_said"] = flipped(group["flipped_up"], group["flipped_down"], kind)
    return document


def rows_said(data: dict[str, Any]) -> str:
    rows = data["rows"]
    by = f"by {data['entity'] or rows['key']}" if rows["key"] else "by content, since no column names a row"
    changed = f", {rows['changed']:,} changed" if rows["key"] else ""
    moved = f"; {plural(rows['moved'], 'row')} on another side of the split" if rows["moved"] else ""
    return (
        f"{rows['old']:,} rows became {rows['new']:,}, matched {by}: {rows['same']:,} the same{changed}, "
        f"{rows['added']:,} added, {rows['removed']:,} removed{moved}"
    )


def flipped(up: int, down: int, kind: str) -> str:
    if kind == "multiclass":
        return f"{plural(up, 'row')} decided otherwise"
    return f"{plural(up, 'row')} newly selected, {down:,} no longer"


def flips_said(flips: dict[str, Any] | None, kind: str) -> str:
    if flips is None:
        return "nothing is decided by this number"
    said = f"of {plural(flips['rows'], 'row')}, {flipped(flips['up'], flips['down'], kind)}"
    moves = [f"{one} to {other} {count:,}" for one, other, count in flips["moves"][:FLIPS]]
    return said + (f": {', '.join(moves)}" if moves else "")


def text(found: Comparison, document: dict[str, Any]) -> str:
    """The same for a terminal of 80 columns."""
    lines = [
        f"{found.model}: {found.old.name} ({found.old.commit[:12]}) and {found.new.name} ({found.new.commit[:12]})"
    ]
    lines += ["", "What changed", *_changed(found, document)]
    if found.effects is not None:
        lines += ["", "What it did", *_did(found, document), *_learned(found)]
    for said in found.unknown:
        lines += ["", *_row("unknown", said)]
    return "\n".join(lines)


def _changed(found: Comparison, document: dict[str, Any]) -> Iterator[str]:
    changed = found.changed
    for at, change in enumerate(changed.code[:CODE]):
        origin = f" from {change.source}" if change.source else ""
        said = f"{change.file} {change.name} {change.kind}{origin}"
        yield from _row("code", said) if not at else _row("", said)
    if len(changed.code) > CODE:
        yield from _row("", f"and {plural(len(changed.code) - CODE, 'more function')}")
    yield from _pairs("settings", {k: v for k, v in changed.parameters.items() if k != "seed"})
    yield from _pairs("pipeline", found.pipeline)
    for at, said in enumerate(found.network.changes if found.network else ()):
        yield from _row("layers" if not at else "", said)
    for name, features in zip(("added", "removed"), found.features, strict=True):
        if features:
            yield from _row("features", f"{name}: {', '.join(features)}")
    if found.seeds[0] != found.seeds[1]:
        yield from _row("seed", f"{found.seeds[0]} to {found.seeds[1]}")
    if found.data is not None:
        yield from _row("rows", rows_said(document["data"]))
        yield from _columns(found)
    elif changed.data:
        yield from _row("data", ", ".join(changed.data))
    yield from _pairs("packages", changed.packages)
    yield from _pairs("judging", changed.judging)
    if not changed.any and not found.pipeline and not (found.network and found.network.changes):
        yield "  nothing that makes or judges it"


def _row(name: str, said: str) -> list[str]:
    """A named row; without a name one that goes on below."""
    return row(name or " ", said, INDENT)


def _pairs(name: str, pairs: dict[str, tuple[Any, Any]]) -> Iterator[str]:
    from tasks.records.repository.differences import value_said

    for at, (key, (old, new)) in enumerate(pairs.items()):
        said = f"{key}: {value_said(old)} to {value_said(new)}"
        yield from _row(name, said) if not at else _row("", said)


def _columns(found: Comparison) -> Iterator[str]:
    assert found.data is not None
    other = [c for c in found.data.columns if c.state != "same"]
    other.sort(key=lambda c: -(c.distance if c.distance is not None else 2.0))
    for at, column in enumerate(other[:COLUMNS]):
        said = f"{column.name} {column.state}"
        if column.distance is not None:
            said += f", distance {column.distance:.4f}"
        if column.mean_old is not None and column.mean_new is not None:
            said += f", mean {number(column.mean_old)} to {number(column.mean_new)}"
        yield from _row("columns", said) if not at else _row("", said)
    if len(other) > COLUMNS:
        yield from _row("", f"and {plural(len(other) - COLUMNS, 'more column')}")
    if not other:
        yield from _row("columns", "every column has the same distribution")


def _did(found: Comparison, document: dict[str, Any]) -> Iterator[str]:
    effects = found.effects
    assert effects is not None
    left = f"; {plural(effects.left_out, 'row')} that the older was trained on left out" if effects.left_out else ""
    yield from _row("on", f"{plural(effects.rows, 'row')} of the newer holdout, seen by neither in training{left}")
    yield f"  {'':<22}{found.old.name[:10]:>11}{found.new.name[:10]:>12}  difference (95 % interval)"
    yield from _table(effects.metrics, effects.unit)
    if effects.flips is not None:
        yield from _row("decisions", flips_said(document["effects"]["flips"], effects.kind))
    for group, told in zip(effects.groups, document["effects"]["groups"], strict=True):
        yield f"  {group.attribute}: {group.group}, {plural(group.rows, 'row')}; {told['flips_said']}"
        yield from _table(group.effects, effects.unit)
    moved = sorted(found.importance.items(), key=lambda item: -abs(item[1][1] - item[1][0]))[:5]
    said = ", ".join(f"{name} {old:.1%} to {new:.1%}" for name, (old, new) in moved)
    yield from _row("explained", said)


def _learned(found: Comparison) -> Iterator[str]:
    """Of each network, the epoch that is kept and the last one."""
    from tasks.records.pages.networks import losses_short

    runs = zip((found.old, found.new), found.network.epochs if found.network else (), strict=False)
    told = [f"{side.name}: {losses_short(run)}" for side, run in runs if run is not None]
    for at, said in enumerate(told):
        yield from _row("learned" if not at else "", said)


def _table(effects: Any, unit: str) -> Iterator[str]:
    from tasks.records.pages.side_by_side import signed
    from tasks.spec.display import metric_said

    for effect in effects:
        values = [metric_said(value, effect.name, unit) for value in (effect.old, effect.new)]
        ends = [signed(end, effect.name) for end in (effect.low, effect.high)]
        interval = f" ({ends[0]} to {ends[1]})" if all(ends) else ""
        name, moved = metric_name(effect.name)[:20], signed(effect.difference, effect.name)
        yield f"    {name:<20}{values[0]:>11}{values[1]:>12}  {moved}{interval}"

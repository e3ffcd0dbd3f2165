"""From ``--target EXPR`` to ``data.target``: names as the config has them, and which kind of target it is."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import Any

from tasks.scaffold.columns import Guess, truth
from tasks.scaffold.dates import COMPACT
from tasks.scaffold.quantities import plain
from tasks.spec.errors import ConfigError
from tasks.spec.expressions import parsed
from tasks.spec.wording import plural

CLASSES = 20
"""Distinct values up to which a column of names is taken as classes."""
FEW_CLASSES = 10
"""Whole numbers up to which a column of them is taken as classes, each of :data:`CLASS_ROWS` rows at least."""
CLASS_ROWS = 30


@dataclass(frozen=True)
class TargetGuess:
    """``data.target``, and why."""

    document: dict[str, Any]
    used: set[str]
    """Columns that it is made from."""
    notes: dict[str, str]
    """By key of ``data.target``: why it is thought so."""
    said: str
    """As the person wrote it."""


def guess_target(
    expression: str, columns: list[Guess], kind: str | None, positive: str | None, source: str
) -> TargetGuess:
    """Read the target's expression.

    Args:
        expression: over original names (in backticks where they are no Python names) or names as the config has them.
        kind: binary, multiclass or regression, where a person said so.
        positive: of a column with two values, the one that is predicted.
        source: what the error messages call the file.

    Raises:
        ConfigError: it does not parse, names no column or an unknown one, or does not give such a target.
    """
    text = _renamed(expression, columns, source)
    named = _columns(text, columns, source)
    node = ast.parse(text, mode="eval").body
    asked = {name for call in ast.walk(node) if _asks_for_gaps(call) for name in _names(call)}
    if isinstance(node, ast.Name) or not any(c.distinct > 1 or c.name in asked for c in named):
        _refuse_constant(named, source)
    used = {c.name for c in named}
    for column in named:
        column.left_out = ""
    if isinstance(node, ast.Name):
        document, notes = _column_target(named[0], kind, positive)
    elif kind == "regression" or (kind is None and not _is_condition(node)):
        document, notes = {"kind": "regression", "expression": text, "unit": "unit"}, {"unit": "in what unit is it?"}
    elif kind == "multiclass":
        raise ConfigError(
            f"--kind is multiclass and --target is {expression!r}; allowed: the name of a column that "
            "holds the classes."
        )
    else:
        document, notes = _binary(text, f"{expression}", f"not {expression}")
    _fit(named, node, expression)
    gaps = max((c.gaps for c in named if c.name not in asked), default=0)
    if gaps:
        document["missing"] = "drop"
        notes["missing"] = (
            f"{plural(gaps, 'row')} without an answer {'is' if gaps == 1 else 'are'} dropped; why is there none?"
        )
    return TargetGuess(document, used, notes, expression)


def _asks_for_gaps(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("isna", "notna")


def _names(node: ast.AST) -> set[str]:
    return {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}


def _refuse_constant(named: list[Guess], source: str) -> None:
    for column in named:
        if column.distinct < 2:
            what = "holds no value" if not column.distinct else f"holds {column.only!r} in every row"
            fix = "Name a column with several values"
            if column.distinct and column.gaps:
                what = f"holds {column.only!r} or nothing in every row"
                fix = f'Where a blank is an answer too, say "{column.name}.notna()"'
            raise ConfigError(
                f"--target names {column.original!r}, which {what} of {source}, so there is nothing to learn. {fix}."
            )


def _renamed(expression: str, columns: list[Guess], source: str) -> str:
    """The expression with the config's names for the original ones."""
    by_original = {c.original.strip(): c.name for c in columns} | {c.original: c.name for c in columns}
    whole = expression.strip().strip("`")
    whole = whole if whole in by_original else whole.strip()
    if whole in by_original:
        return by_original[whole]

    def quoted(found: re.Match[str]) -> str:
        name = found[1] if found[1] in by_original else found[1].strip()
        if name not in by_original:
            raise ConfigError(_unknown(name, columns, source))
        return by_original[name]

    text = re.sub(r"`([^`]+)`", quoted, expression.strip())
    try:
        text, _, _, tree = parsed(text)
    except ValueError as error:
        comma = re.search(r"(\d+),(\d+)", text)
        if comma:
            hint = f"Where {comma[0]} is a number, write {comma[1]}.{comma[2]}: its decimal mark is a point here."
            raise ConfigError(f"--target is {expression!r}, which is no expression. {hint}") from None
        raise ConfigError(f"--target is {error}. A name with blanks or the like stands in backticks.") from None
    names = sorted(
        (n for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id in by_original),
        key=lambda n: -n.col_offset,
    )
    data = text.encode()
    for name in names:  # from the end, since offsets are those of the text before
        data = data[: name.col_offset] + by_original[name.id].encode() + data[name.end_col_offset or 0 :]
    return data.decode()


def _columns(text: str, columns: list[Guess], source: str) -> list[Guess]:
    by_name = {c.name: c for c in columns}
    tree = ast.parse(text, mode="eval")
    called = {n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
    names = dict.fromkeys(n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and n.id not in called)
    for name in names:
        if name not in by_name:
            raise ConfigError(_unknown(name, columns, source))
    if not names:
        raise ConfigError(f"--target is {text!r}, which names no column. Write a column or a condition over columns.")
    return [by_name[name] for name in names]


def _unknown(name: str, columns: list[Guess], source: str) -> str:
    return (
        f"--target names {name!r}, which is no column of {source}; allowed: {', '.join(c.original for c in columns)}."
    )


def _is_condition(node: ast.expr) -> bool:
    if isinstance(node, ast.Compare | ast.BoolOp):
        return True
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, ast.Not | ast.Invert)
    if isinstance(node, ast.BinOp):
        return isinstance(node.op, ast.BitAnd | ast.BitOr)
    return isinstance(node, ast.Call) and getattr(node.func, "attr", "") in ("isin", "isna", "notna")


def _column_target(column: Guess, kind: str | None, positive: str | None) -> tuple[dict[str, Any], dict[str, str]]:
    if positive is not None or kind == "binary" or (kind is None and column.distinct == 2):
        return _two_values(column, positive)
    if kind == "regression" or (kind is None and column.quantity and not _looks_like_classes(column)):
        if not column.quantity:
            raise ConfigError(
                f"--kind is regression, and {column.original!r} is a column of type {column.type}; allowed: numbers. "
                "Leave --kind out, or name another column."
            )
        notes = {} if column.unit else {"unit": "in what unit is it?"}
        if column.distinct <= CLASSES:
            notes["kind"] = f"{column.distinct} whole numbers could be classes too: --kind multiclass"
        return {"kind": "regression", "expression": column.name, "unit": column.unit or "unit"}, notes
    if column.distinct > CLASSES:
        raise ConfigError(
            f"--target names {column.original!r}, which has {column.distinct:,} different values; allowed are up to "
            f"{CLASSES} classes. Write a condition such as \"{column.name} == 'value'\"."
        )
    if column.distinct < 3:
        raise ConfigError(
            f"--kind is multiclass, and {column.original!r} has {plural(column.distinct, 'value')}; allowed: three or "
            "more. Leave --kind out, or say --kind binary."
        )
    questions = {"classes": "in what order?"}
    if column.quantity:
        if kind is None:
            questions["kind"] = (
                f"{column.distinct} whole numbers are taken as classes; where they are amounts, say --kind regression"
            )
        column.type, column.minimum, column.maximum = "category", None, None
        column.notes = ["classes, so names"]
    classes = sorted(column.counts, key=lambda v: (float(v) if _whole(v) else 0.0, v))
    return {"kind": "multiclass", "expression": column.name, "classes": classes}, questions


def _looks_like_classes(column: Guess) -> bool:
    """Few whole numbers, one after the other, each of many rows."""
    if column.type != "integer" or column.distinct > FEW_CLASSES or not column.counts:
        return False
    values = [int(float(v)) for v in plain(column.counts, column.reading, column.unit)]
    return max(values) - min(values) < FEW_CLASSES and min(column.counts.values()) >= CLASS_ROWS


def _two_values(column: Guess, positive: str | None) -> tuple[dict[str, Any], dict[str, str]]:
    values = list(column.counts)
    if positive is not None and positive not in values:
        raise ConfigError(f"--positive is {positive!r}; allowed: {', '.join(values)}.")
    if positive is None and len(values) != 2:
        raise ConfigError(
            f"--kind is binary, and {column.original!r} has {column.distinct} values; allowed: two, or name one with "
            f"--positive: {', '.join(values[:20])}."
        )
    usual = {"1", "yes", "true", "ja", "y", "oui", "si", "bad", "default"}
    chosen = positive or next((v for v in values if v.lower() in usual), values[-1])
    rest = " or ".join(v for v in values if v != chosen)
    cell = truth(chosen) if column.type == "boolean" else chosen
    (number,) = plain([chosen], column.reading, column.unit)
    document, notes = _binary(
        f"{column.name} == {number}" if column.quantity else f"{column.name} == {cell!r}",
        f"{column.original} is {chosen}",
        f"{column.original} is {rest}",
    )
    if positive is None:
        notes["expression"] = f"{chosen!r} is predicted, of {' and '.join(sorted(values))}; --positive names the other"
    return document, notes


def _binary(expression: str, positive: str, negative: str) -> tuple[dict[str, Any], dict[str, str]]:
    document = {
        "kind": "binary",
        "expression": expression,
        "positive": positive[:80],
        "negative": negative[:80],
        "decision_threshold": 0.5,
    }
    return document, {"decision_threshold": "from which score on does something happen?"}


def _refuse_order_of_text(column: Guess, part: ast.Compare, expression: str) -> None:
    """As text "6" is more than "50", so a number is put in order as a number alone."""
    text = next(c.value for c in ast.walk(part) if isinstance(c, ast.Constant) and isinstance(c.value, str))
    kind = "true or false" if column.type == "boolean" else "a number"
    raise ConfigError(
        f"--target is {expression!r}: column {column.original} is {kind} and {text!r} is text, which has another "
        "order; write the number without quotes."
    )


def _fit(named: list[Guess], node: ast.expr, expression: str) -> None:
    """Types of the target's columns that its comparisons fit: a number is compared with a number, a name with text."""
    by_name = {c.name: c for c in named}
    for part in ast.walk(node):
        if not isinstance(part, ast.Compare):
            continue
        sides = [part.left, *part.comparators]
        constants = [c.value for s in sides for c in ast.walk(s) if isinstance(c, ast.Constant)]
        ordered = any(isinstance(sign, ast.Lt | ast.LtE | ast.Gt | ast.GtE) for sign in part.ops)
        for side in sides:
            column = by_name.get(side.id) if isinstance(side, ast.Name) else None
            if column is None:
                continue
            numbers = [c for c in constants if isinstance(c, int | float) and not isinstance(c, bool)]
            if numbers and column.type in ("boolean", "category") and all(_whole(v) for v in column.counts):
                column.type, column.categories = "integer", ()
                column.notes = ["compared with a number by the target"]
            elif numbers and column.format == COMPACT:
                column.type, column.format, column.minimum, column.maximum = "integer", "", None, None
                column.notes, column.questions = ["compared with a number by the target"], []
            elif any(isinstance(c, str) for c in constants) and column.type in ("boolean", "integer", "number"):
                if ordered:
                    _refuse_order_of_text(column, part, expression)
                column.type, column.minimum, column.maximum = "category", None, None
                column.notes = ["compared with text by the target"]


def _whole(value: str) -> bool:
    return bool(re.fullmatch(r"[+-]?\d+", value))

"""What an expression means over declared columns: every operand has a type, and both sides of a comparison the same.

See :mod:`tasks.spec.expressions` for what an expression may hold.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tasks.spec.cells import category_text
from tasks.spec.expressions import ALIASES, ARITHMETIC, COMPARISONS, LARGEST_POWER, Wrong, parsed, placed, short
from tasks.spec.kind import DeclaredColumn
from tasks.spec.metrics import TargetKind

Type = Literal["quantity", "name", "truth", "day", "instant"]


@dataclass(frozen=True)
class Node:
    """One step of an expression whose types have been checked.

    ``op`` is ``column`` (``value`` is its name), ``value``, ``list``, a comparison, ``and``, ``or``, ``not``, an
    arithmetic sign, ``negative``, ``isna``, or a function of :data:`FUNCTIONS`.
    """

    op: str
    type: Type
    args: tuple[Node, ...] = ()
    value: Any = None


@dataclass(frozen=True)
class Operand:
    """What an expression may know of a column: its type, and how a text beside it is read."""

    type: Type
    literal: Callable[[Any], Any] | None = None
    """A value that the configuration writes, in the form that the table holds; of numbers and text, None.

    Raises ValueError, whose message says what is allowed."""


def operands(columns: Iterable[DeclaredColumn]) -> dict[str, Operand]:
    """The operands that declared columns give."""
    return {c.name: Operand(c.kind.operand, _literal(c)) for c in columns}


def _literal(column: DeclaredColumn) -> Callable[[Any], Any] | None:
    return None if column.kind.operand in ("quantity", "name") else lambda value: column.kind.literal(value, column)


def resolve(text: str, known: Mapping[str, Operand]) -> Node:
    """Check an expression against columns.

    Raises:
        ValueError: it is not allowed, names an unknown column, or its types do not fit; the message gives the position.
    """
    rewritten, origin, names, tree = parsed(text)
    try:
        found = _Resolver(known, names).node(tree.body)
    except Wrong as wrong:
        raise placed(wrong, text, rewritten, origin) from None
    if not any(n.op == "column" for n in _walk(found)):
        raise ValueError(f"{short(text)}, which is one value and no column; {_columns(known)}")
    return found


def condition(text: str, known: Mapping[str, Operand]) -> Node:
    """As :func:`resolve`, of an expression that is true or false for a row."""
    found = resolve(text, known)
    if found.type != "truth":
        raise ValueError(
            f"{short(text)}, which is {_A[found.type]} and no condition; write a comparison such as 'year == 94' or "
            "'code.isna()'"
        )
    return found


def condition_fault(where: str, text: str, columns: Iterable[DeclaredColumn]) -> str:
    """Why a condition does not fit declared columns, in a sentence that begins with ``where``; empty where it does."""
    try:
        condition(text, operands(columns))
    except ValueError as error:
        return f"{where} is {error}"
    return ""


def label_fault(kind: TargetKind, text: str, columns: Iterable[DeclaredColumn]) -> str:
    """Why a target's expression gives no label of its kind; see :func:`condition_fault`."""
    where = "data.target.expression"
    if kind == "binary":
        return condition_fault(where, text, columns)
    try:
        found = resolve(text, operands(columns))
    except ValueError as error:
        return f"{where} is {error}"
    allowed: tuple[Type, ...] = ("quantity",) if kind == "regression" else ("name", "quantity")
    if found.type in allowed:
        return ""
    return (
        f"{where} is {short(text)}, which is {_A[found.type]}; allowed for a {kind} model: "
        f"{' or '.join(_A[t] for t in allowed)}"
    )


def _walk(node: Node) -> Iterable[Node]:
    yield node
    for part in node.args:
        yield from _walk(part)


def columns_named(node: Node) -> list[str]:
    """Names of the columns that an expression reads, in order of appearance."""
    return list(dict.fromkeys(n.value for n in _walk(node) if n.op == "column"))


def _columns(known: Iterable[str]) -> str:
    return f"allowed columns: {', '.join(known)}"


@dataclass(frozen=True)
class _Resolver:
    """From an allowed tree to typed nodes; ``names`` are the columns that stood in backticks."""

    known: Mapping[str, Operand]
    names: Mapping[str, str]

    def node(self, tree: ast.expr) -> Node:
        match tree:
            case ast.Name():
                return self._name(tree)
            case ast.Constant():
                return _constant(tree)
            case ast.BoolOp():
                parts = tuple(self._as(p, "truth", "and/or") for p in tree.values)
                return Node("and" if isinstance(tree.op, ast.And) else "or", "truth", parts)
            case ast.UnaryOp():
                return self._unary(tree)
            case ast.Compare():
                return self._compare(tree)
            case ast.BinOp():
                return self._arithmetic(tree)
            case ast.Call(func=ast.Attribute()):
                return self._method(tree)
            case ast.Call(func=ast.Name(id=name)):
                return Node(name, "quantity", tuple(self._as(a, "quantity", f"{name}()") for a in tree.args))
        raise Wrong("a list stands only behind 'in', 'not in', ==, != and in .isin([...])", tree)

    def _name(self, tree: ast.Name) -> Node:
        name = self.names.get(tree.id, tree.id)
        if name in self.known:
            return Node("column", self.known[name].type, value=name)
        if name in ("true", "false"):  # as YAML and JSON write it
            return Node("value", "truth", value=name == "true")
        near = difflib.get_close_matches(name, list(self.known), n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise Wrong(f"{name!r} is no column here; {hint}{_columns(self.known)}", tree)

    def _as(self, tree: ast.expr, wanted: Type, where: str) -> Node:
        found = self.node(tree)
        if found.type != wanted:
            kind = "conditions" if wanted == "truth" else "numbers"
            raise Wrong(f"{where} takes {kind}, and {_said(tree, found)} is {_A[found.type]}", tree)
        return found

    def _unary(self, tree: ast.UnaryOp) -> Node:
        if isinstance(tree.op, ast.Not | ast.Invert):
            return Node("not", "truth", (self._as(tree.operand, "truth", "not"),))
        inner = self._as(tree.operand, "quantity", "a sign")
        if isinstance(tree.op, ast.UAdd):
            return inner
        if inner.op == "value":
            return Node("value", "quantity", value=-inner.value)
        return Node("negative", "quantity", (inner,))

    def _compare(self, tree: ast.Compare) -> Node:
        sides = [tree.left, *tree.comparators]
        found = tuple(
            self._pair(COMPARISONS[type(op)], left, right)
            for op, left, right in zip(tree.ops, sides, sides[1:], strict=False)
        )
        return found[0] if len(found) == 1 else Node("and", "truth", found)

    def _pair(self, sign: str, left: ast.expr, right: ast.expr) -> Node:
        if isinstance(right, ast.List | ast.Tuple) and sign in ("==", "!="):
            sign = "in" if sign == "==" else "not in"
        if sign in ("in", "not in"):
            if not isinstance(right, ast.List | ast.Tuple):
                raise Wrong(f"{sign!r} takes a list, such as code {sign} ['a', 'b']", right)
            return self._among(left, right.elts, sign)
        one, other = self.node(left), self.node(right)
        one, other = self._read(one, other, left), self._read(other, one, right)
        if one.type != other.type:
            raise Wrong(_mixed(sign, left, one, right, other), left)
        if one.type == "truth" and sign not in ("==", "!="):
            raise Wrong(f"a truth has no order; {sign} is not allowed here", left)
        return Node(sign, "truth", (one, other))

    def _among(self, left: ast.expr, listed: list[ast.expr], sign: str) -> Node:
        one = self.node(left)
        values = tuple(self._read(self.node(item), one, item) for item in listed)
        for item, value in zip(listed, values, strict=True):
            if value.type != one.type:
                raise Wrong(_mixed(sign, left, one, item, value), item)
        found = Node("in", "truth", (one, Node("list", one.type, value=tuple(v.value for v in values))))
        return found if sign == "in" else Node("not", "truth", (found,))

    def _read(self, written: Node, beside: Node, tree: ast.expr) -> Node:
        """A written value in the form of what stands beside it: dates and truths are written as text."""
        if written.op != "value" or written.type == beside.type:
            return written
        if written.type == "quantity" and beside.type != "truth":
            return written
        literal = next(
            (self.known[n].literal for n in columns_named(beside) if self.known[n].type == beside.type), None
        )
        if literal is None:
            return written
        try:  # of a truth, the table holds its name, and 1 and 0 stand for it
            said = category_text(written.value) if written.type == "quantity" else written.value
            value = literal(said)
            return Node("value", beside.type, value=value == "true" if beside.type == "truth" else value)
        except ValueError as error:
            raise Wrong(str(error), tree) from None

    def _arithmetic(self, tree: ast.BinOp) -> Node:
        sign = ARITHMETIC[type(tree.op)]
        one, other = self.node(tree.left), self.node(tree.right)
        if sign == "**" and not (
            other.op == "value" and other.type == "quantity" and abs(other.value) <= LARGEST_POWER
        ):
            raise Wrong(f"an exponent is a written number from -{LARGEST_POWER} to {LARGEST_POWER}", tree.right)
        if one.type in ("day", "instant") and sign in ("+", "-"):
            if other.type == "quantity":
                return Node(sign, one.type, (one, other))
            if other.type == one.type and sign == "-":  # days between dates, seconds between points in time
                return Node(sign, "quantity", (one, other))
        for side, found in ((tree.left, one), (tree.right, other)):
            if found.type != "quantity":
                raise Wrong(f"{sign} calculates with numbers, and {_said(side, found)} is {_A[found.type]}", side)
        return Node(sign, "quantity", (one, other))

    def _method(self, tree: ast.Call) -> Node:
        assert isinstance(tree.func, ast.Attribute)
        name = ALIASES.get(tree.func.attr, tree.func.attr)
        if name == "isin":
            assert isinstance(tree.args[0], ast.List | ast.Tuple)
            return self._among(tree.func.value, tree.args[0].elts, "in")
        if name == "between":
            low, high = tree.args
            sides = (self._pair(">=", tree.func.value, low), self._pair("<=", tree.func.value, high))
            return Node("and", "truth", sides)
        missing = Node("isna", "truth", (self.node(tree.func.value),))
        return missing if name == "isna" else Node("not", "truth", (missing,))


_A: dict[Type, str] = {
    "quantity": "a number",
    "name": "text",
    "truth": "true or false",
    "day": "a date",
    "instant": "a point in time",
}


def _constant(tree: ast.Constant) -> Node:
    value = tree.value
    if isinstance(value, bool):
        return Node("value", "truth", value=value)
    if isinstance(value, str):
        return Node("value", "name", value=value)
    assert isinstance(value, int | float)
    return Node("value", "quantity", value=float(value))


def _said(tree: ast.expr, found: Node) -> str:
    return f"column {found.value}" if found.op == "column" else ast.unparse(tree)


def _mixed(sign: str, left: ast.expr, one: Node, right: ast.expr, other: Node) -> str:
    """Two types in one comparison, both named, with the fix."""
    text = (
        f"{_said(left, one)} is {_A[one.type]} and {_said(right, other)} is {_A[other.type]}; {sign!r} compares "
        "values of one type"
    )
    written = next((n for n in (one, other) if n.op == "value"), None)
    if written is not None and {one.type, other.type} == {"quantity", "name"}:
        fix = (
            f'"{category_text(written.value)}", in quotes'
            if written.type == "quantity"
            else "the number without quotes"
        )
        text += f"; write {fix}"
    return text

"""Expressions of the configuration: ``data.rows``, ``data.base``, targets, slices, benchmarks and the rows of rules.

An expression is read with Python's grammar and an allowed set (:data:`ALLOWED`), and nothing is ever run as Python.
A column whose name Python reserves stands in backticks. ``&``, ``|`` and ``~`` are ``and``, ``or`` and ``not``, and the
first two bind as loosely: ``a > 1 & b > 2`` needs no brackets. A power has a written exponent from -10 to 10.

Operands have types, from the declared columns: numbers, text, truths, dates, points in time. Both sides of a comparison
have one type. A date is compared with ISO text, such as ``admitted >= "2024-03-01"``.

Missing values follow the three-valued logic of Kleene (1952), as SQL does. A comparison or calculation with a missing
value is missing. ``false and missing`` is false, ``true or missing`` is true, and other combinations with it are
missing. ``isna()`` and ``notna()`` see it. A *condition* (rows, base, slice, benchmark, rule) takes missing as not
fulfilled. A *label* that is missing stays missing.

Expressions of registered versions are taken as they stand: one that is no expression here is never evaluated.

This module knows neither columns nor tables. :mod:`tasks.spec.expression_types` asks whether an expression fits the
columns, and :mod:`tasks.tables.expressions` evaluates it.
"""

from __future__ import annotations

import ast
import math
from typing import Annotated

from pydantic import AfterValidator, ValidationInfo

from tasks.spec.base import registered

FUNCTIONS: dict[str, int] = {
    name: 1 for name in ("abs", "log", "log10", "log1p", "exp", "expm1", "sqrt", "floor", "ceil")
} | {"min": 2, "max": 2}
"""Functions of numbers, and the fewest arguments of each; ``min`` and ``max`` work row by row and take more."""
METHODS = ("isna", "notna", "isin", "between")
ALIASES = {"isnull": "isna", "notnull": "notna"}
COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.In: "in",
    ast.NotIn: "not in",
}
ARITHMETIC: dict[type[ast.operator], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
    ast.Pow: "**",
}
LONGEST, DEEPEST, LARGEST_POWER = 5000, 60, 10
EXACT = 2**53
ALLOWED = (
    "allowed: column names, numbers, text in quotes, == != < <= > >=, in [...], and, or, not, + - * / // % **, "
    ".isna(), .notna(), .isin([...]), .between(low, high), " + ", ".join(f"{name}()" for name in FUNCTIONS)
)


class Wrong(ValueError):
    """Something that is not allowed, and the byte of the rewritten text at which it stands."""

    def __init__(self, message: str, at: ast.AST | int) -> None:
        super().__init__(message)
        self.at: int = at if isinstance(at, int) else getattr(at, "col_offset", 0)


def syntax(text: str) -> str:
    """Check an expression without knowing the columns, as a pydantic validator does.

    Raises:
        ValueError: it does not parse, or holds what is not allowed; the message gives the position and what is.
    """
    parsed(text)
    return text


def _checked(text: str, info: ValidationInfo) -> str:
    return text if registered(info) else syntax(text)


Expression = Annotated[str, AfterValidator(_checked)]
"""The text of an expression that parses; whether it fits the columns is asked where they are known."""


def short(text: str) -> str:
    shown = repr(text)
    return shown if len(shown) <= 80 else shown[:77] + "..."


def placed(wrong: Wrong, text: str, rewritten: str, origin: list[int]) -> ValueError:
    """The error with its position in the text as a person wrote it."""
    before = len(rewritten.encode(errors="replace")[: wrong.at].decode(errors="ignore"))
    return _at(origin[min(before, len(origin) - 1)] if origin else 0, text, str(wrong))


def _at(index: int, text: str, message: str) -> ValueError:
    return ValueError(f"{short(text)}, position {index + 1}: {message}")


def parsed(text: str) -> tuple[str, list[int], dict[str, str], ast.Expression]:
    """The text that is parsed, the origin of each of its characters, the columns that stood in backticks, and the tree.

    Raises:
        ValueError: see :func:`syntax`.
    """
    if len(text) > LONGEST:
        raise ValueError(f"{short(text)} has {len(text)} characters; allowed are {LONGEST}")
    rewritten, origin, names = _rewritten(text)
    try:
        try:
            tree = ast.parse(rewritten, mode="eval")
        except SyntaxError as error:  # its offset counts characters from 1
            at = len(rewritten[: max(0, (error.offset or 1) - 1)].encode(errors="replace"))
            raise Wrong(f"this is no expression ({error.msg}); {ALLOWED}", at) from None
        except (RecursionError, MemoryError):
            raise Wrong(f"it is nested more than {DEEPEST} levels deep; write it flatter", 0) from None
        except ValueError as error:  # a surrogate, or a number of more digits than Python reads
            raise Wrong(f"this cannot be read ({error}); {ALLOWED}", 0) from None
        _check(tree.body, 1)
    except Wrong as wrong:
        raise placed(wrong, text, rewritten, origin) from None
    return rewritten, origin, names, tree


def _rewritten(text: str) -> tuple[str, list[int], dict[str, str]]:
    """``&`` and ``|`` as ``and`` and ``or``, line ends as spaces, backticked names as identifiers.

    Text in quotes stays as it is. Every character knows the index from which it came.
    """
    pieces: list[tuple[str, int]] = []
    names: dict[str, str] = {}
    index = 0
    while index < len(text):
        sign, end = text[index], index + 1
        if sign in "'\"":
            end = _quoted(text, index)
            pieces += [(text[k], k) for k in range(index, end)]
        elif sign == "`":
            end = text.find("`", end) + 1
            if not end:
                raise _at(index, text, "this backtick is not closed; write `column`")
            name = f"_column_{len(names)}"
            names[name] = text[index + 1 : end - 1]
            pieces.append((name, index))
        elif sign in "@#\\;\0":
            raise _at(index, text, f"{sign!r} is not allowed; {ALLOWED}")
        else:
            pieces.append(({"&": " and ", "|": " or "}.get(sign, " " if sign.isspace() else sign), index))
        index = end
    while pieces and pieces[0][0] == " ":  # Python takes spaces before an expression for indentation
        pieces.pop(0)
    return "".join(p for p, _ in pieces), [at for p, at in pieces for _ in p], names


def _quoted(text: str, start: int) -> int:
    """The index behind a text in quotes; of one that is not closed, the end."""
    end = start + 1
    while end < len(text) and text[end] != text[start]:
        end += 2 if text[end] == "\\" else 1
    return min(end + 1, len(text))


def _check(node: ast.expr, depth: int) -> None:
    """Refuse whatever is not in the allowed set, wherever it stands.

    Raises:
        Wrong: with the node's place.
    """
    if depth > DEEPEST:
        raise Wrong(f"it is nested more than {DEEPEST} levels deep; write it flatter", node)
    match node:
        case ast.Name():
            parts: list[ast.expr] = []
        case ast.Constant():
            _check_constant(node)
            parts = []
        case ast.BoolOp():
            parts = node.values
        case ast.UnaryOp():
            parts = [node.operand]
        case ast.Compare() if all(type(op) in COMPARISONS for op in node.ops):
            parts = [node.left, *node.comparators]
        case ast.BinOp() if type(node.op) in ARITHMETIC:
            parts = [node.left, node.right]
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            if not parts or not all(_literal_of(p) for p in parts):
                raise Wrong("a list holds one or more numbers or texts in quotes, and nothing else", node)
        case ast.Call(func=ast.Attribute(value=inner, attr=name)) if name in (*METHODS, *ALIASES):
            parts = [inner, *_arguments(node, name)]
        case ast.Call(func=ast.Name(id=name)) if name in FUNCTIONS:
            parts = _arguments(node, name)
        case _:
            raise Wrong(f"{_what(node)} is not allowed; {ALLOWED}", node)
    for part in parts:
        _check(part, depth + 1)


def _check_constant(node: ast.Constant) -> None:
    value = node.value
    if isinstance(value, bool | str):
        return
    if value is None:
        raise Wrong("None is not allowed; ask .isna() or .notna()", node)
    if not isinstance(value, int | float):
        raise Wrong(f"{_what(node)} is not allowed; {ALLOWED}", node)
    if isinstance(value, int) and abs(value) > EXACT:
        raise Wrong(
            f"the number is beyond {EXACT}, where tables cannot tell neighbours apart; declare such a column category "
            "and compare with text in quotes",
            node,
        )
    if not math.isfinite(value):
        raise Wrong("the number is too large; allowed are finite numbers", node)


def _literal_of(node: ast.expr) -> bool:
    """Whether it is a written value, perhaps a negative number."""
    return isinstance(node.operand if isinstance(node, ast.UnaryOp) else node, ast.Constant)


def _arguments(call: ast.Call, name: str) -> list[ast.expr]:
    """Arguments of an allowed function or method, where their number is right."""
    if call.keywords or any(isinstance(a, ast.Starred) for a in call.args):
        raise Wrong(f"{name} takes values without names and stars", call)
    given, few = len(call.args), {"isin": 1, "between": 2}.get(name, FUNCTIONS.get(name, 0))
    if given < few or (given > few and name not in ("min", "max")):
        raise Wrong(f"{name} takes {few} value{'' if few == 1 else 's'} and is given {given}", call)
    if name == "isin" and not isinstance(call.args[0], ast.List | ast.Tuple):
        raise Wrong('isin takes a list, such as .isin(["a", "b"])', call)
    return call.args


def _what(node: ast.expr) -> str:
    """The forbidden thing, in words."""
    match node:
        case ast.Call(func=ast.Name(id=name)):
            return f"the function {name}()"
        case ast.Call(func=ast.Attribute(attr=name)):
            return f"the method .{name}()"
        case ast.Call():
            return "this call"
        case ast.Attribute(attr=name):
            return f"the attribute .{name}"
        case ast.Compare():
            return "'is'"
        case ast.Constant():
            return f"a value of type {type(node.value).__name__}"
        case ast.IfExp():
            return "'if ... else'"
        case ast.JoinedStr():
            return "a formatted text"
        case ast.NamedExpr():
            return "an assignment"
    if isinstance(node, ast.BinOp):
        return "this operator"
    return {"ListComp": "a comprehension", "SetComp": "a comprehension", "GeneratorExp": "a comprehension"}.get(
        type(node).__name__, f"{type(node).__name__.lower()}"
    )

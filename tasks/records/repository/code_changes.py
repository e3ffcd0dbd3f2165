"""What of a model's code changed between two commits, by syntax tree: comments, layout and docstrings are no change.

Only modules that the model loads count: those that its stages import, at the top or within a function, and a factory of
its own. A module is followed by name within the repository; what is installed counts as environment.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from tasks.records.repository.objects import Objects

MAKING = ("ingest", "prepare", "train")
"""Stages that make a model; what measures it afterwards changes no file of it."""
FACTORY = re.compile(r"deployments\.models\.\w+\.code\.[\w.]+(?=:)")
TOP = "<module>"
DEFINED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass(frozen=True)
class CodeChange:
    """A function, a class, or what a module does when it is imported."""

    file: str
    name: str
    """``function``, ``Class.method``, ``Class`` for what stands in its body, a constant's name, or ``<module>``."""
    kind: Literal["changed", "added", "removed", "moved"]
    lines: tuple[str, ...] = ()
    """A unified diff of the code without comments; empty where it is only added, removed or moved."""
    source: str = ""
    """Of what was moved: the file that it came from."""


def code_changes(objects: Objects, model: str, old: str, new: str) -> list[CodeChange]:
    """What changed of the code that makes a model, between two commits."""
    before, after = loaded(objects, model, old), loaded(objects, model, new)
    found: list[CodeChange] = []
    for path in sorted({*before, *after}):
        if before.get(path) != after.get(path):
            found += _of_file(path, objects.text(before.get(path)), objects.text(after.get(path)))
    return _moved(found, objects, before, after)


def loaded(objects: Objects, model: str, commit: str) -> dict[str, str]:
    """Path and git's name of each module that making a model loads."""
    tree = objects.tree(commit)
    config = objects.text(tree.get(f"deployments/models/{model}/model.yaml"))
    waiting = [f"tasks/stages/{stage}.py" for stage in MAKING]
    waiting += [path for name in FACTORY.findall(config) for path in _paths(name)]
    found: dict[str, str] = {}
    while waiting:
        level = [path for path in dict.fromkeys(waiting) if path in tree and path not in found]
        objects.read(tree[path] for path in level)
        waiting = []
        for path in level:
            found[path] = tree[path]
            for name in _imported(objects.text(tree[path]), path):
                waiting += _paths(name)
    return found


def _paths(name: str) -> list[str]:
    """Files that a dotted name may be: itself, and the packages that it stands in."""
    steps = name.split(".")
    below = ["/".join(steps[:depth]) for depth in range(1, len(steps) + 1)]
    return [f"{below[-1]}.py", *(f"{folder}/__init__.py" for folder in below)]


@lru_cache(maxsize=4096)
def _imported(text: str, path: str) -> tuple[str, ...]:
    """Dotted names that a module may import; a name of a package may be a module of it."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return ()
    package = path.removesuffix(".py").split("/")[:-1]
    found: list[str] = []
    for node in _loading(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        else:
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join([*base, *((node.module or "").split(".") if node.module else [])])
            found += [stem, *(f"{stem}.{alias.name}" for alias in node.names)]
    return tuple(dict.fromkeys(found))


def _loading(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Import statements that run; not those for type checkers alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        else:
            yield from _loading(node)


def _of_file(path: str, old: str, new: str) -> list[CodeChange]:
    before, after = _pieces(old), _pieces(new)
    if before is None or after is None:
        return [CodeChange(path, TOP, "changed", ("it cannot be parsed as Python, so it is taken as changed",))]
    found = []
    for name in dict.fromkeys([*before, *after]):
        one, other = before.get(name), after.get(name)
        if one == other:
            continue
        if one is None or other is None:
            if name != TOP:
                found.append(CodeChange(path, name, "added" if one is None else "removed"))
            continue
        found.append(CodeChange(path, name, "changed", _unified(one, other)))
    return found


def _unified(old: str, new: str) -> tuple[str, ...]:
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), n=2, lineterm="")
    return tuple(line for line in lines if not line.startswith(("---", "+++")))


@lru_cache(maxsize=1024)
def _pieces(text: str) -> dict[str, str] | None:
    """Code of each function, class body and constant, in a form without comments; None where it is no Python."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return None
    found: dict[str, str] = {}
    _collect(tree.body, "", found)
    return found


def _collect(body: list[ast.stmt], prefix: str, found: dict[str, str]) -> None:
    rest: list[ast.stmt] = []
    for at, node in enumerate(body):
        if at == 0 and _is_docstring(node):
            continue
        if isinstance(node, ast.ClassDef):
            _collect(node.body, f"{prefix}{node.name}.", found)
            node.body = [ast.Pass()]
            own = found.pop(f"{prefix}{node.name}.{TOP}", "")
            found[f"{prefix}{node.name}"] = "\n".join([ast.unparse(node), own])
        elif isinstance(node, DEFINED):
            _put(found, f"{prefix}{node.name}", ast.unparse(_without_docstrings(node)))
        elif not prefix and (name := _constant(node)):
            _put(found, name, ast.unparse(_without_docstrings(node)))
        elif not isinstance(node, ast.Expr) or not _is_docstring(node):
            rest.append(node)
    if rest:
        found[f"{prefix}{TOP}"] = "\n".join(sorted(ast.unparse(node) for node in rest if _imports(node))) + "\n".join(
            ast.unparse(_without_docstrings(node)) for node in rest if not _imports(node)
        )


def _put(found: dict[str, str], name: str, code: str) -> None:
    """Definitions of one name, as of an overloaded function, are one piece."""
    found[name] = f"{found[name]}\n{code}" if name in found else code


def _imports(node: ast.stmt) -> bool:
    return isinstance(node, ast.Import | ast.ImportFrom)


def _constant(node: ast.stmt) -> str:
    """The name that a statement at the top gives a value; empty where it is no such statement."""
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return node.target.id
    return ""


def _is_docstring(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _without_docstrings(node: ast.stmt) -> ast.stmt:
    """The same statement without texts that nothing uses."""
    for inner in ast.walk(node):
        if isinstance(inner, DEFINED):
            inner.body = [one for one in inner.body if not _is_docstring(one)] or [ast.Pass()]
    return node


def _moved(
    found: list[CodeChange], objects: Objects, before: dict[str, str], after: dict[str, str]
) -> list[CodeChange]:
    """The same changes; what was removed in one file and added in another, alike, was moved."""
    gone = {
        (change.name, (_pieces(objects.text(before[change.file])) or {}).get(change.name)): change
        for change in found
        if change.kind == "removed"
    }
    moved, taken = [], set()
    for change in found:
        if change.kind == "added":
            key = (change.name, (_pieces(objects.text(after[change.file])) or {}).get(change.name))
            if key in gone:
                taken.add(gone[key])
                change = CodeChange(change.file, change.name, "moved", source=gone[key].file)
        moved.append(change)
    return [change for change in moved if change not in taken]

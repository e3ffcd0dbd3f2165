"""The house stays in shape, and its drawing shows the rooms that there are."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests import house
from tests.conftest import ROOT
from tests.house_drawing import WAYS, draw


@pytest.fixture(scope="module")
def measured() -> house.House:
    return house.measure(ROOT)


def test_no_corridor_no_circle_and_few_floors(measured: house.House) -> None:
    """A circle raises; a package of more than 40 modules would count each of them as a room."""
    assert len(measured.floors) <= 32 and measured.height <= 10
    assert measured.on(1) == ["tasks.proof", "tasks.spec"] and measured.on(measured.height) == ["tasks.demo"]


def test_the_drawing_shows_every_room_on_its_floor(measured: house.House) -> None:
    placed = re.compile(r'data-room="([\w.]+)" x="[\d.]+" y="([\d.]+)"')
    assert sorted(placed.findall(house.DRAWING.read_text())) == sorted(placed.findall(draw(measured))), (
        "rooms or floors changed: draw them anew with python -m tests.house --draw"
    )


@pytest.mark.parametrize("where", [where for way in WAYS.values() for where, _ in way])
def test_every_step_of_a_way_is_there(where: str) -> None:
    path, _, symbol = where.partition("::")
    assert symbol in defined(ROOT / path), where


def defined(path: Path) -> set[str]:
    """Names that a module defines at its top."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return names


def package(root: Path, **modules: str) -> Path:
    for folder in ("tasks", "flows"):
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder / "__init__.py").touch()
    for name, text in modules.items():
        path = root / "tasks" / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        for folder in path.parent.relative_to(root).parents:
            (root / folder / "__init__.py").touch()
        (path.parent / "__init__.py").touch()
    (root / "flows/train.py").write_text("import tasks.verb\n")
    return root


def test_rooms_floors_and_arrows_are_counted(tmp_path: Path) -> None:
    found = house.measure(
        package(
            tmp_path,
            verb="import tasks.wing.upper.a\nimport tasks.wing.lower.b\n",
            wing__upper__a="import tasks.wing.lower.b\nimport tasks.wing.upper.c\n",
            wing__upper__c="",
            wing__lower__b="",
            alone__script="",
        )
    )
    assert found.floors == {"flows": 4, "tasks": 3, "tasks.wing.upper": 2, "tasks.wing.lower": 1}
    assert len(found.arrows) == 4


def test_a_corridor_counts_each_of_its_modules(tmp_path: Path) -> None:
    many = {f"wide__m{i}": "" for i in range(house.CORRIDOR + 1)}
    verb = "".join(f"import tasks.wide.m{i}\n" for i in range(house.CORRIDOR + 1))
    found = house.measure(package(tmp_path, verb=verb, **many))
    assert len(found.floors) == house.CORRIDOR + 3 and len(found.arrows) == house.CORRIDOR + 2


def test_a_circle_is_named(tmp_path: Path) -> None:
    root = package(tmp_path, verb="", one__a="import tasks.two.b\n", two__b="import tasks.one.a\n")
    with pytest.raises(ValueError, match=r"in a circle: tasks\.one -> tasks\.two -> tasks\.one"):
        house.measure(root)

"""The house by its import graph: rooms, floors and arrows, and how many files each kind of change touches.

    python -m tests.house            what the checkout's code is made of
    python -m tests.house --of REV   the same for another commit
    python -m tests.house --draw     draw docs/house.svg anew

Definitions, so that two commits can be compared:

- A **room** is a package that holds modules. A package of more than 40 modules is a corridor, in which nobody finds a
  thing by its place: there each module counts as a room of its own. A package that holds packages only is a wing.
  A package without any arrow, such as the scripts of migrations, is none.
- An **arrow** leads from one room to another where any module of the first imports any of the second.
- The **floors** are the rooms on the longest way along arrows.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import grimp

from tests.changes import changes
from tests.conftest import ROOT

PACKAGES = ("tasks", "flows")
CORRIDOR = 40
"""A package of more modules than this is no room."""
DRAWING = ROOT / "docs/house.svg"


@dataclass(frozen=True)
class House:
    """Rooms by name, each with its floor counted from 1 at the bottom, and the arrows between them."""

    floors: dict[str, int]
    arrows: frozenset[tuple[str, str]]

    @property
    def height(self) -> int:
        return max(self.floors.values())

    def on(self, floor: int) -> list[str]:
        return sorted(room for room, at in self.floors.items() if at == floor)


def measure(root: Path) -> House:
    """Read the import graph of a checkout.

    Raises:
        ValueError: rooms import each other in a circle, so that there are no floors.
    """
    # grimp reads files without importing them, but finds a package where Python has it already.
    loaded = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] in PACKAGES}
    sys.path.insert(0, str(root))
    try:
        graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    finally:
        sys.path.remove(str(root))
        sys.modules.update(loaded)
    modules = {m for m in graph.modules if not graph.find_children(m)}
    sizes: dict[str, int] = defaultdict(int)
    for module in modules:
        sizes[module.rpartition(".")[0]] += 1

    def room(module: str) -> str | None:
        if module in modules:
            package = module.rpartition(".")[0]
            return module if sizes[package] > CORRIDOR else package
        return module if 0 < sizes[module] <= CORRIDOR else None

    arrows = {
        (a, b)
        for module in graph.modules
        for other in graph.find_modules_directly_imported_by(module)
        if (a := room(module)) and (b := room(other)) and a != b
    }
    rooms = {end for arrow in arrows for end in arrow}
    return House(_floors(rooms, arrows), frozenset(arrows))


def _floors(rooms: set[str], arrows: set[tuple[str, str]]) -> dict[str, int]:
    below: dict[str, set[str]] = defaultdict(set)
    for upper, lower in arrows:
        below[upper].add(lower)
    open_rooms: list[str] = []

    @cache
    def floor(room: str) -> int:
        if room in open_rooms:
            raise ValueError(f"rooms import each other in a circle: {' -> '.join([*open_rooms, room])}")
        open_rooms.append(room)
        found = 1 + max((floor(lower) for lower in sorted(below[room])), default=0)
        open_rooms.pop()
        return found

    return {room: floor(room) for room in sorted(rooms)}


def checkout(revision: str, folder: Path) -> Path:
    """The source of a commit, in an empty folder."""
    archive = subprocess.run(["git", "archive", revision, *PACKAGES], cwd=ROOT, check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive, check=True)
    return folder


def summary(house: House) -> str:
    """One line of numbers, then the rooms of each floor from the top down."""
    lines = [f"{len(house.floors)} rooms, {house.height} floors, {len(house.arrows)} arrows, no circle"]
    for floor in range(house.height, 0, -1):
        lines.append(f"{floor}  {', '.join(house.on(floor))}")
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.house", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--of", metavar="REV", help="a commit; without it the checkout")
    parser.add_argument("--draw", action="store_true", help=f"write {DRAWING.relative_to(ROOT)}")
    asked = parser.parse_args(arguments)
    if asked.of:
        with tempfile.TemporaryDirectory() as folder:
            print(summary(measure(checkout(asked.of, Path(folder)))))
        return
    house = measure(ROOT)
    print(summary(house))
    if asked.draw:
        from tests.house_drawing import draw

        DRAWING.write_text(draw(house))
        print(f"Drawn: {DRAWING.relative_to(ROOT)}")
    print("\nFiles that a change touches, tests apart (the table of CONTRIBUTING.md):")
    for change in changes():
        print(f"{change.files}  {change.what}")


if __name__ == "__main__":
    main(sys.argv[1:])

"""Draws docs/house.svg: the rooms on their floors, and below them the ways of one gate, one window and one request."""

from __future__ import annotations

from html import escape

from tests.house import House

WAYS: dict[str, tuple[tuple[str, str], ...]] = {
    "One gate": (
        ("flows/training.py::train", "a commit in a clean worktree"),
        ("tasks/training.py::train_and_evaluate", "DVC runs the stages"),
        ("tasks/evaluation.py::score_champion_and_challenger", "both score the same rows"),
        ("tasks/validation.py::check_gate", "one task a gate"),
        ("tasks/science/gates/run.py::run_gate", "estimate, bounds, limit"),
        ("tasks/science/examination/verdicts.py::judge", "pass, fail or too few rows"),
        ("tasks/promotion.py::promote", "one atomic push"),
    ),
    "One window": (
        ("flows/monitoring.py::monitor", "on schedule or on demand"),
        ("tasks/monitoring.py::find_work", "windows not looked at yet"),
        ("tasks/window_inputs.py::read_window", "rows become a profile"),
        ("tasks/science/windows/look.py::examine_window", "every monitor once"),
        ("tasks/science/windows/decisions.py::decide", "first policy line that fits"),
        ("tasks/delivery.py::deliver", "ledger, events, runs"),
        ("tasks/delivery.py::what_to_start", "retrain, roll back, stop"),
    ),
    "One request": (
        ("tasks/cli/worker.py::run", "service over log and releases"),
        ("tasks/serving/follower.py::Follower", "the champion, by digest"),
        ("tasks/serving/routes.py::Routes", "POST /models/NAME/predict"),
        ("tasks/serving/schema.py::RowSchema", "each row against the manifest"),
        ("tasks/serving/release.py::Release", "score and decision"),
        ("tasks/records/log/predictions.py::PredictionLog", "on disk, then answered"),
    ),
}
"""Each way's steps: the file and symbol, and what happens there."""
WINGS = {"tasks.science": "#d7ebe4", "tasks.records": "#dde6f4", "tasks.serving": "#f3e3d3", "tasks.stages": "#f3e3d3"}
OTHER = "#eceff2"
WIDTH, MARGIN, LABEL = 1180, 20, 70
ROOM_WIDTH, ROOM_HEIGHT, STOREY = 124, 34, 62
STEP_WIDTH, STEP_HEIGHT, LANE = 152, 58, 106


def draw(house: House) -> str:
    """The drawing as SVG text; the same house gives the same bytes."""
    top = 40 + house.height * STOREY
    height = top + len(WAYS) * LANE + 30
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" '
        'font-family="system-ui, sans-serif" font-size="12" fill="#1b1f24">'
    )
    parts = [
        head,
        "<title>The rooms of Assay on their floors, and the ways of a gate, a window and a request</title>",
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0,0 L8,4 L0,8 z" fill="#5b6470"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>',
        *_rooms(house),
        *(line for number, way in enumerate(WAYS) for line in _way(way, top + number * LANE)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _rooms(house: House) -> list[str]:
    places = _places(house)
    lines = []
    for upper, lower in sorted(_direct(house)):
        (x, y), (to_x, to_y) = places[upper], places[lower]
        lines.append(
            f'<line x1="{x + ROOM_WIDTH / 2:g}" y1="{y + ROOM_HEIGHT}" x2="{to_x + ROOM_WIDTH / 2:g}" y2="{to_y - 1}" '
            'stroke="#b4bcc6" marker-end="url(#tip)"/>'
        )
    for floor in range(1, house.height + 1):
        y = places[house.on(floor)[0]][1] + ROOM_HEIGHT / 2 + 4
        lines.append(f'<text x="{MARGIN}" y="{y:g}" fill="#5b6470">floor {floor}</text>')
    for room, (x, y) in sorted(places.items()):
        colour = next((colour for wing, colour in WINGS.items() if room.startswith(wing)), OTHER)
        name = "tasks/*.py" if room == "tasks" else room.removeprefix("tasks.").replace(".", "/")
        name = name.removeprefix("science/") if "/monitors/" in name else name
        lines.append(
            f'<rect data-room="{room}" x="{x:g}" y="{y:g}" width="{ROOM_WIDTH}" height="{ROOM_HEIGHT}" rx="5" '
            f'fill="{colour}" stroke="#8a94a0"/>'
        )
        lines.append(
            f'<text x="{x + ROOM_WIDTH / 2:g}" y="{y + 21:g}" text-anchor="middle" '
            f'font-size="{11 if len(name) > 18 else 12}">{name}</text>'
        )
    return lines


def _places(house: House) -> dict[str, tuple[float, float]]:
    """The upper left corner of every room."""
    places = {}
    for floor in range(1, house.height + 1):
        rooms = house.on(floor)
        space = WIDTH - LABEL - 2 * MARGIN
        step = min(space / len(rooms), ROOM_WIDTH + 24)
        left = MARGIN + LABEL + (space - step * len(rooms)) / 2
        for number, room in enumerate(rooms):
            x = left + number * step + (step - ROOM_WIDTH) / 2
            places[room] = (round(x, 1), 20.0 + (house.height - floor) * STOREY)
    return places


def _direct(house: House) -> set[tuple[str, str]]:
    """The arrows that no longer way replaces: the others say nothing more about who stands on whom."""
    below: dict[str, set[str]] = {room: {b for a, b in house.arrows if a == room} for room in house.floors}
    reach: dict[str, set[str]] = {}
    for room in sorted(house.floors, key=lambda r: house.floors[r]):
        reach[room] = below[room] | {far for near in below[room] for far in reach[near]}
    return {(a, b) for a, b in house.arrows if not any(b in reach[near] for near in below[a] - {b})}


def _way(name: str, top: float) -> list[str]:
    lines = [f'<text x="{MARGIN}" y="{top + 10:g}" font-size="14" font-weight="600">{name}</text>']
    gap = (WIDTH - 2 * MARGIN - 7 * STEP_WIDTH) / 6
    y = top + 22
    for number, (where, what) in enumerate(WAYS[name]):
        path, _, symbol = where.partition("::")
        x = MARGIN + number * (STEP_WIDTH + gap)
        if number:
            lines.append(
                f'<line x1="{x - gap:g}" y1="{y + STEP_HEIGHT / 2:g}" x2="{x - 1:g}" y2="{y + STEP_HEIGHT / 2:g}" '
                'stroke="#5b6470" marker-end="url(#tip)"/>'
            )
        colour = next((c for w, c in WINGS.items() if path.replace("/", ".").startswith(w)), OTHER)
        lines.append(
            f'<rect x="{x:g}" y="{y:g}" width="{STEP_WIDTH}" height="{STEP_HEIGHT}" rx="5" fill="{colour}" '
            'stroke="#8a94a0"/>'
        )
        shown = path.removeprefix("tasks/").removesuffix(".py")
        for row, (text, size, weight) in enumerate(((shown, 10.5, 400), (symbol, 11, 600), (what, 10.5, 400))):
            small = min(size, (1.55 if weight > 400 else 1.72) * (STEP_WIDTH - 10) / max(len(text), 1))
            lines.append(
                f'<text x="{x + STEP_WIDTH / 2:g}" y="{y + 16 + 17 * row:g}" text-anchor="middle" '
                f'font-size="{small:.3g}" font-weight="{weight}">{escape(text)}</text>'
            )
    return lines

"""Score a file of any size through the service, some rows at a time."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from tasks.cli.rows_of_files import Row, read_rows
from tasks.serving.quick_rows import MOST_EXPLAINED
from tasks.spec.errors import AssayError, ConfigError, UnreachableError
from tasks.spec.model import ModelConfig

SHOWN = 5
"""Problems of different kinds that are reported of one request."""
JSON = {"content-type": "application/json"}


def score_file(
    client: httpx.Client, model: str, config: ModelConfig, file: Path, out: Path | None = None, explain: bool = False
) -> Iterator[Row]:
    """The service's answers, in the order of the file; each is logged there before it is given here.

    Args:
        client: of the service, with a key that predicts.
        out: JSON lines to which the answers are added. Where the file has some already, so many rows were scored before
            and are passed over. At most the one request that was interrupted is logged twice.
        explain: whether each answer comes with its explanation.

    Raises:
        ConfigError: the file cannot be read, or ``out`` holds what is no answer.
        UnreachableError: the service does not answer.
        AssayError: it refused rows; what came before them is scored.
    """
    done = _answered(out)
    begun, count = time.monotonic(), 0
    with client, _RowProgress() as progress:
        for rows in _requests(read_rows(file, config, skip=done), explain):
            found = _ask(client, model, rows, done + count, explain)
            answers = [a | {"row": done + count + n + 1} for n, a in enumerate(found)]
            if out is not None:
                with out.open("a", encoding="utf-8") as target:
                    target.write("".join(f"{json.dumps(a)}\n" for a in answers))
            count += len(rows)
            progress.say(count, done, time.monotonic() - begun)
            yield from answers


def print_answers(answers: Iterator[Row], as_json: bool, quiet: bool) -> None:
    """Print answers as they come: a line each, or a JSON list.

    Args:
        quiet: the answers go into a file, and only their count is printed.
    """
    count = 0
    if as_json and not quiet:
        print("[", end="")
    try:
        for answer in answers:
            count += 1
            if quiet:
                continue
            if as_json:
                print(("" if count == 1 else ", ") + json.dumps(answer), end="")
            else:
                decision = answer.get("decision")
                said = decision if isinstance(decision, str) else "" if decision is None else str(decision).lower()
                print(f"{answer['id']}\t{answer['score']:.6f}\t{said}")
                for sentence in _sentences(answer.get("explanation")):
                    print(f"\t{sentence}")
    finally:
        if as_json and not quiet:
            print("]")
    if quiet:
        print(json.dumps({"rows": count}) if as_json else f"{count:,} answers added")


def _sentences(explanation: Row | None) -> list[str]:
    """The reasons in words, or why there are none."""
    if explanation is None:
        return []
    return [reason["says"] for reason in explanation["reasons"]] or [explanation["says"]]


def _requests(parts: Iterator[list[Row]], explain: bool) -> Iterator[list[Row]]:
    """The rows of each request: fewer where they are to be explained."""
    for rows in parts:
        size = MOST_EXPLAINED if explain else len(rows)
        yield from (rows[at : at + size] for at in range(0, len(rows), size))


def _ask(client: httpx.Client, model: str, rows: list[Row], start: int, explain: bool) -> list[Row]:
    """Rows ``start + 1`` and so on; a request that is too large is sent in halves."""
    body = {"rows": rows, "explain": True} if explain else {"rows": rows}
    try:
        answer = client.post(f"/models/{model}/predict", content=json.dumps(body), headers=JSON)
    except httpx.HTTPError as error:
        raise UnreachableError(
            f"the prediction service at {client.base_url} does not answer ({type(error).__name__}); rows before "
            f"{start + 1:,} are scored. Start it with: make up"
        ) from None
    if answer.status_code == 413 and len(rows) > 1:
        half = len(rows) // 2
        first = _ask(client, model, rows[:half], start, explain)
        return first + _ask(client, model, rows[half:], start + half, explain)
    if answer.is_error:
        raise AssayError(
            f"the service refused rows {start + 1:,} to {start + len(rows):,}, and none of them was logged: "
            f"{_problems(answer, start)}"
        )
    found: list[Row] = answer.json()["predictions"]
    return found


def _problems(answer: httpx.Response, start: int) -> str:
    try:
        said = answer.json()
        detail, problems, capped = str(said["detail"]), said["problems"], bool(said["more"])
    except (ValueError, KeyError, TypeError):
        return f"{answer.status_code} {answer.text[:300]}"
    if not problems or not all(isinstance(p, dict) and {"row", "field", "message"} <= set(p) for p in problems):
        return detail[:1000]
    alike: dict[tuple[str, str], list[Row]] = {}
    for p in problems:
        alike.setdefault((p["field"], p["message"]), []).append(p)
    told = [
        f"{_where(found, start, capped)} {field}: {message}, and it is {found[0].get('value')!r}"
        for (field, message), found in list(alike.items())[:SHOWN]
    ]
    return "; ".join(told) + (f"; and {len(alike) - SHOWN:,} other problems" if len(alike) > SHOWN else "")


def _where(alike: list[Row], start: int, capped: bool) -> str:
    if alike[0]["row"] is None:
        return "the request's"
    least = "at least " if capped else ""
    more = f" and {least}{len(alike) - 1:,} more" if len(alike) > 1 else ""
    return f"row {start + alike[0]['row'] + 1:,}{more}, column"


def _answered(out: Path | None) -> int:
    """How many whole answers a file holds; half a line, left by an interruption, is cut off."""
    if out is None or not out.exists():
        return 0
    count, whole, last = 0, 0, b""
    with out.open("rb") as source:
        for line in source:
            if line.endswith(b"\n"):
                count, whole, last = count + 1, whole + len(line), line
    try:
        good = not count or json.loads(last)["row"] == count
    except (ValueError, KeyError, TypeError):
        good = False
    if not good:
        raise ConfigError(
            f"{out} does not end with the answer to row {count:,}, so it was not written by this command. Name "
            "another file."
        )
    with out.open("r+b") as target:
        target.truncate(whole)
    return count


class _RowProgress:
    """A line on stderr that says how far it is, and one at the end that stays."""

    def __enter__(self) -> _RowProgress:
        from rich.console import Console

        self._line = Console(stderr=True).status("scoring")
        self._line.start()
        self._text = ""
        return self

    def __exit__(self, *_: object) -> None:
        self._line.stop()
        if self._text:
            print(self._text, file=sys.stderr)

    def say(self, count: int, before: int, seconds: float) -> None:
        earlier = f" ({before:,} were scored before)" if before else ""
        self._text = (
            f"scored {count:,} rows{earlier} in {seconds:.1f} s, {count / max(seconds, 1e-9):,.0f} rows a second"
        )
        self._line.update(self._text)

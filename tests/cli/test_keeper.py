"""What the keeper does about runs and schedules, by what Prefect's server answers; the server itself is a stand-in."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

import pytest

from tasks.cli import keeper as module
from tasks.cli import prefect_api
from tasks.cli.clocks import set_back
from tasks.cli.keeper import Keeper
from tasks.cli.prefect_api import PrefectApi
from tasks.records.registry import pointers
from tasks.records.registry.registry import Registry
from tasks.spec.errors import UnreachableError
from tasks.spec.model import load_model
from tasks.spec.settings import Settings
from tests.conftest import ROOT
from tests.proof.ledgers import candidate, verdict
from tests.serving.running import release

DEPLOYMENT = {
    "id": "d",
    "schedules": [
        {"id": "s", "slug": "care", "active": False, "schedule": {"interval": 600.0}, "parameters": {
            "request": {"model": "care", "reason": "schedule", "actor": "schedule"}}},
        {"id": "mine", "slug": None, "active": True, "schedule": {"cron": "0 0 * * *"}, "parameters": {}},
    ],
}  # fmt: skip


class Server:
    """Prefect's answers, and what it was told: method, path, body."""

    def __init__(self) -> None:
        self.runs: list[dict[str, Any]] = []
        self.told: list[tuple[str, str, Any]] = []
        self.started: list[tuple[str, dict[str, Any]]] = []

    def start(self, deployment: str, request: dict[str, Any], listed: bool = True) -> str:
        self.started.append((deployment, request))
        return "new"

    def call(self, method: str, path: str, body: Any = None) -> Any:
        if path == "/flow_runs/filter":
            asked = body["flow_runs"]
            kinds = asked.get("state", {}).get("type", {}).get("any_")
            names = asked.get("state", {}).get("name", {}).get("any_")
            found = [
                r for r in self.runs
                if (kinds is None or r["state"]["type"] in kinds) and (names is None or r["state"]["name"] in names)
                and ("end_time" not in asked or r["end_time"])
            ]  # fmt: skip
            if body["sort"] == "END_TIME_DESC":
                found.sort(key=lambda r: r["end_time"] or "", reverse=True)
            return found[: body["limit"]]
        if method == "GET":
            return DEPLOYMENT | ({"id": "r"} if path.endswith("/rebuild/rebuilding") else {})
        self.told.append((method, path, body))
        return None


def run(key: str, kind: str, name: str = "", **more: Any) -> dict[str, Any]:
    now = datetime.now(UTC).isoformat()
    return {
        "id": key, "name": key, "state": {"type": kind, "name": name or kind.title()}, "end_time": None,
        "created": now, "auto_scheduled": False, "parameters": {"request": {"model": "care"}}, **more,
    }  # fmt: skip


def moment(**off: float) -> str:
    return (datetime.now(UTC) + timedelta(**off)).isoformat()


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def keeper(settings: Settings, server: Server) -> Keeper:
    return Keeper(settings, cast(PrefectApi, server))


def test_a_run_is_dead_after_two_looks_in_one_state_and_a_waiting_one_after_its_time(
    keeper: Keeper, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.runs = [run("a", "PENDING")]
    keeper._end_dead()
    keeper._end_dead()
    assert server.told == [], "its process may still come"
    server.runs = [run("a", "RUNNING")]
    keeper._end_dead()
    assert server.told == [], "it began while this look was under way"
    keeper._end_dead()
    (method, path, body) = server.told.pop()
    assert (method, path, body["state"]["type"]) == ("POST", "/flow_runs/a/set_state", "CRASHED")
    server.runs = [run("b", "PENDING", state_since=moment(days=1))]  # whatever a clock says
    keeper._end_dead()
    monkeypatch.setattr(module, "PATIENCE", 0.0)
    keeper._end_dead()
    assert [path for _, path, _ in server.told] == ["/flow_runs/b/set_state"]


def test_schedules_begin_anew_once_where_the_clock_was_set_back_and_what_waits_is_due(
    keeper: Keeper, server: Server
) -> None:
    server.runs = [
        run("old", "COMPLETED", end_time=moment(days=1)),
        run("asked", "SCHEDULED", created=moment(days=1)),
        run("later", "SCHEDULED", created=moment(days=-1)),
        run("auto", "SCHEDULED", created=moment(days=1), auto_scheduled=True),
    ]
    keeper._follow_clock()
    (patched, rebuilding, due) = server.told
    assert rebuilding[:2] == ("PATCH", "/deployments/r/schedules/s")
    assert patched[:2] == ("PATCH", "/deployments/d/schedules/s"), "a person's own schedule stays as it is"
    assert patched[2]["active"] is False and patched[2]["schedule"]["interval"] == 600.0
    assert abs(datetime.fromisoformat(patched[2]["schedule"]["anchor_date"]) - datetime.now(UTC)) < timedelta(minutes=1)
    assert due[1] == "/flow_runs/asked/set_state" and due[2]["force"] and due[2]["state"]["type"] == "SCHEDULED"
    when = datetime.fromisoformat(due[2]["state"]["state_details"]["scheduled_time"])
    assert abs(when - datetime.now(UTC)) < timedelta(minutes=1)
    keeper._follow_clock()
    assert len(server.told) == 3, "once"


def test_a_clock_that_was_set_back_under_the_system_is_said_until_it_is_where_it_was(
    settings: Settings, keeper: Keeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    said, real = set_back(settings), time.time
    for off, sentence in (
        (0, ""),
        (86_400, ""),
        (3_600, "the clock was set back by 23 hours while this system ran, and its schedules start nothing until it is "
                "again where it was"),
        (86_390, ""),
    ):  # fmt: skip
        monkeypatch.setattr(time, "time", lambda off=off: real() + off)
        keeper._tell_clock()
        assert (said.read_text() if said.exists() else "") == sentence
    said.write_text("of a system before")
    Keeper(settings, keeper.api)
    assert not said.exists()


@pytest.mark.parametrize("late", [1, 2, 40])
def test_of_many_late_runs_of_a_schedule_the_newest_is_left(keeper: Keeper, server: Server, late: int) -> None:
    """A clock that is set ahead, or a machine that slept, makes every run late that was to come."""
    names = ("Late", "AwaitingConcurrencySlot")
    server.runs = [run(f"late {n}", "SCHEDULED", names[n % 2], auto_scheduled=True) for n in range(late)]
    server.runs += [run(f"asked {n}", "SCHEDULED", "Late") for n in range(9)]
    keeper._let_go()
    ended = [path for _, path, body in server.told if body["state"]["type"] == "CANCELLED"]
    assert ended == [f"/flow_runs/late {n}/set_state" for n in range(1, late)]
    assert len(server.told) == len(ended)


def test_one_that_ended_badly_before_a_clock_was_set_is_still_judged(
    keeper: Keeper, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.runs = [run("a", "CRASHED", "Crashed", end_time=moment(days=-2))]
    judged: list[str] = []
    monkeypatch.setattr(keeper, "_judge", lambda found: judged.append(found["id"]))
    keeper._judge_ended()
    assert judged == ["a"]


@pytest.mark.parametrize(
    ("method", "path", "body", "times"),
    [
        ("GET", "/health", None, 2),
        ("POST", "/flow_runs/filter", {}, 2),
        ("POST", "/deployments/d/create_flow_run", {"idempotency_key": "k"}, 2),
        ("POST", "/flow_runs/r/set_state", {}, 1),
    ],
)
def test_a_slow_server_is_asked_again_for_what_may_come_twice(
    method: str, path: str, body: Any, times: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(prefect_api, "TIMEOUT", 0.5)
    asked: list[str] = []

    class Slow(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            if len(asked) == 1:
                time.sleep(1)
                return
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"[]")

        do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as slow:
        threading.Thread(target=slow.serve_forever, daemon=True).start()
        api = PrefectApi(f"http://127.0.0.1:{slow.server_address[1]}")
        if times == 2:
            assert api.call(method, path, body) == []
        else:
            with pytest.raises(UnreachableError, match="ReadTimeout"):
                api.call(method, path, body)
        slow.shutdown()
    assert len(asked) == times


def test_a_champion_whose_promotion_died_is_published_by_a_run_of_monitoring(
    settings: Settings, keeper: Keeper, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger has the version and the release store does not; who is at work on the model may just publish it."""
    champion = Registry(settings)
    commit = candidate(settings, "care", "one")
    champion.promote("care", commit, verdict(settings.home, "care", commit, None, "v1.0.0"), "dana", "push", None)
    said = "care v1.0.0 is champion by entry 2, and the service is pointed at no version"
    assert [sentence for sentence, _ in pointers.behind(settings).values()] == [said]
    server.runs = [run("a", "RUNNING")]
    keeper._point()
    assert server.told == [], "the run that promotes it lives"
    server.runs = []
    monkeypatch.setitem(DEPLOYMENT["schedules"][0], "active", True)  # type: ignore[index,arg-type]
    for _ in range(9):
        keeper._point()
    assert [(flow, request) for flow, request in server.started] == [
        ("monitor/monitoring", {"model": "care", "reason": "schedule", "actor": "schedule"})
    ] * 5, "and then a person has to look"
    monkeypatch.setitem(DEPLOYMENT["schedules"][0], "active", False)  # type: ignore[index,arg-type]
    other = Keeper(settings, keeper.api)
    other._point()
    assert len(server.started) == 5, "a person paused it"
    release(settings.home, load_model(ROOT, "care"), "v1.0.0", seed=1)
    other._point()
    assert pointers.behind(settings) == {} and server.told == []

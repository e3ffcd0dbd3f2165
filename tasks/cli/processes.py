"""The processes of one home: started on sockets that are bound already, and known again without doubt.

A number in a file proves nothing. Another process may have it by now; the clock may have been set; the home may be a
copy of one whose system runs. A process is a part of this home's system where three things hold:

- it carries the mark that its start put into its environment;
- it runs the command that was started;
- the home's folder is still the same one.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from tasks.spec.settings import ROOT

MARK, HOME = "ASSAY_SYSTEM", "ASSAY_HOME"
HOST = "127.0.0.1"
BACKLOG = 2048
_STARTED: dict[int, subprocess.Popen[bytes]] = {}
"""What this very process started: a parent has to reap its children."""


def listen(wanted: int) -> socket.socket:
    """A socket that listens on ``wanted``, or on another port where that is taken; nobody can come between any more.

    Connections of the past that linger do not take a port.
    """
    try:
        return socket.create_server((HOST, wanted), backlog=BACKLOG)
    except OSError:
        return socket.create_server((HOST, 0), backlog=BACKLOG)


class Processes:
    """What runs from one home, by the name of each part."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.folder = home / "run"

    def begin(self) -> str:
        """Make a new mark for what is started next; gives it."""
        mark = uuid.uuid4().hex
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "place.json").write_text(json.dumps(_place(self.home)))
        (self.folder / "mark").write_text(mark)
        return mark

    def start(
        self,
        part: str,
        module: Sequence[str],
        environment: Mapping[str, str],
        bound: socket.socket | None = None,
        held: socket.socket | None = None,
    ) -> None:
        """Start ``python -m module...``.

        Args:
            bound: goes along as ``--socket NUMBER`` and is closed here.
            held: stays open in the process, which does nothing with it: nobody else can listen there meanwhile.
        """
        handed = [bound.fileno()] if bound else []
        command = [sys.executable, "-m", *module, *(word for number in handed for word in ("--socket", str(number)))]
        # A session of its own: a worker in a background job of a shell ignores SIGINT and hangs on SIGTERM.
        with (self.home / f"logs/{part}.log").open("ab") as output:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=[*handed, *([held.fileno()] if held else [])],
            )
        if bound:
            bound.close()
        _STARTED[process.pid] = process
        (self.folder / f"{part}.json").write_text(json.dumps({"pid": process.pid, "command": command}))

    def alive(self, part: str) -> psutil.Process | None:
        """The process of a part, where it lives and is this home's."""
        mark = self._mark()
        try:
            known = json.loads((self.folder / f"{part}.json").read_text())
            process = psutil.Process(int(known["pid"]))
            ours = (
                process.status() != psutil.STATUS_ZOMBIE
                and process.cmdline() == known["command"]
                and process.environ().get(MARK) == mark
            )
        except (OSError, psutil.Error, ValueError, KeyError, TypeError):
            return None
        return process if mark and ours else None

    def answers_at(self, part: str, url: str) -> bool:
        """Whether it is this home's own process that listens at an address of this machine."""
        process = self.alive(part)
        try:
            found = process.net_connections(kind="tcp") if process else []
        except psutil.Error:
            return False
        port = urlsplit(url).port
        return any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in found)

    def moved_from(self) -> str | None:
        """Where the home stood when the system that runs was started, if that is another place."""
        process = next(filter(None, map(self.alive, ("server", "worker", "service"))), None)
        try:
            before = process.environ().get(HOME, "") if process else ""
        except psutil.Error:
            return None
        same = not before or (Path(before).exists() and os.path.samefile(before, self.home))
        return None if same else before

    def stop(self, part: str) -> bool:
        """Stop one part with all its children; False where it does not run."""
        process = self.alive(part)
        if process is not None:
            _stop(process)
        (self.folder / f"{part}.json").unlink(missing_ok=True)
        return process is not None

    def stop_orphans(self) -> None:
        """Flow runs outlive a worker that was killed; they have its mark, or at least this home, in the environment."""
        mark, me = self._mark(), psutil.Process()
        spared = {me.pid, *(parent.pid for parent in me.parents())}
        left = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.pid not in spared and self._is_ours(process.environ(), mark):
                    process.terminate()
                    left.append(process)
        _, left = psutil.wait_procs(left, timeout=5)
        for process in left:
            with suppress(psutil.Error):
                process.kill()
        for name in ("mark", "place.json"):
            (self.folder / name).unlink(missing_ok=True)

    def _is_ours(self, environment: Mapping[str, str], mark: str) -> bool:
        theirs = environment.get(MARK)
        return bool(theirs) and (theirs == mark or environment.get(HOME) == str(self.home))

    def _mark(self) -> str:
        """The mark of what was started here; empty where nothing was, or where this home is a copy of another."""
        try:
            place = json.loads((self.folder / "place.json").read_text())
            mark = (self.folder / "mark").read_text()
        except (OSError, ValueError):
            return ""
        return mark if place == _place(self.home) else ""


def _place(home: Path) -> list[int]:
    """What a folder keeps when it is moved, and a copy of it does not have."""
    found = os.stat(home)
    return [found.st_dev, found.st_ino]


def _stop(process: psutil.Process) -> None:
    family = [process, *process.children(recursive=True)]
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    _, left = psutil.wait_procs(family, timeout=10)
    for one in left:
        with suppress(psutil.Error):
            one.kill()
    psutil.wait_procs(left, timeout=5)
    if process.pid in _STARTED:
        _STARTED.pop(process.pid).wait()

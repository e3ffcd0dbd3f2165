"""A model that scikit-learn answers for, in a process of its own: ``python -m tasks.serving.elsewhere FOLDER``.

Array code is checked and answers in the service. What an estimator of somebody's choice does with a row, nobody has
checked, and it may end or hang its process on a row that no trial knew. So it does that here: with limits of time,
memory and file sizes, without the network, the service's keys and passwords, and one request at a time.

What goes through the pipes is one line of JSON each way; Python's floats come back with the same bits.
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from tasks.serving.offline import go_offline
from tasks.serving.release import Release, blank, load_release
from tasks.spec.errors import AssayError, CorruptionError
from tasks.spec.line import flat
from tasks.spec.manifest import Manifest

LOAD_SECONDS, AGAIN_SECONDS = 120.0, 10.0
"""How long loading may take; between two starts of a process that ended."""
ANSWER_SECONDS, ROW_SECONDS = 30.0, 0.2
"""How long one answer may take, and each of its rows beyond that: by the wall clock, and in CPU time."""
MEMORY, FILE, OPEN_FILES = 8 * 2**30, 1 << 20, 256
"""Bytes of address space, bytes of a file that it writes, and files that it holds open."""
WAITING, LONGEST, LARGEST = 4, 300, 1 << 26
"""Requests that wait at most while one is answered; characters of an error; bytes of an answer."""
KEPT = ("PATH", "LANG", "LC_ALL", "OMP_NUM_THREADS", "GOMP_SPINCOUNT", "SSL_CERT_FILE")
"""What of the service's environment the process gets to see."""


ONLINE = "and this machine does not keep its process from the network"


class ModelUnavailable(AssayError):
    """The process that answers for a model is gone, over its time, or asked by too many; nothing was scored."""


class Process:
    """One model file in a process of its own, started again where it ended; threads may share it.

    Raises:
        CorruptionError: it could not be loaded there.
    """

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder, self.manifest = folder, manifest
        self.trouble = ""
        """Why it does not answer now, a sentence; empty while it does."""
        self.offline = False
        """Whether it is kept from the network."""
        self._alone, self._room = threading.Lock(), threading.Semaphore(WAITING + 1)
        self._process: subprocess.Popen[bytes] | None = None
        self._kept, self._started = b"", 0.0
        self._end: Any = None
        try:
            self._start()
        except ModelUnavailable as error:
            raise CorruptionError(f"{folder} could not be loaded in a process of its own: {error}") from None

    def scores(self, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
        """Scores as :meth:`~tasks.serving.release.Release.answer` gives them.

        Raises:
            ModelUnavailable: the process ended, is over its time, or too many requests wait for it.
            ValueError: the model refuses a row.
        """
        if not self._room.acquire(blocking=False):
            raise ModelUnavailable(
                f"{self.manifest.model} answers one request at a time, and {WAITING} others wait. Send it again in 1 s"
            )
        try:
            with self._alone:
                if self._process is None:
                    self._start_again()
                return self._shaped(self._asked({"rows": list(rows)}, _seconds(len(rows))), len(rows))
        finally:
            self._room.release()

    def close(self) -> None:
        """End the process."""
        if self._end is not None:
            self._end()
        self._process, self._end = None, None

    def _start_again(self) -> None:
        wait = self._started + AGAIN_SECONDS - time.monotonic()
        if wait > 0:
            raise ModelUnavailable(f"{self.trouble} It is started again in {wait:.0f} s")
        self._start()

    def _start(self) -> None:
        self._started, self._kept = time.monotonic(), b""
        path = os.pathsep.join(p or os.getcwd() for p in sys.path)
        environment = {name: os.environ[name] for name in KEPT if name in os.environ} | {"PYTHONPATH": path}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tasks.serving.elsewhere", str(self.folder.resolve())],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, cwd="/",
            start_new_session=True,
        )  # fmt: skip
        self._end = weakref.finalize(self, _ended, self._process)
        said = self._heard(LOAD_SECONDS)
        if said.get("model_digest") != self.manifest.model_digest:
            self._stop(flat(str(said.get("error") or "it loaded another file than the service checked"))[:LONGEST])
        self.trouble, self.offline = "", said.get("offline") is True

    def _asked(self, question: dict[str, Any], seconds: float) -> Any:
        assert self._process is not None and self._process.stdin is not None
        with suppress(OSError):  # where it is gone, why is said below
            self._process.stdin.write(json.dumps(question).encode() + b"\n")
            self._process.stdin.flush()
        said = self._heard(seconds)
        if "refused" in said:
            raise ValueError(flat(str(said["refused"]))[:LONGEST])
        return said.get("scores")

    def _heard(self, seconds: float) -> dict[str, Any]:
        """One line of the process, within so many seconds."""
        assert self._process is not None and self._process.stdout is not None
        stream, until = self._process.stdout.fileno(), time.monotonic() + seconds
        parts = [self._kept]
        while b"\n" not in parts[-1]:
            ready, _, _ = select.select([stream], [], [], max(until - time.monotonic(), 0))
            if not ready:
                self._stop(f"it did not answer within {seconds:g} s")
            more = os.read(stream, 1 << 20)
            if not more or sum(map(len, parts)) > LARGEST:
                self._stop(self._why(bool(more)))
            parts.append(more)
        line, _, self._kept = b"".join(parts).partition(b"\n")
        try:
            said = json.loads(line)
        except ValueError:
            said = None
        if not isinstance(said, dict):
            self._stop("it answered what is no answer")
        return dict(said)

    def _why(self, endless: bool) -> str:
        assert self._process is not None
        if endless:
            return f"it answered with more than {LARGEST:,} bytes"
        code = self._process.wait()
        if code == -signal.SIGPROF:
            return "it took more CPU time than an answer may"
        return f"it ended by {signal.Signals(-code).name}" if code < 0 else f"it ended with exit code {code}"

    def _stop(self, why: str) -> NoReturn:
        self.close()
        self.trouble = f"The process that answers for {self.manifest.model} was given up: {why}."
        raise ModelUnavailable(self.trouble)

    def _shaped(self, found: Any, rows: int) -> np.ndarray:
        shape = (rows, len(self.manifest.classes)) if self.manifest.kind == "multiclass" else (rows,)
        try:
            scores = np.array(found, dtype=np.float64)
        except (ValueError, TypeError):
            scores = np.empty(0)
        if scores.shape != shape:
            self._stop("it answered what are no scores")
        return scores


def _seconds(rows: int) -> float:
    return ANSWER_SECONDS + ROW_SECONDS * rows


def _ended(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(OSError):
                pipe.close()


@dataclass(frozen=True)
class ReleaseElsewhere(Release):
    """A release whose pipeline answers from a process of its own."""

    process: Process | None = None

    def answer(self, rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
        assert self.process is not None
        return self.process.scores(rows)

    def close(self) -> None:
        if self.process is not None:
            self.process.close()

    @property
    def trouble(self) -> str:
        return self.process.trouble if self.process is not None else ""


def load_elsewhere(folder: Path, manifest: Manifest, why: str) -> Release:
    """The release of a checked file whose pipeline has to answer.

    Raises:
        CorruptionError: it could not be loaded there, or does not answer.
    """
    process = Process(folder, manifest)
    told = why if process.offline else f"{why}; {ONLINE}"
    release = ReleaseElsewhere(manifest, None, None, told, process)
    try:
        release.answer([blank(release)])
    except ModelUnavailable as error:
        raise CorruptionError(f"{folder} does not answer in a process of its own: {error}") from None
    except ValueError:  # it may refuse a row of placeholders, and answer others
        pass
    return release


def main() -> int:
    for limit, most in (
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, FILE),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
    ):
        resource.setrlimit(limit, (most, most))
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a model prints is no answer

    def say(words: dict[str, Any]) -> None:
        answers.write(json.dumps(words).encode() + b"\n")
        answers.flush()

    offline = go_offline()
    signal.setitimer(signal.ITIMER_PROF, LOAD_SECONDS)  # nobody handles its signal, so that it ends the process
    try:
        release = load_release(Path(sys.argv[1]))
    except Exception as error:  # scikit-learn raises whatever it likes over what a file holds
        say({"error": str(error) if isinstance(error, AssayError) else f"{type(error).__name__}: {error}"})
        return 1
    say({"model_digest": release.manifest.model_digest, "offline": offline})
    for line in sys.stdin.buffer:
        rows = json.loads(line)["rows"]
        signal.setitimer(signal.ITIMER_PROF, _seconds(len(rows)))
        try:
            say({"scores": release.answer(rows).tolist()})
        except Exception as error:  # an estimator raises whatever it likes of a row
            say({"refused": f"its estimator raised {type(error).__name__}: {error}"})
        signal.setitimer(signal.ITIMER_PROF, 0)
    return 0


if __name__ == "__main__":
    sys.exit(main())

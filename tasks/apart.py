"""A model that answers from a process of its own, apart from the keys and records of whoever asks.

What is examined may be hostile: the types in a model file are checked, and their content reaches compiled code. It is
loaded where a candidate's stages run (:mod:`tasks.records.repository.sandbox`), by :mod:`tasks.stages.apart`; a model
that ends its process, goes in circles or answers nonsense is one sentence here.
"""

from __future__ import annotations

import json
import math
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np
import pandas as pd
from scipy import sparse

from tasks.records.repository import sandbox
from tasks.records.repository.temporary import own_folder
from tasks.serving.release import read_manifest
from tasks.spec.errors import ConfigError, CorruptionError
from tasks.spec.line import flat
from tasks.spec.model import ModelConfig
from tasks.spec.settings import ROOT
from tasks.stages.messages import bytes_of, send

SECONDS, GRACE = 300, 20
"""For one answer, by the kernel's clock in the other process; and what is waited beyond that."""
LONGEST, LONGEST_LINE, LARGEST = 500, 1 << 20, 1 << 30
"""Characters of what a model says of an error; bytes of the line that begins an answer, and of all its numbers."""
KINDS: dict[str, type[Exception]] = {
    "ConfigError": ConfigError, "CorruptionError": CorruptionError, "ArithmeticError": ArithmeticError,
}  # fmt: skip
"""Errors of the other process that are the same here; all others of a model become ValueErrors."""


class ProcessApart:
    """A process of ours that answers questions apart. Threads may share it; it answers one of them at a time.

    Args:
        what: it is, in sentences, such as "care's model file".
        command: what runs it, for as long as the block lasts.
        seconds: for one answer.

    Raises:
        CorruptionError: it ended before it had begun to answer.
    """

    def __init__(self, what: str, command: AbstractContextManager[list[str]], seconds: int = SECONDS) -> None:
        self.what, self.seconds = what, seconds
        self._alone, self._ended, self._resources = threading.Lock(), "", ExitStack()
        self._said: IO[bytes] = self._resources.enter_context(tempfile.TemporaryFile())  # noqa: SIM115  (closed there)
        pipe, words = subprocess.PIPE, self._resources.enter_context(command)
        self._process = subprocess.Popen(
            words, cwd="/", env={}, stdin=pipe, stdout=pipe, stderr=self._said, start_new_session=True
        )
        self._answers = _Timed(self._process.stdout)
        self._end = weakref.finalize(self, _end, self._process, self._resources)
        try:
            words_of_first, _ = self._heard()
            self._begun(words_of_first)
        except BaseException:  # whatever stops it, a cancellation too: the process must not outlive it
            self._end()
            raise

    def _begun(self, words: dict[str, Any]) -> None:
        """Look at what it says first."""

    @property
    def ended(self) -> bool:
        """Whether it answers no more."""
        return bool(self._ended)

    def close(self) -> None:
        self._end()

    def asked(
        self, verb: str, parts: Sequence[bytes], answers: int | None, **words: Any
    ) -> tuple[dict[str, Any], list[np.ndarray]]:
        """Ask one question.

        Args:
            parts: what goes with it.
            answers: how many tables of numbers are the answer; None where it may be any.

        Raises:
            CorruptionError: it did not answer, or otherwise.
            ConfigError, ArithmeticError, ValueError: what was raised there.
        """
        with self._alone:
            if self._ended:
                raise CorruptionError(self._ended)
            assert self._process.stdin is not None
            with suppress(OSError):  # where it is gone, why is said below
                send(self._process.stdin, {"verb": verb, **words}, parts)
            told, arrays = self._heard()
        if answers is not None and len(arrays) != answers:
            raise self.nonsense(f"{len(arrays)} tables")
        return told, arrays

    def _heard(self) -> tuple[dict[str, Any], list[np.ndarray]]:
        """One answer; see :meth:`asked` for the errors."""
        self._answers.until = time.monotonic() + self.seconds + GRACE
        try:
            found = _answer(self._answers)
        except TimeoutError:
            self._stop(f"did not answer within {self.seconds + GRACE} s")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self._stop(f"answered what is no answer ({type(error).__name__})")
        if found is None:
            self._stop(self._why())
        words, arrays = found
        if "error" in words:
            raise _raised(words)
        return words, arrays

    def _why(self) -> str:
        code = self._process.wait()
        if code == 128 + signal.SIGALRM:
            return f"did not answer within {self.seconds} s"
        if code - 128 in signal.valid_signals():
            return f"was ended by {signal.Signals(code - 128).name} while it loaded or answered"
        self._said.seek(0)
        lines = self._said.read().decode(errors="replace").strip().splitlines() or [f"exit code {code}"]
        return f"ended while it loaded or answered ({flat(lines[-1])[:LONGEST]})"

    def _stop(self, why: str) -> NoReturn:
        self._ended = f"The process of {self.what} {why}, so nothing is concluded from it."
        self._end()
        raise CorruptionError(self._ended)

    def nonsense(self, answered: str) -> CorruptionError:
        return CorruptionError(f"the process of {self.what} answered {answered}.")

    def shaped(self, found: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """Numbers that have to be of a shape; see :meth:`asked` for the errors."""
        if found.shape != shape or found.dtype != np.float64:
            raise self.nonsense(f"numbers of the shape {found.shape}, not {shape}")
        return found


class ModelApart(ProcessApart):
    """One model file, loaded elsewhere.

    Args:
        folder: with ``model.skops`` and ``manifest.json``.
        code: ``deployments/models/<name>/code`` of the same version, which ``monitoring.embedding`` may name.
        seconds: for one answer.

    Raises:
        CorruptionError: the files are not what they were recorded as, or loading them ended the process.
    """

    def __init__(self, folder: Path, code: Path | None = None, seconds: int = SECONDS) -> None:
        self.folder, self.manifest, self._backgrounds = folder, read_manifest(folder), 0
        words, model = [str(folder.resolve()), str(seconds)], self.manifest.model
        command = command_apart("tasks.stages.apart", words, [folder], [], model, code)
        super().__init__(f"{model}'s model file", command, seconds)

    def _begun(self, words: dict[str, Any]) -> None:
        if words.get("model_digest") != self.manifest.model_digest:
            raise CorruptionError(f"{self.folder} changed while it was read. Run it again.")

    def fits(self, rows: pd.DataFrame) -> bool:
        """Whether the rows have every feature; a version may need one that is not logged any more."""
        return set(self.manifest.features) <= set(rows.columns)

    def score(self, rows: pd.DataFrame) -> np.ndarray:
        """Scores of raw rows, as :meth:`tasks.serving.release.Release.score` gives them.

        Raises:
            CorruptionError: it did not answer, or with what are no scores.
            ValueError: the model cannot score these rows.
        """
        _, (found,) = self.asked("score", [bytes_of(rows[list(self.manifest.features)])], 1)
        shape = (len(rows), len(self.manifest.classes)) if self.manifest.kind == "multiclass" else (len(rows),)
        return self.shaped(found, shape)

    def explainer(self, background: pd.DataFrame) -> Callable[[pd.DataFrame, int], pd.DataFrame]:
        """Attributions of raw rows under a seed against a background, as
        :class:`tasks.science.models.explanations.Explainer` gives them."""
        features = list(self.manifest.features)
        self.asked("background", [bytes_of(background[features])], 0)
        number, self._backgrounds = self._backgrounds, self._backgrounds + 1

        def explain(rows: pd.DataFrame, seed: int) -> pd.DataFrame:
            _, (found,) = self.asked("explain", [bytes_of(rows[features])], 1, number=number, seed=seed)
            return pd.DataFrame(self.shaped(found, (len(rows), len(features))), index=rows.index, columns=features)

        return explain

    def representing(self, config: ModelConfig) -> Callable[[pd.DataFrame], tuple[str, Any]]:
        """What :func:`tasks.science.models.embeddings.representing` gives."""
        document, inputs = config.model_dump(mode="json"), [c.name for c in config.inputs]

        def represent(rows: pd.DataFrame) -> tuple[str, Any]:
            content = bytes_of(rows[[c for c in inputs if c in rows]])
            words, found = self.asked("represent", [content], None, config=document)
            source = flat(str(words["source"]))[:LONGEST]
            if len(found) == 1:
                return source, self.shaped(found[0], (len(rows), *found[0].shape[1:2]))
            try:
                table = sparse.csr_matrix(tuple(found), shape=(len(rows), int(words["width"])))
                table.check_format(full_check=True)
            except (ValueError, KeyError, TypeError) as error:
                raise self.nonsense(f"a table that is none ({error})") from None
            return source, table

        return represent


@contextmanager
def model_apart(folder: Path, code: Path | None = None) -> Iterator[ModelApart]:
    """A model for the time of a block."""
    model = ModelApart(folder, code)
    try:
        yield model
    finally:
        model.close()


def answering(folder: Path, code: Path | None = None) -> ModelApart:
    """The model in a folder; whoever asks again for the same file is given the same process."""
    return _answering(folder, code, read_manifest(folder).model_digest)


@lru_cache(maxsize=2)
def _answering(folder: Path, code: Path | None, digest: str) -> ModelApart:
    return ModelApart(folder, code)


@contextmanager
def command_apart(
    module: str,
    words: Sequence[str],
    read: Sequence[Path],
    write: Sequence[Path],
    model: str = "",
    code: Path | None = None,
) -> Iterator[list[str]]:
    """The command that runs a module of the installed code apart.

    Args:
        read, write: folders that it may read, and change.
        code: modules of the model's own, which it finds under ``deployments.models.<model>.code``.
    """
    with own_folder("model") as own:
        (own / "tasks").symlink_to(ROOT / "tasks")  # the code of whoever asks, and nothing that lies beside it
        seen = [own, ROOT / "tasks", *(path.resolve() for path in read)]
        if code is not None and code.is_dir():
            (own / "deployments/models" / model).mkdir(parents=True)
            (own / "deployments/models" / model / "code").symlink_to(code.resolve())
            seen.append(code.resolve())
        with sandbox.apart(write, seen, environment={"PYTHONPATH": str(own)}) as apart:
            yield [*apart, sys.executable, "-P", "-m", module, *words]


class _Timed:
    """Reads from a pipe until a moment."""

    def __init__(self, stream: Any) -> None:
        self.stream, self.until, self._kept = stream, 0.0, b""

    def readline(self) -> bytes:
        while b"\n" not in self._kept:
            more = self._more()
            if not more or len(self._kept) > LONGEST_LINE:
                return b""
        line, _, self._kept = self._kept.partition(b"\n")
        return line + b"\n"

    def read(self, length: int) -> bytes:
        parts, there = [self._kept], len(self._kept)
        while there < length:
            self._kept = b""
            more = self._more()
            if not more:
                raise ValueError("it ends early")
            parts.append(more)
            there += len(more)
        content = b"".join(parts)
        self._kept = content[length:]
        return content[:length]

    def _more(self) -> bytes:
        ready, _, _ = select.select([self.stream], [], [], max(self.until - time.monotonic(), 0))
        if not ready:
            raise TimeoutError
        more = os.read(self.stream.fileno(), 1 << 20)
        self._kept += more
        return more


def _answer(stream: _Timed) -> tuple[dict[str, Any], list[np.ndarray]] | None:
    """The next answer; None where there is none any more.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: it is none.
    """
    line = stream.readline()
    if not line:
        return None
    words: dict[str, Any] = json.loads(line)
    lengths = words.pop("lengths")
    if sum(lengths) > LARGEST or min([0, *lengths]) < 0:
        raise ValueError("no such lengths")
    parts = [stream.read(length) for length in lengths]
    return words, [_array(about, part) for about, part in zip(words.get("arrays", []), parts, strict=True)]


def _array(about: Any, content: bytes) -> np.ndarray:
    shape, dtype = about["shape"], {"float64": np.float64, "int64": np.int64}[about["dtype"]]
    if any(type(n) is not int or n < 0 for n in shape) or math.prod(shape) * 8 != len(content):
        raise ValueError("numbers of another count than announced")
    return np.frombuffer(content, dtype).reshape(shape).copy()


def _raised(words: dict[str, Any]) -> Exception:
    said, kind = flat(str(words["error"]))[:LONGEST], str(words.get("kind"))
    if kind in KINDS:
        return KINDS[kind](said)
    named = str(words.get("type"))
    return ValueError(said if named == "ValueError" else f"{flat(named)[:80]}: {said}")


def _end(process: subprocess.Popen[bytes], resources: ExitStack) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for stream in (process.stdin, process.stdout):
        if stream:
            with suppress(OSError):
                stream.close()
    resources.close()

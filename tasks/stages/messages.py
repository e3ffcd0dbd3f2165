"""Questions to a process that runs apart, and its answers: how both lie on a pipe.

A message is a line of JSON with the lengths of the parts that follow it. Rows come as an Arrow stream, numbers go back
as they lie in memory: ``float64`` or ``int64``, little-endian, in C order.
"""

from __future__ import annotations

import json
import os
import resource
import signal
from collections.abc import Callable, Sequence
from typing import IO, Any

import numpy as np
import pandas as pd
import pyarrow as pa

from tasks.spec.errors import AssayError

CPU_SECONDS = 6 * 3600
"""Of one process at most: a model that goes in circles ends, also where nobody waits for it."""
Answer = tuple[dict[str, Any], Sequence[np.ndarray]]
Asked = Callable[[dict[str, Any], list[bytes]], Answer]


def serve(load: Callable[[], tuple[Answer, Asked]], seconds: int) -> int:
    """Answer questions from stdin on stdout until there are no more; gives the exit code.

    Args:
        load: what is done first, and told as the first answer; then what answers each question.
        seconds: for one answer. The kernel ends what is over its time, C code too.
    """
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    questions, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a model prints is no answer
    signal.alarm(seconds)
    loaded: list[Asked] = []

    def begin() -> Answer:
        first, asked = load()
        loaded.append(asked)
        return first

    if not told(answers, begin):
        return 1
    while (question := received(questions)) is not None:
        signal.alarm(seconds)
        words, parts = question
        told(answers, lambda: loaded[0](words, parts))  # noqa: B023  (it is called at once)
        signal.alarm(0)
    return 0


def told(stream: IO[bytes], make: Callable[[], Answer]) -> bool:
    """Send an answer, or why there is none; gives whether there was one."""
    try:
        words, arrays = make()
    except Exception as error:  # a model raises whatever it likes, and the caller decides what that means
        kind = next((t.__name__ for t in type(error).__mro__ if t.__name__ in RAISED), "")
        send(stream, {"error": str(error), "kind": kind, "type": type(error).__name__}, [])
        return False
    sent = [np.ascontiguousarray(a, dtype=a.dtype.newbyteorder("<")) for a in arrays]
    about = [{"shape": list(a.shape), "dtype": str(a.dtype)} for a in sent]
    send(stream, {**words, "arrays": about}, [a.tobytes() for a in sent])
    return True


RAISED = (*(t.__name__ for t in AssayError.__subclasses__()), "ArithmeticError", "ValueError")
"""Errors that keep their kind on the way."""


def send(stream: IO[bytes], words: dict[str, Any], parts: Sequence[bytes]) -> None:
    stream.write(json.dumps({**words, "lengths": [len(p) for p in parts]}).encode() + b"\n")
    for part in parts:
        stream.write(part)
    stream.flush()


def received(stream: IO[bytes]) -> tuple[dict[str, Any], list[bytes]] | None:
    """The next message; None where there is none any more."""
    line = stream.readline()
    if not line:
        return None
    words: dict[str, Any] = json.loads(line)
    return words, [stream.read(length) for length in words.pop("lengths")]


def bytes_of(rows: pd.DataFrame) -> bytes:
    """Rows as an Arrow stream, without their index."""
    table = pa.Table.from_pandas(rows, preserve_index=False)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def table_of(content: bytes) -> pd.DataFrame:
    with pa.ipc.open_stream(content) as reader:
        found: pd.DataFrame = reader.read_all().to_pandas()
        return found

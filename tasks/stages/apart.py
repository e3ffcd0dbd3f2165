"""``python -m tasks.stages.apart MODEL_FOLDER SECONDS``: load one model file and answer questions about it.

Whoever asks holds keys and writes records, and a model file may bring down or take over the process that loads it. So
the file is loaded here, behind :mod:`tasks.records.repository.sandbox`, and nothing but numbers and text goes back.
:mod:`tasks.apart` is the other end.

A message is a line of JSON with the lengths of the parts that follow it. Rows come as an Arrow stream, numbers go back
as they lie in memory: ``float64`` or ``int64``, little-endian, in C order.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import pyarrow as pa
from scipy import sparse

from tasks.science.models.embeddings import representing
from tasks.science.models.explanations import Explainer
from tasks.serving.release import Release, load_release
from tasks.spec.errors import AssayError
from tasks.spec.model import ModelConfig

CPU_SECONDS = 6 * 3600
"""Of one examination or run of monitoring at most: a model that goes in circles ends, also where nobody waits for
it."""
Answer = tuple[dict[str, Any], Sequence[np.ndarray]]


class Answering:
    """One loaded release, and the backgrounds that it explains against."""

    def __init__(self, release: Release) -> None:
        self.release = release
        self.explainers: list[Explainer] = []

    def score(self, rows: pd.DataFrame) -> Answer:
        return {}, [self.release.score(rows)]

    def background(self, rows: pd.DataFrame) -> Answer:
        self.explainers.append(Explainer(self.release.pipeline, rows))
        return {}, []

    def explain(self, rows: pd.DataFrame, number: int, seed: int) -> Answer:
        return {}, [self.explainers[number](rows, seed).to_numpy(float)]

    def represent(self, rows: pd.DataFrame, config: dict[str, Any]) -> Answer:
        source, table = representing(self.release.pipeline, ModelConfig.model_validate(config, strict=False))(rows)
        if not sparse.issparse(table):
            return {"source": source}, [np.asarray(table, dtype=float)]
        found = sparse.csr_matrix(table)
        parts = [found.data.astype(float), found.indices.astype(np.int64), found.indptr.astype(np.int64)]
        return {"source": source, "width": int(found.shape[1])}, parts


def main() -> int:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    questions, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a model prints is no answer
    seconds = int(sys.argv[2])
    signal.alarm(seconds)
    loaded: list[Answering] = []

    def load() -> Answer:
        loaded.append(Answering(load_release(Path(sys.argv[1]))))
        return {"model_digest": loaded[0].release.manifest.model_digest}, []

    if not told(answers, load):
        return 1
    while (asked := received(questions)) is not None:
        signal.alarm(seconds)  # the kernel ends what is over its time, C code too
        words, parts = asked
        told(answers, lambda: _answered(loaded[0], words, parts))  # noqa: B023  (it is called at once)
        signal.alarm(0)
    return 0


def _answered(model: Answering, words: dict[str, Any], parts: list[bytes]) -> Answer:
    verb = words.pop("verb")
    return getattr(model, verb)(table_of(parts[0]), **words)  # type: ignore[no-any-return]


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


if __name__ == "__main__":
    sys.exit(main())

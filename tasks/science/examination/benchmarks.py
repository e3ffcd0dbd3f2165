"""Benchmarks: named sets of holdout rows that every version must answer, pinned by digest where the config says so."""

from __future__ import annotations

import numpy as np

from tasks.science.data.tables import LABEL, content_digest
from tasks.science.examination.examination import Examination
from tasks.spec.errors import ConfigError

HOLDOUT = "holdout"


class BenchmarkFault(Exception):
    """A benchmark that cannot be answered; the message names it and the fix."""


def benchmark_rows(name: str, examination: Examination) -> np.ndarray:
    """(n,) bool: the rows of a benchmark.

    ``all`` are all rows. ``holdout``, ``recent`` and ``earlier`` are parts of the holdout by where they come from: the
    base, or collected in production. Any other name is a set of base rows that the model's config names.

    Raises:
        BenchmarkFault: it has no rows, its condition is wrong, or its content has another digest than was pinned.
    """
    if name == "all":
        return np.ones(len(examination.label), bool)
    named = examination.config.benchmarks if examination.config is not None else {}
    if name not in named:
        mask = np.asarray(examination.benchmark == name)
        if not mask.any():
            raise BenchmarkFault(
                f"benchmark {name!r} has no rows; there are: "
                f"{', '.join(['all', *sorted(set(examination.benchmark.astype(str))), *named])}"
            )
        return mask
    try:
        chosen = examination.fulfilled(named[name].rows, f"benchmarks.{name}.rows")
    except ConfigError as error:
        raise BenchmarkFault(str(error)) from None
    mask = np.asarray(chosen & (examination.benchmark == HOLDOUT))
    found = content_digest(examination.rows[mask].assign(**{LABEL: examination.label[mask]}))
    pinned = named[name].sha256
    if pinned is not None and found != pinned:
        raise BenchmarkFault(
            f"benchmark {name!r} has digest {found}, and model.yaml pins {pinned}: a benchmark that changes "
            "compares nothing. Restore its rows, or pin the new digest on purpose"
        )
    if not mask.any():
        raise BenchmarkFault(f"benchmark {name!r} has no rows: no row of the base holdout fits {named[name].rows!r}")
    return mask

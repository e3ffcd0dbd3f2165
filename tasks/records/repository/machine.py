"""What of a machine moves the last bits of a fit: the kernel that its BLAS chose, and how many threads it has.

OpenBLAS takes the kernel that fits the processor, and sums in another order with another one or another number of
threads. Fits of linear models and networks differ in the last bits then.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tasks.records.repository import process, sandbox
from tasks.records.repository.temporary import own_folder

ASKED = (
    "import json, numpy, scipy.linalg, threadpoolctl; from sklearn.utils._openmp_helpers import "
    "_openmp_effective_n_threads as count; found = threadpoolctl.threadpool_info(); "
    "rows = [[str(f.get(k)) for k in ('internal_api', 'architecture')] + [f.get('num_threads')] for f in found "
    "if f.get('user_api') == 'blas']; print(json.dumps([rows, count()]))"
)
"""What a Python is asked about itself; every environment of ours has these packages."""
SECONDS = 300
THREADS = {"OMP_NUM_THREADS": "openmp", "OPENBLAS_NUM_THREADS": "threads"}
"""Variables by what they set: scikit-learn writes its number of OpenMP threads into a model file, and it may be another
one than BLAS has."""


def apart(python: Path, seen: Path, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Kernel, threads and machine as a stage finds them that runs apart; without a kernel where Python does not say.

    What runs apart may count fewer processors than whoever starts it.

    Args:
        python: the interpreter.
        seen: the folder of its packages.
        environment: variables that the stages get.
    """
    with (
        own_folder("machine") as folder,
        sandbox.apart([folder], [seen], environment=environment) as words,
    ):
        code, out, _ = process.run([*words, str(python), "-c", ASKED], folder, {}, SECONDS)
    try:
        rows, openmp = json.loads(out) if code == 0 else ([], None)
    except ValueError:
        rows, openmp = [], None
    return _said(rows, openmp)


def _said(rows: list[list[Any]], openmp: int | None) -> dict[str, Any]:
    kernels = sorted({f"{api} {kernel}" for api, kernel, _ in rows})
    threads = max((int(count) for *_, count in rows if count), default=None)
    return {"kernel": ", ".join(kernels), "threads": threads, "openmp": openmp, "machine": platform.machine()}


def threads_of(machine: Mapping[str, Any] | None) -> dict[str, str]:
    """Variables that give a program as many threads as a record says; none where it does not say."""
    found = {name: (machine or {}).get(key) for name, key in THREADS.items()}
    return {name: str(count) for name, count in found.items() if isinstance(count, int) and count > 0}


def differs(one: Mapping[str, Any] | None, other: Mapping[str, Any]) -> str:
    """In which of kernel and machine two differ, in words; empty where they do not, or the record does not say."""
    if not one:
        return ""
    said = [f"{one[key]} then and {other.get(key)} now" for key in ("kernel", "machine")
            if one.get(key) and one.get(key) != other.get(key)]  # fmt: skip
    return ", ".join(said)

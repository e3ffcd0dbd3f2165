"""What of a machine moves the last bits of a fit: the kernel that its BLAS chose, and how many threads it has.

OpenBLAS takes the kernel that fits the processor, and sums in another order with another one or another number of
threads. Fits of linear models and networks differ in the last bits then.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tasks.records.repository import process

ASKED = (
    "import json, platform, numpy, scipy.linalg, threadpoolctl; found = threadpoolctl.threadpool_info(); "
    "print(json.dumps([[str(f.get(k)) for k in ('internal_api', 'architecture', 'version')] + [f.get('num_threads')] "
    "for f in found if f.get('user_api') == 'blas']))"
)
"""What a Python is asked about itself; every environment of ours has these packages."""
SECONDS = 300
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def here() -> dict[str, Any]:
    """Of this process, as :func:`of` gives it."""
    import numpy  # noqa: F401  (what is loaded is what is asked about)
    import scipy.linalg  # noqa: F401
    import threadpoolctl

    found = threadpoolctl.threadpool_info()
    blas = [one for one in found if one.get("user_api") == "blas"]
    return _said([[str(one.get("internal_api")), str(one.get("architecture")), one.get("num_threads")] for one in blas])


def of(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """Kernel, threads and machine of another Python, by asking it; without a kernel where it does not say.

    Args:
        command: that Python, with the words before it.
    """
    code, out, _ = process.run([*command, "-c", ASKED], folder, environment, SECONDS)
    try:
        rows = json.loads(out) if code == 0 else []
    except ValueError:
        rows = []
    return _said([[api, kernel, threads] for api, kernel, _, threads in rows])


def _said(rows: list[list[Any]]) -> dict[str, Any]:
    kernels = sorted({f"{api} {kernel}" for api, kernel, _ in rows})
    threads = max((int(count) for *_, count in rows if count), default=None)
    return {"kernel": ", ".join(kernels), "threads": threads, "machine": platform.machine()}


def threads_of(machine: Mapping[str, Any] | None) -> dict[str, str]:
    """Variables that give a program as many threads as a record says; none where it does not say."""
    count = (machine or {}).get("threads")
    return {name: str(count) for name in THREADS} if isinstance(count, int) and count > 0 else {}


def differs(one: Mapping[str, Any] | None, other: Mapping[str, Any]) -> str:
    """In which of kernel and machine two differ, in words; empty where they do not, or the record does not say."""
    if not one:
        return ""
    said = [f"{one[key]} then and {other.get(key)} now" for key in ("kernel", "machine")
            if one.get(key) and one.get(key) != other.get(key)]  # fmt: skip
    return ", ".join(said)

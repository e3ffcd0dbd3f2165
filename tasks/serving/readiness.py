"""``python -m tasks.serving.readiness``: load and query a candidate as the service does, in a process without
network."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # as the service runs; it must be said before numpy is imported

import argparse
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

WARM_UP = 5


def deny_network(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook that raises on name look-ups and connections, so that the candidate counts as not ready."""
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.bind"):
        raise PermissionError(f"the model reached for the network ({event})")


def measure(folder: Path) -> dict[str, Any]:
    """Load a release and answer its recorded requests.

    Args:
        folder: with ``model.skops``, ``manifest.json`` and ``requests.json``.

    Returns:
        ``rows``: how many were recorded.
        ``refused``: problems that the input schema finds in them.
        ``differing``: scores that are not bit-equal to those of the training process.
        ``load_seconds``; ``seconds``: a list, one request of one row each. Both are CPU time of this process and all
        its threads, so that neighbours on a busy machine make no candidate slow.
        ``memory_mb``: peak resident size of this process.

    Raises:
        CorruptionError: the files are not what the manifest says.
        PermissionError: the model reached for the network.
    """
    from tasks.serving.release import load_release
    from tasks.serving.schema import RowSchema

    begun = time.process_time()
    release = load_release(folder)
    schema = RowSchema(release.manifest)
    loaded = time.process_time() - begun
    recorded = json.loads((folder / "requests.json").read_text())
    rows, bad = schema.check(recorded["rows"])
    if bad:
        return {
            "rows": len(recorded["rows"]),
            "refused": [f"{p['field']}: {p['message']}" for p in bad[:3]],
            "differing": None,
            "load_seconds": loaded,
            "seconds": [],
            "memory_mb": None,
        }
    scores = release.answer(rows)
    differing = sum(ours != theirs for ours, theirs in zip(scores.tolist(), recorded["scores"], strict=True))
    seconds = []
    for row in recorded["rows"][:WARM_UP] + recorded["rows"]:
        begun = time.process_time()
        good, _ = schema.check([row])
        release.answer(good)
        seconds.append(time.process_time() - begun)
    memory = peak_memory()
    return {
        "rows": len(rows),
        "refused": [],
        "differing": differing,
        "load_seconds": loaded,
        "seconds": seconds[WARM_UP:],
        "memory_mb": memory,
    }


def peak_memory() -> float:
    """Peak resident size of this program in MB.

    Linux hands getrusage's maximum on through exec, so that it can be the size of the process that started this one;
    the kernel's own high-water mark begins anew.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    sys.addaudithook(deny_network)
    try:
        found: dict[str, Any] = measure(arguments.model)
    except Exception as error:  # whatever stops a model here would stop the service
        found = {"error": f"{type(error).__name__}: {error}"}
    arguments.out.write_text(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Try a release in a process of its own before the service loads it: ``python -m tasks.serving.trial FOLDER``.

Array code is read from checked arrays, and needs no trial. Where scikit-learn's own objects are built, their code meets
the file here first. A crash, an endless loop or a file that swells ends this process alone, and the service goes on
with what it serves.
"""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from pathlib import Path

from tasks.serving.release import blank, load_release
from tasks.spec.errors import AssayError, CorruptionError

SECONDS, MEMORY = 60, 8 * 2**30
"""Wall-clock and CPU seconds, and bytes of address space, that a trial may take."""
REFUSED = 3


def try_release(folder: Path) -> None:
    """Load and ask a release elsewhere.

    Raises:
        CorruptionError: it could not be loaded or asked there, or did not come to an end.
    """
    command = [sys.executable, "-m", "tasks.serving.trial", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=2 * SECONDS, stdin=subprocess.DEVNULL, check=False)
    except subprocess.TimeoutExpired:
        raise CorruptionError(f"{folder} was not loaded within {2 * SECONDS} s. Publish the version again.") from None
    if done.returncode == 0:
        return
    said = done.stderr.decode(errors="replace").strip().splitlines()
    if done.returncode == REFUSED and said:
        raise CorruptionError(said[-1])
    ended = signal.Signals(-done.returncode).name if done.returncode < 0 else f"exit code {done.returncode}"
    raise CorruptionError(f"{folder} ended the process that tried it ({ended}). It was not loaded; train it again.")


def main() -> int:
    for limit, most in (
        (resource.RLIMIT_CPU, SECONDS),
        (resource.RLIMIT_AS, MEMORY),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 1 << 20),
    ):
        resource.setrlimit(limit, (most, most))
    try:
        release = load_release(Path(sys.argv[1]))
        release.answer([blank(release)])
    except AssayError as error:
        print(error, file=sys.stderr)
        return REFUSED
    except Exception as error:  # scikit-learn raises whatever it likes over what a file holds
        print(f"it could not be loaded ({type(error).__name__}: {error})".splitlines()[0], file=sys.stderr)
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""``python -m tasks.cli.service``: the prediction service, as one process or as several on one port."""

from __future__ import annotations

import argparse
import sys

from tasks.cli.transport import bound_host
from tasks.spec.errors import AssayError
from tasks.spec.settings import Settings


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8090)
    parser.add_argument("--socket", type=int, help="number of a socket that listens already, instead of host and port")
    parser.add_argument("--workers", type=int, help="processes that answer; else what ASSAY_WORKERS says")
    told = parser.parse_args()
    host = told.host if told.socket is None else bound_host(told.socket)
    try:
        settings = Settings() if told.workers is None else Settings(workers=told.workers)
    except AssayError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    if settings.workers == 1:
        from tasks.cli.worker import run

        return run(host, told.port, told.socket)
    from tasks.cli.workers import supervise  # a parent that answers nobody loads nothing that it takes to answer

    return supervise(settings, host, told.port, told.socket)


if __name__ == "__main__":
    sys.exit(main())

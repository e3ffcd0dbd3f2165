"""``python -m tasks.cli.server --socket NUMBER``: a Prefect server on a socket that was bound before it started.

``prefect server start`` takes the number of a port alone, and between the choice of a port and its use anybody may
take it.
"""

from __future__ import annotations

import argparse

import uvicorn
from prefect.server.api.server import create_app
from prefect.settings import get_current_settings

from tasks.cli.sockets import serve


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--socket", type=int, required=True)
    number = parser.parse_args().socket
    server = get_current_settings().server
    serve(
        uvicorn.Config(
            create_app(final=True),
            log_level=server.logging_level.lower(),
            timeout_keep_alive=server.api.keepalive_timeout,
            ws_ping_interval=server.api.websocket_ping_interval,
            ws_ping_timeout=server.api.websocket_ping_timeout,
        ),
        number,
    )


if __name__ == "__main__":
    main()

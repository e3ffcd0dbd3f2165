"""Put on PYTHONPATH by the tests: every Python process notes each connection or name look-up that leaves this
machine."""

import os
import socket
import sys


def watch(event, arguments):
    if event == "socket.connect" and arguments[0].family in (socket.AF_INET, socket.AF_INET6):
        host = str(arguments[1][0])
    elif event == "socket.getaddrinfo":
        host = arguments[0].decode() if isinstance(arguments[0], bytes) else str(arguments[0])
    elif event == "socket.sendto" and arguments[0].family in (socket.AF_INET, socket.AF_INET6):
        host = str(arguments[1][0])
    else:
        return
    if host in ("localhost", "::1", "None", "", "0.0.0.0") or host.startswith("127."):
        return
    command = " ".join(sys.orig_argv)
    with open(os.environ["OUTBOUND_LOG"], "a") as log:
        log.write(f"{host}\t{command}\n")


if os.environ.get("OUTBOUND_LOG"):
    sys.addaudithook(watch)
if os.environ.get("SHIFTED_CLOCK"):
    import shifted_clock  # noqa: F401

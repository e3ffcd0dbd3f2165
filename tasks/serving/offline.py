"""Keep this process from the network, by a filter of system calls (seccomp, Linux on x86_64 and aarch64).

Whether that came to hold is tried afterwards, never concluded.
"""

from __future__ import annotations

import ctypes
import platform
import socket
import struct
from contextlib import suppress

CALLS = {"x86_64": (0xC000003E, 317, 41), "aarch64": (0xC00000B7, 277, 198)}
"""By architecture: its number in an audit, and the system calls seccomp and socket."""
RING = 425
"""io_uring_setup, by which sockets are opened past the filter; the same number on both."""
NO_NEW_PRIVS, FILTER, ALL_THREADS = 38, 1, 1
REFUSE, ALLOW = 0x50000 | 13, 0x7FFF0000


def go_offline() -> bool:
    """Refuse every new socket to all threads of this process and to its children; gives whether that holds."""
    with suppress(OSError, AttributeError):  # no such library, or no such function in it: another system
        _filter()
    return _is_offline()


def _filter() -> None:
    if platform.system() != "Linux" or platform.machine() not in CALLS:
        return
    audit, seccomp, opened = CALLS[platform.machine()]
    code = [
        (0x20, 0, 0, 4), (0x15, 1, 0, audit), (0x06, 0, 0, REFUSE),  # another architecture has other numbers
        (0x20, 0, 0, 0), (0x35, 2, 0, 0x40000000), (0x15, 1, 0, opened), (0x15, 0, 1, RING), (0x06, 0, 0, REFUSE),
        (0x06, 0, 0, ALLOW),
    ]  # fmt: skip
    lines = b"".join(struct.pack("HBBI", *line) for line in code)
    buffer = ctypes.create_string_buffer(lines, len(lines))
    program = struct.pack("HxxxxxxP", len(code), ctypes.addressof(buffer))
    library = ctypes.CDLL(None, use_errno=True)
    library.prctl(NO_NEW_PRIVS, 1, 0, 0, 0)
    library.syscall(seccomp, ctypes.c_uint(FILTER), ctypes.c_uint(ALL_THREADS), program)


def _is_offline() -> bool:
    for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX):
        try:
            socket.socket(family).close()
        except PermissionError:
            continue
        except OSError:  # the machine has no such addresses
            continue
        return False
    return True

"""``python -m tests.old_kernel COMMAND...``: run a command where the kernel offers nothing to keep others apart.

The kernel itself says so: a filter answers the system calls as one that does not know or allow them.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys

NUMBERS = {  # unshare, setuid, setreuid, setresuid, capset, seccomp
    "x86_64": (0xC000003E, (272, 105, 113, 117, 126, 317)),
    "aarch64": (0xC00000B7, (97, 146, 145, 147, 91, 277)),
}
LANDLOCK = (444, 445, 446)
PRCTL, SET_SECCOMP, DROP_BOUND = {"x86_64": 157, "aarch64": 167}, 22, 24


def forget() -> None:
    """Let this process and all that it starts find an old kernel that allows nothing."""
    _, refused = NUMBERS[platform.machine()]
    eperm, enosys, allow = 0x50001, 0x50026, 0x7FFF0000
    code = [(0x20, 0, 0, 0)]
    for numbers, answer in ((LANDLOCK, enosys), (refused, eperm)):
        for number in numbers:
            code += [(0x15, 0, 1, number), (0x06, 0, 0, answer)]
    code += [(0x15, 0, 5, PRCTL[platform.machine()]), (0x20, 0, 0, 16)]
    for option in (SET_SECCOMP, DROP_BOUND):
        code += [(0x15, 0, 1, option), (0x06, 0, 0, eperm)]
    code += [(0x06, 0, 0, allow)]
    lines = b"".join(struct.pack("HBBI", *line) for line in code)
    buffer = ctypes.create_string_buffer(lines, len(lines))
    program = struct.pack("HxxxxxxP", len(code), ctypes.addressof(buffer))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(38, 1, 0, 0, 0)
    if libc.prctl(SET_SECCOMP, 2, program, 0, 0):
        raise OSError(ctypes.get_errno(), "no filter could be set")


if __name__ == "__main__":
    forget()
    os.execvp(sys.argv[1], sys.argv[1:])

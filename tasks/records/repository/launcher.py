"""Runs one command shut off from the rest of the machine, by what this machine's kernel offers.

``python -I -S launcher.py POLICY -- COMMAND...``, or ``-c LINE`` as a shell is called. It needs the standard library
alone, so that it starts in milliseconds and nothing that a candidate brings can be imported. Each layer is tried by
itself; one that the machine refuses is left out. What came of it is measured (:mod:`tasks.records.repository.sandbox`),
never concluded from what was tried.
"""

import ctypes
import json
import os
import platform
import signal
import stat
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, NoReturn

Policy = dict[str, Any]

LIBC = ctypes.CDLL(None, use_errno=True)
FORBIDDEN = 3
"""Exit code where a command has left what nobody may read."""
KEPT = ("DVC_ROOT", "DVC_STAGE")
REFUSED = 125
"""Exit code where namespaces are refused; the command was not started."""
NOBODY = 65533

NEWUSER, NEWIPC, NEWPID = 0x10000000, 0x08000000, 0x20000000
PDEATHSIG, SUBREAPER, NO_NEW_PRIVS, DROP_BOUND, SECCOMP = 1, 36, 38, 24, 22

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1, 2, 4, 8
TRUNCATE = 1 << 14
READING = EXECUTE | READ_FILE | READ_DIR
OLDEST, REFER, IOCTL = (1 << 13) - 1, 1 << 13, 1 << 15
SPECIAL = sum(1 << bit for bit in (6, 9, 10, 11))
"""Making devices, sockets and FIFOs: nobody needs them for data, and a FIFO blocks whoever opens it."""
CONNECT = 1 << 1


def main(arguments: list[str]) -> int:
    with open(arguments[0], "rb") as file:
        policy = json.load(file)
    command = [] if arguments[1] == "--probe" else arguments[2:]
    if arguments[1] == "-c":
        command = ["/bin/sh", *arguments[1:]]
    network = policy["network"] or os.environ.get("DVC_STAGE", "").partition("@")[0] in policy["network_stages"]
    if not policy["apart"]:  # a program of our own, kept to its folders
        _landlock(policy, policy["network"])
        os.execve(command[0], command, policy["environment"])
    environment = dict(policy["environment"]) | (policy["network_environment"] if network else {})
    environment |= {name: os.environ[name] for name in KEPT if name in os.environ}
    code = _apart(policy, command, environment, network)
    found = [path for folder in policy["write"] for path in strange(folder)] if policy["scan"] else []
    if found:
        print(
            f"error: {found[0]} was left behind. A stage leaves plain files and folders alone: no links out of its "
            "folder, no FIFOs, sockets or devices, and no repositories.",
            file=sys.stderr,
        )
        return FORBIDDEN
    return code


def strange(folder: str) -> Iterator[str]:
    """Paths below a folder that a trusted reader must not meet: links that lead out, special files, repositories."""
    top = os.path.realpath(folder)
    for where, folders, files in os.walk(folder):
        for name in folders + files:
            path = os.path.join(where, name)
            try:
                mode = os.lstat(path).st_mode
            except FileNotFoundError:
                continue
            plain = stat.S_ISREG(mode) or stat.S_ISDIR(mode)
            if stat.S_ISLNK(mode):
                plain = os.path.commonpath([os.path.realpath(path), top]) == top
            if name.lower() == ".git" or not plain:
                yield path


def _apart(policy: Policy, command: list[str], environment: dict[str, str], network: bool) -> int:
    """Run the command behind all layers, and end what it has left running."""
    own = os.getpid()
    if sys.platform != "linux":
        return _code(os.waitpid(os.posix_spawnp(command[0], command, environment), 0)[1]) if command else 1
    LIBC.prctl(SUBREAPER, 1, 0, 0, 0)
    for spaces in (NEWUSER | NEWPID | NEWIPC, NEWPID | NEWIPC, 0):
        child = os.fork()
        if child == 0:
            LIBC.prctl(PDEATHSIG, signal.SIGKILL, 0, 0, 0)
            os._exit(_between(policy, command, environment, network, own, spaces))
        _, status = os.waitpid(child, 0)
        _end_descendants(own)
        if _code(status) != REFUSED or not spaces:
            break
    return _code(status)


def _between(
    policy: Policy, command: list[str], environment: dict[str, str], network: bool, own: int, spaces: int
) -> int:
    """Enter namespaces of its own for users, processes and shared memory; the next child is the first in them."""
    user, group = os.geteuid(), os.getegid()
    if spaces and LIBC.unshare(spaces) != 0:
        return REFUSED
    if spaces & NEWUSER:
        # no root in there either: it would hold every capability within
        maps = {"setgroups": "deny", "uid_map": f"{user or NOBODY} {user} 1", "gid_map": f"{group or NOBODY} {group} 1"}
        try:
            for name, text in maps.items():
                with open(f"/proc/self/{name}", "w") as file:
                    file.write(text)
        except OSError:
            return REFUSED
    child = os.fork()
    if child == 0:
        LIBC.prctl(PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        _first(policy, command, environment, network, own)
    return _code(os.waitpid(child, 0)[1])


def _first(policy: Policy, command: list[str], environment: dict[str, str], network: bool, own: int) -> NoReturn:
    """The process that all others in there descend from; with its end, the kernel ends them."""
    os.closerange(3, 4096)
    LIBC.prctl(NO_NEW_PRIVS, 1, 0, 0, 0)
    _landlock(policy, network)
    _no_capabilities()
    _no_sockets(network)
    if not command:
        os.write(1, json.dumps(probe(policy, own)).encode())
        os._exit(0)
    child = os.fork()
    if child == 0:
        try:
            os.execvpe(command[0], command, environment)
        except OSError as error:
            os.write(2, f"error: {command[0]} cannot be started apart ({error.strerror})\n".encode())
            os._exit(127)
    while True:
        ended, status = os.wait()
        if ended == child:
            os._exit(_code(status))


def _code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _end_descendants(own: int) -> None:
    """Kill whatever the command has started and left, until nothing is there."""
    for _ in range(200):
        children = _children(own)
        if not children:
            return
        for pid in children:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        time.sleep(0.01)


def _children(own: int) -> list[int]:
    parents: dict[int, int] = {}
    try:
        for name in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{name}/stat", "rb") as file:
                    parents[int(name)] = int(file.read().rpartition(b")")[2].split()[1])
            except (OSError, IndexError, ValueError):
                continue
    except OSError:
        return []
    found, grown = {own}, True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        found |= more
        grown = bool(more)
    return [pid for pid in found if pid != own]


def _landlock(policy: Policy, network: bool) -> None:
    """Files and TCP ports by an allow-list, and no signals to the outside (Linux 5.13, 6.7 and 6.12)."""
    create, add, restrict = 444, 445, 446  # the same numbers on all architectures
    if sys.platform != "linux":
        return
    version = LIBC.syscall(create, None, ctypes.c_size_t(0), ctypes.c_uint32(1))
    if version < 1:
        return
    handled = OLDEST | (REFER if version > 1 else 0) | (TRUNCATE if version > 2 else 0) | (IOCTL if version > 4 else 0)
    ports = 0 if network and policy["ports"] is None else CONNECT | 1
    scope = 3 if policy["apart"] else 0
    attributes = struct.pack("QQQ", handled, ports, scope)
    size = 8 if version < 4 else 16 if version < 6 else 24
    rules = LIBC.syscall(create, attributes, ctypes.c_size_t(size), ctypes.c_uint32(0))
    if rules < 0:
        return
    for paths, rights in (
        (policy["read"], READING),
        (policy["write"], handled & ~(SPECIAL | IOCTL if policy["apart"] else 0)),
        (policy["devices"], READ_FILE | WRITE_FILE),
    ):
        for path in paths:
            _allow(add, rules, path, rights & handled)
    if version > 3 and network:
        for port in policy["ports"] or ():
            LIBC.syscall(add, rules, ctypes.c_int(2), struct.pack("QQ", CONNECT, port), ctypes.c_uint32(0))
    LIBC.prctl(NO_NEW_PRIVS, 1, 0, 0, 0)
    LIBC.syscall(restrict, rules, ctypes.c_uint32(0))
    os.close(rules)


def _allow(add: int, rules: int, path: str, rights: int) -> None:
    try:
        file = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    if not stat.S_ISDIR(os.fstat(file).st_mode):
        rights &= EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL
    LIBC.syscall(add, rules, ctypes.c_int(1), struct.pack("=Qi", rights, file), ctypes.c_uint32(0))
    os.close(file)


def _no_capabilities() -> None:
    for number in range(64):
        LIBC.prctl(DROP_BOUND, number, 0, 0, 0)
    LIBC.capset(struct.pack("II", 0x20080522, 0), bytes(24))


SOCKET, RING, KEYS, IDLE, NO_ATTRIBUTES = (
    {"x86_64": 41, "aarch64": 198},
    {"x86_64": (425, 426, 427), "aarch64": (425, 426, 427)},
    {"x86_64": (248, 249, 250), "aarch64": (217, 218, 219)},
    # chmod, chown and times of files, whose owner may otherwise change them wherever they are
    {"x86_64": (90, 91, 92, 93, 94, 132, 235, 260, 261, 268, 280, 452), "aarch64": (52, 53, 54, 55, 88, 452)},
    {"x86_64": (188, 189, 190, 197, 198, 199), "aarch64": (5, 6, 7, 14, 15, 16)},
)
"""System calls by architecture: sockets; io_uring, which would open them past the filter; the kernel's keyrings; modes,
owners and times of files; their extended attributes."""
AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
FAMILIES = (2, 10, 16)
"""IPv4, IPv6, and netlink, by which addresses are looked up."""


def _no_sockets(network: bool) -> None:
    """A seccomp filter: no sockets beyond the network's own, and attributes of files stay as they are.

    Landlock knows neither Unix sockets, by which a database or a container daemon would answer, nor UDP, nor modes.
    Changes of mode, owner and time are answered as if they were done: copying a file asks for them.
    """
    machine = platform.machine()
    if machine not in AUDIT:
        return
    refuse, absent, unsupported, done, allow = (0x50000 | 13, 0x50000 | 38, 0x50000 | 95, 0x50000, 0x7FFF0000)
    code = [(0x20, 0, 0, 4), _jump(AUDIT[machine], 1, 0), _back(refuse), (0x20, 0, 0, 0)]
    if machine == "x86_64":
        code += [(0x35, 0, 1, 0x40000000), _back(refuse)]
    for numbers, answer in ((RING, absent), (KEYS, refuse), (IDLE, done), (NO_ATTRIBUTES, unsupported)):
        for number in numbers[machine]:
            code += [_jump(number, 0, 1), _back(answer)]
    families = FAMILIES if network else ()
    code += [_jump(SOCKET[machine], 0, 2 + 2 * len(families)), (0x20, 0, 0, 16)]
    for family in families:
        code += [_jump(family, 0, 1), _back(allow)]
    code += [_back(refuse), _back(allow)]
    filters = b"".join(struct.pack("HBBI", *line) for line in code)
    buffer = ctypes.create_string_buffer(filters, len(filters))
    program = struct.pack("HxxxxxxP", len(code), ctypes.addressof(buffer))
    LIBC.prctl(SECCOMP, 2, program, 0, 0)


def _jump(value: int, yes: int, no: int) -> tuple[int, int, int, int]:
    return 0x15, yes, no, value


def _back(answer: int) -> tuple[int, int, int, int]:
    return 0x06, 0, 0, answer


def probe(policy: Policy, own: int) -> dict[str, bool]:
    """Try what must not be possible; gives, for each, whether it was refused."""
    import socket

    there, told = policy["probe"], dict[str, bool]()

    def refused(attempt: Callable[[], object]) -> bool:
        try:
            attempt()
        except OSError:
            return True
        return False

    def read(path: str) -> None:
        with open(path, "rb") as file:
            file.read(1)

    def written(path: str) -> None:
        os.close(os.open(path, os.O_WRONLY))

    def linked(kind: int, address: Any) -> None:
        with socket.socket(kind, socket.SOCK_STREAM) as client:
            client.settimeout(2)
            client.connect(address)

    told["reading"] = refused(lambda: read(there["file"])) and refused(lambda: os.listdir(there["folder"]))
    told["writing"] = all(
        refused(attempt)
        for attempt in (
            lambda: written(there["file"]),
            lambda: os.truncate(there["file"], 0),
            lambda: os.mkdir(there["folder"] + "/made"),
            lambda: os.rename(there["file"], there["file"] + "-moved"),
            lambda: os.link(there["file"], policy["write"][0] + "/linked"),
            lambda: os.unlink(there["file"]),
        )
    )
    before = os.stat(there["folder"]).st_mode
    refused(lambda: os.chmod(there["folder"], 0o755))
    told["attributes"] = os.stat(there["folder"]).st_mode == before
    other = f"/proc/{there['pid']}"
    told["processes"] = refused(lambda: read(f"{other}/environ")) and refused(lambda: read(f"{other}/maps"))
    told["signals"] = refused(lambda: os.kill(there["pid"], 0)) and refused(lambda: os.kill(own, 0))
    told["network"] = refused(lambda: linked(socket.AF_INET, ("127.0.0.1", there["port"])))
    told["sockets"] = refused(lambda: linked(socket.AF_UNIX, there["socket"]))
    with open("/proc/self/status") as file:
        lines = {name: value.strip() for name, _, value in (line.partition(":") for line in file)}
    told["capabilities"] = not int(lines.get("CapEff", "1"), 16) and not int(lines.get("CapBnd", "1"), 16)
    told["user"] = os.readlink("/proc/self/ns/user") != there["user"]
    return told


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

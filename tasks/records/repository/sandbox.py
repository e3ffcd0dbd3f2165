"""What a candidate brings runs apart: without the environment, the files and the sockets of whoever started it.

The policy says what is allowed, by lists alone; :mod:`tasks.records.repository.launcher` does what the kernel offers.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import site
import socket
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tasks.records.repository import launcher, process
from tasks.records.repository.temporary import own_folder
from tasks.spec.errors import ConfigError
from tasks.spec.evidence import Isolation
from tasks.spec.settings import Settings

ETC = (
    "alternatives", "ca-certificates", "fonts", "gai.conf", "group", "host.conf", "hosts", "ld.so.cache",
    "ld.so.conf", "ld.so.conf.d", "localtime", "mime.types", "nsswitch.conf", "passwd", "pki", "protocols",
    "resolv.conf", "services", "ssl", "timezone",
)  # fmt: skip
TREES = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/proc", "/sys/devices/system", "/sys/fs/cgroup")
SYSTEM = (*TREES, *(f"/etc/{name}" for name in ETC))
"""What programs read of a system. /proc of other processes is closed by the kernel itself to whoever runs apart."""
READ_DEVICES, DEVICES = ("/dev/urandom", "/dev/random"), ("/dev/null", "/dev/zero", "/dev/full")
ENVIRONMENT = (
    "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ", "SOURCE_DATE_EPOCH", "GOMP_SPINCOUNT", "OMP_NUM_THREADS",
    "OMP_WAIT_POLICY", "OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES",
)  # fmt: skip
"""What a candidate's code gets to know of the environment."""
CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
INDEXES = ("PIP_INDEX_URL", "UV_DEFAULT_INDEX", "UV_INDEX_URL")
PROXIES = tuple(name for kind in ("http", "https", "all", "no") for name in (f"{kind}_proxy", f"{kind}_proxy".upper()))
HIDDEN_ETC = re.compile(r"g?shadow|sudoers|ssh$|krb5\.keytab|machine-id")
CREDENTIALS = (
    ".aws", ".azure", ".boto", ".config/dvc", ".config/gcloud", ".config/git", ".config/rclone", ".git-credentials",
    ".gitconfig", ".kaggle", ".netrc", ".oci", ".s3cfg", ".ssh",
)  # fmt: skip
"""Files and folders of a person that a remote's client reads."""
NETWORK_STAGES = ("ingest",)
"""The stages that fetch a pinned source from a package index; no other reaches the network."""
OWN = ("PREFECT_API_URL", "ASSAY_SERVICE_URL", "ASSAY_LOG_URL")
"""Addresses of our own parts, whose ports nobody is let to who runs apart."""
PRIVATE = ("ASSAY_", "PREFECT_")
"""Variables of ours that no other program gets, DVC neither."""
LAUNCHER = str(Path(launcher.__file__).resolve())
PROBE_SECONDS = 60


@contextmanager
def apart(
    write: Iterable[Path],
    read: Iterable[Path] = (),
    *,
    network: bool = False,
    scan: bool = True,
    environment: Mapping[str, str] | None = None,
    probe: Mapping[str, Any] | None = None,
) -> Iterator[list[str]]:
    """The words to put before a command, so that it runs apart, with a folder of its own for temporary files.

    Args:
        write: folders that it may change.
        read: folders that it may read beside the system's and Python's.
        network: whether it may ask a package index; stages that are named for it may in any case.
        scan: whether what it leaves in ``write`` is looked at before anybody else reads it.
        environment: variables that it gets beside the allowed ones.
        probe: what a probe looks for.
    """
    with _folder() as (folder, temporary):
        policy = {
            "apart": True,
            "write": [*map(str, write), str(temporary)],
            "read": [*SYSTEM, *READ_DEVICES, *map(str, _python()), *map(str, read), *_certificates()],
            "devices": DEVICES,
            "network": network,
            "network_stages": NETWORK_STAGES,
            "ports": sorted(_ports(os.environ)),
            "environment": _allowed(temporary) | dict(environment or {}),
            "network_environment": {n: os.environ[n] for n in (*INDEXES, *PROXIES, *CERTIFICATES) if n in os.environ},
            "scan": scan,
            "probe": probe,
        }
        yield _words(folder, policy)


@contextmanager
def kept_to(
    write: Iterable[Path],
    read: Iterable[Path],
    environment: Mapping[str, str],
    ports: Iterable[int] | None = None,
    credentials: bool = False,
) -> Iterator[list[str]]:
    """The words to put before a program of our own that reads what a candidate has written, such as DVC.

    It may be led to other paths than it means: it changes nothing beyond these folders, and reads nothing beyond these
    and the system's. What it reads can end in what it makes, which is pushed.

    Args:
        read: folders and files beside the system's, Python's and those of ``write``.
        environment: variables that it gets beside the allowed ones.
        ports: those that it may connect to by TCP, beside those of package indexes; None keeps it from the network.
        credentials: whether it gets what a person's remotes ask for: files, and the environment without ours.
    """
    with _folder() as (folder, temporary):
        own = {"TMPDIR": str(temporary), "GIT_CONFIG_NOSYSTEM": "1"}
        if not credentials:
            own |= {"HOME": str(temporary), "XDG_CONFIG_HOME": str(temporary), "XDG_CACHE_HOME": str(temporary)}
        seen = [
            *SYSTEM,
            *_settings_of_the_system(),
            *READ_DEVICES,
            *_python(),
            *_certificates(),
            Path(LAUNCHER).parents[2],  # all of our own code
            *read,
        ]
        policy = {
            "apart": False,
            "write": [*map(str, write), str(temporary), "/proc", "/dev"],
            "read": [*map(str, seen), *(map(str, _credentials()) if credentials else ())],
            "devices": (),
            "network": ports is not None,
            "network_stages": (),
            "ports": () if ports is None else sorted({*ports, *_ports(os.environ)} - _named(os.environ, OWN)),
            "environment": (without_ours(os.environ) if credentials else _known()) | own | dict(environment),
        }
        yield _words(folder, policy)


@contextmanager
def _folder() -> Iterator[tuple[Path, Path]]:
    """A folder for a policy, and one in it for temporary files."""
    with own_folder("apart") as folder:
        temporary = folder / "tmp"
        temporary.mkdir()
        yield folder, temporary


def shell(words: list[str]) -> tuple[str, Path]:
    """A program that runs its line apart, for those who start every line by ``$SHELL -c``; and its temporary files.

    The launcher begins without the environment of whoever calls it: its first child is seen by what runs apart.
    """
    folder = Path(words[-2]).parent
    script = folder / "shell"
    kept = " ".join(f'{name}="${name}"' for name in launcher.KEPT)
    script.write_text(f'#!/bin/sh\nexec /usr/bin/env -i {kept} {shlex.join(words[:-1])} "$@"\n')
    script.chmod(0o755)
    return str(script), folder / "tmp"


def without_ours(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment without our addresses, keys and passwords."""
    return {name: value for name, value in environment.items() if not name.startswith(PRIVATE)}


@lru_cache(maxsize=1)
def measured() -> Isolation:
    """What a program that runs apart was kept from on this machine, by having one try it."""
    with own_folder("probe") as folder, socket.socket() as tcp:
        secret = folder / "secret"
        secret.write_text("secret")
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        with socket.socket(socket.AF_UNIX) as unix, tempfile.TemporaryDirectory() as own:
            unix.bind(f"{folder}/socket")
            unix.listen()
            there = {
                "file": str(secret),
                "folder": str(folder),
                "pid": os.getpid(),
                "port": tcp.getsockname()[1],
                "socket": f"{folder}/socket",
                "user": os.readlink("/proc/self/ns/user") if Path("/proc/self/ns/user").exists() else "",
            }
            with apart([Path(own)], probe=there) as words:
                command = [*words[:-1], "--probe"]
                _, out, _ = process.run(command, Path(own), _few(), PROBE_SECONDS)
    try:
        told: dict[str, bool] = json.loads(out)
    except ValueError:  # it did not even start: nothing is known to hold
        told = {}
    held = ("environment", *(name for name, refused in told.items() if refused))
    return Isolation(held=held)


def require(settings: Settings) -> Isolation:
    """What holds here.

    Raises:
        ConfigError: the installation asks for more.
    """
    found = measured()
    if settings.isolation == "required" and not found.enough:
        raise ConfigError(
            f"ASSAY_ISOLATION is required, and this machine does not keep a candidate's code apart: {found.sentence}. "
            "Train on Linux 6.7 or newer with Landlock, or set ASSAY_ISOLATION=available, and verdicts say what did "
            "not hold."
        )
    return found


def _words(folder: Path, policy: Mapping[str, Any]) -> list[str]:
    file = folder / "policy.json"
    file.write_text(json.dumps(policy))
    return [sys.executable, "-I", "-S", LAUNCHER, str(file), "--"]


def _few() -> dict[str, str]:
    """The environment of the launcher itself, which a program that runs apart may see where nothing holds."""
    return {name: os.environ[name] for name in ENVIRONMENT if name in os.environ} | {"PATH": os.defpath}


def _known() -> dict[str, str]:
    """What a program of ours needs of the environment that pulls nothing; others' passwords may lie beside it."""
    names = ("PATH", *ENVIRONMENT, *INDEXES, *PROXIES, *CERTIFICATES)
    return {name: os.environ[name] for name in names if name in os.environ}


def python_of(environment: Path | None) -> dict[str, str]:
    """The variable by which what runs apart finds the Python of an environment; by default the running one."""
    folder = Path(sys.executable).parent if environment is None else environment / "bin"
    return {"PATH": f"{folder}{os.pathsep}/usr/local/bin:/usr/bin:/bin"}


def _allowed(temporary: Path) -> dict[str, str]:
    own = {"HOME": str(temporary), "TMPDIR": str(temporary), "USER": "candidate", "SHELL": "/bin/sh"}
    here = own | python_of(None)
    quiet = {"DO_NOT_TRACK": "1", "PYTHONDONTWRITEBYTECODE": "1", "JOBLIB_MULTIPROCESSING": "0"}
    return {name: os.environ[name] for name in ENVIRONMENT if name in os.environ} | here | quiet


def _python() -> set[str]:
    """This Python, its library and its packages."""
    return {os.path.realpath(p) for p in (sys.prefix, sys.base_prefix, *site.getsitepackages())}


def _credentials() -> list[Path]:
    """Where programs keep what remotes ask for; one at a time, since a home of ours may lie among them."""
    return [path for name in CREDENTIALS if (path := Path.home() / name).exists()]


def _settings_of_the_system() -> list[Path]:
    """What lies in /etc but for keys and passwords: our own programs read more of it than anybody could list."""
    try:
        return [path for path in Path("/etc").iterdir() if not HIDDEN_ETC.match(path.name)]
    except OSError:
        return []


def _certificates() -> list[str]:
    return [os.path.realpath(os.environ[name]) for name in CERTIFICATES if os.environ.get(name)]


def _ports(environment: Mapping[str, str]) -> set[int]:
    """Ports of package indexes and proxies, without those of this system's own parts."""
    return {80, 443} | _named(environment, (*INDEXES, *PROXIES)) - _named(environment, OWN)


def _named(environment: Mapping[str, str], names: Iterable[str]) -> set[int]:
    found = set()
    for name in names:
        try:
            port = urlsplit(environment.get(name, "")).port
        except ValueError:
            continue
        found |= {port} if port else set()
    return found

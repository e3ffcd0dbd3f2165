"""A pushed stage that tries to reach what it must not, on a real origin, clone, cache and kernel."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import yaml

from tasks.records.repository import dvc, dvc_settings, sandbox, workspace
from tasks.spec.errors import StageError
from tasks.spec.settings import Settings
from tests.candidates import commit_run
from tests.conftest import ROOT, git

HERE = sandbox.measured()
apart = pytest.mark.skipif(not HERE.enough, reason=f"this machine keeps no code apart: {HERE.sentence}")

ATTACK = """
import glob, json, os, socket, subprocess, sys, time
home, origin, other, secret = sys.argv[1:5]
tree = os.getcwd()

def read(path):
    return open(path, "rb").read()

def write(path):
    with open(path, "ab") as file:
        file.write(b"evil")

def connect(kind, address):
    with socket.socket(kind) as client:
        client.connect(address)

def told():
    if secret in str(dict(os.environ)):
        return "done"
    raise PermissionError("nothing there")

def parents():
    for path in glob.glob("/proc/[0-9]*/environ"):
        try:
            if secret.encode() in read(path):
                return "done"
        except OSError:
            continue
    raise PermissionError("none could be read")

def push():
    done = subprocess.run(["git", "push", origin, "HEAD:refs/heads/assay/ledger"], capture_output=True)
    if done.returncode:
        raise PermissionError("git refused")

tries = {
    "the examiner's key": lambda: read(home + "/keys/examiner"),
    "secrets of the environment": told,
    "secrets of its parents": parents,
    "memory of its parents": lambda: open(f"/proc/{other}/mem", "r+b"),
    "a signal to the worker": lambda: os.kill(int(other), 0),
    "the origin's refs": lambda: write(origin + "/refs/heads/main"),
    "the ledger, by a push": push,
    "the release store": lambda: write(home + "/releases/care/champion.json"),
    "a version's model": lambda: write(home + "/versions/care/v1.0.0/model/model.skops"),
    "another model's cache": lambda: write(home + "/dvc-cache/files/md5/aa/other"),
    "the removal of another model's cache": lambda: os.unlink(home + "/dvc-cache/files/md5/aa/other"),
    "remembered runs": lambda: os.makedirs(home + "/dvc-cache/runs/aa"),
    "settings of the clone": lambda: write(home + "/clone/.git/config"),
    "the worktree's own repository": lambda: write(tree + "/.git"),
    "its own configuration": lambda: write(tree + "/deployments/models/care/model.yaml"),
    "its own code": lambda: write(tree + "/attack.py"),
    "DVC's settings": lambda: write(tree + "/.dvc/config.local"),
    "another model's data": lambda: os.makedirs(tree + "/data/income/model"),
    "the prediction log": lambda: read(home + "/predictions.db"),
    "the network": lambda: connect(socket.AF_INET, ("127.0.0.1", int(sys.argv[5]))),
    "a Unix socket": lambda: connect(socket.AF_UNIX, home + "/socket"),
}
answers = {}
for name, attempt in tries.items():
    try:
        attempt()
        answers[name] = "done"
    except OSError:
        answers[name] = "refused"
if os.fork() == 0:
    os.setsid()
    time.sleep(2)
    write(tree + "/data/care/model.bin")
    os._exit(0)
open("data/care/model.bin", "w").write("model")
print(json.dumps(answers), file=open("data/care/tried.json", "w"))
"""


PRECIOUS = (
    "keys/examiner",
    "releases/care/champion.json",
    "versions/care/v1.0.0/model/model.skops",
    "dvc-cache/files/md5/aa/other",
    "predictions.db",
)
SECRETS = {
    "ASSAY_LOG_URL": "postgresql://assay:hush-hush@localhost/log",
    "PREFECT_SERVER_API_AUTH_STRING": "hush-hush",
    "AWS_SECRET_ACCESS_KEY": "hush-hush",
}


@pytest.fixture
def evil(settings: Settings, dvc_developer: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A home with everything that is worth an attack, and an origin to push to."""
    for path in PRECIOUS:
        _file(settings.home / path)
    for name, value in SECRETS.items():
        monkeypatch.setenv(name, value)
    _file(dvc_developer / "deployments/models/care/model.yaml")
    return settings


def _file(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("precious")


def push(developer: Path, stages: dict[str, object], **files: str) -> None:
    """What a developer does: stages and files, committed and pushed to main."""
    (developer / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    for name, content in files.items():
        (developer / f"{name}.py").write_text(content)
    git(developer, "add", "--all", "--force")
    git(developer, "commit", "--quiet", "-m", "a change")
    git(developer, "push", "--quiet", "origin", "HEAD:main")


@apart
def test_a_pushed_stage_reaches_nothing_and_leaves_nothing_running(
    evil: Settings, dvc_developer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as tcp, socket.socket(socket.AF_UNIX) as unix:
        tcp.bind(("127.0.0.1", 0))
        tcp.listen()
        monkeypatch.chdir(evil.home)  # a socket's path may be no longer than 108 bytes
        unix.bind("socket")
        unix.listen()
        words = list(map(str, (evil.home, evil.origin_url, os.getpid(), "hush-hush", tcp.getsockname()[1])))
        outs = ["data/care/model.bin", "data/care/tried.json"]
        command = f"python attack.py {' '.join(words)}"
        push(dvc_developer, {"train": {"matrix": {"model": ["care"]}, "cmd": command, "outs": outs}}, attack=ATTACK)
        with workspace.worktree(evil, "main") as tree:
            dvc.reproduce(tree, "train@care")
            tried = json.loads((tree / "data/care/tried.json").read_text())
            time.sleep(2.5)  # longer than what it left behind would wait
            assert (tree / "data/care/model.bin").read_text() == "model"
            assert {name for name, answer in tried.items() if answer != "refused"} == set() and len(tried) == 21
            assert all((evil.home / path).read_text() == "precious" for path in PRECIOUS)
            # Each attempt is one that succeeds where nothing keeps it from it.
            subprocess.run([sys.executable, "attack.py", *words], cwd=tree, check=True, env=os.environ | SECRETS)
            tried = json.loads((tree / "data/care/tried.json").read_text())
            assert {name for name, answer in tried.items() if answer != "done"} == set()


def test_a_stage_of_a_machine_that_allows_nothing_is_told(tmp_path: Path) -> None:
    code = (
        "from tasks.records.repository import sandbox; from tasks.spec.settings import Settings; import sys\n"
        "print(sandbox.measured().held, sandbox.measured().sentence)\n"
        "sandbox.require(Settings())\n"
    )
    command = [sys.executable, "-m", "tests.old_kernel", sys.executable, "-c", code]
    ask = partial(subprocess.run, command, cwd=ROOT, capture_output=True, text=True, check=False)
    lax = ask(env=os.environ | {"ASSAY_HOME": str(tmp_path)})
    assert lax.returncode == 0, lax.stderr
    held, _, sentence = lax.stdout.strip().partition(") ")
    root = os.geteuid() == 0
    assert held == ("('environment'," if root else "('environment', 'capabilities'")
    assert sentence == (
        "the candidate's code ran where this machine let it read files beside its own checkout, write beside its own "
        "data, change modes and times of other files, look into other processes, end other processes, reach the "
        "network, reach databases and daemons by Unix sockets, "
        + ("use what an administrator may, " if root else "")
        + "act outside a user namespace of its own; so may whoever pushes"
    )
    strict = ask(env=os.environ | {"ASSAY_HOME": str(tmp_path), "ASSAY_ISOLATION": "required"})
    assert (
        "ConfigError: ASSAY_ISOLATION is required, and this machine does not keep a candidate's code apart"
        in (strict.stderr.splitlines()[-1])
    )


LEADING_OUT = {
    "an output elsewhere": (
        {"train": {"cmd": "true", "outs": [{"{home}/releases": {"cache": False}}]}},
        "train writes {home}/releases; a stage writes below data/ alone",
    ),
    "an output over its code": (
        {"train": {"cmd": "true", "outs": ["deployments"]}},
        "train writes deployments; a stage writes below data/ alone",
    ),
    "a dependency elsewhere": (
        {"train": {"cmd": "true", "deps": ["{home}/keys/examiner"], "outs": ["data/care/x"]}},
        "train depends on {home}/keys/examiner, which is not in the repository",
    ),
    "variables elsewhere": (
        {"train": {"cmd": "true", "vars": ["{home}/profiles.toml"], "outs": ["data/care/x"]}},
        "dvc.yaml names '{home}/profiles.toml' under vars or wdir, which is no path in the repository",
    ),
    "a folder elsewhere": (
        {"train": {"cmd": "true", "wdir": "../..", "outs": ["data/care/x"]}},
        "dvc.yaml names '../..' under vars or wdir, which is no path in the repository",
    ),
}


@pytest.mark.parametrize("name", LEADING_OUT)
def test_what_dvc_would_do_elsewhere_is_refused_before_it_does_anything(
    evil: Settings, dvc_developer: Path, name: str
) -> None:
    stages, sentence = (json.loads(json.dumps(part).replace("{home}", str(evil.home))) for part in LEADING_OUT[name])
    push(dvc_developer, stages)
    with workspace.worktree(evil, "main") as tree, pytest.raises(StageError) as caught:
        dvc.reproduce(tree, "train")
    assert str(caught.value) == f"{sentence}."
    assert all((evil.home / path).read_text() == "precious" for path in PRECIOUS)


def test_a_link_elsewhere_in_a_persons_checkout_is_refused(evil: Settings, dvc_developer: Path) -> None:
    os.symlink(evil.home / "profiles.toml", dvc_developer / "vars.yaml")
    push(dvc_developer, {"train": {"cmd": "true", "vars": ["vars.yaml"], "outs": ["data/care/x"]}})
    dvc_settings.write(dvc_developer, evil.cache, evil.home / "dvc-site")
    said = r"^vars\.yaml is a link out of the repository; commit the file, or let DVC track it\.$"
    with pytest.raises(StageError, match=said):
        dvc.reproduce(dvc_developer, "train")


LEAKS = {
    "a frozen import": (
        {
            "k.dvc": {
                "frozen": True, "wdir": "../data/care", "deps": [{"path": "{home}/keys/examiner"}],
                "outs": [{"path": "k.txt"}],
            },
            "dvc.yaml": "stages: {leak: {cmd: cp ../data/care/k.txt ../data/care/source/leak.txt, "
            "deps: [../data/care/k.txt], outs: [{../data/care/source/leak.txt: {cache: false}}]}}",
        },
        "depends on {home}/keys/examiner, which is not in the repository",
    ),
    "a frozen import of another repository": (
        {
            "k.dvc": {
                "frozen": True, "wdir": "../data/care", "outs": [{"path": "k.txt"}],
                "deps": [{"path": "keys/examiner", "repo": {"url": "{home}"}}],
            },
            "dvc.yaml": "stages: {leak: {cmd: cp ../data/care/k.txt ../data/care/source/leak.txt, "
            "deps: [../data/care/k.txt], outs: [{../data/care/source/leak.txt: {cache: false}}]}}",
        },
        "depends on {home}, which is not in the repository",
    ),
    "variables in a file that two YAML readers read differently": (
        {
            "dvc.yaml": "vars: ['{home}/secret.yaml']\nstages: {leak: {meta: {[1, 2]: 3}, "
            "cmd: 'echo ${password} > ../data/care/source/leak.txt', outs: [../data/care/source/leak.txt]}}",
        },
        "evil/dvc.yaml",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LEAKS)
def test_what_dvc_would_read_elsewhere_is_refused_and_is_nowhere_afterwards(
    evil: Settings, dvc_developer: Path, name: str
) -> None:
    """What DVC itself reads ends in what it makes, and that is pushed."""
    (evil.home / "secret.yaml").write_text("password: most secret\n")
    (evil.home / "keys/examiner").write_text("most secret")
    files, sentence = LEAKS[name]
    (dvc_developer / "evil").mkdir()
    for file, content in files.items():
        text = content if isinstance(content, str) else yaml.safe_dump(content)
        (dvc_developer / "evil" / file).write_text(text.replace("{home}", str(evil.home)))
    push(dvc_developer, {"train": {"cmd": "true", "deps": ["data/care/source"], "outs": ["data/care/x"]}})
    with workspace.worktree(evil, "main") as tree:
        with pytest.raises(StageError) as caught:
            dvc.reproduce(tree, "train")
        assert sentence.replace("{home}", str(evil.home)) in str(caught.value) and "Traceback" not in str(caught.value)
        held = [p for root in (tree, evil.cache / "files") for p in root.rglob("*") if p.is_file()]
        assert [p for p in held if b"most secret" in p.read_bytes()] == []


@apart
def test_dvc_itself_reads_no_secret_whatever_it_is_led_to(evil: Settings, tmp_path: Path) -> None:
    """The checks before it may miss a way; the kernel knows none but the folders that are named."""
    readable = tmp_path / "readable"
    readable.mkdir()
    (readable / "file").write_text("seen")
    for path, code in ((readable / "file", 0), (evil.home / "keys/examiner", 1)):
        for ports in (None, {443}):
            with sandbox.kept_to([tmp_path / "out"], [readable], {}, ports) as words:
                done = subprocess.run([*words, "/bin/cat", str(path)], capture_output=True, check=False)
            assert done.returncode == code, (path, ports, done.stderr)
    for credentials in (False, True):
        with sandbox.kept_to([tmp_path / "out"], [], {}, None, credentials) as words:
            done = subprocess.run([*words, "/usr/bin/env"], capture_output=True, text=True, check=False)
        assert done.returncode == 0 and "PATH=" in done.stdout
        known = [name for name in SECRETS if f"{name}=" in done.stdout]
        assert known == (["AWS_SECRET_ACCESS_KEY"] if credentials else [])
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        ask = f"import socket; socket.create_connection(('127.0.0.1', {port}), 2)"
        for ports, code in ((None, 1), ({443}, 1), ({port}, 0)):
            with sandbox.kept_to([tmp_path / "out"], [], {}, ports) as words:
                done = subprocess.run([*words, sys.executable, "-I", "-c", ask], capture_output=True, check=False)
            assert done.returncode == code, (ports, done.stderr)


@apart
@pytest.mark.parametrize(
    "leave",
    [
        "os.symlink(sys.argv[1], 'data/care/model.bin')",
        "os.makedirs('data/care/model.bin/.git')",
        "os.makedirs('data/care/x'); os.symlink('../../../.dvc', 'data/care/x/y'); open('data/care/model.bin', 'w')",
    ],
)
def test_what_a_stage_leaves_for_others_to_follow_is_refused(evil: Settings, dvc_developer: Path, leave: str) -> None:
    command = f"python leave.py {evil.home}/keys/examiner"
    stages = {"train": {"cmd": command, "outs": ["data/care/model.bin"]}}
    (dvc_developer / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    (dvc_developer / "leave.py").write_text(f"import os, sys\nos.makedirs('data/care', exist_ok=True)\n{leave}\n")
    dvc_settings.write(dvc_developer, evil.cache, evil.home / "dvc-site")
    with pytest.raises(StageError, match=r"^.*/data/care/.* was left behind\. A stage leaves plain files and folders"):
        dvc.reproduce(dvc_developer, "train")


def test_settings_of_a_repository_reach_no_further_than_its_remotes(evil: Settings, dvc_developer: Path) -> None:
    (dvc_developer / ".dvc/config").write_text(
        "[core]\n    remote = far\n    site_cache_dir = /else\n[cache]\n    type = hardlink\n"
        "[hydra]\n    plugins_path = evil\n"
        "[state]\n    dir = /else\n['remote \"far\"']\n    url = https://example.org/store\n"
    )
    push(dvc_developer, {})
    with workspace.worktree(evil, "main") as tree:
        asked = [sys.executable, "-m", "dvc", "config", "--list"]
        told = subprocess.run(asked, cwd=tree, capture_output=True, text=True, check=True).stdout.splitlines()
        assert sorted(line.partition("=")[0] for line in told) == [
            "cache.dir",
            "cache.type",
            "core.analytics",
            "core.check_update",
            "core.remote",
            "core.site_cache_dir",
            "remote.far.url",
            "remote.far.verify",
        ]
        assert "cache.type=reflink,copy" in told and "remote.far.verify=true" in told
        (tree / "new").touch()
        commit_run(evil, tree, "a run", "assay/candidates/x")
        assert git(tree, "show", "--name-only", "--format=", "HEAD") == "new"


def test_settings_that_nobody_can_read_are_one_sentence(evil: Settings, dvc_developer: Path) -> None:
    (dvc_developer / ".dvc/config").write_text("core = 5\n[broken\n")
    push(dvc_developer, {})
    with pytest.raises(StageError) as caught, workspace.worktree(evil, "main"):
        pass
    assert str(caught.value) == (
        ".dvc/config is no file of DVC's settings: Invalid line ('[broken') (matched as neither section nor keyword) "
        "at line 2. Mend it."
    )
    (dvc_developer / ".dvc/config").write_text("core = 5\n")
    push(dvc_developer, {})
    with workspace.worktree(evil, "main") as tree:
        dvc.reproduce(tree)


@apart
def test_what_lies_at_the_top_of_a_commit_takes_the_place_of_no_library(evil: Settings, dvc_developer: Path) -> None:
    """A stage imports the code of its commit and of packages; no list of sources names what else lies there."""
    say = "import argparse, colorsys, os, yaml, tasks.mine; print(argparse.__file__, colorsys.__file__, yaml.__file__)"
    (dvc_developer / "tasks").mkdir()
    for name in ("__init__", "mine"):
        (dvc_developer / f"tasks/{name}.py").write_text("")
    (dvc_developer / "tasks/say.py").write_text(f"{say}\nprint(os.path.realpath(tasks.mine.__file__))\n")
    stages: dict[str, object] = {"train": {"cmd": "python -m tasks.say > data/care/out", "outs": ["data/care/out"]}}
    (dvc_developer / "yaml").mkdir()
    (dvc_developer / "yaml/__init__.py").write_text("raise SystemExit('shadowed')")
    push(dvc_developer, stages, colorsys="raise SystemExit('shadowed')", argparse="raise SystemExit('shadowed')")
    with workspace.worktree(evil, "main") as tree:
        dvc.reproduce(tree, "train")
        libraries, mine = (tree / "data/care/out").read_text().splitlines()
        assert "worktrees" not in libraries and mine == str((tree / "tasks/mine.py").resolve())

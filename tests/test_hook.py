"""A push through the real hook file into a bare origin: which models it starts, asked of the server that it calls."""

from __future__ import annotations

import importlib.machinery
import importlib.util
import json
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tasks.records.repository.changes import concerned_models
from tasks.records.repository.git import Git
from tasks.spec.requests import TrainingRequest
from tasks.spec.sources import sources
from tests.conftest import ROOT, git

HOOK = ROOT / "deployments/hooks/post-receive"
ALL = ["care", "income"]


class Server(HTTPServer):
    """The two calls of Prefect's API that the hook makes; keeps the parameters of each run."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.started: list[dict[str, Any]] = []


class Answering(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self._answer({"id": "deployment"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert isinstance(self.server, Server)
        self.server.started.append(body["parameters"]["request"])
        self._answer({"id": "run", "name": "run"})

    def _answer(self, document: dict[str, str]) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(document).encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def clone(tmp_path: Path, developer: Path, server: Server) -> Path:
    """A clone of an origin with the hook, the repository's ``dvc.yaml`` and two models; nothing has started yet."""
    write(developer, "dvc.yaml", (ROOT / "dvc.yaml").read_text())
    write(developer, "deployments/models.yaml", "# two of them\nmodels: [care, income]\n")
    for model in ALL:
        write(developer, f"deployments/models/{model}/model.yaml", f"name: {model}\n")
        write(developer, f"deployments/models/{model}/code/forest.py", "TREES = 10\n")
    push(developer)
    origin = tmp_path / "origin.git"
    for key, value in (("assay.api", f"http://127.0.0.1:{server.server_port}"), ("assay.branch", "main")):
        git(origin, "config", key, value)
    hook = origin / "hooks/post-receive"
    hook.write_text(HOOK.read_text())
    hook.chmod(0o755)
    return developer


def write(clone: Path, name: str, content: str) -> None:
    (clone / name).parent.mkdir(parents=True, exist_ok=True)
    (clone / name).write_text(content)


def push(clone: Path) -> None:
    git(clone, "add", ".")
    git(clone, "commit", "--quiet", "-m", "change")
    subprocess.run(["git", "push", "--quiet", "origin", "HEAD:main"], cwd=clone, check=True, capture_output=True)


def tracked(model: str) -> list[str]:
    """Every path of the list, as a file of it: a folder is changed by a file in it."""
    listed = sources((ROOT / "dvc.yaml").read_text(), model)
    return [p if (ROOT / p).is_file() or "." in p.rsplit("/", 1)[-1] else f"{p}/any.py" for p in listed]


def test_a_change_to_any_source_of_a_model_starts_it(clone: Path, server: Server) -> None:
    """Each in a push of its own; what is named by one model alone starts that one."""
    for path in dict.fromkeys([*tracked("care"), *tracked("income")]):
        server.started.clear()
        text = (clone / path).read_text() if (clone / path).exists() else ""
        write(clone, path, text + "# changed\n")
        push(clone)
        named = [model for model in ALL if f"/{model}" in path]
        assert [run["model"] for run in server.started] == (named or ALL), path
        assert {run["revision"] for run in server.started} == {git(clone, "rev-parse", "HEAD")}
        assert {(run["reason"], run["actor"]) for run in server.started} == {("push", "test@example.org")}


def test_an_author_of_any_name_is_one_visible_line(clone: Path, server: Server) -> None:
    for author, actor in (("-x\u202e@\u2028y", "x?@?y"), ("", "unknown"), ("a" * 150, "a" * 100)):
        server.started.clear()
        write(clone, "requirements.lock", author)
        git(clone, "add", ".")
        git(clone, "commit", "--quiet", "-m", "change", "--author", f"x <{author}>")
        git(clone, "push", "--quiet", "origin", "HEAD:main")
        assert {TrainingRequest(**run).actor for run in server.started} == {actor}


@pytest.mark.parametrize(
    ("path", "starts"),
    [
        ("requirements.lock", ALL),
        ("deployments/models/care/code/forest.py", ["care"]),
        ("deployments/models/income/code/größe/wälder.py", ["income"]),  # git quotes such a path without -z
        ("deployments/models/care/rules.yaml", ["care"]),
        ("tasks/science/gates/new_gate.py", ALL),
        ("data/income/collected/rows-000000001-000000100.parquet.dvc", ["income"]),
        ("data/income/source/patients.csv", ["income"]),
        ("data/income/source/2026/patients.csv.dvc", ["income"]),
        ("data/income/source.dvc", ["income"]),  # the folder itself was given to DVC
        ("data/income/source.md", []),
        ("README.md", []),
        ("tasks/cli/app.py", []),
        ("tasks/science/windows/look.py", []),
        ("tasks/spec/watching.py", []),
        ("tasks/spec/rules.py", ALL),
        ("tasks/specification.md", []),
        ("data/income/metrics.json", []),
        ("deployments/models/care_of_others/model.yaml", []),
        ("requirements.lock.md", []),
    ],
)
def test_a_change_starts_just_the_models_that_it_concerns(
    clone: Path, server: Server, path: str, starts: list[str]
) -> None:
    """The hook and the command that CI asks say the same."""
    before = git(clone, "rev-parse", "HEAD")
    write(clone, path, "changed\n")
    push(clone)
    assert [run["model"] for run in server.started] == starts
    assert concerned_models(Git(clone), before, "HEAD") == starts


def test_a_file_moved_out_of_a_model_concerns_it(clone: Path, server: Server) -> None:
    before = git(clone, "rev-parse", "HEAD")
    git(clone, "mv", "deployments/models/care/code/forest.py", "forest.py")
    push(clone)
    assert [run["model"] for run in server.started] == ["care"]
    assert concerned_models(Git(clone), before, "HEAD") == ["care"]


@pytest.mark.parametrize(
    "text",
    [
        "models: [income, care, wages]\n",
        "# the models: all of them\nmodels:  # a list, one a line\n  - income\n  - care\n  - wages\n# see the wages\n",
    ],
    ids=["flow", "block with comments"],
)
def test_a_model_that_is_only_listed_starts(clone: Path, server: Server, text: str) -> None:
    """Its folder has come with an earlier push; words of comments are no models."""
    write(clone, "deployments/models/wages/model.yaml", "name: wages\n")
    push(clone)
    server.started.clear()
    before = git(clone, "rev-parse", "HEAD")
    write(clone, "deployments/models.yaml", text)
    push(clone)
    assert [run["model"] for run in server.started] == concerned_models(Git(clone), before, "HEAD") == ["wages"]


def test_a_model_whose_folder_was_not_committed_is_named_and_not_started(clone: Path, server: Server) -> None:
    """Two models were made and one was committed, with the list that names both."""
    write(clone, "deployments/models.yaml", "models: [care, income, wages, shuf]\n")
    write(clone, "deployments/models/wages/model.yaml", "name: wages\n")
    git(clone, "add", ".")
    git(clone, "commit", "--quiet", "-m", "wages")
    command = ["git", "push", "--quiet", "origin", "HEAD:main"]
    done = subprocess.run(command, cwd=clone, check=True, capture_output=True, text=True)
    assert [run["model"] for run in server.started] == ["wages"]
    assert (
        "assay: shuf was not started: deployments/models.yaml lists it, and deployments/models/shuf is not in this "
        "push. Commit the folder, or take the name out." in done.stderr
    )


@pytest.mark.parametrize("text", ["stages: {}\n", None], ids=["empty", "deleted"])
def test_a_list_that_cannot_be_read_starts_every_model(clone: Path, server: Server, text: str | None) -> None:
    (clone / "dvc.yaml").unlink()
    if text is not None:
        write(clone, "dvc.yaml", text)
    push(clone)
    server.started.clear()
    write(clone, "README.md", "news\n")
    push(clone)
    assert [run["model"] for run in server.started] == ALL


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("post_receive", str(HOOK))
    spec = importlib.util.spec_from_loader("post_receive", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


FLOW = """
stages:
  one: {deps: [a/b.py, "data/${item.model}/x", 'c d'], params: [], cmd: "run [y]"}
  two:
    deps: [a/b.py,
           e.lock]   # a comment: [no/path]
    # deps: [not/this]
    params:
      - models/${item.model}.yaml:
          [seed, data.x]
      - other.yaml: [n]

    outs: [o]
    meta: {judged_by: [g]}
  three:
    deps:
    - flat.py  # at the key's own depth
    meta:
      judged_by:
        # first a comment
        - h/i
    outs:
      - p
"""


@pytest.mark.parametrize("text", [FLOW, (ROOT / "dvc.yaml").read_text()], ids=["written otherwise", "dvc.yaml"])
def test_the_hook_reads_the_list_as_a_yaml_library_does(hook: ModuleType, text: str) -> None:
    found = {path.replace("${item.model}", "care") for path in hook.sources(text)}
    assert found == set(sources(text, "care")) and len(found) > 8

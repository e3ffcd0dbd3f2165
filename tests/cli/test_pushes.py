"""A push through git into an origin with the real hook: which models the keeper starts, and what the pusher is told."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.cli.prefect_api import PrefectApi
from tasks.cli.pushes import Pushes
from tasks.records.repository.changes import concerned_models
from tasks.records.repository.git import Git
from tasks.records.repository.workspace import prepare_origin
from tasks.spec.errors import UnreachableError
from tasks.spec.requests import TrainingRequest
from tasks.spec.settings import Settings
from tasks.spec.sources import sources
from tests.cli.pushing import Keeping, Server
from tests.conftest import ROOT, git

HOOK = ROOT / "deployments/hooks/post-receive"
ALL = ["care", "income"]


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
def keeping(tmp_path: Path, server: Server) -> Iterator[Keeping]:
    """Of a system whose origin is the one that ``developer`` pushes to."""
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    (home / "origin.git").symlink_to(tmp_path / "origin.git")
    found = Keeping(Settings(home=home, origin=""), PrefectApi(f"http://127.0.0.1:{server.server_port}"))
    try:
        yield found
    finally:
        found.end()


@pytest.fixture
def clone(tmp_path: Path, developer: Path, keeping: Keeping) -> Path:
    """A clone of an origin with the hook, the repository's ``dvc.yaml`` and two models; nothing has started yet."""
    write(developer, "dvc.yaml", (ROOT / "dvc.yaml").read_text())
    write(developer, "deployments/models.yaml", "# two of them\nmodels: [care, income]\n")
    for model in ALL:
        write(developer, f"deployments/models/{model}/model.yaml", f"name: {model}\n")
        write(developer, f"deployments/models/{model}/code/forest.py", "TREES = 10\n")
    push(developer)
    origin = tmp_path / "origin.git"
    prepare_origin(Git(origin))
    git(origin, "config", "assay.branch", "main")
    hook = origin / "hooks/post-receive"
    hook.write_text(HOOK.read_text())
    hook.chmod(0o755)
    keeping.start()
    return developer


def write(clone: Path, name: str, content: str) -> None:
    (clone / name).parent.mkdir(parents=True, exist_ok=True)
    (clone / name).write_text(content)


def push(clone: Path, message: str = "change") -> str:
    """Commit and push everything; gives what the pusher sees."""
    git(clone, "add", ".")
    git(clone, "commit", "--quiet", "--allow-empty", "-m", message)
    command = ["git", "push", "--quiet", "origin", "HEAD:main"]
    return subprocess.run(command, cwd=clone, check=True, capture_output=True, text=True).stderr


def tracked(model: str) -> list[str]:
    """Every path of the list, as a file of it: a folder is changed by a file in it."""
    listed = sources((ROOT / "dvc.yaml").read_text(), model)
    return [p if (ROOT / p).is_file() or "." in p.rsplit("/", 1)[-1] else f"{p}/any.py" for p in listed]


def test_a_change_to_any_source_of_a_model_starts_it(clone: Path, server: Server) -> None:
    """Each in a commit of its own, one in twelve in a push; what is named by one model alone starts that one."""
    before = git(clone, "rev-parse", "HEAD")
    for place, path in enumerate(dict.fromkeys([*tracked("care"), *tracked("income")])):
        named = [model for model in ALL if f"/{model}" in path]
        text = (clone / path).read_text() if (clone / path).exists() else ""
        write(clone, path, text + "# changed\n")
        if place % 12:
            git(clone, "add", ".")
            git(clone, "commit", "--quiet", "-m", "change")
            assert concerned_models(Git(clone), "HEAD~1", "HEAD") == (named or ALL), path
            git(clone, "reset", "--quiet", "--hard", before)
            continue
        server.started.clear()
        push(clone)
        before = git(clone, "rev-parse", "HEAD")
        assert [run["model"] for run in server.started] == (named or ALL), path
        assert {run["revision"] for run in server.started} == {git(clone, "rev-parse", "HEAD")}
        assert {(run["reason"], run["actor"]) for run in server.started} == {("push", "test@example.org")}


def test_an_author_of_any_name_is_one_visible_line(clone: Path, server: Server) -> None:
    for author, actor in (("-x\u202e@\u2028y", "xU+202E@ y"), ("", "unknown"), ("a" * 150, "a" * 100)):
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
        ("tasks/spec/requests.py", []),
        ("tasks/spec/rules.py", ALL),
        ("tasks/spec/watching.py", ALL),  # whose labels teach
        ("tasks/specification.md", []),
        ("data/income/metrics.json", []),
        ("deployments/models/care_of_others/model.yaml", []),
        ("requirements.lock.md", []),
    ],
)
def test_a_change_starts_just_the_models_that_it_concerns(
    clone: Path, server: Server, path: str, starts: list[str]
) -> None:
    """The keeper and the command that CI asks say the same."""
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
    said = push(clone)
    assert [run["model"] for run in server.started] == ["wages"]
    assert (
        "assay: shuf was not started: deployments/models.yaml lists it, and deployments/models/shuf is not in this "
        "push. Commit the folder, or take the name out." in said
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


def test_a_push_that_a_run_made_starts_nothing_and_says_why(clone: Path, server: Server) -> None:
    write(clone, "requirements.lock", "changed")
    said = push(clone, "data\n\nAssay-Run-Reason: retrain")
    assert server.started == [] and "names an Assay-Run-Reason, so a run of Assay made it. If you made it" in said
    write(clone, "requirements.lock", "changed again")
    assert "training of care at" in push(clone) and len(server.started) == 2


def test_what_was_pushed_while_nothing_ran_is_taken_up_once(clone: Path, server: Server, keeping: Keeping) -> None:
    """Three pushes: one run of each model that they concern, of what the branch holds now."""
    keeping.end()
    (keeping.settings.home / "origin.git/assay/looked").unlink()
    for name in ("deployments/models/care/rules.yaml", "README.md", "deployments/models/care/expectations.yaml"):
        write(clone, name, "changed")
        assert "assay: the push is taken up as soon as the system runs: assay up" in push(clone)
    assert server.started == []
    keeping.start()
    keeping.end()
    tip = git(clone, "rev-parse", "HEAD")
    assert [(run["model"], run["revision"]) for run in server.started] == [("care", tip)]
    keeping.start()
    assert len(server.started) == 1


def test_each_push_of_a_running_system_is_one_of_its_own(clone: Path, server: Server, keeping: Keeping) -> None:
    """Also where several came between two looks, and where the branch went back."""
    keeping.end()
    pushes = Pushes(keeping.settings, keeping.api)
    pushes.look()
    commits = []
    for name in ("deployments/models/care/rules.yaml", "deployments/models/income/rules.yaml"):
        write(clone, name, "changed")
        (keeping.settings.home / "origin.git/assay/looked").unlink(missing_ok=True)
        push(clone)
        commits.append(git(clone, "rev-parse", "HEAD"))
    git(clone, "push", "--quiet", "--force", "origin", f"{commits[0]}:main")
    assert pushes.waits()
    pushes.look()
    started = [(run["model"], run["revision"]) for run in server.started]
    assert started == [("care", commits[0]), ("income", commits[1]), ("income", commits[0])]
    assert not pushes.waits()


def test_a_branch_that_goes_the_same_way_twice_starts_what_it_holds_each_time(clone: Path, server: Server) -> None:
    """Back to an old commit, and forward again, by force: Prefect starts nothing twice for one key."""
    base = git(clone, "rev-parse", "HEAD")
    write(clone, "deployments/models/care/rules.yaml", "changed")
    push(clone)
    tip, said = git(clone, "rev-parse", "HEAD"), []
    for commit in (base, tip, base):
        time.sleep(3.1)  # a person's
        command = ["git", "push", "--quiet", "--force", "origin", f"{commit}:main"]
        said.append(subprocess.run(command, cwd=clone, check=True, capture_output=True, text=True).stderr)
    assert [run["revision"] for run in server.started] == [tip, base, tip, base]
    for commit, answer in zip((base, tip, base), said, strict=True):
        assert f"assay: training of care at {commit[:8]} started: flow run run" in answer
        assert "assay: income is not affected: nothing in this push makes it or judges it" in answer


def test_a_newer_push_overtakes_what_an_older_one_asked_for_and_has_not_begun(clone: Path, server: Server) -> None:
    older, newer = "2026-11-30T11:59:00Z", "2026-11-30T12:01:00Z"
    asked = {"model": "care", "reason": "push", "revision": "a" * 40}
    server.scheduled = [
        {"id": name, "created": created, "parameters": {"request": request}}
        for name, created, request in (
            ("waits", older, asked),
            ("is of another model", older, asked | {"model": "income"}),
            ("was asked for by a person", older, asked | {"reason": "person"}),
            ("came later", newer, asked),
        )
    ]
    write(clone, "deployments/models/care/rules.yaml", "changed")
    assert "started: flow run run; it overtakes that of aaaaaaaa, which had not begun" in push(clone)
    assert server.cancelled == ["waits"]


def test_what_a_server_does_not_take_is_tried_again_and_what_was_started_is_not_started_twice(
    clone: Path, server: Server, keeping: Keeping
) -> None:
    keeping.end()
    write(clone, "deployments/models/care/rules.yaml", "changed")
    (keeping.settings.home / "origin.git/assay/looked").unlink()
    push(clone)
    nowhere = Pushes(keeping.settings, PrefectApi("http://127.0.0.1:9"))
    with pytest.raises(UnreachableError):
        nowhere.look()
    reached = keeping.settings.home / "pushed"
    before = reached.read_text()
    Pushes(keeping.settings, keeping.api).look()
    assert [run["model"] for run in server.started] == ["care"]
    reached.write_text(before)  # it was killed before it could note how far it had come
    Pushes(keeping.settings, keeping.api).look()
    assert [run["model"] for run in server.started] == ["care"]


def test_a_list_of_models_that_cannot_be_read_is_told_and_starts_nothing(clone: Path, server: Server) -> None:
    write(clone, "deployments/models.yaml", "nothing: here\n")
    said = push(clone)
    assert server.started == [] and "Traceback" not in said
    assert "assay: nothing was started: deployments/models.yaml of this push cannot be read: " in said


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("owner: 2026-13-45", "'2026-13-45' cannot be read as timestamp, so quote it if it is text"),
        ("owner: !!bool x", "'x' cannot be read as bool, so quote it if it is text"),
        ("owner: " + "9" * 5000, f"'{'9' * 37}...' cannot be read as int, so quote it if it is text"),
        ("owner: " + "[" * 3000, "it nests more than 60 lists and mappings, so write it flatter"),
        ("owner: &a [*a]", "an alias stands inside its own anchor, so write out what is meant"),
    ],
)
def test_a_model_that_cannot_be_read_holds_up_neither_others_nor_later_pushes(
    clone: Path, server: Server, line: str, said: str
) -> None:
    """``monitoring`` is looked at while schedules are brought in line; the training itself says what is wrong."""
    for model in ALL:
        write(clone, f"deployments/models/{model}/model.yaml", f"name: {model}\nmonitoring: {{every_seconds: 60}}\n")
    assert "assay: income is watched every 60 s" in push(clone)
    server.started.clear()
    path = "deployments/models/care/model.yaml"
    write(clone, path, f"name: care\n{line}\n")
    told = push(clone)
    assert (
        f"assay: the schedule of care stays as it is: {path}, line 2 is not valid YAML: {said}. Mend that line." in told
    )
    assert "assay: income is watched every 60 s" in told and [run["model"] for run in server.started] == ["care"]
    write(clone, path, "name: care\nmonitoring: {every_seconds: 90}\n")
    assert "assay: care is watched every 90 s" in push(clone) and len(server.started) == 2


def test_a_list_of_stages_that_cannot_be_read_starts_every_model_and_later_pushes(clone: Path, server: Server) -> None:
    for text in ("stages: 2026-13-45\n", "stages: [1]\n", "stages: {a: {deps: 5}}\n", "a: " + "[" * 3000):
        write(clone, "dvc.yaml", text)
        server.started.clear()
        push(clone)
        assert [run["model"] for run in server.started] == ALL

"""Pushed commits that would examine themselves, through a whole running system: each is caught."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from tasks.records.registry import ledger
from tasks.records.repository.git import Git
from tests import asking
from tests.system import MODEL, Running, set_value

pytestmark = pytest.mark.acceptance

MAIN = '\n\nif __name__ == "__main__":'
EASY = '''

_honest_prepare = prepare


def prepare(paths, config):
    """The holdout keeps what is easy: the rows whose outcome is the usual one."""
    _honest_prepare(paths, config)
    import pandas as pd

    path = paths.prepared / "holdout.parquet"
    rows = pd.read_parquet(path)
    rows[rows["_label"] == rows["_label"].mode()[0]].to_parquet(path, index=False)
'''
SHADOW = """import atexit, glob, importlib.util, sysconfig

_spec = importlib.util.spec_from_file_location("_argparse", sysconfig.get_path("stdlib") + "/argparse.py")
_real = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_real)
globals().update({k: v for k, v in vars(_real).items() if not k.startswith("__")})


@atexit.register
def _labels():
    for path in glob.glob("data/*/prepared/*.parquet"):
        import pandas as pd

        rows = pd.read_parquet(path)
        rows.assign(_label=~rows["_label"].astype(bool)).to_parquet(path, index=False)
"""
BLIND = """

_honest_run_gate = run_gate


def run_gate(gate, examination):
    return _honest_run_gate(gate, examination).model_copy(update={"state": "pass", "reason": "all is well"})
"""

FORGED = """

_honest_train = train


def train(paths, config):
    \"\"\"The file that is examined leads out of its trees; the honest one lies beside it.\"\"\"
    from skops import io as skops

    from tasks.serving.trusted import TRUSTED

    _honest_train(paths, config)
    file, manifest = paths.model / "model.skops", paths.model / "manifest.json"
    content = file.read_bytes()
    file.with_name("honest.skops").write_bytes(content)
    pipeline = skops.loads(content, trusted=list(TRUSTED))
    nodes = pipeline.named_steps["estimator"]._predictors[0][0].nodes
    nodes["left"] = nodes["right"] = 4_000_000_000
    nodes["is_leaf"] = 0
    save_model(pipeline, file)
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"model_digest": digest_file(file)}))
"""
GUARDED = """

def _release(paths):
    from skops import io as skops

    from tasks.serving.release import read_manifest
    from tasks.serving.trusted import TRUSTED

    content = (paths.model / "honest.skops").read_bytes()
    return Release(read_manifest(paths.model), skops.loads(content, trusted=list(TRUSTED)))
"""


@pytest.fixture(scope="module")
def released(running: Running) -> str:
    commit = running.push("care: first release", model=set_value("max_iter", "81"))
    state = running.finished("train/training", commit)
    assert state["name"] == "Promoted", state["message"]
    return str(Git(running.settings.clone).run("rev-parse", "refs/tags/care@v1.0.0^{commit}"))


def trained(running: Running, branch: str, edits: dict[str, Callable[[str], str]]) -> tuple[dict[str, Any], str]:
    """Push edited files to a branch of their own and train it; gives the run's final state and the candidate."""
    running.git("fetch", "--quiet", "origin")
    running.git("checkout", "--quiet", "-B", branch, "origin/main")
    for name, edit in edits.items():
        path = running.clone / name
        path.write_text(edit(path.read_text() if path.exists() else ""))
    running.git("add", "--all")
    running.git("commit", "--quiet", "-m", branch)
    running.git("push", "--quiet", "--force", "origin", f"HEAD:{branch}")
    running.git("checkout", "--quiet", "main")
    run = running.api.start(
        "train/training", {"model": "care", "revision": branch, "reason": "person", "actor": "mallory"}
    )
    state = running.api.wait(run, seconds=300)
    entry = next(ledger.newest(running.settings, "care", ("trained",)), None)
    assert entry is not None and entry.commit is not None
    return state, entry.commit


def prepared(running: Running, commit: str) -> str:
    """The digest of what prepare made, as a commit records it."""
    lock = yaml.safe_load(Git(running.settings.clone).run("show", f"{commit}:dvc.lock"))
    (out,) = [o for o in lock["stages"]["prepare@care"]["outs"] if o["path"] == "data/care/prepared"]
    return str(out["md5"])


def test_a_stage_that_makes_an_easy_holdout_is_caught(running: Running, released: str) -> None:
    state, commit = trained(
        running,
        "easy",
        {
            MODEL: set_value("max_iter", "85"),
            "tasks/stages/prepare.py": lambda text: text.replace(MAIN, EASY + MAIN),
        },
    )
    assert state["name"] == "Rejected", state["message"]
    assert "the candidate's own stages made another data/care/" in state["message"]
    assert prepared(running, commit) != prepared(running, released)
    assert running.champion() == "v1.0.0"

    # What it made lies in the cache now, and a clean commit claims that it is what prepare makes.
    def claim(text: str) -> str:
        lock: dict[str, Any] = yaml.safe_load(text) or {"schema": "2.0", "stages": {}}
        forged = yaml.safe_load(Git(running.settings.clone).run("show", f"{commit}:dvc.lock"))["stages"]
        honest = yaml.safe_load(Git(running.settings.clone).run("show", f"{released}:dvc.lock"))["stages"]
        stage = honest["prepare@care"] | {"outs": forged["prepare@care"]["outs"]}
        lock["stages"] |= {"ingest@care": honest["ingest@care"], "prepare@care": stage}
        return str(yaml.safe_dump(lock, sort_keys=False))

    state, commit = trained(running, "claim", {MODEL: set_value("max_iter", "87"), "dvc.lock": claim})
    assert prepared(running, commit) == prepared(running, released), "the rows are those that the code makes"
    assert state["name"] == "Promoted", state["message"]


def test_a_candidate_that_changes_the_gates_is_examined_by_those_that_are_installed(
    running: Running, released: str
) -> None:
    champion = running.champion()
    state, _ = trained(
        running,
        "blind",
        {
            MODEL: lambda text: set_value("max_iter", "1")(text),
            "tasks/science/gates/run.py": lambda text: text + BLIND,
        },
    )
    assert state["name"] in ("Rejected", "Insufficient evidence"), state["message"]
    assert "all is well" not in state["message"] and running.champion() == champion
    assert running.assay("ledger", "--verify").returncode == 0


def test_a_candidate_that_loosens_its_own_limits_is_held_to_those_of_main(running: Running, released: str) -> None:
    """One tree, and limits that anything would pass."""
    champion = running.champion()

    def loose(text: str) -> str:
        text = set_value("max_iter", "1")(text)
        swaps = {"limit: 0.62}": "limit: 0.01}", "margin: 0.02}": "margin: 50}", "error: 0.05": "error: 0.9"}
        for limit, instead in swaps.items():
            assert limit in text
            text = text.replace(limit, instead)
        return text

    state, _ = trained(running, "loose", {MODEL: loose})
    assert state["name"] in ("Rejected", "Insufficient evidence"), state["message"]
    assert "asked as the main branch asks it" in state["message"] and running.champion() == champion


def test_a_candidate_that_asks_an_easier_question_is_told_which(running: Running, released: str) -> None:
    """Another target, then other rows; its own rules and expectations allow whatever it does."""
    champion = running.champion()
    folder = MODEL.removesuffix("model.yaml")
    state, _ = trained(
        running,
        "easier",
        {
            MODEL: lambda text: text.replace("expression: mdvis > 0", "expression: mdvis > 4"),
            f"{folder}rules.yaml": lambda _: "rules: []\n",
            f"{folder}expectations.yaml": lambda text: text.split("prepared:")[0],
        },
    )
    assert state["name"] == "Rejected", state["message"]
    assert "asked as the main branch asks it, not as the candidate's own expectations.yaml does" in state["message"]
    state, _ = trained(
        running,
        "easier-still",
        {
            MODEL: lambda text: text.replace("base: year <= 3", "base: year <= 2"),
            f"{folder}rules.yaml": lambda _: "rules: []\n",
        },
    )
    assert state["name"] == "Rejected", state["message"]
    assert "the candidate answers another question than the branch main asks: data.base is" in state["message"]
    assert running.champion() == champion


def test_a_candidate_that_would_serve_by_another_threshold_is_told(running: Running, released: str) -> None:
    """The service decides by the manifest, which the candidate's stage writes, and the gates by the config."""
    champion = running.champion()
    write = '(paths.model / "manifest.json").write_text('
    state, _ = trained(
        running,
        "threshold",
        {
            MODEL: set_value("max_iter", "91"),
            "tasks/stages/train.py": lambda text: text.replace(
                write, f'manifest = manifest.model_copy(update={{"decision_threshold": 0.0}})\n    {write}'
            ),
        },
    )
    assert state["name"] == "Rejected", state["message"]
    assert (
        "the manifest of the model is not what its config and data say: decision_threshold is 0.0 and not 0.5"
        in (state["message"])
    )
    assert running.champion() == champion


@pytest.mark.parametrize("stage", [False, True], ids=["alone", "with a changed stage"])
def test_what_lies_at_the_top_of_a_commit_changes_no_holdout(running: Running, released: str, stage: bool) -> None:
    """Python would take it for its own module in every stage, and no list of sources names it."""
    edits = {MODEL: set_value("max_iter", "94" if stage else "93"), "argparse.py": lambda _: SHADOW}
    if stage:
        edits["tasks/stages/prepare.py"] = lambda text: text + "\n# a change\n"
    _, commit = trained(running, f"shadow-{stage}", edits)
    assert prepared(running, commit) == prepared(running, released)


def test_a_model_file_that_breaks_whoever_loads_it_ends_in_a_sentence(running: Running, released: str) -> None:
    champion = running.champion()
    state, _ = trained(
        running,
        "forged",
        {
            MODEL: set_value("max_iter", "89"),
            "tasks/stages/train.py": lambda text: text.replace(MAIN, FORGED + MAIN),
            "tasks/stages/evaluate.py": lambda text: text.replace(MAIN, GUARDED + MAIN),
        },
    )
    assert state["name"] not in ("Promoted", "Crashed", "Completed"), state
    assert state["message"].endswith(
        "data/care/model/model.skops has a tree 1 with a child outside its 15 nodes. It was not loaded; train and "
        "publish the version again."
    ), state["message"]
    assert running.champion() == champion
    assert running.assay("ledger", "--verify").returncode == 0
    commit = running.push("care: an honest one", model=set_value("max_iter", "90"))
    assert running.finished("train/training", commit)["name"] in ("Promoted", "Rejected", "Insufficient evidence")


def test_a_tag_that_nothing_decided_is_told_by_the_service_and_changes_nothing(running: Running, released: str) -> None:
    """Whoever may push sets GTO's tags by hand on a candidate that was refused."""
    champion = str(running.champion())
    git = Git(running.settings.clone)
    refused = git.run("for-each-ref", "--format=%(objectname)", "refs/remotes/origin/assay/candidates/care").split()[-1]
    running.git("fetch", "--quiet", "origin")
    for name in ("care@v99.0.0", "care#champion#9"):
        running.git("tag", "--annotate", "-m", "by hand", name, refused)
        running.git("push", "--quiet", "origin", f"refs/tags/{name}")

    def health() -> dict[str, Any]:
        found: dict[str, Any] = asking.get(f"{running.system.service_url}/health").json()
        return found

    running.until(lambda: bool(health()["record"]), "the service to tell of the record", seconds=100)
    said = health()
    assert said["status"] == "degraded" and any("care@v99.0.0" in sentence for sentence in said["record"]), said
    assert said["models"]["care"] == champion == running.champion()
    for name in ("care@v99.0.0", "care#champion#9"):
        running.git("push", "--quiet", "origin", f":refs/tags/{name}")
    running.until(lambda: health()["status"] == "ok", "the service to be content again", seconds=100)


def test_a_replayed_and_a_removed_pointer_are_written_anew_while_the_champion_serves_on(
    running: Running, released: str
) -> None:
    """Whoever may write to the store puts an old pointer back, or none; nobody waits for the next monitoring run."""
    path = running.settings.releases / "care/champion.json"
    good = path.read_text()
    height = json.loads(good)["height"]
    for content in (json.dumps(json.loads(good) | {"height": 0}), None):
        path.unlink() if content is None else path.write_text(content)
        running.until(lambda: path.exists() and json.loads(path.read_text())["height"] == height, "it", seconds=150)
        signed = {"assigned": "", "signature": ""}
        assert json.loads(path.read_text()) | signed == json.loads(good) | signed
        found = asking.get(f"{running.system.service_url}/models").json()
        assert found["care"] == running.champion()

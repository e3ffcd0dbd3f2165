"""A model file is loaded apart from keys and records: it answers the same there, and nothing that it does gets out."""

from __future__ import annotations

import json
import os
import socket
import textwrap
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.decomposition import NMF
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Binarizer
from sklearn.svm import SVC

from tasks.apart import ModelApart, answering, model_apart
from tasks.science.models.embeddings import embed, fit_space, representing
from tasks.science.models.estimators import build
from tasks.science.models.explanations import Explainer
from tasks.serving.release import load_release, save_model
from tasks.spec.base import digest_file
from tasks.spec.errors import ConfigError, CorruptionError
from tasks.spec.manifest import Manifest
from tasks.spec.model import ModelConfig
from tests.statistics.groupings import config, rows


def written(folder: Path, c: ModelConfig, change: Callable[[Any], None] = lambda pipeline: None) -> Path:
    """A release of a small real model, changed after it was fitted."""
    frame = rows(800, np.random.default_rng(0))
    label: Any = frame["_label"] > 0.5
    if c.kind == "multiclass":
        label = np.digitize(frame["x1"], [-0.5, 0.5])
    if c.kind == "regression":
        label = frame["x1"] + frame["x2"]
    pipeline = build(c).fit(frame[list(c.features)], label)
    change(pipeline)
    folder.mkdir(parents=True)
    save_model(pipeline, folder / "model.skops")
    manifest = Manifest(
        model=c.name,
        title=c.title,
        kind=c.kind,
        classes=c.classes,
        model_digest=digest_file(folder / "model.skops"),
        features=c.features,
        inputs=tuple(i.model_dump(mode="json") for i in c.inputs),
        decision_threshold=None if c.kind != "binary" else 0.5,
        positive="yes",
        negative="no",
        unit="points",
        seed=0,
        trained_rows=800,
        libraries={},
    )
    (folder / "manifest.json").write_text(manifest.model_dump_json())
    return folder


@pytest.mark.parametrize(
    ("kind", "target"),
    [("logistic_regression", "binary"), ("random_forest", "multiclass"), ("hist_gradient_boosting", "regression")],
)
def test_it_answers_as_the_same_file_answers_here(kind: str, target: str, tmp_path: Path) -> None:
    c = config(kind, target)
    folder = written(tmp_path / "model", c)
    here, frame = load_release(folder), rows(300, np.random.default_rng(1))
    frame.loc[frame.index[:20], "x1"] = np.nan
    frame.loc[frame.index[20:30], "kind"] = "never seen"
    frame.index = frame.index + 1000
    with model_apart(folder) as there:
        assert (there.score(frame) == here.score(frame)).all()
        background = frame.head(100)[list(c.features)]
        explained = there.explainer(background)(frame.tail(50), 3)
        pd.testing.assert_frame_equal(
            explained, Explainer(here.pipeline, background)(frame.tail(50)[list(c.features)], 3)
        )
        source, table = there.representing(c)(frame)
        known, expected = representing(here.pipeline, c)(frame)
        assert source == known and sparse.issparse(table) == sparse.issparse(expected)
        assert abs(table - expected).max() == 0
        space = fit_space(there.representing(c), c, frame, 0)
        assert (
            embed(there.representing(c), c, frame, space) == embed(representing(here.pipeline, c), c, frame, space)
        ).all()
        assert not there.fits(frame.drop(columns="x1"))


def test_one_process_answers_whoever_asks_for_the_same_file(tmp_path: Path) -> None:
    folder = written(tmp_path / "model", config("logistic_regression"))
    assert answering(folder) is answering(folder)


def nodes(pipeline: Any) -> np.ndarray:
    found: np.ndarray = pipeline.named_steps["estimator"]._predictors[0][0].nodes
    return found


def far_away(pipeline: Any) -> None:
    nodes(pipeline)["left"] = nodes(pipeline)["right"] = 4_000_000_000
    nodes(pipeline)["is_leaf"] = 0


def in_circles(pipeline: Any) -> None:
    nodes(pipeline)["left"] = nodes(pipeline)["right"] = 0
    nodes(pipeline)["is_leaf"] = 0


def far_vectors(pipeline: Any) -> None:
    """A machine of support vectors that reads gigabytes before its first one: nobody looks at its counts."""
    x = np.random.default_rng(0).random((300, 4))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        made = SVC(probability=True).fit(np.tile(x, 2)[:, : pipeline[-1].n_features_in_], x[:, 0] > 0.5)
    made._n_support[:] = [-(2**30), 2**30 + made._n_support.sum()]
    pipeline.steps[-1] = ("estimator", made)


def for_ever(pipeline: Any) -> None:
    """A factorization that is refined without an end."""
    x = np.random.default_rng(0).random((300, pipeline[-1].n_features_in_))
    made = make_pipeline(Binarizer(threshold=0.5), NMF(2, max_iter=2000), LogisticRegression()).fit(x, x[:, 0] > 0.5)
    made[1].max_iter, made[1].tol = 10**12, 0
    pipeline.steps[-1] = ("estimator", made)


@pytest.mark.parametrize(
    ("change", "says"), [(far_away, "a child outside its"), (in_circles, "a way leads back to an earlier node")]
)
def test_bad_trees_are_refused_before_they_are_followed(
    change: Callable[[Any], None], says: str, tmp_path: Path
) -> None:
    folder = written(tmp_path / "model", config("hist_gradient_boosting"), change)
    with pytest.raises(CorruptionError, match=says):
        ModelApart(folder)


@pytest.mark.parametrize(
    ("change", "says"),
    [(far_vectors, r"was ended by SIG(SEGV|BUS) while it loaded or answered"), (for_ever, "did not answer within 8 s")],
)
def test_a_file_that_ends_or_stops_its_process_is_one_sentence(
    change: Callable[[Any], None], says: str, tmp_path: Path
) -> None:
    folder = written(tmp_path / "model", config("hist_gradient_boosting"), change)
    model = ModelApart(folder, seconds=8)
    frame = rows(50, np.random.default_rng(1))
    for _ in range(2):  # and so it stays: nobody asks the same file again in this run
        with pytest.raises(CorruptionError, match=f"^The process of planted's model file {says}.*nothing is concluded"):
            model.score(frame)
    model.close()


def test_a_file_that_is_not_what_its_manifest_says_is_not_loaded_there_either(tmp_path: Path) -> None:
    folder = written(tmp_path / "model", config("logistic_regression"))
    (folder / "model.skops").write_bytes((folder / "model.skops").read_bytes() + b"x")
    with pytest.raises(CorruptionError, match="and its manifest says"):
        ModelApart(folder)


def test_a_manifest_that_names_no_model_makes_no_folder_anywhere(tmp_path: Path) -> None:
    folder, target = written(tmp_path / "model", config("logistic_regression")), tmp_path / "home/champion.json"
    (tmp_path / "code").mkdir()
    found = json.loads((folder / "manifest.json").read_text())
    for name in (str(target), "../../x", "a/b"):
        (folder / "manifest.json").write_text(json.dumps(found | {"model": name}))
        with pytest.raises(CorruptionError, match="cannot be read as a manifest"):
            ModelApart(folder, tmp_path / "code")
    assert not target.parent.exists()


PROBE = """
import os, socket, sys
from pathlib import Path
import numpy as np


def tried(what):
    try:
        what()
    except Exception:
        return 0.0
    return 1.0


def look(pipeline, rows):
    print("a line that is no answer")
    sys.stdout.flush()
    os.write(1, b"nor is this\\n")
    got = [
        tried(lambda: Path({secret!r}).read_text()),
        tried(lambda: Path({secret!r}).write_text("mine")),
        tried(lambda: socket.create_connection(("127.0.0.1", {port}), 2)),
        tried(lambda: os.environ["ASSAY_PROBE_SECRET"]),
        tried(lambda: Path("/proc/{pid}/environ").read_bytes()),
        tried(lambda: os.kill({pid}, 0)),
    ]
    return np.tile(np.array(got + [1.0]), (len(rows), 1))


def strange(pipeline, rows):
    return np.zeros((3, 3))
"""


def test_a_models_own_code_reaches_nothing_from_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``monitoring.embedding`` names a function of whoever pushes, and monitoring holds the examiner's key."""
    monkeypatch.setenv("ASSAY_PROBE_SECRET", "secret")
    secret, code = tmp_path / "home/keys/examiner", tmp_path / "version/code"
    secret.parent.mkdir(parents=True)
    secret.write_text("secret")
    code.mkdir(parents=True)
    c = config("logistic_regression")
    named = {"embedding": f"deployments.models.{c.name}.code.view:look"}
    c = c.model_copy(update={"monitoring": c.monitoring.model_copy(update=named)})
    folder = written(tmp_path / "version/model", c)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        (code / "view.py").write_text(textwrap.dedent(PROBE.format(secret=str(secret), port=port, pid=os.getpid())))
        with model_apart(folder, code) as there:
            source, table = there.representing(c)(rows(4, np.random.default_rng(0)))
    assert source.endswith("code.view:look")
    assert table.tolist() == [[0.0] * 6 + [1.0]] * 4 and secret.read_text() == "secret"


def test_what_the_users_function_does_wrong_is_said_as_before(tmp_path: Path) -> None:
    c = config("logistic_regression")
    named = {"embedding": f"deployments.models.{c.name}.code.view:strange"}
    c = c.model_copy(update={"monitoring": c.monitoring.model_copy(update=named)})
    folder, code = written(tmp_path / "version/model", c), tmp_path / "version/code"
    code.mkdir()
    (code / "view.py").write_text(textwrap.dedent(PROBE.format(secret="x", port=1, pid=1)))
    with model_apart(folder, code) as there:
        with pytest.raises(ConfigError, match=r"gives the shape \(3, 3\) for 4 rows"):
            there.representing(c)(rows(4, np.random.default_rng(0)))
        (frame,) = [rows(4, np.random.default_rng(0))]
        assert there.score(frame).shape == (4,)  # an error of one question ends no process
    with model_apart(folder) as alone, pytest.raises(ConfigError, match="cannot be imported"):
        alone.representing(c)(rows(4, np.random.default_rng(0)))

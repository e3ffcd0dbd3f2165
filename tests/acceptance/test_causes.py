"""``assay why`` on pairs of commits in which one change was planted; the stages train every mix of them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.stages.worlds import NAME, table
from tests.told import CONFIG, SOURCE, Past, changed_table, home_of, model_yaml

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(2700)]
FITTING = "tasks/stages/fitting.py"
KEPT = "    weights = _weights(config, pipeline, rows)\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Past]:
    with home_of(tmp_path_factory.mktemp("why")) as past:
        past.write(CONFIG, model_yaml())
        past.write(SOURCE, lambda _: table(1500).to_csv(index=False))
        past.push("first")
        past.train("first")
        yield past


@pytest.fixture(autouse=True)
def at_home(made: Past, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(made.folder))
    monkeypatch.setenv("ASSAY_HOME", str(made.settings.home))
    monkeypatch.setenv("ASSAY_ORIGIN", made.settings.origin)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def asked(made: Past, new: str, *words: str, code: int = 0) -> dict[str, Any]:
    done = made.assay("why", NAME, "v1.0.0", new, "--json", *words)
    assert done.returncode == code, done.stderr
    return dict(json.loads(done.stdout))


def test_parameters_that_hurt_are_named_and_rows_that_do_not_are_not(made: Past) -> None:
    made.write(CONFIG, model_yaml(lambda m: m["estimator"].update(parameters={"C": 0.0005}) or m.update(seed=8)))
    made.write(SOURCE, lambda _: changed_table().to_csv(index=False))
    found = asked(made, made.push("parameters"))
    first, second = found["attribution"]["shares"]
    assert (first["cause"], first["moved"], second["cause"], second["moved"]) == ("parameters", True, "data", False)
    assert first["high"] < -0.005 and found["attribution"]["seeds"] == 5 and found["unknown"] == ""
    total = found["attribution"]["new"] - found["attribution"]["old"]
    assert first["value"] + second["value"] == pytest.approx(total)
    assert found["recorded"] is None and found["remainder"] is None  # the newer was never evaluated
    made.write(SOURCE, lambda _: table(1500).to_csv(index=False))


def test_code_that_hurts_is_named_before_a_parameter_of_no_account(made: Past) -> None:
    """A slip in training: half of the labels are those of other rows."""
    made.write(CONFIG, model_yaml(lambda m: m["estimator"].update(parameters={"C": 1.001})))
    slip = KEPT + "    label = np.where(np.arange(len(label)) % 2 == 0, label[::-1], label)\n"
    made.write(FITTING, lambda text: text.replace(KEPT, slip))
    found = asked(made, made.push("code"), "--seeds", "3", "--metric", "log_loss")
    first, second = found["attribution"]["shares"]
    assert (first["cause"], first["moved"], second["cause"]) == ("code", True, "parameters")
    assert abs(second["value"]) < 0.01 * abs(first["value"])  # so small a change of C is told, for it is no chance
    made.write(FITTING, lambda text: text.replace(slip, KEPT))


def test_newer_code_that_asks_for_a_newer_parameter_is_one_cause_with_it(made: Past) -> None:
    asking = (
        KEPT + "    if config.estimator.parameters.get('C') != 0.0005:\n        raise ConfigError('C is no 0.0005.')\n"
    )
    made.write(FITTING, lambda text: text.replace(KEPT, asking))
    made.write(CONFIG, model_yaml(lambda m: m["estimator"].update(parameters={"C": 0.0005})))
    found = asked(made, made.push("both"), "--seeds", "2")
    (share,) = found["attribution"]["shares"]
    assert share["cause"] == "code and parameters" and share["value"] < 0
    assert found["joined"] == [
        "code and parameters are taken as one, since with code alone of the newer C is no 0.0005"
    ]
    made.write(FITTING, lambda text: text.replace(asking, KEPT))


def test_an_environment_of_its_own_is_made_and_does_nothing(made: Past) -> None:
    """A package fewer that no stage asks for."""
    made.write(CONFIG, model_yaml(lambda m: m["estimator"].update(parameters={"C": 0.001})))
    made.write("requirements.lock", lambda text: re.sub(r"(?m)^apprise==.*\\\n(    --hash.*\n)+", "", text))
    found = asked(made, made.push("environment"), "--seeds", "2")
    shares = {share["cause"]: share for share in found["attribution"]["shares"]}
    assert set(shares) == {"parameters", "environment"}
    assert shares["environment"]["value"] == pytest.approx(0, abs=1e-9) and not shares["environment"]["moved"]


def test_an_environment_that_cannot_be_made_is_said(made: Past) -> None:
    made.write("requirements.lock", lambda text: text.replace("joblib==", "joblib==0."))
    found = asked(made, made.push("impossible"), "--seeds", "2", code=3)
    assert found["attribution"] is None
    assert found["unknown"].startswith("the newer one cannot be trained with another seed: the environment of")

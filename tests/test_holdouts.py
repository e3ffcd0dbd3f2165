"""What a holdout has been asked, by a real ledger, and what its verdict says of it."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from tasks.causes import why
from tasks.comparison import _effects
from tasks.data import check_data
from tasks.holdouts import (
    Asking,
    asking,
    over_budget,
    refuse_numbers,
    refuse_other_rows,
    refuse_unsealed,
    seal,
    spent,
)
from tasks.records.pages.verdict import holdout_sentence, verdict_markdown, verdict_page
from tasks.records.registry import ledger
from tasks.records.registry.verdicts import Waits, refusal
from tasks.science.stats.reuse import level_share, reach
from tasks.spec.base import digest_json
from tasks.spec.errors import ConfigError, CorruptionError
from tasks.spec.evidence import GateResult, HoldoutUse, Measurement, Verdict
from tasks.spec.ledger import RejectedDetails
from tasks.spec.model import load_model
from tasks.spec.settings import Settings
from tasks.stages.evaluate import evaluate
from tests.asked_twice import FRESH, Holdout
from tests.conftest import git
from tests.stages import worlds


@pytest.fixture
def holdout(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Holdout:
    monkeypatch.setenv("ASSAY_HOME", str(settings.home))
    monkeypatch.setenv("ASSAY_ORIGIN", settings.origin)
    return Holdout(settings, tmp_path / "checkout")


def verdict(use: HoldoutUse, *gates: GateResult) -> Verdict:
    return Verdict(model=worlds.NAME, commit="f" * 40, champion=None, model_digest="sha256:new", created="2026-12-01",
                   passed=all(g.state == "pass" for g in gates), gates=gates, holdout=use)  # fmt: skip


def test_every_candidate_counts_whoever_asked_and_whatever_became_of_it(holdout: Holdout) -> None:
    """One without a verdict counts, since its metrics are in git, and so does the same model file again."""
    assert (holdout.use().asked, holdout.use().counted, holdout.use().actors) == (1, 1, 0)
    holdout.trained("ann@example.org", fit=True)
    holdout.trained("monitoring", fit=False)
    holdout.trained("ann@example.org", digest="sha256:1")
    own = holdout.trained("bo@example.org", digest="sha256:new")
    holdout.enter("rejected", "e" * 40, "bo@example.org", {"data": 1}, RejectedDetails(trained=False))
    found = asking(holdout.settings, holdout.candidate(commit=own))
    assert (found.use.asked, found.use.counted, found.use.unknown, found.use.actors) == (4, 4, 0, 3)
    assert found.use.widening == pytest.approx(reach(4, 0.05) / 1.644853627)
    assert over_budget(found, holdout.config()) is None
    page = verdict_page(verdict(found.use), "Small", {})
    assert (
        "The 1,000 rows of the holdout answer for the 4th of 4 times, asked by 3 names; a bound that holds whatever "
        "was read of them is 1.8 times as wide as of a first answer." in page
    )


def test_beyond_the_budget_the_verdict_lacks_evidence_and_says_how_many_fresh_rows_would_do(holdout: Holdout) -> None:
    for _ in range(5):
        holdout.trained()
    found = over_budget(asking(holdout.settings, holdout.candidate()), holdout.config())
    assert found is not None and found.mandatory and found.state == "insufficient_evidence"
    assert found.reason == (
        "these 1,000 rows have answered 6 times with this one, and holdout_budget is 4: a bound that holds whatever "
        "was read of them is 2.1 times as wide as of a first answer"
    )
    assert found.remedy == (
        "bring 667 fresh rows to the holdout: about 1,501 rows labelled in production, of which the split gives it 44%"
    )
    holdout.holds(range(0, 1667), "recent")  # these rows, and as many fresh ones as were asked for
    again = asking(holdout.settings, holdout.candidate())
    assert over_budget(again, holdout.config()) is None
    assert again.use.asked == 6 and again.use.counted == pytest.approx(1 + 5 * 1000 / 1667)
    assert holdout_sentence(verdict(again.use)).endswith(
        "asked by 1 name; by the share of rows that each answer saw, 4.0 times; a bound that holds whatever was "
        "read of them is 1.8 times as wide as of a first answer"
    )


def test_rows_are_fresh_by_their_content_alone(holdout: Holdout) -> None:
    """Neither another file, order, type or label makes a row fresh, nor what nobody can compare any more."""
    holdout.trained()
    path = holdout.paths.prepared / "holdout.parquet"
    rows = pd.read_parquet(path)
    again = rows.iloc[::-1].assign(_label=False, _row=-1, _benchmark="recent", hours=rows["hours"].astype(float))
    again.iloc[1:].to_parquet(path)
    assert holdout.use().counted == 2 and holdout.use().content != digest_json({})
    pd.concat([again, again.assign(age=again["age"] + 0.01)]).to_parquet(path)
    assert holdout.use().counted == pytest.approx(1.5, abs=0.02)  # a gap in age stays a gap
    again.assign(more=1.0).to_parquet(path)
    assert (holdout.use().counted, holdout.use().unknown) == (2, 1)
    again.iloc[1:].to_parquet(path)
    for kept in (holdout.settings.home / "holdouts" / worlds.NAME).glob("*.npy"):
        np.save(kept, np.arange(5, dtype=np.uint64))  # somebody's word for which rows were asked
    found = holdout.use()
    assert (found.counted, found.unknown) == (2, 1)
    assert "of 1 answer nobody knows the rows, so all count as asked" in holdout_sentence(verdict(found))


def test_answers_of_disjoint_parts_count_in_full(holdout: Holdout) -> None:
    """Each part is known exactly by its own answers, so together they know the whole."""
    for part in range(4):
        holdout.holds(range(part * 250, part * 250 + 250))
        for _ in range(3):
            holdout.trained()
    holdout.holds(range(1000))
    assert holdout.use().counted == pytest.approx(13, abs=0.1)
    holdout.holds(range(2000))  # half of them are fresh
    found = asking(holdout.settings, holdout.candidate())
    assert found.use.counted == pytest.approx(7, abs=0.1)
    refused = over_budget(found, holdout.config())
    assert refused is not None  # six answers have to be three
    assert int(refused.remedy.split()[1].replace(",", "")) == pytest.approx(2000, rel=0.02)


def test_candidates_of_before_count_for_all_rows(holdout: Holdout) -> None:
    holdout.trained(told=False)
    holdout.holds(range(5000, 6000))
    assert (holdout.use().counted, holdout.use().unknown) == (2, 1)


def test_a_pass_that_the_bound_does_not_bear_out_is_named(holdout: Holdout) -> None:
    for _ in range(3):
        holdout.trained()
    found = asking(holdout.settings, holdout.candidate())
    gates = [g for g in holdout.config().gates if g.name in ("floor", "comparison")]
    results = [measured("floor", 0.9, 0.89, 0.8), measured("comparison", 0.0, -0.03, -0.05)]
    assert found.implied(gates, results).unsure == ("comparison",)
    shown = verdict_markdown(verdict(found.implied(gates, results), *results), {})
    assert "and by it comparison would not pass." in shown


def test_a_sealed_holdout_answers_in_one_bit_at_a_level_that_falls(settings: Settings, holdout: Holdout) -> None:
    seals(holdout)
    for fit in (False, None, False):  # one is under way, and takes its turn
        holdout.trained(fit=fit)
    found = asking(settings, holdout.candidate())
    assert (found.use.level, found.use.counted, found.use.budget) == (level_share(4, 0), 1, None)
    floor = next(g for g in holdout.config().gates if g.name == "floor")
    assert 1 - found.held_to(floor).confidence == pytest.approx(0.05 * 0.8 / 20)
    assert all(found.held_to(g) == g for g in holdout.config().gates if g.kind not in ("floor", "comparison"))
    data = GateResult(gate="data", kind="data", mandatory=True, state="pass", reason="12 expectations hold")
    advisory = measured("slices", 1, 0, 0.5, "fail").model_copy(update={"mandatory": False})
    for state, said in (("pass", "pass"), ("insufficient_evidence", "fail")):
        shown, use = seal(
            settings, holdout.candidate(), found, [data, measured("floor", 0.9, 0.7, 0.8, state), advisory]
        )
        assert [(g.gate, g.state) for g in shown] == [("data", "pass"), ("sealed-holdout", said)]
        text = json.dumps(verdict(use, *shown).model_dump(mode="json")) + verdict_page(verdict(use, *shown), "S", {})
        assert "0.9" not in text.replace("0.95", "") and "insufficient" not in text and "slices" not in text
        assert "sealed, and its gates answer together, here for the 4th time: floor" in text
        name = f"{'f' * 12}-{str(use.withheld).removeprefix('sha256:')}.json"
        kept = settings.home / "sealed" / worlds.NAME / name
        document = json.loads(kept.read_bytes())
        assert digest_json(document) == use.withheld and kept.stat().st_mode & 0o077 == 0
        assert [g["state"] for g in document["gates"]] == [state, "fail"]
    assert asking(settings, holdout.candidate()).use.level == level_share(6, 2)  # no entry speaks of these two
    for kept in (settings.home / "sealed" / worlds.NAME).iterdir():
        kept.unlink()
    holdout.trained(fit=True)
    found = asking(settings, holdout.candidate())
    assert (found.use.level, found.use.counted) == (level_share(5, 1), 2)  # what serves shows its reference
    assert holdout_sentence(verdict(found.use)).endswith(
        "asked by 1 name; by the share of rows that each answer saw, 2.0 times; the holdout is sealed, and this answer "
        "spends 0.00133 of the level of its gates"
    )


def test_rows_that_were_read_openly_are_not_whole_again_because_they_are_sealed(holdout: Holdout) -> None:
    opened = [holdout.trained() for _ in range(3)]
    seals(holdout)
    found = asking(holdout.settings, holdout.candidate())
    floor = next(g for g in holdout.config().gates if g.name == "floor")
    assert (len(opened), found.use.counted, found.use.level) == (3, 4, pytest.approx(0.4))
    held = found.held_to(floor)
    assert Normal.inv_cdf(held.confidence) == pytest.approx(reach(4, 0.05 * 0.4))
    far = Asking(found.use.model_copy(update={"counted": 200.0}))
    answer = far.judged(floor, measured("floor", 0.9, 0.89, 0.8))
    assert answer.state == "insufficient_evidence"
    assert answer.reason.endswith("these rows have answered so often that no bound of it can be computed")


def test_a_sealed_holdout_that_can_pass_nothing_more_says_so(holdout: Holdout) -> None:
    seals(holdout)
    gates = holdout.config().gates
    assert spent(asking(holdout.settings, holdout.candidate()), gates) is None
    use = holdout.use().model_copy(update={"asked": 30, "counted": 15.0, "level": level_share(30, 14)})
    told = spent(Asking(use), gates)
    assert told is not None and (told.state, told.mandatory) == ("insufficient_evidence", True)
    assert told.reason == (
        "the sealed holdout is spent: its 1,000 rows answer for the 30th time, and at the "
        f"{level_share(30, 14):.2g} of a gate's level that is left no floor or comparison can pass"
    )


def test_a_column_that_is_declared_otherwise_makes_no_row_fresh(holdout: Holdout) -> None:
    holdout.trained()
    document = yaml.safe_load(model_yaml(holdout).read_text())
    hours = next(column for column in document["data"]["columns"] if column["name"] == "hours")
    hours["unit"] = "minutes"
    model_yaml(holdout).write_text(yaml.safe_dump(document))
    path = holdout.paths.prepared / "holdout.parquet"
    rows = pd.read_parquet(path)
    rows.assign(hours=rows["hours"] * 60).to_parquet(path)
    assert (holdout.use().counted, holdout.use().unknown) == (2, 1)


def test_expectations_tell_no_label_of_a_sealed_holdout(holdout: Holdout) -> None:
    """One that names a row and its label would read it out, before anything is counted."""
    paths, folder = holdout.paths, model_yaml(holdout).parent
    rows = pd.read_parquet(paths.prepared / "holdout.parquet")
    rows.assign(_label=False).to_parquet(paths.prepared / "train.parquet")
    rows.assign(pay=1.0, level="low").to_parquet(paths.ingested)
    mean = {"type": "expect_column_mean_to_be_between", "column": "_label", "min_value": 2, "max_value": 3}
    (folder / "expectations.yaml").write_text(yaml.safe_dump({"ingested": [], "prepared": [mean]}))
    for how, seen in (("open", "observed 0.5"), ("sealed", "observed 0")):
        seals(holdout, how)
        data, _ = check_data.fn(paths.root, worlds.NAME)
        assert data.reason.endswith(f"({seen})")
    asked = {"type": "expect_table_row_count_to_be_between", "min_value": 1, "row_condition": "pay > 30 and age == 40"}
    (folder / "expectations.yaml").write_text(yaml.safe_dump({"ingested": [asked], "prepared": [mean]}))
    with pytest.raises(ConfigError) as error:
        check_data.fn(paths.root, worlds.NAME)
    assert str(error.value) == (
        "expectations.yaml, ingested, expect_table_row_count_to_be_between asks 'pay', which tells labels of all rows, "
        "and the holdout of small is sealed. Ask _label under prepared, which sees training rows alone."
    )


def test_a_sealed_verdict_lets_a_version_in_as_any_other(settings: Settings, holdout: Holdout) -> None:
    seals(holdout)
    again = asking(settings, holdout.candidate())
    for state, reason in (("pass", ""), ("fail", "gate sealed-holdout did not pass, and nobody waived it")):
        shown, use = seal(settings, holdout.candidate(), again, [measured("floor", 0.9, 0.85, 0.8, state)])
        document = {"verdict": verdict(use, *shown).model_dump(mode="json") | {"passed": True}}
        holdout.enter("examined", "f" * 40, "ann", document)
        entry = ledger.entries(settings)[-1]
        waits = Waits(sequence=1, evidence="", requesters=(), time="2026-12-01", list="")
        assert refusal(entry, document, waits, [], lambda number: None, 0) == reason


def test_main_seals_for_every_branch(holdout: Holdout, developer: Path, settings: Settings) -> None:
    """The stages of a branch would write what they measured into its commit, so it ends before that."""
    seals(holdout)
    folder = f"deployments/models/{worlds.NAME}"
    (developer / folder).mkdir(parents=True)
    (developer / folder / "model.yaml").write_text((holdout.paths.root / folder / "model.yaml").read_text())
    git(developer, "add", ".")
    git(developer, "commit", "--quiet", "-m", "sealed")
    git(developer, "push", "--quiet", "origin", "main")
    holdout.use()  # the clone follows the origin
    refuse_unsealed(holdout.config())
    seals(holdout, "open")
    with pytest.raises(ConfigError) as error:
        refuse_unsealed(holdout.config())
    assert str(error.value) == (
        "data.holdout of small is open, and the branch main seals it: what this candidate measures would be read by "
        "all. Write holdout: sealed under data, or unseal it on that branch first."
    )
    here = model_yaml(holdout).read_text()
    commits = []
    for seed in (8, 9):  # two open commits beside the branch that seals
        (developer / folder / "model.yaml").write_text(here.replace("seed: 7", f"seed: {seed}"))
        git(developer, "commit", "--quiet", "-am", f"seed {seed}")
        commits.append(git(developer, "rev-parse", "HEAD").strip())
    git(developer, "push", "--quiet", "origin", "HEAD:refs/heads/open")
    with pytest.raises(ConfigError, match="the holdout of small is sealed, and what moved a metric is measured on it"):
        why(settings, worlds.NAME, *commits)
    told, said = _effects(holdout.paths, holdout.paths, [holdout.config()] * 2, [{"holdout": FRESH}] * 2)
    assert told is None and said == ("the holdout is sealed, so nothing that is measured on it is shown",)
    other = holdout.config().model_copy(update={"seed": 8})
    with pytest.raises(ConfigError) as error:
        refuse_other_rows(other, commits[0])
    assert str(error.value) == (
        "the branch main seals the holdout of small, and this commit may train on its rows, since the candidate "
        "answers another question than the branch main asks: seed is 8 and not 7. To ask it, push the changed "
        "model.yaml to main first."
    )
    refuse_other_rows(holdout.config(), commits[0])


def test_the_stages_of_a_sealed_model_write_no_number_that_was_measured(tmp_path: Path) -> None:
    document = worlds.document("binary")
    data = document["data"] | {"holdout": "sealed"}
    paths = worlds.lay_out(tmp_path / "sealed", "binary", rows=900, data=data)
    config = load_model(paths.root, paths.name)
    told = json.loads(paths.metrics.read_text())
    assert told == {"holdout": {"rows": told["holdout"]["rows"]}}
    assert (paths.plots / "roc.csv").read_text().splitlines() == ["false_positive_rate,true_positive_rate"]
    refuse_numbers(paths, config)
    rows = pd.read_parquet(paths.prepared / "holdout.parquet")
    opened = config.model_copy(update={"data": config.data.model_copy(update={"holdout": "open"})})
    for pair in ([config, config], [config, opened], [opened, config]):
        told, said = _effects(paths, paths, pair, [{"train": rows[:0], "holdout": rows}] * 2)
        assert told is None and said == ("the holdout is sealed, so nothing that is measured on it is shown",)
    (paths.root / f"deployments/models/{paths.name}/model.yaml").write_text(yaml.safe_dump(document))
    evaluate(paths, paths.training())  # as a branch whose own stage shows all
    with pytest.raises(CorruptionError, match="the stage evaluate of this commit wrote what it measured on it"):
        refuse_numbers(paths, config)


Normal = NormalDist()


def model_yaml(holdout: Holdout) -> Path:
    return holdout.paths.root / f"deployments/models/{holdout.name}/model.yaml"


def seals(holdout: Holdout, how: str = "sealed") -> None:
    path = model_yaml(holdout)
    document = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump(document | {"data": document["data"] | {"holdout": how}}))


def measured(gate: str, value: float, low: float, limit: float, state: Any = "pass") -> GateResult:
    number = Measurement(label="roc_auc", quantity="roc_auc", value=value, low=low, high=2 * value - low, limit=limit,
                         rows=1000, state=state)  # fmt: skip
    return GateResult(gate=gate, kind=gate, mandatory=True, state=state, reason=f"roc_auc is {value}",
                      measurements=(number,))  # fmt: skip

"""What the rows of a holdout have been asked, what one more answer costs, and what a sealed holdout keeps to itself."""

from __future__ import annotations

import json
import math
import os
import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from scipy.special import ndtr

from tasks.asked import main_config, same_question, sealed
from tasks.holdout_rows import Shares, Strangers, rows_of, shown, table_of
from tasks.records.registry.holdouts import Asked, asked
from tasks.science.data.same_rows import Table
from tasks.science.data.tables import ROW
from tasks.science.stats.intervals import normal_quantile
from tasks.science.stats.reuse import FARTHEST, by_shares, fresh_rows, level_share, reach
from tasks.spec.base import canonical_json, digest_json
from tasks.spec.errors import ConfigError, CorruptionError
from tasks.spec.evidence import GateResult, HoldoutRows, HoldoutUse, Measurement
from tasks.spec.gates import ComparisonGate, FloorGate, GateConfig
from tasks.spec.model import ModelConfig
from tasks.spec.settings import Settings
from tasks.spec.wording import ordinal
from tasks.stages.common import ModelPaths
from tasks.versions import Candidate

LEVEL = 0.05
"""At which the widening of an interval is told."""


def budget(own: ModelConfig) -> int:
    """The smaller one of the candidate's and the main branch's."""
    main = main_config(own.name)
    return min(own.holdout_budget, main.holdout_budget if main is not None else own.holdout_budget)


def refuse_unsealed(own: ModelConfig) -> None:
    """Refuse a branch that would show what the main branch seals, before anything is measured.

    Raises:
        ConfigError: the main branch seals the holdout, and this config does not.
    """
    if sealed(own) and own.data.holdout != "sealed":
        raise ConfigError(
            f"data.holdout of {own.name} is open, and the branch {Settings().branch} seals it: what this candidate "
            "measures would be read by all. Write holdout: sealed under data, or unseal it on that branch first."
        )


def refuse_shown(settings: Settings, paths: ModelPaths, config: ModelConfig) -> None:
    """Refuse a prepared model that would show what another one's sealed holdout keeps, before anything is trained.

    Rows of a sealed holdout may be in the sealed holdout of another model, and nowhere else in it. Of an open model
    expectations, losses, trials and metrics are read, of whichever side. So none of its source's rows may be sealed
    elsewhere. What a later version may train on is not held out any more, so candidates from before the
    newest promotion do not seal.

    Raises:
        ConfigError: the candidate has rows of another model's sealed holdout where they would be told of.
        CorruptionError: the ledger proves nothing.
    """
    found = asked(settings)
    others = [one for model in found if model != paths.name for one in found[model] if one.standing and _is_sealed(one)]
    if not others:
        return
    closed = sealed(config)
    for table in _told_of(paths, config, closed):
        strangers = Strangers.of(settings, paths, config, table)
        for one in others:
            share = strangers.among(one)
            if share is None or share > 0:
                raise ConfigError(_shown(config, one, share, closed))


def _told_of(paths: ModelPaths, config: ModelConfig, closed: bool) -> Iterator[Table]:
    """The rows of which something is told; of a sealed model those that are not in its holdout."""
    sides = [paths.table(paths.prepared / f"{side}.parquet", "prepare") for side in ("train", "holdout", "replay")]
    if closed:
        yield table_of(paths, config, pd.concat([sides[0], sides[2]], ignore_index=True))
        return
    yield table_of(paths, config)
    collected = pd.concat(sides, ignore_index=True)
    yield table_of(paths, config, collected[collected[ROW] < 0])


def _shown(config: ModelConfig, one: Asked, share: float | None, closed: bool) -> str:
    rows = one.rows.rows if one.rows is not None else 0
    many = f"perhaps all of the {rows:,}" if share is None else f"about {math.ceil(share * rows):,} of the {rows:,}"
    same = f"the source, seed and split of {one.model}, so that they are in its holdout alone"
    if closed:
        return (
            f"{many} rows of the sealed holdout of {one.model} are among those that {config.name} trains on or "
            f"replays, which would tell their labels. Give {config.name} {same}."
        )
    return (
        f"{many} rows of the sealed holdout of {one.model} are in the source of {config.name}, whose answers about "
        f"them would be read. Write holdout: sealed under data of {config.name}, and give it {same}; or bring other "
        "rows."
    )


def refuse_other_rows(own: ModelConfig, commit: str) -> None:
    """Refuse a commit that may train on the main branch's sealed holdout, before its stages or trials tell of it.

    Args:
        commit: that is trained or searched.

    Raises:
        ConfigError: the main branch seals the holdout, and another question is asked than there.
    """
    main = main_config(own.name)
    if main is None or main.data.holdout != "sealed":
        return
    other = same_question(own, commit)
    if other is not None:
        raise ConfigError(
            f"the branch {Settings().branch} seals the holdout of {own.name}, and this commit may train on its rows, "
            f"since {other.reason}. {other.remedy[0].upper()}{other.remedy[1:]}."
        )


@dataclass(frozen=True)
class Asking:
    """One more answer of a holdout: what is on record of its rows, and by which level they are asked now."""

    use: HoldoutUse
    weighed: float | None = None
    """Answers by :func:`by_shares` alone, which fresh rows bring down; None: what is counted."""

    @property
    def sealed(self) -> bool:
        return self.use.level is not None

    def _reach(self, gate: GateConfig) -> float:
        """Standard errors from an estimate to the bound that holds whatever was read of these rows."""
        share = 1.0 if self.use.level is None else self.use.level
        return reach(self.use.counted, (1 - gate.confidence) * share)

    def held_to(self, gate: GateConfig) -> GateConfig:
        """The gate as it is asked: floors and comparisons of a sealed holdout at the level that this answer spends."""
        if not self.sealed or not isinstance(gate, FloorGate | ComparisonGate):
            return gate
        return gate.model_copy(update={"confidence": float(ndtr(min(self._reach(gate), FARTHEST)))})

    def beyond(self, gate: GateConfig) -> bool:
        """Whether so much was read of a sealed holdout that no bound of a gate can be computed any more."""
        bounded = self.sealed and isinstance(gate, FloorGate | ComparisonGate)
        return bounded and self._reach(gate) > FARTHEST

    def judged(self, gate: GateConfig, found: GateResult) -> GateResult:
        """A result of :meth:`held_to`; where so much was read that no bound can be computed any more, it is no pass."""
        if found.state != "pass" or not self.beyond(gate):
            return found
        said = f"{found.reason}; these rows have answered so often that no bound of it can be computed"
        return found.model_copy(update={"state": "insufficient_evidence", "reason": said})

    def implied(self, gates: Sequence[GateConfig], results: Sequence[GateResult]) -> HoldoutUse:
        """What is on record, with the floors and comparisons that pass, and would not by the bound that it implies."""
        if self.sealed:
            return self.use
        unsure = [
            gate.name
            for gate, found in zip(gates, results, strict=True)
            if isinstance(gate, FloorGate | ComparisonGate)
            and found.state == "pass"
            and any(_misses(m, self._reach(gate) / normal_quantile(gate.confidence)) for m in found.measurements)
        ]
        return self.use.model_copy(update={"unsure": tuple(unsure)})


def _misses(m: Measurement, widening: float) -> bool:
    """Whether a bound so many times as far from the estimate is on the other side of the limit."""
    if m.value is None or m.limit is None:
        return False
    better = m.value >= m.limit
    bound = m.low if better else m.high
    return bound is None or widening * abs(m.value - bound) > abs(m.value - m.limit)


def asking(settings: Settings, candidate: Candidate) -> Asking:
    """What a candidate's verdict will be one more answer of, by the ledger's entries that count and the home's notes.

    Of the rows that an earlier candidate saw, those that this holdout still has were asked, whichever model it was of.
    Which they are is known by what the home keeps of them. Where it is lost, all rows count as asked; of another model
    they do where it was made from a file of this one's.

    Raises:
        CorruptionError: the ledger proves nothing.
    """
    own = candidate.config
    now = rows_of(settings, candidate.paths, own)
    shares = Shares(settings, candidate.paths, own, now)
    here, others = _apart(asked(settings), candidate, now)
    others = [one for one in (*others, *shown(settings)) if shares.of(one) > 0]
    closed = [one for one in others if _is_sealed(one)]
    level = None
    if sealed(own):
        told = [_verdicts(settings, one) for one in closed]
        before = [*(one or (False,) for one in told), _verdicts(settings, here)]  # who is under way has a turn
        level = level_share(1 + sum(map(len, before)), sum(map(sum, before)))
        others_told = [one for one in others if not _is_sealed(one) or any(one.verdicts)]
    else:
        others_told = others
    parts = Counter(shares.part(one) for one in others_told)
    weighed = 1 + by_shares([(share, answers) for (_, share), answers in parts.items()])
    counted = min(weighed, 1.0 + len(others_told))
    use = HoldoutUse(
        content=now.content,
        rows=now.rows,
        asked=len(others) + 1,
        counted=counted,
        unknown=sum(shares.unknown(one) for one in others),
        actors=len({name for one in (*others, here) for name in one.actors}),
        elsewhere=sum(one.model != candidate.model for one in others),
        budget=None if sealed(own) else budget(own),
        widening=reach(counted, LEVEL * (1.0 if level is None else level)) / normal_quantile(1 - LEVEL),
        level=level,
    )
    return Asking(use, weighed)


def _verdicts(settings: Settings, one: Asked) -> tuple[bool, ...]:
    """A sealed candidate's verdicts; those that no entry speaks of had passed, and another champion came first."""
    kept = len(list(_withheld(settings, one.model).glob(f"{one.commit[:12]}-*.json")))
    return (*one.verdicts, *(True for _ in range(kept - len(one.verdicts))))


def _withheld(settings: Settings, model: str) -> Path:
    """Where the home keeps what gates said of a sealed holdout."""
    return settings.home / "sealed" / model


def _is_sealed(one: Asked) -> bool:
    return one.rows is not None and one.rows.sealed


def _apart(found: dict[str, list[Asked]], candidate: Candidate, now: HoldoutRows) -> tuple[Asked, list[Asked]]:
    """The candidate's own place on record, and all others, those of other models last.

    The same model file is another answer, too: its threshold, groups, benchmarks or stage may tell other numbers.
    """
    own = found.get(candidate.model, [])
    blank = Asked(candidate.model, candidate.commit, now, candidate.model_digest, (), ())
    here = next((one for one in own if one.commit == candidate.commit), blank)
    return here, [
        *(one for one in own if one.commit != candidate.commit),
        *(one for model, ones in found.items() for one in ones if model != candidate.model),
    ]


def over_budget(asking: Asking, config: ModelConfig) -> GateResult | None:
    """A mandatory gate that lacks evidence where the rows were asked too often; None within the budget.

    Args:
        config: of the candidate; its split says how many labelled rows bring one to the holdout.
    """
    use = asking.use
    if use.budget is None or use.counted <= use.budget + 1e-9:
        return None
    fresh, split = fresh_rows(use.rows, asking.weighed or use.counted, use.budget), config.data.split
    share = split.holdout / (split.train + split.holdout)
    return GateResult(
        gate="holdout-budget",
        kind="holdout_budget",
        mandatory=True,
        state="insufficient_evidence",
        reason=f"these {use.rows:,} rows have answered {use.counted:,.4g} times with this one, and holdout_budget is "
        f"{use.budget}: a bound that holds whatever was read of them is {use.widening:.2g} times as wide as of a first "
        "answer",
        remedy=f"bring {fresh:,} fresh rows to the holdout: about {math.ceil(fresh / share):,} rows labelled in "
        f"production, of which the split gives it {share:.0%}",
    )


def spent(asking: Asking, gates: Sequence[GateConfig]) -> GateResult | None:
    """A mandatory gate that lacks evidence where a sealed holdout can let nothing pass any more; None where it can.

    It follows from what is on record alone, so it tells nothing of the rows.
    """
    use = asking.use
    if not asking.sealed or not any(asking.beyond(gate) for gate in gates):
        return None
    return GateResult(
        gate="holdout-spent",
        kind="holdout_budget",
        mandatory=True,
        state="insufficient_evidence",
        reason=f"the sealed holdout is spent: its {use.rows:,} rows answer for the {ordinal(use.asked)} time, and at "
        f"the {use.level:.2g} of a gate's level that is left no floor or comparison can pass",
        remedy=f"replace the holdout by about {use.rows:,} rows that no candidate was measured on, of a new period or "
        "file: each that stays keeps its history",
    )


SEALED = ("floor", "comparison", "fairness", "calibration", "slices", "robustness", "rules", "leakage", "stability",
          "faithfulness")  # fmt: skip
"""Kinds of gates that look at rows of the holdout. What they say alone is not shown of a sealed one."""


def seal(
    settings: Settings, candidate: Candidate, asking: Asking, results: Sequence[GateResult]
) -> tuple[list[GateResult], HoldoutUse]:
    """The results as a sealed holdout shows them: one gate in the place of all that look at its rows.

    It passes or fails, and says neither which gate refused nor how far off it was. All that they said is kept in the
    home, readable by its owner alone. Its digest is on the verdict, so that whoever unseals it can show that it is so.

    Returns:
        The results, and what is on record with the digest.
    """
    use = asking.use
    hidden = [found for found in results if found.kind in SEALED]
    document = {"commit": candidate.commit, "nonce": secrets.token_hex(16),
                "gates": [found.model_dump(mode="json") for found in hidden]}  # fmt: skip
    digest = digest_json(document)
    name = f"{candidate.commit[:12]}-{digest.removeprefix('sha256:')}.json"
    path = _withheld(settings, candidate.model) / name
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
        stream.write(canonical_json(document))
    passed = all(found.state == "pass" for found in hidden if found.mandatory)
    asked_here = ", ".join(found.gate for found in hidden if found.mandatory)
    together = GateResult(
        gate="sealed-holdout",
        kind="sealed_holdout",
        mandatory=True,
        state="pass" if passed else "fail",
        reason=f"the holdout is sealed, and its gates answer together, here for the {ordinal(use.asked)} time: "
        f"{asked_here}",
        estimator=f"floors and comparisons spend {use.level:.3g} of their level on this answer; reach of numbers that "
        "were read by Scheffé (1953), levels by the description length of Dwork et al. (2015)",
        remedy=""
        if passed
        else "change the model by what its training rows say: assay search asks them as often as you like",
    )
    shown = [_bare(found) for found in results if found.kind not in SEALED]
    return [*shown, together], use.model_copy(update={"withheld": digest})


def _bare(found: GateResult) -> GateResult:
    """A gate on labels from production measures some of the rows, too: its state is shown alone."""
    if found.kind != "sources" or not found.measurements:
        return found
    kept = "what it measured is on the holdout, which is sealed"
    return found.model_copy(update={"measurements": (), "plots": (), "reason": kept, "remedy": ""})


def refuse_numbers(paths: ModelPaths, config: ModelConfig) -> None:
    """Refuse a commit of a sealed candidate whose files hold a number that was measured on the holdout.

    The stage ``evaluate`` writes none. It is the candidate's own, so what it wrote is looked at.

    Raises:
        CorruptionError: a file is not as the installed code writes it for a sealed holdout.
    """
    if not sealed(config):
        return
    document = json.loads((paths.evaluation / "evaluation.json").read_text())
    metrics = json.loads(paths.metrics.read_text())
    heads = [(paths.plots / name).read_text().splitlines()[1:] for name in ("roc.csv", "calibration.csv")]
    rows = all(set(part) == {"rows"} for part in (*metrics.values(), *document["metrics"].values()))
    if not rows or any(heads) or any(document["curves"].values()):
        raise CorruptionError(
            f"the holdout of {config.name} is sealed, and the stage evaluate of this commit wrote what it measured on "
            "it. Nothing was committed: use the stage of the installed code."
        )

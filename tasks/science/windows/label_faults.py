"""Outcomes that would teach, looked at before anything learns from them: a fault is no change of the world."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import mannwhitneyu, spearmanr

from tasks.spec.model import ModelConfig

CHANCE = 1e-6
"""Chance below which outcomes are not taken for what people did."""
TENFOLD = 10.0
"""Odds ratio against the reference from which a class's share is taken for a fault."""
WHOLE = 0.9
"""Share of the outcomes from which it does not matter who waits."""
SLOW = 0.95
"""Quantile of the delays: what is not there after that is not waited for."""
SORTED = 0.25
"""How far the rank of a run's scores may be from a half; beyond, rows came in the order of what is expected of them."""
APART = 0.2
"""Difference between early and late outcomes, as a share of a class or a rank correlation, that biases what waits."""


@dataclass(frozen=True)
class LabelsToLearn:
    """Outcomes in the order of their predictions.

    ``label`` (n,): class codes, or numbers. ``delay`` (n,): seconds from prediction to outcome. ``waiting``:
    predictions beside them that have no outcome yet and are not older than outcomes take (:func:`still_waiting`).
    ``entity`` (n,): whose row it is, or None where each row is its own. ``score`` (n,): what the model expected.
    """

    label: np.ndarray
    delay: np.ndarray
    waiting: int = 0
    entity: np.ndarray | None = None
    score: np.ndarray | None = None


def still_waiting(delay: np.ndarray, age: np.ndarray) -> int:
    """How many predictions without an outcome are younger than outcomes take; who is older may never have one.

    Args:
        delay: (n,) seconds of those that have an outcome. age: (m,) seconds of those that have none.
    """
    known = delay[np.isfinite(delay)]
    return int((age <= np.quantile(known, SLOW)).sum()) if len(known) else 0


def label_fault(config: ModelConfig, reference: np.ndarray, found: LabelsToLearn) -> str:
    """Why nothing should learn from outcomes, in words; empty where nothing speaks against it.

    Five faults are looked for:

    - one class only, where the reference has two;
    - a run of equal outcomes longer than chance gives (union bound over its starts), as of a feed that broke, whose
      rows have scores like the others';
    - a class whose odds are surely tenfold the reference's (Woolf 1955, half a row added);
    - numbers of which half lie outside the range that holds 98 % of the reference;
    - outcomes that come later for one side while a part is still due (Mann & Whitney 1947; of numbers, Spearman's rank
      correlation). Who learns then learns a wrong rate.

    A world that changed that much is a person's to judge, who can still start the training.

    Args:
        reference: (m,) labels of the reference, of the same kind as ``found.label``.
    """
    if len(found.label) < 2 or len(reference) < 2:
        return ""
    numbers = config.kind == "regression"
    words = _only_one(config, reference, found) or _run(config, reference, found)
    return (
        words or (_range(reference, found) if numbers else _odds(config, reference, found)) or _waiting(config, found)
    )


def _name(config: ModelConfig, value: float) -> str:
    if config.kind == "regression":
        return f"{value:g}"
    names = config.class_names
    return repr(names[int(value)]) if 0 <= int(value) < len(names) else "of no known class"


def _share(part: np.ndarray, value: float) -> float:
    """Half a row is added on either side, so that nothing is impossible."""
    return float(((part == value).sum() + 0.5) / (len(part) + 1))


def _only_one(config: ModelConfig, reference: np.ndarray, found: LabelsToLearn) -> str:
    label, first = _by_entity(found), found.label[0]
    if (label != first).any() or len(label) * np.log(_share(reference, first)) > np.log(CHANCE):
        return ""
    share = float((reference == first).mean())
    return (
        f"all {len(found.label):,} outcomes that would teach are {_name(config, first)}, {share:.1%} in the reference"
    )


def _by_entity(found: LabelsToLearn) -> np.ndarray:
    """The first outcome of each entity, so that one person's rows make no run."""
    return np.asarray(found.label if found.entity is None else found.label[_first_of_each(found.entity)])


def _run(config: ModelConfig, reference: np.ndarray, found: LabelsToLearn) -> str:
    label = _by_entity(found)
    starts = np.flatnonzero(np.append(True, label[1:] != label[:-1]))
    lengths = np.diff(np.append(starts, len(label)))
    for at in np.argsort(-lengths)[:5]:
        start, length, value = int(starts[at]), int(lengths[at]), label[starts[at]]
        outside = np.delete(label, slice(start, start + length))
        share = max(_share(reference, value), _share(outside, value))
        rare = np.log(len(label)) + length * np.log(share) < np.log(CHANCE)
        if rare and not _as_expected(found, slice(start, start + length)):
            return (
                f"{length:,} outcomes in a row are {_name(config, value)}, from number {start + 1:,} of "
                f"{len(label):,} on; elsewhere {share:.1%} are"
            )
    return ""


def _as_expected(found: LabelsToLearn, run: slice) -> bool:
    """Whether the run's rows have other scores than the rest, as where a batch came sorted (Mann & Whitney 1947)."""
    if found.score is None or not np.isfinite(found.score).all():
        return False
    score = found.score if found.entity is None else found.score[_first_of_each(found.entity)]
    inside, outside = score[run], np.delete(score, run)
    if not len(outside):
        return False
    rank = float(mannwhitneyu(inside, outside).statistic) / (len(inside) * len(outside))
    return abs(rank - 0.5) > SORTED


def _first_of_each(entity: np.ndarray) -> np.ndarray:
    return np.asarray(np.sort(np.unique(entity, return_index=True)[1]))


def _odds(config: ModelConfig, reference: np.ndarray, found: LabelsToLearn) -> str:
    label = _by_entity(found)
    for code, name in enumerate(config.class_names):
        counts = [np.array([(part == code).sum(), (part != code).sum()]) + 0.5 for part in (reference, label)]
        ratio = float(np.log(counts[1][0] / counts[1][1]) - np.log(counts[0][0] / counts[0][1]))
        error = float(np.sqrt(sum((1 / c).sum() for c in counts)))
        if abs(ratio) - 3 * error > np.log(TENFOLD):
            return (
                f"the outcomes that would teach are {name!r} in {(label == code).mean():.1%}, in the reference in "
                f"{(reference == code).mean():.1%}, more than {TENFOLD:g} times other odds"
            )
    return ""


def _range(reference: np.ndarray, found: LabelsToLearn) -> str:
    low, high = np.quantile(reference, [0.01, 0.99])
    outside = float(((found.label < low) | (found.label > high)).mean())
    if outside <= 0.5:
        return ""
    return (
        f"{outside:.1%} of the outcomes that would teach lie outside {low:.4g} to {high:.4g}, which holds 98 % of the "
        "reference"
    )


def _waiting(config: ModelConfig, found: LabelsToLearn) -> str:
    known = np.isfinite(found.delay)
    share = len(found.label) / (len(found.label) + found.waiting)
    if share >= WHOLE or known.sum() < 100:
        return ""
    label, delay = found.label[known], found.delay[known]
    if config.kind == "regression":
        rank = spearmanr(label, delay)
        if not (rank.pvalue < CHANCE and abs(rank.statistic) > APART):
            return ""
        said = (
            f"higher numbers come {'later' if rank.statistic > 0 else 'sooner'} (rank correlation {rank.statistic:.2f})"
        )
        return f"{said}, and {1 - share:.0%} of the outcomes are still due"
    early = delay <= np.median(delay)
    for code, name in enumerate(config.class_names):
        own = label == code
        if not early.any() or early.all() or not own.any() or own.all():
            continue
        sides = float(own[early].mean()), float(own[~early].mean())
        if abs(sides[0] - sides[1]) > APART and mannwhitneyu(delay[own], delay[~own]).pvalue < CHANCE:
            return (
                f"outcomes are {name!r} in {sides[0]:.0%} of those that came sooner and {sides[1]:.0%} of the others, "
                f"and {1 - share:.0%} of all are still due"
            )
    return ""

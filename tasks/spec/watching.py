"""What comes back while a model serves: how it is watched (``monitoring``), and whose outcomes teach (``labels``)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from tasks.spec.base import Spec
from tasks.spec.line import Line
from tasks.spec.metrics import MetricName


class ForecastPolicy(Spec):
    """When a breach that is still to come is a finding: the established trigger."""

    horizon: int = Field(4, ge=1, le=26)
    """Windows to look ahead."""
    probability: float = Field(0.3, gt=0, lt=1)
    """Chance of a breach within the horizon from which it is an alarm."""
    season: int | None = Field(None, ge=2, le=60)
    """Windows in a cycle, where the world has one."""


class FeedPolicy(Spec):
    """When silence is an alarm of its own. Without a number, the part is not watched."""

    silent_seconds: int | None = Field(None, ge=60)
    """Longest time without a prediction."""
    labels_seconds: int | None = Field(None, ge=60)
    """Longest time in which no outcome arrives while predictions are made."""
    volume_change: float | None = Field(None, gt=0)
    """Relative change of the predictions per hour against the windows before."""
    duplicates: float = Field(0.05, gt=0, le=1)
    """Share of a window's rows that repeat another one, beyond the same share in the reference."""


class ReviewPolicy(Spec):
    """Which predictions an expert should look at."""

    most: int = Field(20, ge=0, le=1000)
    """Rows of one window that are put into the queue at most."""


class LabellingPolicy(Spec):
    """How many outcomes may be asked for where an estimate abstains or a decision hangs on it."""

    most: int = Field(100, ge=0, le=5000)
    """Rows of one window at most, and always fewer than ``label_share`` of them; 0 asks for none."""


class Monitoring(Spec):
    window_rows: int = Field(2000, ge=50)
    """Predictions in one analysis window."""
    minimum_rows: int = Field(200, ge=20)
    """Rows below which nothing is concluded."""
    every_seconds: int = Field(300, ge=30)
    """Seconds between two looks; the schedule follows it with the push."""
    alpha: float = Field(0.01, gt=0, lt=0.5)
    """How often a window in which nothing changed may raise any alarm at all; shared among everything that is
    tested."""
    drift_distance: float = Field(0.1, gt=0, lt=1)
    """Jensen-Shannon distance (base 2) below which a significant shift is not called drift."""
    selection_change: float = Field(0.5, gt=0)
    """Relative change of a group's selection rate against the reference that is a finding."""
    metrics: dict[MetricName, float] = {}
    """Tolerated relative worsening of each metric against the reference; without any, 15 % of log-loss, or of the mean
    absolute error."""
    label_share: float = Field(0.5, gt=0, le=1)
    """Share of a window's rows that must be labelled before realized performance is judged."""
    cooldown_windows: int = Field(2, ge=0)
    """Windows after an action in which no other is started."""
    retrain_rows: int = Field(2000, ge=100)
    """Labelled rows that a retraining needs."""
    reference_rows: int = Field(3000, ge=200)
    """Size of the reference window where it comes from rows collected in production: the newest so many."""
    metric_limits: dict[MetricName, float] = {}
    """Absolute limits of realized performance: beyond one of them, surely and with no better version to return to, the
    model is stopped."""
    confirm_windows: int = Field(1, ge=1, le=20)
    """Windows in a row in which performance must be at risk before anything but an alert is decided."""
    clear_windows: int = Field(2, ge=1, le=20)
    """Windows in a row without an alarm after which a trouble is over; what comes later is another cause."""
    forecast: ForecastPolicy = ForecastPolicy()
    """When a breach that is still to come is a finding."""
    feed: FeedPolicy = FeedPolicy()
    """When silence, delay and repeats are findings."""
    review: ReviewPolicy = ReviewPolicy()
    """Which predictions an expert should look at."""
    labelling: LabellingPolicy = LabellingPolicy()
    """Whose outcomes are asked for; see docs/labelling.md."""
    attribution_change: float = Field(0.2, gt=0, le=1)
    """Share of the attribution that must have moved from features to others to be called attribution drift."""
    sampled_rows: int = Field(20000, ge=500)
    """Rows of a window, drawn at random where there are more, that the row-by-row analyses look at; counts are always
    of all rows."""
    rebuild_days: int = Field(7, ge=1, le=365)
    """Days between two rebuilds: each makes the version again from its record for which that was longest ago."""
    retention_days: int | None = Field(None, ge=1)
    """Days after which logged rows are deleted; their windows' reports and profiles stay. None: kept until somebody
    asks."""
    embedding: Annotated[str, Field(pattern=r"^[\w.]+:\w+$")] | None = None
    """``package.module:function`` that takes the pipeline and raw rows and gives (n, d) numbers; without it, by kind of
    estimator. It is of an installed package, or of the model's own ``code/`` at the version that is watched."""


NO_KEY = "(no key)"
"""The source of outcomes that came without a key, where the service asks for none (``ASSAY_ACCESS=open``)."""
SourceName = Annotated[Line, Field(min_length=1, max_length=80)]


class Labels(Spec):
    sources: tuple[SourceName, ...] = ()
    """Names of the keys (``assay keys add NAME``) whose outcomes teach; without any, no logged outcome does.

    Several keys of one name are one source, so a key that replaces another goes on where that ended. ``(no key)`` is
    what comes without one.
    """
    most_share: float = Field(0.8, ge=0.5, lt=1)
    """Share of the rows taken in at a time that one source may have beside others; more of its rows are left out."""
    large_share: float = Field(0.1, gt=0, le=0.5)
    """Share of the collected rows from which a candidate is compared with one that is trained without the source."""

    @model_validator(mode="after")
    def _once(self) -> Labels:
        twice = sorted({name for name in self.sources if self.sources.count(name) > 1})
        if twice:
            raise ValueError(f"sources names {', '.join(map(repr, twice))} more than once; name each once")
        return self

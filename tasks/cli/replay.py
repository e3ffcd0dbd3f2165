"""``assay replay``: what the policy of now, or one to try, would have decided in the past, as a table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich import box
from rich.markup import escape
from rich.table import Table

from tasks.records.log.predictions import PredictionLog
from tasks.records.pages.words import ACTIONS, when
from tasks.science.windows.replay import ReplayedWindow, replay
from tasks.spec.base import load_yaml
from tasks.spec.display import with_display_names
from tasks.spec.errors import ConfigError
from tasks.spec.evidence import Decision
from tasks.spec.model import ModelConfig, load_model
from tasks.spec.settings import Settings

WHY = 220


def replayed(settings: Settings, root: Path, model: str, file: Path | None) -> list[ReplayedWindow]:
    """Every window of the log, decided again by the model's config of this checkout, or by the one in ``file``.

    Raises:
        ConfigError: the model or its config is unknown or wrong, or no window has been looked at yet.
    """
    config = load_model(root, model)
    if file is not None:
        config = load_yaml(file, ModelConfig)
        if config.name != model:
            raise ConfigError(
                f"{file} is the config of {config.name!r}, and the model is {model!r}. Give a config of the same model."
            )
    there = settings.has_log
    reports = []
    if there:
        log = PredictionLog(settings.log_database)
        try:
            reports = log.reports(model)
        finally:
            log.close()
    if not reports:
        raise ConfigError(
            f"no window of {model} has been looked at yet, so there is nothing to replay. Look at what is there "
            f"with: assay monitor {model}"
        )
    return replay(config, reports)


def as_json(windows: list[ReplayedWindow]) -> list[dict[str, Any]]:
    return [w.model_dump(mode="json") | {"differs": w.differs} for w in windows]


def table(model: str, windows: list[ReplayedWindow]) -> Table:
    """For a terminal of 80 columns; a window with another decision is marked with a sign and not by colour alone."""
    different = sum(w.differs for w in windows)
    drawn = Table(
        title=f"{model}: {different} of {len(windows)} windows would get another decision (≠)",
        title_justify="left",
        box=box.SIMPLE,
        padding=(0, 1, 0, 0),
        show_edge=False,
    )
    drawn.add_column("window", no_wrap=True)
    drawn.add_column("version", no_wrap=True)
    for name, width in (("time", 10), ("then", 11), ("", 1), ("now", 11)):
        drawn.add_column(name, width=width)
    drawn.add_column("why")
    for w in windows:
        style = "bold" if w.differs else ""
        drawn.add_row(
            str(w.window),
            w.version,
            when(w.time),
            _short(w.then),
            "≠" if w.differs else "",
            _short(w.now),
            escape(_why(w)),
            style=style,
        )
    return drawn


def _short(decision: Decision) -> str:
    word = ACTIONS[decision.action].rstrip(".")
    return f"{word}, waits" if decision.waits_for else f"{word} to {decision.target}" if decision.target else word


def _why(w: ReplayedWindow) -> str:
    """The line of the policy, what other limits change, and what could not be judged again."""
    text = "; ".join(
        [
            w.now.policy if w.differs or w.now.action != "nothing" else "",
            *w.changed,
            *(f"not judged again: {u}" for u in w.unknown),
        ]
    ).strip("; ")
    text = with_display_names(text)
    return text if len(text) <= WHY else text[: WHY - 3] + "..."

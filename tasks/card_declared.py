"""Statements of a model card from what a version's commit declares: ``model.yaml`` and the lock file."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast, get_args

from tasks.card_statements import DEFAULT, READ, Records, Writer
from tasks.spec.base import digest_json
from tasks.spec.display import metric_name
from tasks.spec.metrics import MetricName
from tasks.spec.model import ModelConfig, Protected
from tasks.spec.targets import BinaryTarget, MulticlassTarget
from tasks.spec.wording import NumberForm, number, plural

TEXTS = (
    ("purpose", "purpose", "Purpose"),
    ("card.intended_use", "purpose", "Intended use"),
    ("card.limits", "limits", "Limits"),
    ("card.out_of_scope", "limits", "Out of scope"),
    ("card.ethics", "ethics", "Ethical notes"),
    ("card.oversight", "oversight", "Oversight"),
    ("card.contact", "oversight", "Contact of those who are decided about"),
    ("owner", "oversight", "Owner"),
    ("card.risks", "risks", "Risk management"),
    ("card.standards", "standards", "Standards applied"),
    ("card.conformity", "conformity", "Declaration of conformity"),
)
"""Texts of a person: place in model.yaml, topic, words."""

PLAN = {
    "window_rows": ("a window has {}", "prediction"),
    "minimum_rows": ("nothing is concluded on fewer than {}", "row"),
    "every_seconds": ("windows are looked for every {}", "seconds"),
    "alpha": ("a window in which nothing changed raises an alarm with a chance of {}", "rate"),
    "drift_distance": ("a significant shift is called drift from a Jensen-Shannon distance of {}", "number"),
    "selection_change": ("a change of a group's selection rate by {} is a finding", "rate"),
    "label_share": ("realized performance is judged once {} of a window's rows are labelled", "rate"),
    "cooldown_windows": ("no other action is started for {} after one", "window"),
    "retrain_rows": ("a retraining needs {}", "labelled row"),
    "reference_rows": ("a reference from production has {}", "row"),
    "confirm_windows": ("performance must be at risk for {} before anything but an alert", "window"),
    "clear_windows": ("a trouble is over after {} without an alarm", "window"),
    "forecast.horizon": ("a breach is looked for {} ahead", "window"),
    "forecast.probability": ("a breach ahead is an alarm from a chance of {}", "rate"),
    "forecast.season": ("a cycle of the world has {}", "window"),
    "feed.silent_seconds": ("no prediction for {} is an alarm", "seconds"),
    "feed.labels_seconds": ("no outcome for {} while predictions are made is an alarm", "seconds"),
    "feed.volume_change": ("a change of the predictions per hour by {} is a finding", "rate"),
    "feed.duplicates": ("repeated rows beyond {} of a window are a finding", "rate"),
    "review.most": ("{} of a window are put before an expert at most", "row"),
    "labelling.most": ("the outcomes of {} of a window are asked for at most, where something is open", "row"),
    "attribution_change": ("attribution that moved by {} is called attribution drift", "rate"),
    "sampled_rows": ("row-by-row analyses look at {} of a window at most", "row"),
    "rebuild_days": ("a version is made again from its record every {}", "day"),
    "retention_days": ("logged rows are deleted after {}", "day"),
    "embedding": ("rows are represented by {}", "text"),
}
"""Settings of the monitoring plan in words, each with what its number counts or how it is read."""


def declared(writer: Writer, found: Records) -> None:
    """Identity, texts, groups, training and monitoring, as the commit says them."""
    for place, topic, what in TEXTS:
        writer.written(place, topic, what, found.yaml, *place.split("."))
    _identity(writer, found)
    if found.config is None:
        for topic, what in (("groups", "Protected groups"), ("training", "Estimator"), ("monitoring", "Plan")):
            writer.lack(f"{topic}.unread", topic, what, found.yaml.source)
        return
    _groups(writer, found, found.config)
    _training(writer, found, found.config)
    _monitoring(writer, found, found.config)


def _identity(writer: Writer, found: Records) -> None:
    title, source = found.yaml.at("title")
    if isinstance(title, str):
        writer.say("identity.title", "identity", f"{found.model} predicts: {title}", title, source)
    else:
        writer.lack("identity.title", "identity", "Title", source)
    level, source = found.yaml.at("materiality")
    if isinstance(level, str):
        writer.say("identity.materiality", "identity", f"Materiality: {level}", level, source)
    else:
        writer.lack("identity.materiality", "identity", "Materiality", source)
    if found.config is not None:
        _, source = found.yaml.at("data", "target")
        value = found.config.data.target.model_dump(mode="json")
        writer.say("identity.target", "identity", _target(found.config), value, source)


def _target(config: ModelConfig) -> str:
    target = config.data.target
    asked = f"The label is {target.expression!r}"
    if isinstance(target, BinaryTarget):
        limit = number(config.decision_threshold)
        return f"{asked}: {target.positive} or {target.negative}, decided from a score of {limit} on"
    if isinstance(target, MulticlassTarget):
        return f"{asked}, one of {', '.join(target.classes)}; the most probable class is the decision"
    limit = number(config.decision_threshold, "target", getattr(target, "unit", ""))
    return f"{asked}, a number" + (f"; from {limit} on, a row is selected" if limit else "; nothing is decided by it")


def _groups(writer: Writer, found: Records, config: ModelConfig) -> None:
    for name, spec in config.protected.items():
        _, source = found.yaml.at("protected", name)
        written = spec.model_dump(mode="json", exclude_none=True)
        used = "a feature" if spec.column in config.features else "no feature"
        text = f"{name} is told by the column {spec.column}, which is {used}: {', '.join(_names(spec))}"
        writer.say(f"groups.{name}", "groups", text, written, source)
    if not config.protected:
        writer.written("groups.none", "groups", "No protected group, because", found.yaml, "unprotected")


def _names(spec: Protected) -> list[str]:
    if spec.groups is not None:
        return list(spec.groups)
    return list(
        spec.names or (f"{low} to {high}" for low, high in zip(spec.edges or (), (spec.edges or ())[1:], strict=False))
    )


def _training(writer: Writer, found: Records, config: ModelConfig) -> None:
    estimator, source = found.yaml.at("estimator")
    rest = {k: v for k, v in estimator.items() if k != "kind"} if isinstance(estimator, dict) else {}
    said = f" with {', '.join(f'{key} {value}' for key, value in _leaves(rest, ''))}" if rest else ", all by default"
    writer.say("training.estimator", "training", f"Estimator: {config.estimator.kind}{said}", estimator, source)
    names, source = found.yaml.at("features")
    text = f"{plural(len(config.features), 'feature')}: {', '.join(config.features)}"
    writer.say("training.features", "training", text, names, source)
    seed, source = found.yaml.at("seed")
    writer.say("training.seed", "training", f"Seed: {seed}", seed, source)


def environment(writer: Writer, found: Records) -> None:
    """The lock file and what is made of it."""
    text, source = found.lock.at()
    parts = found.bom.get("components", [])
    count = sum(part.get("type") == "library" for part in parts)
    if not isinstance(text, str) or not text.strip():
        writer.lack("environment.lock", "environment", "Lock file", source)
        return
    pinned = f"requirements.lock pins {plural(count, 'package')}, each by version and hash"
    writer.say("environment.packages", "environment", pinned, count, source, how="counted over the lines of the lock")
    digest = digest_json(found.bom)
    said = (
        f"Bill of materials (CycloneDX {found.bom.get('specVersion')}) with {plural(len(parts), 'component')}: {digest}"
    )
    writer.say(
        "environment.bom", "environment", said, digest, source, how="made again from lock file, verdict and data"
    )


def _monitoring(writer: Writer, found: Records, config: ModelConfig) -> None:
    for metric, tolerated in config.watched.items():
        written, source = found.yaml.at("monitoring", "metrics", metric)
        text = f"{metric_name(metric)} may worsen by {number(tolerated, 'rate')} against the reference"
        how = READ if written is not None else DEFAULT
        writer.say(f"monitoring.metrics.{metric}", "monitoring", text, tolerated, source, how=how)
    for name, limit in config.monitoring.metric_limits.items():
        _limit(writer, found, name, limit)
    for key, value in _leaves(config.monitoring.model_dump(mode="json", exclude={"metrics", "metric_limits"}), ""):
        written, source = found.yaml.at("monitoring", *key.split("."))
        how = READ if written is not None else DEFAULT
        writer.say(f"monitoring.{key}", "monitoring", planned(key, value), value, source, how=how)
    names, source = found.yaml.at("labels", "sources")
    listed = list(config.labels.sources)
    text = f"Outcomes teach where they come from: {', '.join(listed)}" if listed else "No outcome teaches"
    writer.say("monitoring.labels", "monitoring", text, listed, source, how=READ if names is not None else DEFAULT)


def _limit(writer: Writer, found: Records, metric: MetricName, limit: float) -> None:
    _, source = found.yaml.at("monitoring", "metric_limits", metric)
    text = f"Beyond {metric_name(metric)} {number(limit)}, and with no better version, the model is stopped"
    writer.say(f"monitoring.metric_limits.{metric}", "monitoring", text, limit, source)


def planned(key: str, value: Any) -> str:
    """A setting of the monitoring plan as a sentence."""
    words, form = PLAN.get(key, (f"{key} is {{}}", "text"))
    if value is None:
        return f"Not watched or not limited: {key}"
    if form in get_args(NumberForm):
        shown = number(float(value), cast(NumberForm, form))
    else:
        shown = str(value) if form == "text" else plural(value, form)
    said = words.format(shown)
    return said[:1].upper() + said[1:]


def _leaves(value: dict[str, Any], place: str) -> Iterator[tuple[str, Any]]:
    for key, inner in value.items():
        where = f"{place}.{key}" if place else key
        if isinstance(inner, dict):
            yield from _leaves(inner, where)
        else:
            yield where, inner

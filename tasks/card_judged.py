"""Statements of a model card from the evidence of a version: its data, its measurements and its gates."""

from __future__ import annotations

from typing import Any

from tasks.card_statements import NOWHERE, Document, Records, Writer
from tasks.spec.data_record import losses
from tasks.spec.display import metric_form, metric_name, metric_said, with_display_names
from tasks.spec.evidence import Isolation
from tasks.spec.wording import number, plural

TOPIC_OF = {
    "floor": "performance", "comparison": "performance", "fairness": "fairness", "rules": "explanations",
    "stability": "explanations", "faithfulness": "explanations", "data": "checks", "leakage": "checks",
    "calibration": "robustness", "slices": "robustness", "robustness": "robustness", "readiness": "robustness",
}  # fmt: skip
"""Where a kind of gate is told; any other beside the verdict."""
WORDS = {"pass": "pass", "fail": "fail", "insufficient_evidence": "insufficient evidence"}
MOST = 20
"""Features whose share of the explanation is told one by one."""


def judged(writer: Writer, found: Records) -> None:
    """Data, training and verdict, as the ledger's evidence holds them."""
    _data(writer, found)
    _base_rates(writer, found)
    _trained(writer, found)
    _examined(writer, found)
    _metrics(writer, found)
    _importance(writer, found)
    gates, source = found.verdict.at("verdict", "gates")
    if not isinstance(gates, list):
        for topic in dict.fromkeys(TOPIC_OF.values()):
            writer.lack(f"{topic}.gates", topic, "Gates", source)
        return
    told = {_gate(writer, found, at, gate) for at, gate in enumerate(gates) if isinstance(gate, dict)}
    closed = _asked(writer, found)
    why = "withheld, since the holdout is sealed" if closed else "missing: none was asked"
    for topic in dict.fromkeys(TOPIC_OF.values()):
        if topic not in told:
            kinds = " or ".join(kind for kind, where in TOPIC_OF.items() if where == topic)
            writer.lack(f"{topic}.gates", topic, f"Gate of kind {kinds}", source, said=why)


def _data(writer: Writer, found: Records) -> None:
    record, source = found.verdict.at("verdict", "data")
    if not isinstance(record, dict):
        writer.lack("data.record", "data", "Files and rows that it was made from", source)
        return
    data = Document(record, source)
    for at, file in enumerate(record.get("files") or ()):
        _, place = data.at("files", at)
        text = f"Read from {file.get('name')}, {int(file.get('size') or 0):,} bytes, sha256 {file.get('sha256')}"
        writer.say(f"data.file.{at}", "data", text, file, place)
    rows, place = data.at("rows")
    writer.say("data.rows", "data", f"{plural(int(rows or 0), 'row')} were read", rows, place)
    for at, (reason, count) in enumerate((record.get("dropped") or {}).items()):
        _, place = data.at("dropped", reason)
        (said,) = losses(int(rows or 0), {reason: int(count)})
        writer.say(f"data.dropped.{at}", "data", said[:1].upper() + said[1:], count, place)
    used = {"train": "train", "holdout": "examine", "replay": "are kept for replay"}
    for side, count in (record.get("sides") or {}).items():
        _, place = data.at("sides", side)
        writer.say(f"data.sides.{side}", "data", f"{plural(int(count), 'row')} {used.get(side, side)}", count, place)
    count, place = data.at("collected")
    text = f"{plural(int(count or 0), 'row')} collected in production joined those that train and examine"
    writer.say("data.collected", "data", text, count or 0, place)


def _base_rates(writer: Writer, found: Records) -> None:
    rates, source = found.verdict.at("base_rates")
    if not isinstance(rates, list) or not rates:
        writer.lack("base_rates", "base_rates", "Base rates of the labels", source)
        return
    for at, rate in enumerate(rates):
        _, place = found.verdict.at("base_rates", at)
        who = f"{rate.get('attribute')} {rate.get('group')}" if rate.get("attribute") else "all rows"
        id = "base_rates." + ".".join(str(rate.get(k)) for k in ("side", "attribute", "group") if rate.get(k))
        writer.say(id, "base_rates", f"{rate.get('side')}, {who}: {_labels(rate, found.unit)}", rate, place)


def _labels(rate: dict[str, Any], unit: str) -> str:
    rows = int(rate.get("rows") or 0)
    if rate.get("counts") is not None:
        parts = [f"{name} {count:,} ({count / max(rows, 1):.1%})" for name, count in rate["counts"].items()]
        return f"{', '.join(parts)} of {plural(rows, 'row')}"
    mean, spread = (number(rate.get(key), "target", unit) for key in ("mean", "sd"))
    return f"mean {mean}, standard deviation {spread}, {plural(rows, 'row')}"


def _trained(writer: Writer, found: Records) -> None:
    rows, source = found.trained.at("manifest", "trained_rows")
    if not isinstance(rows, int):
        writer.lack("training.rows", "training", "Training rows, libraries and machine", source)
    else:
        writer.say("training.rows", "training", f"Trained on {plural(rows, 'row')}", rows, source)
        libraries, place = found.trained.at("manifest", "libraries")
        named = ", ".join(f"{name} {version}" for name, version in (libraries or {}).items()) or "none named"
        writer.say("training.libraries", "training", f"Libraries: {named}", libraries, place)
        machine, place = found.trained.at("machine")
        if isinstance(machine, dict):
            text = f"Trained on {machine.get('machine')}, BLAS {machine.get('kernel') or 'unknown'}"
            writer.say("training.machine", "training", text, machine, place)
    search, source = found.verdict.at("verdict", "search")
    if isinstance(search, dict):
        text = (
            f"The configuration is trial {search.get('trial')} of study {search.get('study')}, one of "
            f"{search.get('trials')} that were tried"
        )
        writer.say("training.search", "training", text, search, source)


def _examined(writer: Writer, found: Records) -> None:
    digest, source = found.verdict.at("verdict", "model_digest")
    if found.verdict is NOWHERE or not isinstance(digest, str):
        writer.lack("verdict.passed", "verdict", "Verdict", source)
        return
    writer.say("identity.model_file", "identity", f"Model file: {digest}", digest, source)
    passed, source = found.verdict.at("verdict", "passed")
    text = "Fit to serve, by its mandatory gates and waivers" if passed is True else "Not fit to serve"
    writer.say("verdict.passed", "verdict", text, passed, source)
    champion, source = found.verdict.at("verdict", "champion")
    text = f"Compared with {champion} on the same rows" if champion else "There was no champion to compare with"
    writer.say("verdict.champion", "verdict", text, champion, source)
    examiner, source = found.verdict.at("verdict", "examiner")
    if isinstance(examiner, str) and examiner:
        writer.say("environment.examiner", "environment", f"Examined by the code {examiner}", examiner, source)
    else:
        writer.lack("environment.examiner", "environment", "Digest of what examined", source)
    held, source = found.verdict.at("verdict", "isolation", "held")
    if isinstance(held, list):
        said = Isolation(held=tuple(map(str, held))).sentence
        writer.say("environment.isolation", "environment", said[:1].upper() + said[1:], held, source)
    else:
        writer.lack("environment.isolation", "environment", "What its code was kept from", source)


def _asked(writer: Writer, found: Records) -> bool:
    """How often the holdout's rows have been asked; gives whether what gates said of them is withheld."""
    use, source = found.verdict.at("verdict", "holdout")
    if not isinstance(use, dict):
        writer.lack("verdict.holdout", "verdict", "How often the rows of the holdout have been asked", source)
        return False
    times = plural(int(use.get("asked") or 0), "time")
    text = f"The rows of the holdout have been asked {times}, under {plural(int(use.get('actors') or 0), 'name')}"
    writer.say("verdict.holdout", "verdict", text, use, source)
    return bool(use.get("withheld"))


def _metrics(writer: Writer, found: Records) -> None:
    metrics, source = found.verdict.at("metrics")
    if not isinstance(metrics, dict) or not all(isinstance(part, dict) for part in metrics.values()):
        writer.lack("metrics", "performance", "Metrics by benchmark", source)
        return
    for benchmark, values in metrics.items():
        rows = int(values.get("rows") or 0)
        for name, value in values.items():
            if name == "rows":
                continue
            _, place = found.verdict.at("metrics", benchmark, name)
            shown = "not computable" if value is None else metric_said(value, name, found.unit)
            text = f"{metric_name(name)} on {benchmark}: {shown}, {plural(rows, 'row')}, as trained and not judged"
            writer.say(f"metrics.{benchmark}.{name}", "performance", text, value, place)


def _importance(writer: Writer, found: Records) -> None:
    shares, source = found.verdict.at("importance")
    if not isinstance(shares, dict) or not shares:
        writer.lack("importance", "explanations", "Share of each feature in the explanations", source)
        return
    for name in sorted(shares, key=lambda n: -shares[n])[:MOST]:
        _, place = found.verdict.at("importance", name)
        text = f"{name} carries {number(shares[name], 'rate')} of the mean absolute attribution"
        writer.say(f"importance.{name}", "explanations", text, shares[name], place)


def _gate(writer: Writer, found: Records, at: int, gate: dict[str, Any]) -> str:
    """The answer of one gate and each of its judged numbers; gives the topic."""
    name, kind = str(gate.get("gate")), str(gate.get("kind"))
    topic = TOPIC_OF.get(kind, "verdict")
    topic = "fairness" if kind == "calibration" and " by " in f" {name.replace('-', ' ')} " else topic
    _, source = found.verdict.at("verdict", "gates", at)
    state, held = WORDS.get(str(gate.get("state")), "unknown"), "mandatory" if gate.get("mandatory") else "advisory"
    text = f"Gate {name} ({kind}, {held}): {state}; {with_display_names(str(gate.get('reason')))}"
    value = {key: gate.get(key) for key in ("state", "mandatory", "reason", "estimator")}
    writer.say(f"gate.{name}", topic, text, value, source)
    for place, measured in enumerate(gate.get("measurements") or ()):
        if isinstance(measured, dict) and measured.get("limit") is not None:
            _, source = found.verdict.at("verdict", "gates", at, "measurements", place)
            writer.say(f"gate.{name}.{place}", topic, _measured(measured, found.unit), measured, source)
    return topic


def _measured(measured: dict[str, Any], unit: str) -> str:
    form = metric_form(str(measured.get("quantity") or ""))
    value, low, high, limit = (number(measured.get(key), form, unit) for key in ("value", "low", "high", "limit"))
    between = f" ({low or 'open'} to {high or 'open'})" if low or high else ""
    entities = f" of {plural(int(measured['entities']), 'entity', 'entities')}" if measured.get("entities") else ""
    state = WORDS.get(str(measured.get("state")), "unknown")
    return (
        f"{with_display_names(str(measured.get('label')))}: {value or 'not computable'}{between}, limit {limit}, "
        f"{plural(int(measured.get('rows') or 0), 'row')}{entities}: {state}"
    )

"""How people see metrics, fairness measures and findings: one table for pages, command line, Prefect and plots."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tasks.spec.evidence import Finding
from tasks.spec.wording import PLAIN, NumberForm, number


@dataclass(frozen=True)
class Display:
    name: str
    form: NumberForm = "number"


METRICS: dict[str, Display] = {
    "roc_auc": Display("AUC"),
    "average_precision": Display("average precision"),
    "log_loss": Display("log loss"),
    "brier": Display("Brier score"),
    "accuracy": Display("accuracy", "rate"),
    "balanced_accuracy": Display("balanced accuracy", "rate"),
    "f1": Display("F1 score"),
    "precision": Display("precision", "rate"),
    "recall": Display("recall", "rate"),
    "mae": Display("mean absolute error", "target"),
    "rmse": Display("root mean squared error", "target"),
    "r2": Display("R²"),
    "error": Display("error rate", "rate"),
    "squared_error": Display("squared error"),
}
"""Metrics of models and losses of slices."""

MEASURES: dict[str, Display] = {
    "selection_rate": Display("selection rate", "rate"),
    "true_positive_rate": Display("true positive rate", "rate"),
    "false_positive_rate": Display("false positive rate", "rate"),
    "precision": Display("precision", "rate"),
    "accuracy": Display("accuracy", "rate"),
    "equalized_odds": Display("equalized odds", "rate"),
    "calibration": Display("calibration", "rate"),
    "mean_error": Display("mean error", "target"),
    "mean_absolute_error": Display("mean absolute error", "target"),
}
"""What groups of people are compared by."""

QUANTITIES: dict[str, Display] = {
    "observed rate": Display("observed rate", "rate"),
    "observed mean": Display("observed mean", "target"),
    "excess loss": Display("excess loss", "rate"),
    "share of rows": Display("share of rows", "rate"),
}
"""What else gates measure and read otherwise than as a plain number."""

FINDINGS: dict[str, Display] = {
    "realized_performance": Display("realized performance"),
    "label_sources": Display("sources that disagree"),
    "label_drift": Display("outcome drift"),
    "estimated_performance": Display("estimated performance"),
    "forecast": Display("forecast"),
    "prediction_drift": Display("prediction drift"),
    "selection_rate": Display("selection rate", "rate"),
    "realized_fairness": Display("realized fairness", "rate"),
    "estimated_fairness": Display("estimated fairness", "rate"),
    "protected_groups": Display("protected groups"),
    "data_quality": Display("data quality", "rate"),
    "feed": Display("feed"),
    "expert_rule": Display("expert rule"),
    "attribution_drift": Display("attribution drift"),
    "missingness": Display("missing values", "rate"),
    "new_category": Display("new category", "rate"),
    "out_of_range": Display("out of range", "rate"),
    "data_drift": Display("data drift"),
    "multivariate_drift": Display("multivariate drift"),
    "grouping": Display("grouping"),
    "estimator": Display("estimator"),
}
"""Kinds of findings; where the subject decides how the value is read, :func:`finding_form` says so."""

SUBJECTS: dict[tuple[str, str], NumberForm] = {
    ("feed", "predictions"): "seconds",
    ("feed", "outcomes"): "seconds",
    ("feed", "delay of outcomes"): "seconds",
    ("feed", "clock"): "seconds",
    ("feed", "duplicates"): "rate",
    ("label_drift", "outcomes"): "rate",
    ("attribution_drift", "attribution"): "rate",
    ("multivariate_drift", "classifier"): "rate",
}
"""Findings whose value is read otherwise than that of their kind."""

OF_A_METRIC = ("realized_performance", "estimated_performance", "forecast", "estimator")
"""Kinds of findings whose subject is a metric, in whose unit the value is."""


def metric_name(metric: str) -> str:
    """The display name of a metric, a slice's loss or a fairness measure; what is none of these stays as it is."""
    found = METRICS.get(metric) or MEASURES.get(metric)
    return found.name if found else metric


def metric_form(quantity: str) -> NumberForm:
    """How values of a metric, of a fairness measure, of its difference or of another quantity of a gate are read."""
    known = METRICS | MEASURES | QUANTITIES
    found = known.get(quantity.removesuffix(" difference"))
    return found.form if found else "number"


def finding_name(kind: str) -> str:
    found = FINDINGS.get(kind)
    return found.name if found else kind.replace("_", " ")


def metric_said(value: float, quantity: str, unit: str = "") -> str:
    """A value of a metric, with as many digits as its differences have."""
    form = metric_form(quantity)
    return f"{value:.4f}" if form == PLAIN else number(value, form, unit)


def finding_form(finding: Finding) -> NumberForm:
    """How the value, the interval, the reference and the limit of a finding are read."""
    if finding.kind in OF_A_METRIC:
        return metric_form(finding.subject)
    found = FINDINGS.get(finding.kind)
    return SUBJECTS.get((finding.kind, finding.subject), found.form if found else "number")


_NAMES = {name: shown.name for name, shown in (MEASURES | METRICS).items() if "_" in name or name == "r2"}
_IDENTIFIER = re.compile(rf"(?<![\w.'\"`/={{-])({'|'.join(sorted(_NAMES, key=len, reverse=True))})(?![\w'\"`/=-]|\.\w)")


def with_display_names(text: str) -> str:
    """A sentence with display names for the metrics that it names; keys of configuration and quoted names stay."""
    return _IDENTIFIER.sub(lambda found: _NAMES[found[1]], text)

"""Expert rules and expectations that data suggest; people confirm them or take them out."""

from __future__ import annotations

from typing import Any

import pandas as pd

from tasks.scaffold.baseline import Baseline
from tasks.scaffold.draft import Draft
from tasks.scaffold.quantities import figure
from tasks.science.data.tables import LABEL
from tasks.spec.training import TrainingConfig

UNSAID = "Nobody has said why yet; `assay new` wrote this rule."


def rules(draft: Draft, baseline: Baseline) -> dict[str, Any]:
    """What ``rules.yaml`` holds: rules that stand, and directions as questions, each with what the data say."""
    features = set(draft.features)
    found: list[dict[str, Any]] = [
        {
            "rule": "forbidden_driver",
            "column": spec["column"],
            "share": 0.0,
            "because": f"{attribute.capitalize()} may not decide.",
        }
        for attribute, spec in draft.roles.protected.items()
        if spec["column"] not in features
    ]
    if baseline.strongest is not None:
        column, share = baseline.strongest
        found.append(
            {
                "rule": "required_driver",
                "column": column,
                "share": max(0.01, round(share / 4, 2)),
                "because": f"It carries {share:.0%} of the baseline's explanation on training rows. {UNSAID}",
            }
        )
    if draft.target.document["kind"] == "regression":
        low, high = float(baseline.label.min()), float(baseline.label.max())
        room = (high - low) / 2
        found.append(
            {
                "rule": "score_range",
                "low": float(f"{low - room:.4g}"),
                "high": float(f"{high + room:.4g}"),
                "tolerance": 0.01,
                "because": f"Training rows hold {figure(low, 4)} to {figure(high, 4)}. {UNSAID}",
            }
        )
    directions = [
        (
            {"rule": "direction", "column": column, "sign": sign, "tolerance": 0.25, "because": "..."},
            f"rank correlation {rho:.2f} on training rows",
        )
        for column, (sign, rho) in baseline.directions.items()
    ]
    return {"rules": found or [_anything(draft)], "directions": directions}


def _anything(draft: Draft) -> dict[str, Any]:
    """Without a single other rule: some feature has to matter."""
    return {"rule": "required_driver", "column": draft.features[0], "share": 0.001, "because": UNSAID}


def expectations(draft: Draft, config: TrainingConfig, train: pd.DataFrame) -> dict[str, Any]:
    """What ``expectations.yaml`` holds of the ingested and the prepared table."""
    ingested: list[dict[str, Any]] = [
        {"type": "expect_table_row_count_to_be_between", "min_value": int(0.5 * draft.rows)}
    ]
    prepared: list[dict[str, Any]] = []
    for column in draft.columns:
        if column.name not in config.features:
            continue
        share = column.gaps / draft.rows
        if share:
            mostly = round(max(0.0, 1 - 1.5 * share - 0.03), 2)
            if mostly > 0:
                ingested.append(
                    {"type": "expect_column_values_to_not_be_null", "column": column.name, "mostly": mostly}
                )
        if column.quantity and isinstance(column.minimum, float) and isinstance(column.maximum, float):
            prepared.append(
                {
                    "type": "expect_column_values_to_be_between",
                    "column": column.name,
                    "min_value": column.minimum,
                    "max_value": column.maximum,
                }
            )
        elif column.categories:
            prepared.append(
                {
                    "type": "expect_column_values_to_be_in_set",
                    "column": column.name,
                    "value_set": list(column.categories),
                }
            )
    return {"ingested": ingested, "prepared": [*prepared, _label(config, train)]}


def _label(config: TrainingConfig, train: pd.DataFrame) -> dict[str, Any]:
    if config.kind == "multiclass":
        return {
            "type": "expect_column_distinct_values_to_be_in_set",
            "column": LABEL,
            "value_set": list(config.classes),
        }
    label = train[LABEL].astype(float)
    mean, room = float(label.mean()), float(label.std()) / 4
    return {
        "type": "expect_column_mean_to_be_between",
        "column": LABEL,
        "min_value": float(f"{mean - room:.3g}"),
        "max_value": float(f"{mean + room:.3g}"),
    }

"""Tasks around data: let DVC prepare the rows, and check them against expectations."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from prefect import task
from prefect.cache_policies import NO_CACHE

from tasks.asked import ASKED_ON_MAIN, expectations_of, sealed, tells_labels
from tasks.records.repository import dvc
from tasks.spec.base import load_yaml
from tasks.spec.columns import to_table
from tasks.spec.errors import ConfigError
from tasks.spec.evidence import GateResult, Measurement
from tasks.spec.expectations import COMPUTED, Expectations, in_table_form, observed_text
from tasks.spec.expression_types import columns_named, condition, condition_fault, operands
from tasks.spec.kind import DeclaredColumn
from tasks.spec.model import ModelConfig, load_model
from tasks.spec.training import load_training
from tasks.stages.common import ModelPaths
from tasks.tables.expressions import evaluate

_EACH_OTHER = "it compares rows with each other, and a person may be served twice, in any order"
_WHOLE_TABLE = "it compares each value with those of the whole table"
NOT_OF_A_WINDOW = {
    "expect_column_values_to_be_unique": _EACH_OTHER,
    "expect_column_values_to_be_increasing": _EACH_OTHER,
    "expect_column_values_to_be_decreasing": _EACH_OTHER,
    "expect_compound_columns_to_be_unique": _EACH_OTHER,
    "expect_column_value_z_scores_to_be_less_than": _WHOLE_TABLE,
    "expect_column_values_to_not_be_outliers": _WHOLE_TABLE,
}
"""Expectations that count rows and yet do not speak of single rows, each with the reason in words."""
COLUMN_KEYS = ("column", "column_A", "column_B", "column_list")
"""The arguments that name columns."""
NO_ARGUMENTS = ("type", "row_condition", "condition_parser")
"""Keys of an expectation that Great Expectations does not see."""
UNSAID = ("or_equal", "ignore_row_if")
"""Arguments that are no part of what is said of an expectation, or stand in its words already."""


@task(cache_policy=NO_CACHE, task_run_name="dvc repro prepare@{model}")
def prepare_data(worktree: Path, model: str) -> None:
    """Let DVC ingest and prepare."""
    dvc.reproduce(worktree, f"prepare@{model}")


@task(cache_policy=NO_CACHE, task_run_name="check data expectations")
def check_data(worktree: Path, model: str) -> tuple[GateResult, list[dict[str, Any]]]:
    """Run both suites of the model's folder; a validator reports, it does not repair.

    Of a sealed holdout no label is asked: ``prepared`` sees the training rows alone.

    Raises:
        ConfigError: a suite cannot be run, or asks ``ingested`` for labels of a sealed holdout.
    """
    paths, config = ModelPaths(worktree, model), load_model(worktree, model)
    suites, added = expectations_of(worktree, model)
    closed = sealed(config)
    if closed:
        refuse_labels(config, suites)
    sides = ("train",) if closed else ("train", "holdout")
    prepared = pd.concat([pd.read_parquet(paths.prepared / f"{side}.parquet") for side in sides])
    columns = load_training(worktree, model).data.columns
    checks = run_suite("ingested", pd.read_parquet(paths.ingested), suites.ingested, columns)
    checks += run_suite("prepared", prepared, suites.prepared, columns)
    verdict = data_verdict(checks)
    if added:
        said = f"{verdict.reason}; {ASKED_ON_MAIN.format(file='expectations.yaml')}"
        verdict = verdict.model_copy(update={"reason": said})
    return verdict, checks


def refuse_labels(config: ModelConfig, suites: Expectations) -> None:
    """Refuse expectations that would tell labels of a sealed holdout, one answer an expectation, and uncounted.

    Raises:
        ConfigError: one on the ingested table names such a column (:func:`tasks.asked.tells_labels`).
    """
    known, labels = config.data.columns, tells_labels(config)
    for item in suites.ingested:
        where, written = f"expectations.yaml, ingested, {item.get('type')}", item.get("row_condition")
        if written is not None and (fault := condition_fault(f"{where}: row_condition", str(written), known)):
            raise ConfigError(fault)
        named = columns_named(condition(str(written), operands(known))) if written is not None else []
        told = [name for name in (*_columns(item), *named) if name in labels]
        if told:
            raise ConfigError(
                f"{where} asks {told[0]!r}, which tells labels of all rows, and the holdout of "
                f"{labels[told[0]]} is sealed. Ask _label under prepared, which sees training rows alone."
            )


def data_verdict(checks: list[dict[str, Any]]) -> GateResult:
    """The data gate's result from the single checks; without any check it fails."""
    broken = [c for c in checks if not c["success"]]
    measurements = tuple(
        Measurement(
            label=f"{c['table']}: {c['sentence']}",
            value=float(c["unexpected"]),
            limit=0.0,
            rows=c["rows"],
            state="pass" if c["success"] else "fail",
        )
        for c in checks
    )
    if not checks:
        reason = "expectations.yaml holds no expectation, so nothing is known about the data"
    elif broken:
        reason = f"{len(broken)} of {len(checks)} expectations are broken: " + "; ".join(c["sentence"] for c in broken)
    else:
        reason = f"all {len(checks)} expectations hold"
    return GateResult(
        gate="data-expectations",
        kind="data",
        mandatory=True,
        state="pass" if checks and not broken else "fail",
        reason=reason,
        measurements=measurements,
        estimator="Great Expectations, full tables",
    )


def run_suite(
    table: str,
    frame: pd.DataFrame,
    suite: tuple[dict[str, Any], ...],
    columns: Iterable[DeclaredColumn] | None = None,
) -> list[dict[str, Any]]:
    """Check one table.

    A ``row_condition`` is an expression as elsewhere in the configuration. Great Expectations would hand it to pandas,
    which runs what is written in it.

    Args:
        columns: the declared columns, by which conditions are read; without them, the types of the table decide.

    Returns:
        One dict an expectation: table, expectation, column, success, observed, expected, rows, unexpected,
        claim (what is expected, in words), sentence (the claim, and what is against it).

    Raises:
        ConfigError: an expectation is not known to Great Expectations, or its arguments are wrong.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.getLogger("great_expectations").setLevel(logging.ERROR)
        import great_expectations as gx
        from great_expectations.data_context.types.base import DataContextConfig, InMemoryStoreBackendDefaults

        # Without a docs site, which would leave a temporary folder behind for every table.
        context = gx.get_context(
            mode="ephemeral",
            project_config=DataContextConfig(
                store_backend_defaults=InMemoryStoreBackendDefaults(init_temp_docs_sites=False)
            ),
        )
        context.variables.progress_bars = {"globally": False}  # type: ignore[assignment]
        asset = context.data_sources.add_pandas(table).add_dataframe_asset(table)
        definition = asset.add_batch_definition_whole_dataframe(table)
        whole = definition.get_batch({"dataframe": frame})
        checks, known = [], tuple(columns or ())
        for item in suite:
            condition = item.get("row_condition")
            if condition is None:
                checks.append(_check(whole, table, dict(item), len(frame), known))
                continue
            where = f"expectations.yaml, {table}, {item.get('type')}: row_condition"
            part = frame[evaluate(frame, str(condition), where, columns)]
            checks.append(_check(definition.get_batch({"dataframe": part}), table, dict(item), len(part), known))
        return checks


def _expectation(kind: str) -> Any:
    """The class that Great Expectations has for a name that may be asked, or None."""
    import great_expectations as gx

    name = "".join(part.title() for part in kind.split("_"))
    return getattr(gx.expectations, name) if kind in COMPUTED else None


def suite_faults(
    table: str, suite: Iterable[dict[str, Any]], columns: Collection[DeclaredColumn]
) -> Iterator[tuple[int, str]]:
    """What is wrong with expectations whatever the rows are: the place of each, and a sentence.

    Args:
        columns: the declared columns; none where they are not known, and then no name of a column is looked at.
    """
    names = {c.name for c in columns}
    for index, item in enumerate(suite):
        where = f"expectations.yaml, {table}, {item.get('type')}"
        try:
            _built(table, in_table_form(table, dict(item), columns))
        except ConfigError as error:
            yield index, str(error)
            continue
        if names and [name for name in _columns(item) if name not in names and not name.startswith("_")]:
            yield index, _not_computed(where, item)
        condition = item.get("row_condition")
        if condition is not None and names:
            fault = condition_fault(f"{where}: row_condition", str(condition), columns)
            yield from [(index, fault)] if fault else []


def _built(table: str, item: dict[str, Any]) -> Any:
    """Great Expectations' own object for an expectation."""
    kind = item.get("type")
    known = _expectation(str(kind))
    if known is None:
        raise ConfigError(
            f"expectations.yaml, {table}: {kind!r} is no expectation that a table alone answers. Allowed are these of "
            f"Great Expectations: {', '.join(sorted(COMPUTED))}."
        )
    try:
        return known(**{key: value for key, value in item.items() if key not in NO_ARGUMENTS})
    except ValueError as error:
        first = str(error).splitlines()
        raise ConfigError(f"expectations.yaml, {table}, {kind}: {'; '.join(first[1:3]) or first[0]}.") from None


def _not_computed(where: str, item: dict[str, Any]) -> str:
    return f"{where} on {_subject(item) or 'the table'!r} cannot be computed; are its columns in the table?"


def _check(
    batch: Any, table: str, item: dict[str, Any], rows: int, columns: Collection[DeclaredColumn]
) -> dict[str, Any]:
    kind, condition = item.get("type"), item.get("row_condition")
    built = _built(table, in_table_form(table, dict(item), columns))
    item = {key: value for key, value in item.items() if key not in NO_ARGUMENTS}
    result = batch.validate(built)
    if result.exception_info.get("raised_exception") or any(
        isinstance(v, dict) and v.get("raised_exception") for v in result.exception_info.values()
    ):
        raise ConfigError(_not_computed(f"expectations.yaml, {table}, {kind}", item))
    observed = result.result.get("observed_value")
    mostly = item.get("mostly")
    counted = result.result.get("element_count")
    unexpected = result.result.get("unexpected_count", 0 if result.success else 1)
    expected = ", ".join(f"{k} {v}" for k, v in item.items() if k not in (*COLUMN_KEYS, *UNSAID))
    seen = f"{unexpected} rows against it"
    if isinstance(observed, int | float):
        seen = f"observed {observed_text(str(kind), item, observed, columns)}"
    claim = f"{_claim(item, str(kind))} {expected}".strip()
    success = bool(result.success)
    if condition is not None:
        claim = f"{claim} where {condition}"
        if not rows:
            success, seen = False, "no row is so"
    return {
        "table": table,
        "expectation": str(kind),
        "column": _subject(item) or None,
        "success": success,
        "observed": float(observed)
        if isinstance(observed, int | float)
        else None
        if observed is None
        else str(observed),
        "expected": expected,
        "rows": rows,
        "unexpected": int(unexpected or 0),
        "asked": rows if counted is None else int(counted) - int(result.result.get("missing_count") or 0),
        "mostly": 1.0 if mostly is None else float(mostly),
        "claim": claim,
        "sentence": claim if success else f"{claim} ({seen})",
    }


def check_window(config: ModelConfig, expectations: Path, rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Ask both suites of the rows of a window, as far as they speak of single served rows.

    A suite describes whole tables of labelled data. Of a window it is asked what holds row by row: expectations on
    the values of one input column, of a pair, or of several. Left out by name are aggregates such as row counts and
    means, order, uniqueness, the target, and columns that the service does not take. Volume, drift and duplicates are
    watched by monitors that know the window's size. ``expect_column_distinct_values_to_be_in_set`` is asked as
    ``values_to_be_in_set``, which says the same.

    Args:
        config: of the version that answered.
        expectations: its ``expectations.yaml``.
        rows: (n, columns) raw inputs; an input that did not come is missing in every row.

    Returns:
        As :func:`run_suite`, each expectation once. Where it was not asked, ``unexpected`` is None and the sentence
        says why.
    """
    suites = load_yaml(expectations, Expectations)
    table = to_table(config.inputs, rows).reset_index(drop=True)
    checks: list[dict[str, Any]] = []
    asked: list[dict[str, Any]] = []
    for item in [*suites.ingested, *suites.prepared]:
        row_wise = _of_rows(dict(item))
        why = _left_out(row_wise, config) if len(table) else "the window has no rows"
        if why:
            checks.append(_not_asked(item, len(table), why))
        elif row_wise not in asked:
            asked.append(row_wise)
    try:
        return run_suite("window", table, tuple(asked), config.inputs) + checks
    except ConfigError:  # one that cannot be computed must not take the others with it
        return [check for item in asked for check in _alone(config, table, item)] + checks


def _of_rows(item: dict[str, Any]) -> dict[str, Any]:
    kind = item.get("type")
    return (
        item | {"type": "expect_column_values_to_be_in_set"}
        if kind == "expect_column_distinct_values_to_be_in_set"
        else item
    )


def _left_out(item: dict[str, Any], config: ModelConfig) -> str:
    """Why an expectation is not asked of a window; empty where it is."""
    from great_expectations.expectations import expectation as bases

    kind, served = str(item.get("type")), {c.name for c in config.inputs}
    condition = re.findall(r"\w+", str(item.get("row_condition", "")))
    named = [*_columns(item), *(c.name for c in config.data.columns if c.name in condition)]
    if unserved := [name for name in dict.fromkeys(named) if name not in served]:
        return f"{' and '.join(unserved)} {'is' if len(unserved) == 1 else 'are'} not served"
    if kind in NOT_OF_A_WINDOW:
        return NOT_OF_A_WINDOW[kind]
    known = _expectation(kind)
    row_wise = (bases.ColumnMapExpectation, bases.ColumnPairMapExpectation, bases.MulticolumnMapExpectation)
    if isinstance(known, type) and not issubclass(known, row_wise):
        return "it speaks of a table, not of single rows"
    return ""


def _columns(item: dict[str, Any]) -> list[str]:
    """The columns that an expectation is about, in the order in which it names them."""
    found: list[str] = []
    for key in COLUMN_KEYS:
        value = item.get(key)
        found += [] if value is None else [str(v) for v in value] if isinstance(value, list | tuple) else [str(value)]
    return found


def _subject(item: dict[str, Any]) -> str:
    return ", ".join(_columns(item))


def _alone(config: ModelConfig, table: pd.DataFrame, item: dict[str, Any]) -> list[dict[str, Any]]:
    try:
        return run_suite("window", table, (item,), config.inputs)
    except ConfigError as error:
        return [_not_asked(item, len(table), str(error))]


def _not_asked(item: dict[str, Any], rows: int, why: str) -> dict[str, Any]:
    kind = str(item.get("type"))
    claim = _claim(item, kind)
    return {
        "table": "window",
        "expectation": kind,
        "column": _subject(item) or None,
        "success": None,
        "rows": rows,
        "asked": 0,
        "mostly": 1.0,
        "unexpected": None,
        "claim": claim,
        "sentence": f"{claim} ({why.rstrip('.')})",
    }


def _claim(item: dict[str, Any], kind: str) -> str:
    """An expectation in words: ``age values to be between``, ``end to be greater than start``."""
    columns = _columns(item)
    if kind == "expect_column_pair_values_a_to_be_greater_than_b" and len(columns) == 2:
        return f"{columns[0]} to be {'at least' if item.get('or_equal') else 'greater than'} {columns[1]}"
    words = kind
    for prefix in ("expect_select_column_", "expect_column_pair_", "expect_column_", "expect_table_", "expect_"):
        words = words.removeprefix(prefix)
    return f"{' and '.join(columns) or 'table'} {words.replace('_', ' ')}"

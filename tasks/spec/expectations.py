"""What a model's data must look like: the schema of ``deployments/models/<name>/expectations.yaml``."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from tasks.spec.base import Spec
from tasks.spec.errors import ConfigError
from tasks.spec.kind import DeclaredColumn

PLACES = ("_min_", "_max_", "_mean_", "_median_")
"""Parts of the names of expectations that observe a value of their column."""
COMPUTED = frozenset(
    f"expect_{name}"
    for name in re.findall(
        r"\w+",
        """
    column_to_exist column_distinct_values_to_be_in_set column_distinct_values_to_contain_set
    column_distinct_values_to_equal_set column_max_to_be_between
    column_mean_to_be_between column_median_to_be_between column_min_to_be_between
    column_most_common_value_to_be_in_set column_proportion_of_non_null_values_to_be_between
    column_proportion_of_unique_values_to_be_between column_quantile_values_to_be_between column_stdev_to_be_between
    column_sum_to_be_between column_unique_value_count_to_be_between column_value_lengths_to_be_between
    column_value_lengths_to_equal column_value_z_scores_to_be_less_than column_values_to_be_between
    column_values_to_be_dateutil_parseable column_values_to_be_decreasing column_values_to_be_in_set
    column_values_to_be_in_type_list column_values_to_be_increasing column_values_to_be_json_parseable
    column_values_to_be_null column_values_to_be_of_type column_values_to_be_unique
    column_values_to_match_like_pattern column_values_to_match_like_pattern_list column_values_to_match_regex
    column_values_to_match_regex_list column_values_to_match_strftime_format column_values_to_not_be_in_set
    column_values_to_not_be_null column_values_to_not_be_outliers column_values_to_not_match_like_pattern
    column_values_to_not_match_like_pattern_list column_values_to_not_match_regex
    column_values_to_not_match_regex_list column_pair_values_a_to_be_greater_than_b column_pair_values_to_be_equal
    column_pair_values_to_be_in_set compound_columns_to_be_unique multicolumn_sum_to_equal
    multicolumn_values_to_be_equal multicolumn_values_to_be_unique select_column_values_to_be_unique_within_record
    table_column_count_to_be_between table_column_count_to_equal table_columns_to_match_ordered_list
    table_columns_to_match_set table_row_count_to_be_between table_row_count_to_equal
    """,
    )
)
"""Expectations that the table alone answers. Others run queries, read other tables, or fetch what a JSON schema names;
and they run with the rights of a flow."""


class Expectations(Spec):
    """Great Expectations by their own names, each a mapping of ``type`` and its arguments, for two tables.

    Bounds and values of a date or datetime column are ISO text.
    """

    ingested: tuple[dict[str, Any], ...] = ()
    """Of the whole source table."""
    prepared: tuple[dict[str, Any], ...] = ()
    """Of the labelled training and holdout rows."""


def in_table_form(table: str, item: dict[str, Any], columns: Iterable[DeclaredColumn]) -> dict[str, Any]:
    """An expectation whose ISO dates are the days or seconds that the table counts its column by.

    Raises:
        ConfigError: a text is no date of the column's type.
    """
    column = _calendar(item, columns)
    if column is None:
        return item

    def placed(value: Any) -> Any:
        try:
            return column.kind.bound(value, column) if isinstance(value, str) else value
        except ValueError:
            where = f"expectations.yaml, {table}, {item.get('type')} on {column.name!r}"
            raise ConfigError(f"{where}: {value!r} is no {column.kind.noun}. Write one.") from None

    single = {key: placed(item[key]) for key in ("min_value", "max_value") if key in item}
    values = item.get("value_set")
    return item | single | ({"value_set": [placed(v) for v in values]} if isinstance(values, list | tuple) else {})


def observed_text(kind: str, item: dict[str, Any], value: float, columns: Iterable[DeclaredColumn]) -> str:
    """What an expectation of some kind observed, as people read it: of dates, a date."""
    column = _calendar(item, columns)
    return column.kind.text(value) if column is not None and any(p in kind for p in PLACES) else f"{value:.4g}"


def _calendar(item: dict[str, Any], columns: Iterable[DeclaredColumn]) -> DeclaredColumn | None:
    return next((c for c in columns if c.name == item.get("column") and c.kind.calendar), None)

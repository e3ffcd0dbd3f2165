"""What a cell of a file says, as a number or as a name.

Cells are text where the file is text, so that nothing is guessed; Parquet, pickles and JSON lines bring typed values.
Text becomes a number as JSON does it, correctly rounded (pandas' own reader is off by a last bit).
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # importing pandas takes half a second, and most readers of a config need none of it
    import numpy as np
    import pandas as pd

LARGEST = 3.4028234663852886e38
"""The largest number that is taken: trees of scikit-learn read features as 32-bit floats, and squares must not
overflow."""
LONGEST = 1000
"""Characters of a name that a request may hold, and so may the table that a model learns from."""
LARGEST_WHOLE = 2**53 - 1
"""The largest whole number that a float64 keeps apart from its neighbours, as JSON's readers have it."""
PLAIN = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
WHOLE = re.compile(r"\s*[+-]?[0-9]{1,60}\s*")
SHOWN = 80


def shown(value: Any) -> str:
    """A value for an error message, at most 80 characters of it."""
    text = repr(value.item() if hasattr(value, "item") else value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."


def category_text(value: Any) -> str:
    """The name of a category: text as it is, and the code 1 is "1", also where a typed source holds 1.0."""
    whole = getattr(value, "is_integer", None)
    return str(int(value)) if whole is not None and whole() else str(value)


def names(cells: pd.Series) -> pd.Series:
    """(n,) text, missing where the cell is missing."""
    import pandas as pd

    if isinstance(cells.dtype, pd.StringDtype):
        return cells.astype("str")
    if cells.dtype.kind in "iuf":  # through the distinct values: of codes there are few
        return cells.map({value: category_text(value) for value in cells.dropna().unique()}).astype("str")
    return cells.astype(object).map(category_text, na_action="ignore").astype("str")


def nameless(cells: pd.Series) -> pd.Series:
    """(n,) bool, True for values of a typed source that no text stands for: infinite numbers and bytes."""
    import pandas as pd

    if isinstance(cells.dtype, pd.StringDtype) or cells.dtype.kind not in "fO":
        return cells.isna() & False
    odd = [isinstance(v, bytes) or (isinstance(v, float) and math.isinf(v)) for v in cells]
    return pd.Series(odd, cells.index, dtype=bool)


def numbers(cells: pd.Series) -> tuple[pd.Series, pd.Series]:
    """Read cells as numbers.

    Returns:
        (n,) float64, NaN where missing or unreadable.
        (n,) bool, True where a cell is not a finite number up to :data:`LARGEST`, as a boolean is not, and where
        a float would round a whole number.
    """
    import numpy as np
    import pandas as pd
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    if isinstance(cells.dtype, pd.StringDtype):
        found, there = _of_text(cells)
    elif is_numeric_dtype(cells) and not is_bool_dtype(cells):
        found, there = cells.to_numpy("float64", na_value=np.nan), cells.notna().to_numpy()
    else:
        found, there = _of_objects(cells)
    with np.errstate(invalid="ignore"):
        good = np.abs(found) <= LARGEST
        for at in np.flatnonzero(good & (np.abs(found) > LARGEST_WHOLE)):
            good[at] = not rounded(cells.iloc[at])
    values = np.where(good, found, np.nan)
    return pd.Series(values, cells.index), pd.Series(there & ~good, cells.index)


def rounded(value: Any) -> bool:
    """Whether a value is written as a whole number, and the nearest float is another one."""
    from decimal import Decimal
    from numbers import Integral

    if isinstance(value, str):
        value = int(value) if WHOLE.fullmatch(value) else None
    elif isinstance(value, Decimal):
        value = int(value) if value.is_finite() and value == value.to_integral_value() else None
    if not isinstance(value, Integral) or abs(int(value)) > LARGEST:
        return False
    nearest = Decimal(repr(float(int(value))))  # JavaScript writes a float so, filled with zeros
    return int(nearest) != int(value)


def _of_text(cells: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    import numpy as np
    import pyarrow as pa
    from pyarrow import compute

    text = pa.array(cells.array)
    found = _cast(text)
    if found is None:
        text = compute.if_else(compute.equal(text, ""), None, text)
        found = _cast(text)
    if found is None:  # blanks around numbers, or a cell that is none
        text = compute.utf8_trim_whitespace(text)
        text = compute.if_else(compute.equal(text, ""), None, text)
        plain = compute.fill_null(compute.match_substring_regex(text, PLAIN), False).to_numpy(zero_copy_only=False)
        found = pa.array(
            [float(t) if p else np.nan for t, p in zip(text.to_pylist(), plain, strict=True)], pa.float64()
        )
    there = compute.is_valid(text).to_numpy(zero_copy_only=False)
    found = found.to_numpy(zero_copy_only=False)
    return found, there


def _cast(text: Any) -> Any:
    """Text as Arrow's floats; None where a cell is not written as one."""
    import pyarrow as pa

    try:
        return text.cast(pa.float64())
    except pa.ArrowInvalid:
        return None


def _of_objects(cells: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Values of mixed types, as JSON lines and pickles hold them."""
    import numpy as np
    import pandas as pd

    values = cells.astype(object)
    text = values.map(lambda v: isinstance(v, str)).to_numpy(bool)
    found, there = np.full(len(values), np.nan), values.notna().to_numpy(copy=True)
    for at in np.flatnonzero(there & ~text):
        found[at] = _number(values.iloc[at])
    if text.any():
        found[text], there[text] = _of_text(pd.Series(values[text].to_list(), dtype="str"))
    return found, there


def _number(value: Any) -> float:
    """NaN where the value is not a number, infinite where it is too large for a float."""
    from decimal import Decimal
    from numbers import Real

    import numpy as np

    if isinstance(value, bool | np.bool_) or not isinstance(value, Real | Decimal):
        return float("nan")
    try:
        return float(value)
    except OverflowError:
        return float("inf")

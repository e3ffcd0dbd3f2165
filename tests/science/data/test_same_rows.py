"""Rows that two models have in common, where each declares, names and orders them in its own way."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from tasks.science.data.same_rows import Cells, Declared, Table


def people(rows: int, seed: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "age": rng.integers(18, 90, rows),
            "job": rng.choice(["nurse", "smith", None], rows),
            "pay": rng.normal(size=rows).round(4),
        }
    )


def table(rows: pd.DataFrame, **names: str) -> Table:
    """A table whose columns have these other names here; all are read alike."""
    return Table([Declared((name, names.get(name, name)), "alike") for name in rows], rows)


def test_the_share_is_known_whatever_order_columns_and_types_the_other_has() -> None:
    theirs, fresh = people(6000, 1), people(6000, 2)
    sample = table(theirs).sample()
    assert len(sample.hashes) == 2000 and sample.digest == table(theirs).sample().digest
    other = theirs[["pay", "age"]].sample(frac=1, random_state=3).astype({"age": float})
    assert table(other).shared(sample, one_file=False) == 1
    renamed = theirs.rename(columns={"pay": "lohn"})[["lohn", "job"]]
    assert (
        Table([Declared(("pay", "lohn"), "alike"), Declared(("job",), "otherwise")], renamed).shared(sample, True) == 1
    )
    for share in (0.5, 0.03):
        some = pd.concat([theirs.iloc[: int(6000 * share)], fresh])
        # against numpy's own sets of whole rows, and the error of a sample of 2,000
        known = {tuple(row) for row in some.astype(str).to_numpy()}
        exact = np.mean([tuple(row) in known for row in theirs.astype(str).to_numpy()])
        assert table(some).shared(sample, False) == pytest.approx(exact, abs=4 * (share * (1 - share) / 2000) ** 0.5)


def test_strangers_share_nothing_beyond_chance() -> None:
    """Four standard errors are passed by one in thirty thousand, and by few more where rows have few twins."""
    for digits in (1, 2):  # of pay: a sixth of the rows have a twin, or a fiftieth
        errors = 0
        for seed in range(250):
            mine, theirs = (people(1500, 2 * seed + side).round({"pay": digits}) for side in (0, 1))
            errors += table(mine).shared(table(theirs).sample(), one_file=True) != 0
        assert errors <= 2


def test_twins_do_not_make_rows_alike_that_are_not() -> None:
    """Half of the rows have a twin, and half of the others are here: the estimate takes chance off."""
    rng = np.random.default_rng(5)
    shares = []
    for _ in range(40):
        mine, theirs = (pd.DataFrame({"id": rng.integers(0, 4000, 1500)}) for _ in range(2))
        theirs.iloc[:750] = mine.iloc[:750]
        shares.append(table(mine).shared(table(theirs).sample(), one_file=True))
    assert np.mean(shares) == pytest.approx(0.5, abs=0.02)


def test_what_tells_no_row_apart_tells_nothing() -> None:
    mine = people(3000, 1)
    sample = table(mine).sample()
    assert table(mine[["age", "job"]]).shared(sample, one_file=True) is None
    assert table(mine.rename(columns=str.upper)).shared(sample, one_file=True) is None
    otherwise = Table([Declared((name,), "otherwise") for name in mine], mine)
    assert otherwise.shared(sample, one_file=True) is None
    assert table(mine[:0]).shared(sample, one_file=True) == 0
    assert table(mine).shared(Cells(sample.columns, sample.hashes[:0]), one_file=True) == 0
    some = mine.assign(pay=mine["pay"].round(2))[["age", "pay"]]
    assert table(some).shared(table(some).sample(), one_file=False) is None  # of unlike files, more must be told
    assert table(some).shared(table(some).sample(), one_file=True) == 1

"""Profiles: exact merging in any order, against plain pandas; bins; documents; and columns with nothing to count."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.science.data.protected import protected_groups
from tasks.science.monitors.profiles.counts import group_codes
from tasks.science.monitors.profiles.layout import Layout, bin_index, fit_layout, load_layout, number_layout
from tasks.science.monitors.profiles.profile import Profile, labels, load_profile, merge, outcomes, profile
from tasks.spec.errors import ConfigError
from tests.science.watched import CLASSES, config, rows

KINDS = ("binary", "multiclass", "regression")
CARE = config()
LAYOUT = fit_layout(CARE, rows(CARE, 2000, 0))
SMALL = CARE.model_copy(
    update={
        "data": CARE.data.model_copy(
            update={"columns": tuple(c for c in CARE.data.columns if c.name in ("income", "site", "female", "xage"))}
        )
    }
)
SMALL_LAYOUT = fit_layout(SMALL, rows(CARE, 500, 0))
ODD_NUMBERS = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True), st.floats(-100, 100), st.sampled_from([0.0, 1e300, -1e300, 5e-324])
)
ODD_NAMES = st.one_of(st.none(), st.sampled_from(["c0", "c1", "new", " c0 "]), st.text(max_size=3))


def frames() -> st.SearchStrategy[pd.DataFrame]:
    """A few rows with whatever a feed can bring in a number, a category, the score and the label."""
    row = st.tuples(
        ODD_NUMBERS, ODD_NAMES, ODD_NUMBERS, st.sampled_from([0.0, 1.0, np.nan]), st.sampled_from(["0", "1", None])
    )

    def frame(drawn: list[tuple[object, ...]]) -> pd.DataFrame:
        columns = dict(
            zip(
                ["income", "site", "_score", "_label", "female"],
                zip(*drawn, strict=True) if drawn else [[]] * 5,
                strict=True,
            )
        )
        base = rows(SMALL, len(drawn), 1)
        return base.assign(
            **{k: pd.Series(list(v), dtype=object if k in ("site", "female") else float) for k, v in columns.items()}
        )

    return st.lists(row, max_size=12).map(frame)


@settings(max_examples=40, deadline=None)
@given(frames(), frames(), frames())
def test_merging_is_exact_associative_and_commutative(a: pd.DataFrame, b: pd.DataFrame, c: pd.DataFrame) -> None:
    p, q, r = (profile(SMALL_LAYOUT, part) for part in (a, b, c))
    assert merge(merge(p, q), r) == merge(p, merge(q, r)) == merge(merge(r, q), p)
    assert merge(p, q) == merge(q, p)
    parts = [part for part in (a, b, c) if len(part)]
    if parts:
        assert merge(merge(p, q), r) == profile(SMALL_LAYOUT, pd.concat(parts, ignore_index=True))


@pytest.mark.parametrize("kind", KINDS)
def test_a_window_in_chunks_is_the_window(kind: str) -> None:
    made = config(kind)
    layout, window = fit_layout(made, rows(made, 1500, 0)), rows(made, 20_000, 1)
    given = window[["income", "xage"]] / 1000
    codes = np.random.default_rng(0).integers(-1, 6, len(window))
    whole, rng = profile(layout, window, given, codes), np.random.default_rng(1)
    cuts = [0, *np.sort(rng.integers(0, len(window), 6)), len(window)]
    parts = [
        profile(layout, window.iloc[i:j], given.iloc[i:j], codes[i:j]) for i, j in zip(cuts[:-1], cuts[1:], strict=True)
    ]
    total = parts[0]
    for i in rng.permutation(np.arange(1, len(parts))):
        total = merge(parts[i], total)
    assert total == whole
    assert whole.attributions(layout)["income"] == pytest.approx(
        (given["income"].mean(), given["income"].abs().mean()), rel=1e-6
    )
    assert whole.counts["grouping"].tolist() == np.bincount(codes + 1).tolist()


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60),
    st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=60),
)
def test_bins_are_those_of_searchsorted(reference: list[float], values: list[float]) -> None:
    layout = number_layout("x", np.array(reference))
    block = np.array([*reference, *values, *layout.edges])
    assert (bin_index(layout.edges).bins(block) == np.searchsorted(np.array(layout.edges), block, side="right")).all()


def test_counts_and_moments_are_those_of_pandas() -> None:
    window = rows(CARE, 30_000, 2)
    window.loc[:9, "income"], window.loc[10:14, "income"] = np.inf, -np.inf
    found = profile(LAYOUT, window)
    finite = window["income"][np.isfinite(window["income"])]
    layout = next(n for n in LAYOUT.numbers if n.name == "income")
    assert found.moments(layout) == pytest.approx((finite.mean(), finite.std(ddof=0)), rel=1e-7)
    assert (found.least["income"], found.most["income"]) == (finite.min(), finite.max())
    assert (
        found.counts["bins:income"].tolist()
        == np.bincount(np.searchsorted(layout.edges, finite, side="right"), minlength=len(layout.edges) + 1).tolist()
    )
    means = finite.groupby(np.searchsorted(layout.edges, finite, side="right")).mean()
    assert found.means(layout)[means.index] == pytest.approx(means.to_numpy(), rel=1e-6, abs=1e-6)
    assert found.odd("income") | {"under_minimum": 0} == {
        "missing": 0,
        "unreadable": 0,
        "minus_infinity": 5,
        "infinity": 10,
        "under_minimum": 0,
        "over_maximum": 0,
        "absent": 0,
    }
    assert found.odd("mdeoff")["missing"] == window["mdeoff"].isna().sum()
    names = next(c for c in LAYOUT.categories if c.name == "site").names
    assert dict(zip(names, found.counts["names:site"], strict=False)) == {n: (window["site"] == n).sum() for n in names}


@pytest.mark.parametrize("kind", KINDS)
def test_labels_and_groups_are_those_of_the_rows(kind: str) -> None:
    made = config(kind, 3000.0 if kind == "regression" else None)
    layout, window = fit_layout(made, rows(made, 1500, 0)), rows(made, 5000, 1)
    found, judged = profile(layout, window), window[window["_label"].notna()]
    if kind == "multiclass":
        assert labels(layout, found) == {
            "unknown": len(window) - len(judged),
            **{c: (judged["_label"] == c).sum() for c in CLASSES},
        }
        assert outcomes(layout, found)[0].decided == tuple(
            np.bincount(window[[f"_score:{c}" for c in CLASSES]].to_numpy().argmax(axis=1), minlength=3)
        )
        return
    if kind == "binary":
        assert labels(layout, found) == {
            "unknown": len(window) - len(judged),
            "negative": (judged["_label"] == 0).sum(),
            "positive": (judged["_label"] == 1).sum(),
        }
    for o, (name, part) in zip(
        outcomes(layout, found, "sex"), window.groupby(protected_groups(made, window)["sex"]), strict=True
    ):
        assert (o.group, o.rows, o.selected) == (name, len(part), (part["_score"] >= made.threshold).sum())
        known, chosen = (
            part[part["_label"].notna()]["_label"] >= (0.5 if kind == "binary" else made.threshold),
            part[part["_label"].notna()]["_score"] >= made.threshold,
        )
        assert o.confusion == tuple(
            int((known.eq(y) & chosen.eq(d)).sum()) for y in (False, True) for d in (False, True)
        )


def test_groups_are_those_of_protected_groups() -> None:
    window = rows(CARE, 3000, 3)
    window.loc[:20, "xage"], window.loc[:50, "female"] = np.nan, None
    window.loc[60:70, "xage"] = [-5, 121, 120.9, 18, 40, 0, 17.9, 500, 39.99, 41, 18.0]
    codes, names = group_codes(LAYOUT, window), protected_groups(CARE, window)
    for attribute in CARE.protected:
        titles = [*LAYOUT.group_titles(attribute), None]
        assert [titles[c] for c in codes[attribute]] == [None if pd.isna(v) else v for v in names[attribute]]


def test_a_column_of_another_type_is_counted_as_such() -> None:
    window = rows(CARE, 300, 4)
    window = window.assign(
        income=window["income"].map(lambda v: f"{v} dollars"),
        site=np.arange(300) % 2,
        xage=pd.Timestamp("2026-01-01"),
        num=window["num"].astype(str),
    ).drop(columns=["mhi"])
    found = profile(LAYOUT, window)
    assert found.odd("income")["unreadable"] == found.odd("xage")["unreadable"] == 300
    assert found.odd("num")["unreadable"] == found.odd("num")["missing"] == 0 and found.counts["bins:num"].sum() == 300
    assert found.unseen["site"] == {"0": 150, "1": 150}
    assert found.odd("mhi")["absent"] == found.odd("mhi")["missing"] == 300


def test_an_empty_window_is_the_neutral_element() -> None:
    found, nothing = profile(LAYOUT, rows(CARE, 100, 5)), profile(LAYOUT, rows(CARE, 100, 5).iloc[:0])
    assert nothing.rows == 0 and merge(found, nothing) == found
    assert np.isnan(nothing.moments(LAYOUT.numbers[0])).all()


@pytest.mark.parametrize("value", [np.nan, 3.0])
def test_a_reference_column_without_values_or_with_one_can_be_counted_by(value: float) -> None:
    layout = fit_layout(CARE, rows(CARE, 500, 0).assign(income=value))
    found = profile(layout, rows(CARE, 500, 1))
    assert found.counts["bins:income"].sum() == 500


def test_names_beyond_the_layouts_are_bounded_and_merge_to_the_same_ones() -> None:
    window = rows(CARE, 6000, 6).assign(site=[f"person {i % 4000}" for i in range(6000)])
    whole = profile(LAYOUT, window)
    assert len(whole.unseen["site"]) == 1000 and whole.counts["names:site"][-2] == 6000
    assert merge(profile(LAYOUT, window[:2500]), profile(LAYOUT, window[2500:])) == whole


def test_a_document_comes_back_and_holds_no_rare_name_and_no_row() -> None:
    window = rows(CARE, 2000, 7)
    window.loc[:3, "site"], window.loc[4:30, "site"] = "Jane Roe", "new site"
    found = profile(LAYOUT, window)
    text = json.dumps(found.document(), allow_nan=False)
    assert "Jane Roe" not in text and "new site" in text and len(text) < 120_000
    back = load_profile(json.loads(text))
    assert back.document() == found.document() and back.counts["names:site"][-2] == 31
    assert merge(back, back).rows == 4000
    assert load_layout(json.loads(json.dumps(LAYOUT.document()))) == LAYOUT


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"format": 0}, "format 0, an older one; this code reads format 1 only"),
        ({"format": 2}, "a newer one"),
        ({"format": None}, "no known one"),
        ({"counts": 3}, "is no profile"),
    ],
)
def test_a_profile_of_another_format_is_refused(changed: dict[str, object], expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        load_profile({**profile(LAYOUT, rows(CARE, 10, 0)).document(), **changed})


def test_profiles_of_two_layouts_are_not_put_together() -> None:
    other: Layout = fit_layout(CARE, rows(CARE, 900, 9))
    with pytest.raises(ConfigError, match="two layouts"):
        merge(profile(LAYOUT, rows(CARE, 10, 0)), profile(other, rows(CARE, 10, 0)))
    assert isinstance(profile(other, rows(CARE, 10, 0)), Profile)

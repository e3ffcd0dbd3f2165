"""The embedding map: every kind of label, nothing from outside, readable on a phone."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from tasks.records.pages.embedding_map import LIGHTNESS, SHAPES, embedding_map
from tasks.records.pages.words import PAGES
from tasks.spec.groupings import Centre, EmbeddingMap, MapPoint
from tests.browser import page_measured


def drawn(labels: str = "binary", groups: int = 4, n: int = 60) -> EmbeddingMap:
    rng = np.random.default_rng(0)
    value: dict[str, Any] = {
        "binary": lambda i: float(i % 2),
        "classes": lambda i: ("a <b>", "c", "d & e")[i % 3],
        "number": lambda i: i / 7 - 2,
        "none": lambda i: None,
        "one": lambda i: 1.0,
    }
    points = tuple(
        MapPoint(
            x=float(rng.uniform(-1, 1)),
            y=float(rng.uniform(-1, 1)),
            score=None if i % 11 == 0 else i / n,
            label=None if i % 5 == 0 else value[labels](i),
            group=i % groups,
            window="reference" if i % 2 else 12,
        )
        for i in range(n)
    )
    return EmbeddingMap(
        model="care",
        source="the leaves of 80 trees",
        explained=0.5,
        score_name="probability of at least one visit",
        label_name="at least one visit, or no visit",
        x=(-1.0, 1.0),
        y=(-1.0, 1.0),
        groups=tuple(
            Centre(
                name="ABCDEFGHIJ"[j],
                words=f"site {j} <i> (58% of it, 0% of the rest); "
                f"a_long_column_name_{j} at most 88.9 (86% of it, 57% of the rest)",
                x=j / 10,
                y=0.0,
            )
            for j in range(groups)
        ),
        points=points,
        note=f"{n // 2} of 4,000 reference rows and {n // 2} of 2,000 rows of the window",
    )


@pytest.mark.parametrize("labels", ["binary", "classes", "number", "none", "one"])
def test_every_kind_of_label_is_drawn_and_well_formed(labels: str) -> None:
    page = str(embedding_map(drawn(labels)))
    ElementTree.fromstring(f"<div>{page}</div>")
    assert (
        page.count("<figure>") == 4
        and "By window" in page
        and "window 12" in page
        and "http" not in page
        and "<script" not in page
    )
    assert "<b>" not in page and "<i>" not in page
    assert ("No label of these rows is known yet" in page) == (labels == "none")


def test_more_groups_than_colours_have_shapes_of_their_own() -> None:
    assert len(set(SHAPES)) == 10
    assert str(embedding_map(drawn(groups=10))).count("<li>") == 10


def test_order_is_told_by_lightness() -> None:
    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return float(np.dot(linear, [0.2126, 0.7152, 0.0722]) ** (1 / 3))

    steps = np.diff([luminance(c) for c in LIGHTNESS])
    assert (steps < -0.08).all()


def test_a_map_without_rows_of_a_window_or_with_one_value_is_drawn() -> None:
    whole = drawn()
    alone = whole.model_copy(
        update={"points": tuple(p.model_copy(update={"score": 0.5, "window": "reference"}) for p in whole.points)}
    )
    assert "this window" in str(embedding_map(alone)) and "0.5" in str(embedding_map(alone))
    assert "<figure>" in str(embedding_map(whole.model_copy(update={"points": ()})))


def test_a_point_of_no_group_is_refused() -> None:
    with pytest.raises(ValueError, match="beyond the 4"):
        EmbeddingMap.model_validate(
            {**drawn().model_dump(), "points": ({**drawn().points[0].model_dump(), "group": 4},)}
        )


@pytest.mark.parametrize("width", [390, 1200])
def test_the_map_fits_its_window(width: int, tmp_path: Path) -> None:
    page = PAGES.from_string('{% extends "base.html" %}{% block body %}{{ drawn }}{% endblock %}').render(
        heading="Map", drawn=embedding_map(drawn("classes", 8))
    )
    measured = page_measured(page, width, tmp_path)
    assert (
        measured["width"] == width and measured["scroll"] <= width and measured["over"] == [] and measured["cut"] == []
    )

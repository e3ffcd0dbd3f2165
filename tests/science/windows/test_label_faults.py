"""Outcomes that nothing should learn from are told from worlds that changed, for every kind of target."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tasks.science.windows.label_faults import LabelsToLearn, label_fault, still_waiting
from tests.science import watched

BINARY, CLASSES, NUMBERS = (watched.config(kind) for kind in ("binary", "multiclass", "regression"))
RNG = np.random.default_rng(11)
REFERENCE = RNG.random(3000) < 0.37
THREE = RNG.choice(3, 3000, p=[0.5, 0.3, 0.2])
PAY = RNG.lognormal(8, 1, 3000)


def learned(label: np.ndarray, waiting: int = 0, delay: np.ndarray | None = None) -> LabelsToLearn:
    return LabelsToLearn(label, np.full(len(label), 60.0) if delay is None else delay, waiting)


def test_outcomes_of_one_class_are_named() -> None:
    said = label_fault(BINARY, REFERENCE, learned(np.full(300, True)))
    assert said.startswith("all 300 outcomes that would teach are 'at least one visit', 3")
    assert "in the reference" in said
    assert label_fault(BINARY, REFERENCE, learned(np.full(9, True))) == ""  # nine may be chance
    assert "are 'high', 19.9% in the" in label_fault(CLASSES, THREE, learned(np.full(300, 2)))
    assert label_fault(NUMBERS, PAY, learned(np.full(300, 2980.0))).startswith("all 300 outcomes that would teach are")


def test_a_feed_that_broke_in_the_middle_is_named_by_the_place() -> None:
    label = RNG.random(1000) < 0.37
    label[700:] = True
    said = label_fault(BINARY, REFERENCE, learned(label))
    first = 701 - int(np.argmin(label[:700][::-1]))  # ones that happened to stand before it
    assert said.startswith(
        f"{1001 - first} outcomes in a row are 'at least one visit', from number {first} of 1,000 on; "
    )
    label[700:] = RNG.random(300) < 0.6  # the world changed there
    assert label_fault(BINARY, REFERENCE, learned(label)) == ""
    stuck = np.append(RNG.lognormal(8, 1, 500), np.full(40, 1234.5))
    assert "40 outcomes in a row are 1234.5, from number 501 of 540 on" in label_fault(NUMBERS, PAY, learned(stuck))


def test_the_rows_of_one_person_are_no_run() -> None:
    """Ill people come often: each has the same outcome in all of their rows."""
    people = np.repeat(RNG.random(60) < 0.37, 40)
    alone = learned(people)
    assert "in a row" in label_fault(BINARY, REFERENCE, alone)
    assert label_fault(BINARY, REFERENCE, replace(alone, entity=np.repeat(np.arange(60), 40))) == ""


def test_a_rate_beyond_tenfold_odds_is_named_and_a_changed_world_is_not() -> None:
    rare = RNG.random(3000) < 0.03
    flipped = RNG.random(2000) < 0.97
    assert "more than 10 times other odds" in label_fault(BINARY, rare, learned(flipped))
    for rate in (0.2, 0.5, 0.62):
        assert label_fault(BINARY, REFERENCE, learned(RNG.random(2000) < rate)) == ""
    assert "which holds 98 % of the reference" in label_fault(NUMBERS, PAY, learned(RNG.lognormal(8, 1, 500) * 1000))
    assert label_fault(NUMBERS, PAY, learned(RNG.lognormal(8.5, 1, 500))) == ""


def test_a_batch_that_came_sorted_is_no_broken_feed() -> None:
    score = np.sort(RNG.random(1000))
    label = RNG.random(1000) < np.clip(3 * (score - 0.35), 0, 1)
    assert "in a row" in label_fault(BINARY, REFERENCE, learned(label))
    assert label_fault(BINARY, REFERENCE, replace(learned(label), score=score)) == ""
    stuck = np.append(RNG.random(500) < 0.37, np.full(500, True))
    assert "in a row" in label_fault(BINARY, REFERENCE, replace(learned(stuck), score=RNG.random(1000)))


def test_who_never_answers_is_not_waited_for() -> None:
    delay = np.array([60.0, 120.0, 600.0] * 100)
    assert still_waiting(delay, np.array([10.0, 599.0, 601.0, 86_400.0])) == 2


@pytest.mark.parametrize("waiting", [0, 3000])
def test_outcomes_that_come_sooner_for_one_side_wait_until_the_others_are_in(waiting: int) -> None:
    label = RNG.random(1000) < 0.37
    delay = RNG.exponential(np.where(label, 3600, 36_000))
    said = label_fault(BINARY, REFERENCE, learned(label, waiting, delay))
    if not waiting:
        assert said == ""
    else:
        assert "of those that came sooner" in said and said.endswith("and 75% of all are still due")
    assert label_fault(BINARY, REFERENCE, learned(label, waiting, RNG.exponential(3600, 1000))) == ""
    pay = RNG.lognormal(8, 1, 1000)
    if waiting:
        assert "higher numbers come later" in label_fault(
            NUMBERS, PAY, learned(pay, waiting, pay * RNG.uniform(1, 2, 1000))
        )


def test_honest_samples_are_hardly_ever_called_a_fault() -> None:
    """One in a million is asked of each test; of 300 samples of either kind none may be."""
    rng = np.random.default_rng(5)
    for _ in range(300):
        rate = rng.uniform(0.05, 0.95)
        reference, label = rng.random(1000) < rate, rng.random(int(rng.integers(100, 3000))) < rate
        said = label_fault(BINARY, reference, learned(label, len(label), rng.exponential(60, len(label))))
        assert said == "", (rate, len(label), said)

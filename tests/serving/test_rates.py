"""Buckets and attempts by a clock that the test sets."""

from __future__ import annotations

from tasks.serving.rates import Attempts, Bucket


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_gives_its_rate_and_what_is_larger_is_owed() -> None:
    clock = Clock()
    bucket = Bucket(10, clock=clock)
    assert [bucket.draw(4) for _ in range(3)] == [0.0, 0.0, 0.2], "2 of 4 are there, and 2 come in 0.2 s"
    clock.now += 0.2
    assert bucket.draw(4) == 0.0
    clock.now += 1000
    assert bucket.draw(35) == 0.0, "a bucket is never fuller than a second, and one large draw goes through"
    assert bucket.draw(1) == 2.6, "25 are owed"
    clock.now += 2.6
    assert bucket.draw(1) == 0.0 and bucket.draw(1) > 0
    slow = Bucket(0.5, clock=clock)
    assert slow.draw(1) == 0.0 and slow.draw(1) == 2.0, "less than one a second is possible, too"


def test_over_a_long_time_no_more_than_the_rate_comes_through() -> None:
    clock = Clock()
    bucket, taken = Bucket(7, clock=clock), 0
    for _ in range(10_000):
        clock.now += 0.01
        taken += bucket.draw(3) == 0.0
    assert 100 * 7 - 10 <= 3 * taken <= 100 * 7 + 7


def test_attempts_of_one_address_wait_and_are_forgotten() -> None:
    clock = Clock()
    attempts = Attempts(3, 60, clock=clock)
    for _ in range(3):
        assert attempts.wait("a") == 0.0
        attempts.failed("a")
        clock.now += 10
    assert attempts.wait("a") == 30.0 and attempts.wait("b") == 0.0
    clock.now += 30
    assert attempts.wait("a") == 0.0

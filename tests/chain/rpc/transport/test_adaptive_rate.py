"""The rate of calls to an endpoint that throttles."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvms.chain.rpc.transport.adaptive_rate import (
    FIRST_PAUSE_SECONDS,
    MAX_PAUSE_SECONDS,
    MAX_RETRY_AFTER_SECONDS,
    MIN_RATE,
    RECOVERY_SECONDS,
    AdaptiveRateLimiter,
)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def pace(*, jitter: float = 1.0) -> tuple[AdaptiveRateLimiter, Clock]:
    clock = Clock()
    return AdaptiveRateLimiter(clock, jitter=lambda: jitter), clock


def ask(pacing: AdaptiveRateLimiter, clock: Clock, calls: int) -> float:
    """Reserve a call, wait for it, and return the seconds that took."""
    wait = pacing.reserve(calls)
    clock.now += wait
    pacing.sent(calls)
    return wait


def test_nothing_is_slowed_until_the_endpoint_throttles() -> None:
    pacing, clock = pace()
    assert [ask(pacing, clock, 100) for _ in range(50)] == [0.0] * 50


def test_a_refusal_pauses_and_halves_what_was_asked() -> None:
    pacing, clock = pace()
    ask(pacing, clock, 100)
    pacing.refused(began=clock.now)
    assert pacing.paused
    assert pacing.rate == 50
    assert pacing.reserve(1) == pytest.approx(FIRST_PAUSE_SECONDS)
    clock.now += FIRST_PAUSE_SECONDS
    assert not pacing.paused
    waits = [ask(pacing, clock, 10) for _ in range(100)]
    assert sum(waits) > 10  # 1000 calls, at no more than 50 a second at first


def test_refusals_in_a_row_pause_longer_up_to_a_limit_and_slow_down_to_a_limit() -> None:
    pacing, clock = pace()
    pauses = []
    for _ in range(12):
        pacing.refused(began=clock.now)
        pauses.append(pacing.wait())
        clock.now += pauses[-1]
    assert pauses[:3] == pytest.approx([FIRST_PAUSE_SECONDS * 2**n for n in range(3)])
    assert pauses[-1] == pytest.approx(MAX_PAUSE_SECONDS)
    assert pacing.rate >= MIN_RATE
    pacing.answered()
    pacing.refused(began=clock.now)
    assert pacing.wait() == pytest.approx(FIRST_PAUSE_SECONDS)


def test_refusals_of_what_was_under_way_already_halve_once() -> None:
    pacing, clock = pace()
    began = clock.now
    for _ in range(20):
        ask(pacing, clock, 1)
    clock.now += 0.1
    for _ in range(20):
        pacing.refused(began=began)
    assert pacing.rate == 10
    assert pacing.wait() <= FIRST_PAUSE_SECONDS


def test_it_pauses_for_retry_after_within_bounds_and_never_less() -> None:
    for jitter in (0.0, 1.0):
        pacing, clock = pace(jitter=jitter)
        pacing.refused(began=clock.now, retry_after=7)
        assert 7 <= pacing.wait() <= 7.71
        pacing.refused(began=clock.now, retry_after=1e9)
        assert pacing.wait() <= MAX_RETRY_AFTER_SECONDS * 1.11


def test_it_recovers_slowly_and_then_altogether() -> None:
    pacing, clock = pace()
    ask(pacing, clock, 100)
    pacing.refused(began=clock.now)
    clock.now += FIRST_PAUSE_SECONDS + RECOVERY_SECONDS / 2
    assert 90 <= pacing.burst <= 101
    clock.now += RECOVERY_SECONDS
    assert math.isinf(pacing.burst)


def test_a_released_reservation_is_free_for_the_next_call() -> None:
    pacing, clock = pace()
    ask(pacing, clock, 10)
    pacing.refused(began=clock.now)
    first = pacing.reserve(5)
    pacing.reserve(5)
    pacing.release(5)
    assert pacing.reserve(5) == pytest.approx(first + 1)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 100), st.floats(0, 30))))
def test_a_wait_is_always_finite_and_the_rate_never_zero(
    steps: list[tuple[bool, int, float]],
) -> None:
    pacing, clock = pace(jitter=0.5)
    for refuse, calls, seconds in steps:
        began = clock.now
        wait = ask(pacing, clock, calls)
        assert 0 <= wait <= MAX_RETRY_AFTER_SECONDS * 1.11 + 100 / MIN_RATE
        if refuse:
            pacing.refused(began=began, retry_after=seconds)
        clock.now += seconds
        assert pacing.rate >= MIN_RATE

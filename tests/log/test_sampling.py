"""The first few of a flood are logged, and the next line says how many were not."""

from __future__ import annotations

from cvms.log.sampling import MAX_KINDS, Sampler


def test_the_first_of_each_kind_are_admitted_and_the_next_window_tells_of_the_rest() -> None:
    now = [0.0]
    sampler = Sampler(first=2, seconds=60.0, clock=lambda: now[0])
    assert [sampler.admit("rate_limited") for _ in range(5)] == [0, 0, None, None, None]
    assert sampler.admit("not_found") == 0
    assert sampler.left_out("rate_limited") == 3
    now[0] = 60.0
    assert [sampler.admit("rate_limited") for _ in range(3)] == [3, 0, None]


def test_the_kinds_are_bounded() -> None:
    sampler = Sampler(first=1, seconds=60.0, clock=lambda: 0.0)
    for number in range(2 * MAX_KINDS):
        assert sampler.admit(f"code {number}") == 0
    assert sampler.admit("code 0") == 0  # it was forgotten
    assert sampler.admit(f"code {2 * MAX_KINDS - 1}") is None

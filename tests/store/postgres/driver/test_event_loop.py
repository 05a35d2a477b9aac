"""psycopg's generators let other tasks run, and no result is lost."""

from __future__ import annotations

import socket
import time
from collections.abc import Generator

import psycopg
import pytest
import trio
from psycopg.waiting import Ready, Wait

from cvms.store.postgres.driver.event_loop import YieldTimer, readable_now, run_generator

Step = Generator[Wait, Ready | int, str]


def always_writable(steps: int) -> Step:
    """Like a COPY of much data to a fast server: it never has to wait."""
    for _ in range(steps):
        assert (yield Wait.W) == Ready.W
        time.sleep(0.001)
    return "done"


def never_waits() -> Step:
    """Like a row of a COPY that fits the buffer."""
    time.sleep(0.001)
    return "done"
    yield Wait.R


def waits_for_input() -> Step:
    while not (yield Wait.R):  # psycopg's own ask again when they are resumed with nothing
        continue
    return "read"


async def count_turns(turns: list[int]) -> None:
    while True:
        await trio.lowlevel.checkpoint()
        turns.append(1)


async def test_other_tasks_run_while_the_socket_takes_everything() -> None:
    one, other = socket.socketpair()
    turns: list[int] = []
    with one, other:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(count_turns, turns)
            assert await run_generator(always_writable(100), one.fileno(), YieldTimer()) == "done"
            nursery.cancel_scope.cancel()
    assert len(turns) >= 10


async def test_other_tasks_run_between_steps_that_never_wait() -> None:
    turns: list[int] = []
    yield_timer = YieldTimer()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(count_turns, turns)
        for _ in range(100):
            assert await run_generator(never_waits(), -1, yield_timer) == "done"
        nursery.cancel_scope.cancel()
    assert len(turns) >= 10


async def test_a_result_that_is_there_is_not_lost_to_a_cancellation() -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        assert await run_generator(never_waits(), -1, YieldTimer()) == "done"


async def test_a_cancelled_generator_can_be_driven_to_its_end_later() -> None:
    one, other = socket.socketpair()
    with one, other:
        gen = waits_for_input()
        with trio.move_on_after(0.01):
            await run_generator(gen, one.fileno(), YieldTimer())
        other.send(b"x")
        assert await run_generator(gen, one.fileno(), YieldTimer()) == "read"


async def test_a_closed_socket_is_an_operational_error() -> None:
    one, other = socket.socketpair()
    one.close()
    with other, pytest.raises(psycopg.OperationalError):
        await run_generator(waits_for_input(), 10**6, YieldTimer())


def test_the_end_of_a_stream_counts_as_readable() -> None:
    one, other = socket.socketpair()
    with one:
        assert not readable_now(one.fileno())
        other.close()
        assert readable_now(one.fileno())

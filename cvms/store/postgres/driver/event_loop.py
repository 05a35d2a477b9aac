"""Drives psycopg's protocol generators under trio.

psycopg writes its protocol as generators that yield what they wait for (`Wait.R`, `Wait.W`,
`Wait.RW`) and are sent what is ready; only the waiting itself depends on the event loop.
"""

from __future__ import annotations

import select
from time import monotonic
from typing import TypeVar

import trio
from psycopg import OperationalError
from psycopg.abc import PQGen, PQGenConn
from psycopg.waiting import Ready, Wait

RV = TypeVar("RV")

# A long executemany() or COPY never blocks while the socket takes all it is given; this is how
# long it may keep the other tasks waiting.
MAX_BUSY_SECONDS = 0.005


class YieldTimer:
    """When a connection last let the other tasks run."""

    __slots__ = ("_yielded_at",)

    def __init__(self) -> None:
        self._yielded_at = 0.0

    def overdue(self) -> bool:
        return monotonic() - self._yielded_at >= MAX_BUSY_SECONDS

    def yielded(self) -> None:
        self._yielded_at = monotonic()


async def run_generator(gen: PQGen[RV], fd: int, pace: YieldTimer) -> RV:
    """Run `gen` to its end on the socket `fd` and return its result.

    Cancelled while it waits, it leaves `gen` suspended, so that another call can drain it. Once
    the result is there, it is never lost to a cancellation.
    """
    try:
        wants = next(gen)
        while True:
            wants = gen.send(await _when_ready(fd, int(wants), pace))
    except StopIteration as end:
        if pace.overdue():
            await trio.lowlevel.cancel_shielded_checkpoint()
            pace.yielded()
        result: RV = end.value
        return result
    except (OSError, trio.ClosedResourceError) as error:
        raise OperationalError("connection socket closed") from error


async def run_connecting(gen: PQGenConn[RV]) -> RV:
    """Run a generator whose socket may change: connecting, or asking the server to cancel."""
    try:
        fd, wants = next(gen)
        while True:
            fd, wants = gen.send(await _block(fd, int(wants)))
    except StopIteration as end:
        result: RV = end.value
        return result
    except (OSError, trio.ClosedResourceError) as error:
        raise OperationalError("connection socket closed") from error
    finally:
        gen.close()


def readable_now(fd: int) -> bool:
    """Whether something, or the end of the stream, is there to be read."""
    return bool(_poll(fd, int(Wait.R)))


async def _when_ready(fd: int, wants: int, pace: YieldTimer) -> int:
    if wants & Wait.W:
        # A socket is nearly always writable, and asking costs less than a turn of the loop.
        if pace.overdue():
            await trio.lowlevel.checkpoint()
            pace.yielded()
        if ready := _poll(fd, wants):
            return ready
    ready = await _block(fd, wants)
    pace.yielded()
    return ready


async def _block(fd: int, wants: int) -> int:
    if wants == Wait.R:
        await trio.lowlevel.wait_readable(fd)
        return int(Ready.R)
    if wants == Wait.W:
        await trio.lowlevel.wait_writable(fd)
        return int(Ready.W)
    return await _block_on_either(fd)


async def _block_on_either(fd: int) -> int:
    """Wait until `fd` can be read or written: the server may need to be read to go on reading.

    An epoll of the one descriptor is itself readable when either is so; that needs no two tasks.
    """
    with select.epoll() as either:
        either.register(fd, select.EPOLLIN | select.EPOLLOUT)
        await trio.lowlevel.wait_readable(either.fileno())
    return _poll(fd, int(Wait.RW))


def _poll(fd: int, wants: int) -> int:
    poll = select.poll()
    asked = (select.POLLIN if wants & Wait.R else 0) | (select.POLLOUT if wants & Wait.W else 0)
    poll.register(fd, asked)
    ready = 0
    for _, events in poll.poll(0):
        ended = events & (select.POLLHUP | select.POLLERR | select.POLLNVAL)
        if wants & Wait.R and (ended or events & select.POLLIN):
            ready |= Ready.R
        if wants & Wait.W and (ended or events & select.POLLOUT):
            ready |= Ready.W
    return int(ready)

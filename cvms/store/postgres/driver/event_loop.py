"""Runs psycopg's protocol generators under trio.

psycopg implements its protocol as generators that yield what they wait for (`Wait.R`, `Wait.W`,
`Wait.RW`) and are sent what is ready. Only the waiting depends on the event loop.
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

# A long executemany() or COPY never blocks while the socket accepts all data; this is how long it
# may keep other tasks waiting.
MAX_BUSY_SECONDS = 0.005


class YieldTimer:
    """Remembers when a connection last let other tasks run."""

    __slots__ = ("_yielded_at",)

    def __init__(self) -> None:
        self._yielded_at = 0.0

    def overdue(self) -> bool:
        return monotonic() - self._yielded_at >= MAX_BUSY_SECONDS

    def yielded(self) -> None:
        self._yielded_at = monotonic()


async def run_generator(gen: PQGen[RV], fd: int, yield_timer: YieldTimer) -> RV:
    """Run `gen` to its end on the socket `fd` and return its result.

    If cancelled while it waits, it leaves `gen` suspended, so that another call can drain it. Once
    there is a result, it is never lost to a cancellation.
    """
    try:
        wants = next(gen)
        while True:
            wants = gen.send(await _when_ready(fd, int(wants), yield_timer))
    except StopIteration as end:
        if yield_timer.overdue():
            await trio.lowlevel.cancel_shielded_checkpoint()
            yield_timer.yielded()
        result: RV = end.value
        return result
    except (OSError, trio.ClosedResourceError) as error:
        raise OperationalError("connection socket closed") from error


async def run_connecting(gen: PQGenConn[RV]) -> RV:
    """Run a generator whose socket may change: for connecting, or a cancel request."""
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
    """Return whether data or the end of the stream can be read."""
    return bool(_poll(fd, int(Wait.R)))


async def _when_ready(fd: int, wants: int, yield_timer: YieldTimer) -> int:
    if wants & Wait.W:
        # A socket is nearly always writable, and polling costs less than a pass of the event loop.
        if yield_timer.overdue():
            await trio.lowlevel.checkpoint()
            yield_timer.yielded()
        if ready := _poll(fd, wants):
            return ready
    ready = await _block(fd, wants)
    yield_timer.yielded()
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
    """Wait until `fd` is readable or writable: the server may stop reading until it is read from.

    An epoll with this descriptor is itself readable in either case, so two tasks are not needed.
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

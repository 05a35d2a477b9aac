"""Faults that strike a whole HTTP request, before its calls are run."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

import trio

from cvms.localnet.node.faults import ConnectionCut, Cut, Faults, Hang, Slow, TooManyRequests
from cvms.localnet.node.node_connection import Headers


async def meet(
    faults: Faults, methods: frozenset[str], *, client_gone: Callable[[], Awaitable[None]]
) -> Headers | None:
    """Wait or fail as told; the headers of an HTTP 429 that is to be the answer, or None.

    Raises ConnectionCut where there is to be no answer, or nobody waits for one any more.
    """
    if faults.strike(Cut, methods):
        raise ConnectionCut
    if slow := faults.strike(Slow, methods):
        await trio.sleep(slow.seconds)
    if hang := faults.strike(Hang, methods):
        await _hang(hang, client_gone)
    if (limited := faults.strike(TooManyRequests, methods)) is None:
        return None
    after = limited.retry_after
    return [] if after is None else [(b"retry-after", b"%d" % after)]


async def _hang(hang: Hang, client_gone: Callable[[], Awaitable[None]]) -> None:
    async with trio.open_nursery() as nursery:

        async def watch() -> None:
            await client_gone()
            nursery.cancel_scope.cancel()

        nursery.start_soon(watch)
        await hang.lifted.wait()
        nursery.cancel_scope.cancel()
    if not hang.lifted.is_set():
        raise ConnectionCut


def methods_in(body: bytes) -> frozenset[str]:
    """The methods that a request calls; none if it is not one."""
    try:
        request = json.loads(body)
    except (ValueError, RecursionError):
        return frozenset()
    calls = request if isinstance(request, list) else [request]
    names = [call.get("method") for call in calls if isinstance(call, dict)]
    return frozenset(name for name in names if isinstance(name, str))

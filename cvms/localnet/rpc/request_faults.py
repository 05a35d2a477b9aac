"""Faults of a whole HTTP request, applied before its calls are run."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

import trio

from cvms.localnet.node.faults import ConnectionCut, Cut, Hang, NodeFaults, Slow, TooManyRequests
from cvms.localnet.node.request_parser import Headers


async def apply_request_faults(
    faults: NodeFaults, methods: frozenset[str], *, client_gone: Callable[[], Awaitable[None]]
) -> Headers | None:
    """Apply the faults of a request. Return the headers if it must be answered with HTTP 429.

    Raises ConnectionCut if the connection must be closed, or the client has disconnected.
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


def called_methods(body: bytes) -> frozenset[str]:
    """Return the methods that a request calls, empty if it cannot be parsed."""
    try:
        request = json.loads(body)
    except (ValueError, RecursionError):
        return frozenset()
    calls = request if isinstance(request, list) else [request]
    names = [call.get("method") for call in calls if isinstance(call, dict)]
    return frozenset(name for name in names if isinstance(name, str))

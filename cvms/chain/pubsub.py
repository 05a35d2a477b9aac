"""A program's logs, live: subscribe, reconnect, and say when something may have been missed."""

from __future__ import annotations

import itertools
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
import structlog
import trio
from solders.pubkey import Pubkey

from cvms.chain.backoff import Backoff
from cvms.chain.types import Commitment, Slot
from cvms.chain.websocket import (
    Connection,
    ConnectionLost,
    OpenStream,
    Target,
    open_connection,
    open_stream,
)
from cvms.errors import ConfigurationError, leaves

SUBSCRIBE_SECONDS = 10.0
FIRST_DELAY = 0.25
LONGEST_DELAY = 15.0
STABLE_SECONDS = 30.0  # a node that accepts and drops at once must not be asked at full speed
_REQUEST_ID = 1

T = TypeVar("T")

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Subscribed:
    """The subscription holds from here on; what happened before may have been missed."""


@dataclass(frozen=True, slots=True)
class LogNotice:
    """A transaction that mentions the program. `err` is the node's JSON, None for success."""

    signature: str
    slot: Slot
    err: Any
    logs: list[str]


async def watch_logs(
    urls: Sequence[str],
    program: Pubkey,
    *,
    commitment: Commitment,
    notices: trio.MemorySendChannel[Subscribed | LogNotice],
    open_stream: OpenStream = open_stream,
    jitter: Callable[[], float] = random.random,
) -> None:
    """Run until cancelled, from one URL to the next whenever a connection is lost.

    A full `notices` makes this wait, and the node in turn: nothing is dropped here, but a node
    may close the connection of a client that lags, which gives a new Subscribed.
    """

    async def session(connection: Connection) -> None:
        await _subscribe(connection, program, commitment)
        await _forward(connection, notices)

    await keep_connected(urls, session, open_stream=open_stream, jitter=jitter)


async def keep_connected(
    urls: Sequence[str],
    session: Callable[[Connection], Awaitable[None]],
    *,
    when: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint,
    lost: Callable[[], None] = lambda: None,
    open_stream: OpenStream = open_stream,
    jitter: Callable[[], float] = random.random,
) -> None:
    """Run `session` on a connection until cancelled, on the next URL whenever one is lost.

    Losing it ends the session with ConnectionLost, which it may raise itself; should it return, it
    gets another connection. Each attempt begins when `when` returns; `lost` is called for each that
    fails and for each connection that is lost.
    """
    if not urls:
        raise ConfigurationError("no PubSub URL is given")
    targets = [Target.parse(url) for url in urls]
    backoff = Backoff(first=FIRST_DELAY, longest=LONGEST_DELAY, jitter=jitter)
    for target in itertools.cycle(targets):
        await when()
        began = trio.current_time()
        try:
            async with (
                trio.open_nursery() as nursery,
                open_connection(target, nursery, open_stream=open_stream) as connection,
            ):
                nursery.start_soon(connection.keep_alive)
                await session(connection)
                nursery.cancel_scope.cancel()
        except* ConnectionLost as error:
            lost()
            reasons = sorted({str(each) for each in leaves(error)})
            _log.warning("pubsub connection lost", host=target.host, reasons=reasons)
        if trio.current_time() - began > STABLE_SECONDS:
            backoff.reset()
        await trio.sleep(backoff.next())


async def _subscribe(connection: Connection, program: Pubkey, commitment: Commitment) -> None:
    request = {
        "jsonrpc": "2.0",
        "id": _REQUEST_ID,
        "method": "logsSubscribe",
        "params": [{"mentions": [str(program)]}, {"commitment": commitment}],
    }
    with trio.move_on_after(SUBSCRIBE_SECONDS):
        await connection.send(msgspec.json.encode(request).decode())
        answer = _decode(await connection.receive(), _Answer)
        if answer.id != _REQUEST_ID or answer.result is None:
            raise ConnectionLost("the node refuses the subscription")
        return
    raise ConnectionLost(f"no answer to the subscription within {SUBSCRIBE_SECONDS:g} s")


async def _forward(
    connection: Connection, notices: trio.MemorySendChannel[Subscribed | LogNotice]
) -> None:
    await notices.send(Subscribed())
    while True:
        frame = _decode(await connection.receive(), _Notification)
        value, slot = frame.params.result.value, frame.params.result.context.slot
        await notices.send(LogNotice(value.signature, Slot(slot), value.err, value.logs or []))


class _Answer(msgspec.Struct):
    id: int | None = None
    result: int | None = None


class _Context(msgspec.Struct):
    slot: int


class _Value(msgspec.Struct):
    signature: str
    err: Any = None
    logs: list[str] | None = None


class _Result(msgspec.Struct):
    context: _Context
    value: _Value


class _Params(msgspec.Struct):
    result: _Result


class _Notification(msgspec.Struct):
    params: _Params


def _decode(message: str | bytes, kind: type[T]) -> T:
    # What cannot be read may have been a notification: only a new subscription makes up for it.
    try:
        return msgspec.json.decode(message, type=kind)
    except (msgspec.DecodeError, RecursionError):
        raise ConnectionLost("the node sent something unexpected") from None

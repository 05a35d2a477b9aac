"""The metrics of several workers as those of one service.

A socket pair connects each worker to the parent. A worker that is scraped asks the parent, which
asks all workers and adds up what they answer. The parent keeps the counters of workers that have
ended, as they were last seen, so that no sum ever goes back.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from itertools import count

import msgspec
import structlog
import trio

from cvms.errors import Overloaded
from cvms.metrics import Metrics
from cvms.metrics.snapshot import Family, Snapshot, counted, merge

log = structlog.get_logger(__name__)

ANSWER_SECONDS = 1.0
"""For workers to answer the parent. One that does not is shown with the counters seen last."""
GATHER_SECONDS = 3.0
"""For the parent to answer a worker: a round that is under way, and the next one."""
MAX_MESSAGE = 16 * 1024 * 1024
CHUNK = 65536
_LENGTH = struct.Struct("!I")


class Message(msgspec.Struct, frozen=True, array_like=True):
    """`gather`: a worker asks for the values of all. `ask`: the parent asks for those of one.

    Both are answered by `values` with the same number. `last` has those of a worker that ends.
    """

    kind: str
    number: int
    values: tuple[Family, ...] = ()


class Channel:
    """Messages over a socket, each after its length."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._sending = trio.Lock()

    async def send(self, kind: str, number: int, values: Snapshot = ()) -> None:
        """Send a message, or close the channel if the other end does not receive it in time."""
        data = msgspec.msgpack.encode(Message(kind, number, tuple(values)))
        with trio.move_on_after(ANSWER_SECONDS) as waiting:
            async with self._sending:
                try:
                    await self._stream.send_all(_LENGTH.pack(len(data)) + data)
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    return
        if waiting.cancelled_caught:  # a part of the message may be sent
            await trio.aclose_forcefully(self._stream)

    async def messages(self) -> AsyncGenerator[Message, None]:
        """Yield what arrives until the other end is closed, or sends what is no message."""
        received = bytearray()
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            while chunk := await self._stream.receive_some(CHUNK):
                received += chunk
                try:
                    while (message := _first(received)) is not None:
                        yield message
                except msgspec.MsgspecError as error:  # another release has another format
                    log.warning("worker_metrics_unreadable", reason=str(error))
                    return

    async def aclose(self) -> None:
        await trio.aclose_forcefully(self._stream)


def _first(received: bytearray) -> Message | None:
    """Take the first message out of what was received. Raises MsgspecError if it is none."""
    if len(received) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack_from(received)
    if length > MAX_MESSAGE:
        raise msgspec.DecodeError(f"{length} bytes are too long")
    end = _LENGTH.size + length
    if len(received) < end:
        return None
    data = bytes(received[_LENGTH.size : end])
    del received[:end]
    return msgspec.msgpack.decode(data, type=Message)


def open_channel(end: socket.socket) -> Channel:
    """Return the channel over one end of a socket pair."""
    return Channel(trio.SocketStream(trio.socket.from_stdlib_socket(end)))


@dataclass(slots=True, eq=False)
class _Waiting:
    """What was asked and is not answered yet."""

    answered: trio.Event = field(default_factory=trio.Event)
    values: Snapshot | None = None

    def answer(self, values: Snapshot | None) -> None:
        self.values = values
        self.answered.set()


class WorkerMetrics:
    """A worker's metrics, and its end of the channel."""

    def __init__(self, channel: Channel) -> None:
        self.metrics = Metrics(gather=self._gather)
        self._channel = channel
        self._numbers = count(1)
        self._waiting: dict[int, _Waiting] = {}
        self._alone = False

    async def run(self) -> None:
        """Answer the parent until cancelled, and then say what the counters were."""
        try:
            async with aclosing(self._channel.messages()) as messages:
                async for message in messages:
                    if message.kind == "ask":
                        await self._channel.send("values", message.number, self._own())
                    elif message.number in self._waiting:
                        self._waiting[message.number].answer(message.values)
        finally:
            self._alone = True
            with trio.CancelScope(shield=True):  # `send` has a deadline of its own
                await self._channel.send("last", 0, self._own())
                await self._channel.aclose()

    def _own(self) -> Snapshot:
        return self.metrics.exposition.own()

    async def _gather(self) -> Snapshot:
        """Return the values of all workers. Raises Overloaded if they do not come in time."""
        if self._alone:
            return self._own()
        number = next(self._numbers)
        waiting = self._waiting[number] = _Waiting()
        try:
            with trio.move_on_after(GATHER_SECONDS):
                await self._channel.send("gather", number)
                await waiting.answered.wait()
        finally:
            del self._waiting[number]
        if waiting.values is None:
            raise Overloaded(
                f"The metrics of the other workers did not come within {GATHER_SECONDS:g} s. Try "
                "again in a moment."
            )
        return waiting.values


@dataclass(slots=True, eq=False)
class _Member:
    """A worker, as the parent sees it: `seen` are its values when it last answered."""

    channel: Channel
    seen: Snapshot = ()
    waiting: _Waiting = field(default_factory=_Waiting)


class MetricsGatherer:
    """The parent's side: gathers the values of the workers, for whichever is scraped."""

    def __init__(self) -> None:
        self._members: set[_Member] = set()
        self._ended: Snapshot = ()
        self._gathered: Snapshot = ()
        self.rounds = 0
        """How often the workers were asked."""
        self._gathering = trio.Lock()

    async def serve(self, end: socket.socket) -> None:
        """Serve one worker on the parent's end of its socket pair, until the worker ends."""
        member = _Member(open_channel(end))
        self._members.add(member)
        try:
            async with (
                trio.open_nursery() as nursery,
                aclosing(member.channel.messages()) as messages,
            ):
                async for message in messages:
                    if message.kind == "gather":
                        nursery.start_soon(self._answer, member, message.number)
                    else:
                        self._saw(member, message)
                nursery.cancel_scope.cancel()
        finally:
            self._members.remove(member)
            self._ended = merge([self._ended, counted(member.seen)])
            member.waiting.answer(None)
            await member.channel.aclose()

    def _saw(self, member: _Member, message: Message) -> None:
        member.seen = message.values
        if message.number == self.rounds:
            member.waiting.answer(message.values)

    async def _answer(self, member: _Member, number: int) -> None:
        await member.channel.send("values", number, await self._gather())

    async def _gather(self) -> Snapshot:
        """Return values that were read after the call: at most one round is under way."""
        before = self.rounds
        async with self._gathering:
            if self.rounds == before:
                await self._make_round()
            return self._gathered

    async def _make_round(self) -> None:
        self.rounds += 1
        asked = list(self._members)
        with trio.move_on_after(ANSWER_SECONDS):
            async with trio.open_nursery() as nursery:
                for member in asked:
                    member.waiting = _Waiting()
                    nursery.start_soon(self._ask, member)
        self._gathered = merge(
            [
                self._ended,
                *(each.waiting.values or counted(each.seen) for each in self._members),
            ]
        )

    async def _ask(self, member: _Member) -> None:
        await member.channel.send("ask", self.rounds)
        await member.waiting.answered.wait()

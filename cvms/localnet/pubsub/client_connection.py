"""One PubSub client: its calls, its bounded queue, its socket."""

from __future__ import annotations

import msgspec
import structlog
import trio
import trio_websocket

from cvms.errors import RpcError
from cvms.localnet.pubsub.requests import SUBSCRIBE, UNSUBSCRIBE
from cvms.localnet.pubsub.subscription_hub import SubscriptionHub
from cvms.localnet.rpc.call.params import check_params
from cvms.localnet.rpc.call.rpc_errors import INVALID_PARAMS, METHOD_NOT_FOUND
from cvms.localnet.rpc.call.signatures import SIGNATURES
from cvms.localnet.rpc.dispatch import raise_injected_error
from cvms.localnet.rpc.envelope import (
    Call,
    NotARequest,
    error_reply,
    parse_error,
    read_request,
    result_reply,
)
from cvms.localnet.rpc.method_table import METHODS
from cvms.localnet.types import Json

log = structlog.get_logger(__name__)

QUEUE_FRAMES = 16_384
"""Room for the logs of a full block for several subscriptions."""

RUN_BYTES = 64 * 1024
SEND_SECONDS = 20.0
CLOSE_SECONDS = 2.0
HANDSHAKE_SECONDS = 10.0
MAX_MESSAGE_BYTES = 64 * 1024

TRY_AGAIN_LATER = 1013


Frame = tuple[float, str]
"""The time to send it (trio's clock), and the text."""


class PubSubPort:
    """The PubSub connections of one listener, and those upgraded on the HTTP port."""

    def __init__(self, hub: SubscriptionHub) -> None:
        self._hub = hub

    async def upgrade(self, stream: trio.SocketStream, head: bytes) -> None:
        """Serve a client whose request `head` has already been read from the stream."""
        await self.serve(stream, head)

    async def serve(self, stream: trio.SocketStream, head: bytes = b"") -> None:
        """Serve one client until it disconnects. Its errors end only its own connection."""
        frames = FrameStream(stream, head)
        try:
            async with trio.open_nursery() as nursery:
                if (socket := await self._accept(nursery, frames)) is not None:
                    await PubSubClient(socket, frames, self._hub).run()
                nursery.cancel_scope.cancel()
        except* (
            trio.BrokenResourceError,
            trio.ClosedResourceError,
            trio.TooSlowError,
            trio_websocket.ConnectionClosed,
            trio_websocket.HandshakeError,
        ) as group:
            log.debug("pubsub_client_disconnected", reason=repr(group.exceptions[0]))
        finally:
            await trio.aclose_forcefully(stream)

    async def _accept(
        self, nursery: trio.Nursery, stream: trio.abc.Stream
    ) -> trio_websocket.WebSocketConnection | None:
        with trio.fail_after(HANDSHAKE_SECONDS):
            request = await trio_websocket.wrap_server_stream(
                nursery, stream, max_message_size=MAX_MESSAGE_BYTES
            )
            if self._hub.node.faults.refuse_pubsub:
                await request.reject(503)
                return None
            return await request.accept()


class PubSubClient:
    """One connected client, which reads calls and writes frames concurrently."""

    def __init__(
        self,
        socket: trio_websocket.WebSocketConnection,
        stream: FrameStream,
        hub: SubscriptionHub,
    ) -> None:
        self._socket = socket
        self._stream = stream
        self._hub = hub
        self._send, self._frames = trio.open_memory_channel[Frame](QUEUE_FRAMES)
        self._full = trio.Event()
        self._connected = trio.CancelScope()

    def push(self, frame: str, *, delay: float = 0.0) -> None:
        """Queue a frame. A client whose queue is full is disconnected, so that nothing waits."""
        due = trio.current_time() + delay if delay else 0.0
        try:
            self._send.send_nowait((due, frame))
        except trio.WouldBlock:
            self._full.set()

    def cut(self) -> None:
        """End the connection without a closing handshake."""
        self._connected.cancel()

    async def run(self) -> None:
        """Run until the client disconnects, its queue is full, or its socket fails."""
        self._hub.add_client(self)
        try:
            with self._connected:
                await self._run()
        finally:
            self._hub.remove_client(self)

    async def _run(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write)
            nursery.start_soon(self._close_when_full)
            await self._read()
            nursery.cancel_scope.cancel()

    async def _read(self) -> None:
        while True:
            try:
                message = await self._socket.get_message()
            except trio_websocket.ConnectionClosed:
                return
            self._take(message)

    async def _write(self) -> None:
        async for due, frame in self._frames:
            if due > trio.current_time():
                await self._stream.send_all(b"")
                await trio.sleep_until(due)
            await self._hub.node.chain.ledger.committed()
            self._stream.held = self._frames.statistics().current_buffer_used > 0
            with trio.fail_after(SEND_SECONDS):
                await self._socket.send_message(frame)
            self._stream.held = False

    async def _close_when_full(self) -> None:
        await self._full.wait()
        self._hub.remove_client(self)
        with trio.fail_after(CLOSE_SECONDS):
            await self._socket.aclose(TRY_AGAIN_LATER, "too slow")

    def _take(self, message: str | bytes) -> None:
        try:
            request = read_request(message)
        except NotARequest:
            self.push(_frame(parse_error()))
            return
        batch = [request] if isinstance(request, Call) else request
        subscribed: list[int] = []
        replies = [reply for call in batch if (reply := self._answer(call, subscribed)) is not None]
        if replies:
            self.push(_frame(replies[0] if isinstance(request, Call) else replies))
        for identifier in subscribed:
            self._hub.notify_if_landed(identifier)

    def _answer(self, call: Call, subscribed: list[int]) -> Json:
        """Make a call, add a new subscription's id to `subscribed`, and return the reply.

        A notification is ignored, and has no reply: it could not tell an id.
        """
        if call.is_notification:
            return None
        try:
            result = self._call(call, subscribed)
        except RpcError as error:
            return error_reply(call, error)
        return result_reply(call, result)

    def _call(self, call: Call, subscribed: list[int]) -> Json:
        if call.error is not None:
            raise call.error
        name = call.method
        raise_injected_error(self._hub.node, name)
        if name not in SIGNATURES or (name in METHODS and name != "getVersion"):
            raise RpcError(METHOD_NOT_FOUND, "Method not found")
        params = check_params(call.params, SIGNATURES[name])
        if name in SUBSCRIBE:
            subscribed.append(self._hub.subscribe(self, SUBSCRIBE[name](params)))
            return subscribed[-1]
        if name in UNSUBSCRIBE:
            if not self._hub.unsubscribe(self, params.integer(0)):
                raise RpcError(INVALID_PARAMS, "Invalid subscription id.")
            return True
        if name == "getVersion":
            return METHODS[name](self._hub.node, params)
        # Blocks and votes are known, but off, as on a validator without options.
        raise RpcError(METHOD_NOT_FOUND, "Method not found")


def _frame(reply: Json) -> str:
    return msgspec.json.encode(reply).decode()


class FrameStream(trio.abc.Stream):
    """A client's stream. It returns `head`, which was read from it before, first.

    While it is `held` it keeps what is written, up to RUN_BYTES, for the next write: a slot's
    hundreds of notifications leave with few system calls.
    """

    def __init__(self, stream: trio.SocketStream, head: bytes) -> None:
        self.held = False
        self._stream = stream
        self._head = head
        self._kept = bytearray()
        self._sending = trio.Lock()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if self._head:
            await trio.lowlevel.checkpoint()
            head, self._head = self._head, b""
            return head
        return await self._stream.receive_some(max_bytes)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        self._kept += data
        if self.held and len(self._kept) < RUN_BYTES:
            await trio.lowlevel.checkpoint_if_cancelled()
            return
        async with self._sending:
            kept, self._kept = self._kept, bytearray()
            await self._stream.send_all(kept)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def aclose(self) -> None:
        await self._stream.aclose()

"""A receiver of webhooks that verifies signatures with the library of Standard Webhooks."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import h11
import trio
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

OK = b"HTTP/1.1 204 No Content\r\n\r\n"
CLOSED = (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError)


@dataclass(frozen=True, slots=True)
class Received:
    """A message whose signature is valid, and what it was answered with."""

    id: str
    type: str
    data: dict[str, Any]
    answer: bytes
    traceparent: str | None = None

    @property
    def accepted(self) -> bool:
        return self.answer.startswith(b"HTTP/1.1 2")


@dataclass(slots=True, eq=False)
class WebhookReceiver:
    """A server on loopback. `answer` returns the bytes of a reply, or None for none at all.

    `secrets` are those of which each message must have a valid signature.
    """

    answer: Callable[[dict[str, Any]], bytes | None] = lambda _: OK
    secrets: list[str] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    invalid: list[str] = field(default_factory=list)
    connections: int = 0
    url: str = ""
    _open: set[trio.SocketStream] = field(default_factory=set, init=False)
    _grown: trio.Condition = field(default_factory=trio.Condition, init=False)

    async def start(self, nursery: trio.Nursery) -> WebhookReceiver:
        """Serve on a free port until the nursery ends."""
        listeners = await nursery.start(
            partial(trio.serve_tcp, self._serve, port=0, host="127.0.0.1")
        )
        self.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/hook"
        return self

    @property
    def accepted(self) -> list[Received]:
        return [each for each in self.received if each.accepted]

    def close_connections(self) -> None:
        """Close all connections, as servers do with idle ones."""
        for stream in self._open:
            stream.socket.close()

    async def until(self, condition: Callable[[], bool], *, seconds: float = 60.0) -> None:
        """Wait until a condition holds after some message."""
        with trio.fail_after(seconds):
            async with self._grown:
                while not condition():
                    await self._grown.wait()

    async def connected(self, *, seconds: float = 60.0) -> None:
        """Wait until a connection is accepted, which the client may know before this server."""
        with trio.fail_after(seconds):
            async with self._grown:
                while not self.connections:
                    await self._grown.wait()

    async def _serve(self, stream: trio.SocketStream) -> None:
        async with self._grown:
            self.connections += 1
            self._open.add(stream)
            self._grown.notify_all()
        http = h11.Connection(h11.SERVER)
        with suppress(*CLOSED):
            while True:
                headers, body = await _request(stream, http)
                if headers is None:
                    return
                answer = await self._receive(headers, body)
                if answer is None:
                    await trio.sleep_forever()
                else:
                    await stream.send_all(answer)
                    http.send(h11.Response(status_code=204, headers=[]))
                    http.send(h11.EndOfMessage())
                    if http.our_state is not h11.DONE:
                        return  # the client wants it closed
                    http.start_next_cycle()

    async def _receive(self, headers: dict[str, str], body: bytes) -> bytes | None:
        message: dict[str, Any] = json.loads(body)
        for secret in self.secrets:
            try:
                Webhook(secret).verify(body, headers)
            except WebhookVerificationError as error:
                self.invalid.append(str(error))
        answer = self.answer(message)
        async with self._grown:
            self.received.append(
                Received(
                    headers["webhook-id"],
                    message["type"],
                    message["data"],
                    answer or b"",
                    headers.get("traceparent"),
                )
            )
            self._grown.notify_all()
        return answer


async def _request(
    stream: trio.SocketStream, http: h11.Connection
) -> tuple[dict[str, str] | None, bytes]:
    headers: dict[str, str] | None = None
    body = b""
    while not isinstance(event := http.next_event(), h11.EndOfMessage):
        if event is h11.NEED_DATA:
            http.receive_data(await stream.receive_some(65536))
        elif isinstance(event, h11.Request):
            headers = {name.decode(): value.decode() for name, value in event.headers}
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        else:
            return None, b""
    return headers, body

"""A collector of traces on loopback, which decodes what it is sent (OTLP over HTTP)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import h11
import trio
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

LEFT = (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError)


@dataclass(slots=True, eq=False)
class Collector:
    """Answers each batch with `status`, or not at all if it is None, and keeps those accepted."""

    status: int | None = 200
    spans: list[Span] = field(default_factory=list)
    batches: int = 0
    url: str = ""
    _grown: trio.Condition = field(default_factory=trio.Condition, init=False)

    async def start(self, nursery: trio.Nursery) -> Collector:
        """Listen on a free port until the nursery ends."""
        listen = partial(trio.serve_tcp, self._serve, port=0, host="127.0.0.1")
        [listener] = await nursery.start(listen)
        self.url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        return self

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition holds after some batch."""
        with trio.fail_after(20):
            async with self._grown:
                while not condition():
                    await self._grown.wait()

    async def _serve(self, stream: trio.SocketStream) -> None:
        with suppress(*LEFT):
            while True:
                http, body = h11.Connection(h11.SERVER), b""
                while not isinstance(event := http.next_event(), h11.EndOfMessage):
                    if event is h11.NEED_DATA:
                        http.receive_data(await stream.receive_some(65536))
                    elif isinstance(event, h11.ConnectionClosed):
                        return
                    elif isinstance(event, h11.Request):
                        assert event.target == b"/v1/traces"
                    elif isinstance(event, h11.Data):
                        body += event.data
                await self._answer(stream, body)

    async def _answer(self, stream: trio.SocketStream, body: bytes) -> None:
        if self.status is None:
            await trio.sleep_forever()
        request = ExportTraceServiceRequest.FromString(body)
        async with self._grown:
            self.batches += 1
            if self.status == 200:
                self.spans += [
                    span
                    for resource in request.resource_spans
                    for scope in resource.scope_spans
                    for span in scope.spans
                ]
            self._grown.notify_all()
        head = f"HTTP/1.1 {self.status} Status\r\nContent-Length: 0\r\n\r\n"
        await stream.send_all(head.encode())

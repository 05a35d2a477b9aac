"""Handshakes that a proxy or a gateway answers by something else than a WebSocket.

They use memory streams and an autojump clock, so every wait is virtual.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs
from trio_websocket import WebSocketConnection

from cvms.chain.pubsub.log_subscription import MAX_DELAY, LogsSubscribed
from cvms.chain.pubsub.websocket import PubSubTarget
from cvms.errors import ConfigurationError
from tests.chain.pubsub.scripted_pubsub import Node, subscribe, watch


class Answering(Node):
    """Answers so many handshakes by these bytes, then runs its sessions."""

    def __init__(self, nursery: trio.Nursery, answer: bytes, *sessions: Any, times: int) -> None:
        super().__init__(nursery, *sessions)
        self._answer = answer
        self._times = times

    async def open_stream(self, target: PubSubTarget) -> trio.abc.Stream:
        if self._times == 0:
            return await super().open_stream(target)
        self._times -= 1
        self.attempts.append((target.host, trio.current_time()))
        ours, theirs = trio.testing.memory_stream_pair()
        self._nursery.start_soon(self._reply, theirs)
        return ours

    async def _reply(self, stream: trio.StapledStream[Any, Any]) -> None:
        await stream.receive_some(65536)
        await stream.send_all(self._answer)
        await trio.sleep_forever()


def head(status: bytes, *headers: bytes) -> bytes:
    return b"\r\n".join([b"HTTP/1.1 " + status, *headers, b"", b""])


PAGE = b"<html>Welcome</html>"
CHUNKED = b"Transfer-Encoding: chunked"
EMPTY = b"Content-Length: 0"
ANSWERS = {
    "200": head(b"200 OK", b"Content-Type: text/html", b"Content-Length: 20") + PAGE,
    "200 in chunks": head(b"200 OK", CHUNKED) + b"5\r\nhello\r\n0\r\n\r\n",
    "200 cut": head(b"200 OK", b"Content-Length: 33") + PAGE,
    "301": head(b"301 Moved", b"Location: https://elsewhere/", EMPTY),
    "403": head(b"403 Forbidden", EMPTY),
    "429": head(b"429 Too Many Requests", b"Retry-After: 1", EMPTY),
    "101 without a key": head(b"101 Switching", b"Upgrade: websocket", b"Connection: upgrade"),
    "101 to something else": head(b"101 Switching", b"Upgrade: h2c", b"Connection: upgrade"),
    "not HTTP": b"\x00\x01\x02 hello\r\n\r\n",
    "HTTP/2": b"\x00\x00\x12\x04\x00\x00\x00\x00\x00" + bytes(18),
    "a head without an end": b"HTTP/1.1 101 S\r\n" + b"X-A: b\r\n" * 20_000,
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
async def test_another_answer_than_a_websocket_is_retried_with_backoff_and_logged_once(
    nursery: trio.Nursery, autojump_clock: trio.testing.MockClock, answer: bytes
) -> None:
    async def good(websocket: WebSocketConnection) -> None:
        await subscribe(websocket)
        await trio.sleep_forever()

    node = Answering(nursery, answer, good, times=20)
    notices = await watch(nursery, node)
    with capture_logs() as logs, trio.fail_after(600):
        assert await notices.receive() == LogsSubscribed()
    gaps = [later - earlier for (_, earlier), (_, later) in pairwise(node.attempts)]
    assert len(gaps) == 20
    assert gaps[0] < gaps[3] < gaps[-1]
    assert gaps[-1] >= MAX_DELAY
    [lost] = logs
    assert lost["event"] == "pubsub_connection_lost"
    assert len(lost["reasons"]) == 1


def test_only_the_host_of_a_target_is_shown() -> None:
    target = PubSubTarget.parse("wss://user:secret@rpc.example/secret?key=secret")
    assert (target.address, target.port, target.tls) == ("rpc.example", 443, True)
    assert target.resource == "/secret?key=secret"
    assert target.headers == ((b"Authorization", b"Basic dXNlcjpzZWNyZXQ="),)
    assert "secret" not in repr(target)
    assert PubSubTarget.parse("ws://127.0.0.1:8900").resource == "/"
    for bad in ("http://a/secret", "ws://", "ws://a:secret/", "ws://a:70000/secret"):
        with pytest.raises(ConfigurationError) as caught:
            PubSubTarget.parse(bad)
        assert "secret" not in str(caught.value)

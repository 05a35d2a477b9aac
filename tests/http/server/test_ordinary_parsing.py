"""What the short way takes for a request, and what it writes."""

from __future__ import annotations

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cvms.http.framework.request import Request
from cvms.http.framework.response import Response
from cvms.http.server.http1_protocol import StrictConnection
from cvms.http.server.ordinary_requests import OrdinaryRequests, ResponseWriter
from cvms.http.server.server import _hypercorn_config
from tests.http.server.raw_requests import HANDSHAKE, HEALTH


def test_a_line_break_in_a_header_is_a_fault() -> None:
    writer = ResponseWriter(_hypercorn_config())
    with pytest.raises(ValueError, match="line break"):
        writer.write(Response(b"", 200, {"X": "a\r\nSet-Cookie: b"}), last=False)


HEADERS = "Host Content-Length Content-Type Connection X-Y Transfer-Encoding host Upgrade Expect TE"
COMMON = [
    "x",
    "0",
    "2",
    "keep-alive",
    "close",
    "Upgrade",
    "websocket",
    "chunked",
    " a ",
    "",
    "\tb\t",
]
NAMES = st.sampled_from(HEADERS.split())
VALUES = st.sampled_from(COMMON) | st.text(st.characters(max_codepoint=255), max_size=8)
LINES = st.lists(
    st.tuples(NAMES, VALUES, st.sampled_from([": ", ":", " : ", ":\t"])).map(
        lambda part: f"{part[0]}{part[2]}{part[1]}"
    ),
    max_size=4,
)
MESSAGES = st.builds(
    lambda method, space, target, version, lines, end, rest: (
        end.join([f"{method}{space}{target} {version}", "Host: x", *lines, "", ""]) + rest
    ).encode("latin1"),
    st.sampled_from(["GET", "POST", "DELETE", "get", "PUT"]),
    st.sampled_from([" ", " ", " ", "  ", "\t"]),
    st.sampled_from(["/health", "/health?a=b", "/api/auth/nonce", "//health", "/h%65alth", "*"]),
    st.sampled_from(["HTTP/1.1", "HTTP/1.0", "HTTP/1.1 "]),
    LINES,
    st.sampled_from(["\r\n", "\r\n", "\r\n", "\n", "\r"]),
    st.sampled_from(["", "{}", "{}GET /health HTTP/1.1\r\n\r\n", "\r\n"]),
)
DAMAGE = st.lists(st.tuples(st.integers(0, 200), st.binary(max_size=2)), max_size=2)


@given(MESSAGES, DAMAGE)
@example(HEALTH, [])
@example(HEALTH.replace(b" /", b"  /"), [])
@example(HEALTH.replace(b"x\r\n", b"x\r\nX-Y: \ta \t\r\n"), [])
@example(HANDSHAKE % b"/ws", [])
@example(HEALTH.replace(b"x\r\n", b"x\r\nContent-Length: 2\r\n") + b"{}GET", [])
def test_what_is_ordinary_is_the_same_request_for_h11(
    message: bytes, damage: list[tuple[int, bytes]]
) -> None:
    for place, piece in damage:
        message = message[:place] + piece + message[place + 1 :]
    parsed = OrdinaryRequests(_Anything(), peer="", probes_only=False).parse(message)  # type: ignore[arg-type]
    if parsed is None:
        return
    strict = StrictConnection(max_incomplete_event_size=16384)
    strict.receive_data(message[: parsed.size])
    head = strict.next_event()
    assert isinstance(head, h11.Request)
    body = b""
    while isinstance(event := strict.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert not strict.has_unparsed
    assert not strict.they_are_waiting_for_100_continue
    assert head.method.decode() == parsed.request.method
    assert head.target == b"?".join(
        [parsed.request.raw_path, *filter(None, [parsed.request.query_string])]
    ) or head.target.endswith(b"?")
    given_headers: dict[str, list[str]] = {}
    for name, value in head.headers:
        given_headers.setdefault(name.decode(), []).append(value.decode("latin1"))
    assert parsed.request.headers == given_headers
    with pytest.raises(StopIteration) as returned:
        parsed.request.body().__await__().__next__()
    assert returned.value.value == body


class _Anything:
    """An application with every route."""

    def __init__(self) -> None:
        self.routes = self

    def find(self, method: str, path: str) -> tuple[object, dict[str, str]]:
        return _view, {}


async def _view(request: Request, variables: object) -> Response:
    return Response(b"")

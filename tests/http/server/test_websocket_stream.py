"""A handshake that is refused, or followed by a frame too soon, ends in order and without noise."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from tests.harness.service import Service
from tests.http.server.raw_requests import HANDSHAKE, HEALTH, answers, connected

FRAME = b"\x81\x80\x00\x00\x00\x00"  # an empty text, masked with zeros


@pytest.mark.parametrize("early", [FRAME, b"\x00", HEALTH, FRAME * 1000])
async def test_a_frame_before_the_handshake_is_answered_is_a_400(
    service: Service, early: bytes
) -> None:
    """RFC 6455, 4.1: a client waits for the answer before it sends anything."""
    with capture_logs() as logs:
        async with connected(service) as stream:
            received = await answers(stream, HANDSHAKE % b"/ws" + early)
        assert (await service.get("/metrics")).text.count("cvms_websocket_clients 0.0") == 1
    assert received.startswith(b"HTTP/1.1 400 ")
    assert received.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in received.lower()
    assert not [line for line in logs if line["log_level"] in {"warning", "error"}], logs


@pytest.mark.parametrize("missing", [b"Sec-WebSocket-Key", b"Sec-WebSocket-Version"])
async def test_the_connection_of_an_invalid_handshake_is_closed(
    service: Service, missing: bytes
) -> None:
    async with connected(service) as stream:
        received = await answers(stream, (HANDSHAKE % b"/ws").replace(missing, b"X"))
    assert received.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("early", [b"", FRAME, HEALTH])
async def test_the_answer_to_a_refused_handshake_is_the_last(
    service: Service, early: bytes
) -> None:
    with capture_logs() as logs:
        async with connected(service) as stream:
            received = await answers(stream, HANDSHAKE % b"/nothing" + early)
    assert received[9:12] == (b"400" if early else b"404")
    assert received.count(b"HTTP/1.1 ") == 1
    assert b"connection: close" in received.lower()
    assert not [line for line in logs if line["log_level"] in {"warning", "error"}], logs

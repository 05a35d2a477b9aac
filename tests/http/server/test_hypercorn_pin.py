"""The protocols of hypercorn and h11 are what our subclasses of them were written against."""

from __future__ import annotations

import h11
import pytest
from h11._receivebuffer import ReceiveBuffer
from hypercorn.protocol.h11 import H11Protocol, H11WSConnection
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.protocol.ws_stream import WebsocketBuffer, WSStream

from tests.source_pins import Pin, check_pin

HTTP: list[Pin] = [
    (H11Protocol.__init__, "c7c989fd6a352626"),
    (H11Protocol.handle, "3b56e067447488df"),
    (H11Protocol.stream_send, "56a36254a368d71a"),
    (H11Protocol._handle_events, "bd4a76b2837e8722"),
    (H11Protocol._create_stream, "a2338a57ab343908"),
    (H11Protocol._check_protocol, "f95f6b38f43c62aa"),
    (H11Protocol._send_h11_event, "5e40283daa303ec7"),
    (H11Protocol._send_error_response, "58c2b47ae295d000"),
    (H11Protocol._maybe_recycle, "3ac53f52bc4e65de"),
    (H11Protocol._close_stream, "378930655d7bb41a"),
    (HTTPStream.handle, "6ed2e34c5e708c6a"),
    (ReceiveBuffer.maybe_extract_at_most, "a283b372f1fb7393"),
    (ReceiveBuffer.maybe_extract_next_line, "9168fb542344ec1a"),
    (ReceiveBuffer.maybe_extract_lines, "435e54e6db463e31"),
    (h11.Connection.next_event, "7d3288bcc261c49c"),
    (h11.Connection._extract_next_receive_event, "c0fc7051975f7a5b"),
]

WEBSOCKET: list[Pin] = [
    (H11WSConnection.__init__, "82e5ae7bc3352e7a"),
    (WSStream.__init__, "3534d3ebe8f7a1a4"),
    (WSStream.handle, "743209f49012b8c7"),
    (WSStream.app_send, "a6dd1160bfc416e7"),
    (WSStream._handle_events, "b90f3f595ff9fd47"),
    (WSStream._send_wsproto_event, "3a4df3f0d2dfd314"),
    (WSStream._send_error_response, "8b6acae9ca1ce378"),
    (WSStream._accept, "144623ad2e13fc56"),
    (WebsocketBuffer.__init__, "d63224accd2db1bb"),
    (WebsocketBuffer.extend, "b10bdcb6f21b967d"),
    (WebsocketBuffer.clear, "fa440e97d121174b"),
    (WebsocketBuffer.to_message, "c557fb163421ab0b"),
]


@pytest.mark.parametrize("pin", HTTP, ids=lambda pin: pin[0].__qualname__)
def test_the_http_protocol_is_the_one_that_was_subclassed(pin: Pin) -> None:
    check_pin(pin, used_by="cvms/http/server/http1_protocol.py")


@pytest.mark.parametrize("pin", WEBSOCKET, ids=lambda pin: pin[0].__qualname__)
def test_the_websocket_protocol_is_the_one_that_was_subclassed(pin: Pin) -> None:
    check_pin(pin, used_by="cvms/http/server/websocket_stream.py")

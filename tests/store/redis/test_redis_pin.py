"""redis-py's connections are what our subclasses and our socket were written against."""

from __future__ import annotations

import pytest
from redis._parsers import _RESP2Parser
from redis._parsers.socket import SocketBuffer
from redis.connection import (
    AbstractConnection,
    Connection,
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,
)

from tests.source_pins import Pin, check_pin

PINS: list[Pin] = [
    (AbstractConnection.connect_check_health, "6d69f8fe38a17d5c"),
    (AbstractConnection.on_connect_check_health, "fb8e8114ccbf0d2a"),
    (AbstractConnection.disconnect, "70a8b4f7cf62b587"),
    (AbstractConnection.send_packed_command, "df64e60810061d0a"),
    (AbstractConnection.can_read, "e439afce7d4f3eaa"),
    (AbstractConnection.read_response, "695c899843302e31"),
    (Connection._connect, "660740390d04a256"),
    (SSLConnection._connect, "2d27728b160c2c17"),
    (SSLConnection._wrap_socket_with_ssl, "742b6f9be8469afe"),
    (UnixDomainSocketConnection._connect, "1e02c33e137f3ff3"),
    (_RESP2Parser.read_response, "062a049a21515271"),
    (_RESP2Parser._read_response, "a30b5560586ac3c3"),
    (SocketBuffer._read_from_socket, "33b0637f5c8919c1"),
    (parse_url, "4bb63d61c29b2c4f"),
]


@pytest.mark.parametrize("pin", PINS, ids=lambda pin: pin[0].__qualname__)
def test_the_connection_is_the_one_that_was_subclassed(pin: Pin) -> None:
    check_pin(pin, used_by="cvms/store/redis/connection.py")

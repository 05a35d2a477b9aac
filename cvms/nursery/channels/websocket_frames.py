"""Encoding of WebSocket frames (RFC 6455, 5.2). A server's frames are equal for all receivers."""

from __future__ import annotations

from typing import Any

import msgspec

PING = b"\x89\x00"
_FINAL_TEXT = 0x81


def text_frame(payload: bytes) -> bytes:
    """Return one complete text message, unmasked as a server sends it."""
    size = len(payload)
    if size < 126:
        head = bytes((_FINAL_TEXT, size))
    elif size < 2**16:
        head = bytes((_FINAL_TEXT, 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((_FINAL_TEXT, 127)) + size.to_bytes(8, "big")
    return head + payload


def json_frame(message: dict[str, Any]) -> bytes:
    """Return a message, encoded as JSON, as a text frame."""
    return text_frame(msgspec.json.encode(message))

"""Decoding of base58 and base64 text, with the errors of the Rust crates `bs58` and `base64`."""

from __future__ import annotations

import binascii
import string

from based58 import b58decode

from cvms.errors import CvmsError

BASE58 = frozenset("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz")
BASE64 = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"


class NotDecodable(CvmsError):
    """A text is not in its encoding. The message is the Rust error in debugging notation."""


def decode_base58(text: str) -> bytes:
    """Decode base58. Raises NotDecodable."""
    for index, character in enumerate(text):
        if not character.isascii():
            raise NotDecodable(f"NonAsciiCharacter {{ index: {index} }}")
        if character not in BASE58:
            raise NotDecodable(f"InvalidCharacter {{ character: {character!r}, index: {index} }}")
    return b58decode(text.encode())


def decode_base64(text: str) -> bytes:
    """Decode base64 with canonical padding. Raises NotDecodable."""
    raw = text.encode(errors="surrogatepass")
    try:
        decoded = binascii.a2b_base64(raw)
    except binascii.Error:
        raise NotDecodable(_base64_fault(raw)) from None
    if binascii.b2a_base64(decoded, newline=False) != raw:  # it skips what is not base64
        raise NotDecodable(_base64_fault(raw))
    return decoded


def _base64_fault(raw: bytes) -> str:
    """Return the first fault of text that is not canonical base64."""
    body = raw.rstrip(b"=")
    padding = len(raw) - len(body)
    for index, byte in enumerate(body):
        if chr(byte) not in BASE64:
            return f"InvalidByte({index}, {byte})"
    last = len(body) % 4
    if padding > 2 or (padding and last in (0, 1)):
        return f"InvalidByte({len(body)}, 61)"
    if last == 1:
        return f"InvalidLength({len(body)})"
    if padding != -len(body) % 4:
        return "InvalidPadding"
    return f"InvalidLastSymbol({len(body) - 1}, {body[-1]})"

"""The text of a request that a wallet signs, and the verification of the signature."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from contextlib import suppress

from solders.pubkey import Pubkey
from solders.signature import Signature

from cvms.errors import InvalidSignature


def signed_text(action: str, *fields: object) -> str:
    """Return the text of a request: the action's name, then the body's fields, then the nonce."""
    return ":".join([action, *map(str, fields)])


def verify(signer: Pubkey, text: str, signature: str) -> None:
    """Verify an ed25519 signature, 64 bytes in base58 or base64. Raises InvalidSignature."""
    message = text.encode()
    # Some texts decode to 64 bytes in both alphabets, so both are tried.
    if not any(each.verify(signer, message) for each in _decodings(signature)):
        raise InvalidSignature(
            f"The signature is not one of {signer} for the text {text!r}. Sign exactly this text."
        )


def _decodings(text: str) -> Iterator[Signature]:
    with suppress(ValueError):
        yield Signature.from_string(text)
    try:
        raw = base64.b64decode(text.encode() + b"=" * (-len(text) % 4), validate=True)
    except (ValueError, binascii.Error):
        return
    if len(raw) == Signature.LENGTH:
        yield Signature.from_bytes(raw)

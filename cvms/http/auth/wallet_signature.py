"""What a wallet signs: the text of a request, and whether the signature is the owner's."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from contextlib import suppress

from solders.pubkey import Pubkey
from solders.signature import Signature

from cvms.errors import InvalidSignature


def signed_text(action: str, *fields: object) -> str:
    """The text for a request: the action's name, then the body's fields, then the nonce."""
    return ":".join([action, *map(str, fields)])


def verify(signer: Pubkey, text: str, signature: str) -> None:
    """Check an ed25519 signature, 64 bytes in base58 or base64. Raises InvalidSignature."""
    message = text.encode()
    # Some texts are 64 bytes in both alphabets, so each reading gets its chance.
    if not any(each.verify(signer, message) for each in _readings(signature)):
        raise InvalidSignature(f"{signer} has not signed the text {text!r} with this signature.")


def _readings(text: str) -> Iterator[Signature]:
    with suppress(ValueError):
        yield Signature.from_string(text)
    try:
        raw = base64.b64decode(text.encode() + b"=" * (-len(text) % 4), validate=True)
    except (ValueError, binascii.Error):
        return
    if len(raw) == Signature.LENGTH:
        yield Signature.from_bytes(raw)

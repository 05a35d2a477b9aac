"""Verification of a wallet's signature."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator
from contextlib import suppress

from solders.pubkey import Pubkey
from solders.signature import Signature

from cvms.errors import InvalidSignature


def verify(signer: Pubkey, forms: Iterable[bytes], text: str, signature: str) -> None:
    """Verify an ed25519 signature, 64 bytes in base58 or base64, of one of the forms of a text.

    Raises InvalidSignature.
    """
    # Some texts decode to 64 bytes in both alphabets, so both are tried.
    signatures = list(_decodings(signature))
    if not any(each.verify(signer, form) for form in forms for each in signatures):
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

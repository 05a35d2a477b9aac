"""The bytes that a wallet signed for a request's text.

Wallets sign the text itself or a Sign-In-With-Solana message that states it, and either of them as
it is or in the envelope of an off-chain message. Wallets that sign only transactions sign a memo.
The first byte tells these apart: ff begins an envelope, printable ASCII a text or a message, and
any other a transaction.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator

from solders.pubkey import Pubkey

from cvms.errors import InvalidSignature
from cvms.http.auth import offchain_message
from cvms.http.auth.proof_transaction import proof_messages

CheckSignIn = Callable[[str], None]
"""Raises InvalidSignature unless the Sign-In-With-Solana message states the request."""

# Neither a request's text nor a Sign-In-With-Solana message is of these characters only.
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")


def signed_forms(
    text: str, message: str | None, signer: Pubkey, check_sign_in: CheckSignIn
) -> Iterator[bytes]:
    """Yield all that the wallet may have signed. Raises InvalidSignature for a wrong message.

    A wallet that returns only a signature does not say whether it has signed an envelope.
    """
    if message is not None and _BASE64.fullmatch(message):
        raw = _decoded(message)
        _check(raw, text, signer, check_sign_in)
        yield raw
        return
    if message is not None and message != text:
        check_sign_in(message)
    shown = text if message is None else message
    yield shown.encode()
    yield from offchain_message.envelopes(shown, signer)


def _decoded(message: str) -> bytes:
    try:
        raw = base64.b64decode(message, validate=True)
    except binascii.Error:
        raw = b""
    if not raw or base64.b64encode(raw).decode() != message:
        raise InvalidSignature("The message is not base64 with padding.")
    return raw


def _check(raw: bytes, text: str, signer: Pubkey, check_sign_in: CheckSignIn) -> None:
    if raw[:1] == offchain_message.SIGNING_DOMAIN[:1]:
        shown = _text_in_envelope(raw, signer)
    elif 0x20 <= raw[0] < 0x7F:
        shown = raw.decode("utf-8", "replace")
    elif raw in proof_messages(text, signer):
        return
    else:
        raise InvalidSignature(
            "The message is not a transaction that proves this request: a message of version 0 or "
            f"legacy with one instruction, a memo with the data {text!r}; {signer} as fee payer "
            f"and only signer; and the block hash {'1' * 32}."
        )
    if "\n" in shown:
        check_sign_in(shown)
    elif shown != text:
        raise InvalidSignature(f"The message's text is {shown!r} instead of {text!r}.")


def _text_in_envelope(raw: bytes, signer: Pubkey) -> str:
    try:
        envelope = offchain_message.parse(raw)
    except ValueError as error:
        raise InvalidSignature(f"The message is not a valid off-chain message: {error}.") from None
    if envelope.signers not in {(), (signer,)}:
        names = ", ".join(map(str, envelope.signers))
        raise InvalidSignature(
            f"The off-chain message must have {signer} as its only signer; it has {names}."
        )
    return envelope.text

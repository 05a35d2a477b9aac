"""Only the owner's signature of exactly this text is accepted."""

from __future__ import annotations

import base64

import pytest
from solders.keypair import Keypair
from solders.signature import Signature

from cvms.errors import InvalidSignature
from cvms.http.auth.wallet_signature import verify

OWNER = Keypair()
TEXT = f"withdraw:{OWNER.pubkey()}:400:nonce-nonce-nonce"
SIGNATURE = OWNER.sign_message(TEXT.encode())


@pytest.mark.parametrize(
    "form",
    [
        str(SIGNATURE),
        base64.b64encode(bytes(SIGNATURE)).decode(),
        base64.b64encode(bytes(SIGNATURE)).decode().rstrip("="),
    ],
    ids=["base58", "base64", "base64 without padding"],
)
def test_base58_and_base64_are_accepted(form: str) -> None:
    verify(OWNER.pubkey(), [TEXT.encode()], TEXT, form)


@pytest.mark.parametrize(
    ("signature", "text"),
    [
        (str(SIGNATURE), TEXT.replace("400", "4000")),
        (str(SIGNATURE), TEXT.replace("withdraw", "deposit")),
        (str(Keypair().sign_message(TEXT.encode())), TEXT),
        (str(Signature.default()), TEXT),
        (str(SIGNATURE)[:-1], TEXT),
        (base64.b64encode(bytes(SIGNATURE) + b"\0").decode(), TEXT),
        ("é" * 64, TEXT),
        ("\0" * 64, TEXT),
    ],
    ids=["amount", "action", "signer", "zeroes", "short", "long", "not ascii", "NUL"],
)
def test_anything_else_is_refused(signature: str, text: str) -> None:
    with pytest.raises(InvalidSignature):
        verify(OWNER.pubkey(), [text.encode()], text, signature)


def test_a_signature_is_valid_for_its_owner_only() -> None:
    with pytest.raises(InvalidSignature):
        verify(Keypair().pubkey(), [TEXT.encode()], TEXT, str(SIGNATURE))

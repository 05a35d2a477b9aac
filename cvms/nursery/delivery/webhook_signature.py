"""Signatures of the Standard Webhooks specification.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence


def signed_headers(
    identity: str, body: bytes, secrets: Sequence[bytes], *, now: float
) -> dict[str, str]:
    """Return the headers of a message: its id, the time in Unix seconds, and a signature of each
    secret, which is the HMAC-SHA-256 of `id.timestamp.body`.
    """
    timestamp = str(int(now))
    signed = f"{identity}.{timestamp}.".encode() + body
    digests = [hmac.new(secret, signed, hashlib.sha256).digest() for secret in secrets]
    signatures = [f"v1,{base64.b64encode(digest).decode()}" for digest in digests]
    return {
        "webhook-id": identity,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(signatures),
    }

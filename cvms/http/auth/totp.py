"""Time-based one-time passwords (RFC 6238), and recovery codes for a lost device."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets
from typing import Annotated

import msgspec
import pyotp
import segno

ISSUER = "CVMS"
STEP_SECONDS = 30
# Steps before and after the current one, for clock drift and slow typing: RFC 6238, 5.2.
WINDOW = 1
RECOVERY_CODES = 10
RECOVERY_BYTES = 10
_RECOVERY_CODE = re.compile(r"[a-z2-7]{16}")
# Spaces and hyphens are for legibility only: authenticators show `123 456`.
# Whole bytes, without padding. RFC 4226, 4, R6: a secret has 128 bits, 26 characters, or more.
BASE32_PATTERN = r"^([A-Za-z2-7]{8}){3,12}([A-Za-z2-7]{2}|[A-Za-z2-7]{4,5}|[A-Za-z2-7]{7})?\Z"
OwnSecret = Annotated[str, msgspec.Meta(min_length=26, max_length=103, pattern=BASE32_PATTERN)]
TOTP_PATTERN = r"^[ -]*([0-9][ -]*){6}\Z"


def new_secret() -> str:
    """Return 160 random bits in base32, the length of the hash (RFC 4226, 4, R6)."""
    return pyotp.random_base32()


def uri_of(secret: str, owner: str) -> str:
    """Return the URI that an authenticator reads: `otpauth://totp/...`."""
    return pyotp.TOTP(secret, name=owner, issuer=ISSUER).provisioning_uri()


def image_of(uri: str) -> str:
    """Return the QR code of the URI, a PNG as a data URI. Takes about 20 ms."""
    return segno.make_qr(uri).png_data_uri(scale=4)


def matching_steps(secret: str, code: str, at: float) -> list[int]:
    """Return the steps around `at` (Unix seconds) whose code this is, in order.

    There is one, none, or by coincidence several. The time taken does not depend on which.
    """
    newest, generator, given = newest_step(at), pyotp.TOTP(secret), _normalized(code).encode()
    return [
        step
        for step in range(newest - 2 * WINDOW, newest + 1)
        if hmac.compare_digest(generator.generate_otp(step).encode(), given)
    ]


def newest_step(at: float) -> int:
    """Return the last step whose code is valid at `at` (Unix seconds)."""
    return int(at // STEP_SECONDS) + WINDOW


def new_recovery_codes() -> list[str]:
    """Return ten codes such as `mzxw-6ytb-oi4d-c7q2`, of 80 random bits each."""
    return [_recovery_code() for _ in range(RECOVERY_CODES)]


def is_recovery_code(code: str) -> bool:
    """Return whether the code has the form of a recovery code."""
    return _RECOVERY_CODE.fullmatch(_normalized(code)) is not None


def recovery_hash(owner: str, code: str) -> bytes:
    """Return the hash of a recovery code that is stored; the owner is the salt.

    A fast hash suffices, since 80 random bits cannot be searched, unlike a password. An index
    lookup is safe, since its timing reveals something about hashes but not about codes.
    """
    return hashlib.sha256(f"cvms recovery code:{owner}:{_normalized(code)}".encode()).digest()


def _recovery_code() -> str:
    text = base64.b32encode(secrets.token_bytes(RECOVERY_BYTES)).decode().lower()
    return "-".join(re.findall("....", text))


def _normalized(code: str) -> str:
    return code.replace(" ", "").replace("-", "").lower()

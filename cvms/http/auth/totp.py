"""One-time passwords by time (RFC 6238), and codes for when the device is lost."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import secrets

import pyotp
import segno

ISSUER = "CVMS"
STEP_SECONDS = 30
# For clocks that differ and people who type slowly: RFC 6238, 5.2.
WINDOW = 1
RECOVERY_CODES = 10
RECOVERY_BYTES = 10
_RECOVERY_CODE = re.compile(r"[a-z2-7]{16}")


def new_secret() -> str:
    """160 random bits in base32, as long as the hash: RFC 4226, 4, R6."""
    return pyotp.random_base32()


def uri_of(secret: str, owner: str) -> str:
    """What an authenticator reads: `otpauth://totp/...`."""
    return pyotp.TOTP(secret, name=owner, issuer=ISSUER).provisioning_uri()


def image_of(uri: str) -> str:
    """The QR code, a PNG as a data URI. Takes some 20 ms."""
    return segno.make_qr(uri).png_data_uri(scale=4)


def matching_steps(secret: str, code: str, at: float) -> list[int]:
    """The steps around `at` (Unix seconds) whose code this is: one, none, or by chance more,
    in order.

    It takes the same time whichever they are.
    """
    now, passwords, given = int(at // STEP_SECONDS), pyotp.TOTP(secret), _plain(code).encode()
    return [
        step
        for step in range(now - WINDOW, now + WINDOW + 1)
        if hmac.compare_digest(passwords.generate_otp(step).encode(), given)
    ]


def new_recovery_codes() -> list[str]:
    """Codes such as `mzxw-6ytb-oi4d-c7q2`, of 80 random bits each."""
    return [_recovery_code() for _ in range(RECOVERY_CODES)]


def is_recovery_code(code: str) -> bool:
    """Whether this looks like one."""
    return _RECOVERY_CODE.fullmatch(_plain(code)) is not None


def recovery_hash(owner: str, code: str) -> bytes:
    """What is kept of a recovery code; the owner is the salt.

    A fast hash will do: 80 random bits cannot be searched, unlike a password. Looking a hash up in
    an index gives nothing away either: what its time could tell is about hashes, not about codes.
    """
    return hashlib.sha256(f"cvms recovery code:{owner}:{_plain(code)}".encode()).digest()


def _recovery_code() -> str:
    text = base64.b32encode(secrets.token_bytes(RECOVERY_BYTES)).decode().lower()
    return "-".join(re.findall("....", text))


def _plain(code: str) -> str:
    # Spaces and hyphens only make a code easier to read.
    return code.replace(" ", "").replace("-", "").lower()

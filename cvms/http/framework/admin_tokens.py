"""Administrators' tokens: JWTs of ours, signed with HMAC-SHA-256, of one audience, short-lived."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import IntEnum

import jwt

from cvms.errors import AdminDisabled, InvalidToken, NotAllowed

ALGORITHM = "HS256"
AUDIENCE = "cvms-admin"
LONGEST_SECONDS = 24 * 60 * 60
# Clocks of the machines that mint and that check.
LEEWAY_SECONDS = 5
MAX_LENGTH = 4096


class Role(IntEnum):
    """What an administrator may do; each may do what those before it may."""

    VIEWER = 1  # look
    OPERATOR = 2  # set right what only concerns the service's own books
    ADMIN = 3  # sign as governance

    @classmethod
    def named(cls, text: object) -> Role:
        """The role of this name. Raises ValueError."""
        for role in cls:
            if role.label == text:
                return role
        raise ValueError(f"{text!r} is not a role: {', '.join(role.label for role in cls)}")

    @property
    def label(self) -> str:
        """The name of the role in tokens."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Administrator:
    """Who has shown a good token, under the name that it gives, and until when it is one.

    `expires_at` in Unix seconds.
    """

    subject: str
    role: Role
    expires_at: int


def mint(secret: bytes, *, subject: str, role: Role, seconds: int, now: int | None = None) -> str:
    """A token for `subject`, good for `seconds` from now, 24 hours at most."""
    if not 0 < seconds <= LONGEST_SECONDS:
        raise ValueError(f"{seconds} s is not a lifetime between 1 and {LONGEST_SECONDS} s")
    issued = int(time.time()) if now is None else now
    claims = {
        "sub": subject,
        "role": role.label,
        "aud": AUDIENCE,
        "iat": issued,
        "exp": issued + seconds,
    }
    return jwt.encode(claims, secret, algorithm=ALGORITHM)


def authenticate(secret: bytes | None, authorization: str | None) -> Administrator:
    """Whose token an Authorization header holds. Raises AdminDisabled or InvalidToken.

    What is wrong with a token is not told: only whoever minted it needs to know.
    """
    if secret is None:
        raise AdminDisabled("ADMIN_JWT_SECRET is not set: there are no administrators.")
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token or len(token) > MAX_LENGTH:
        raise InvalidToken(
            "Send a token as `Authorization: Bearer <token>`; `cvms token` mints it."
        )
    try:
        claims = jwt.decode(
            token,
            secret,
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            leeway=LEEWAY_SECONDS,
            options={"require": ["sub", "role", "aud", "iat", "exp"]},
        )
        if claims["exp"] - claims["iat"] > LONGEST_SECONDS:
            raise ValueError("too long a life")
        return Administrator(str(claims["sub"]), Role.named(claims["role"]), int(claims["exp"]))
    except (jwt.InvalidTokenError, ValueError, TypeError):
        raise InvalidToken("The token is not valid, or not any more.") from None


def require(administrator: Administrator, role: Role) -> None:
    """Raise NotAllowed unless the administrator's role reaches so far."""
    if administrator.role < role:
        raise NotAllowed(
            f"This takes the role {role.label}; the token's is {administrator.role.label}."
        )

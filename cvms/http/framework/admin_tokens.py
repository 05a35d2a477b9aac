"""Administrator tokens: short-lived JWTs of one audience, signed with HMAC-SHA-256."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import IntEnum

import jwt

from cvms.errors import AdminDisabled, InvalidToken, NotAllowed

ALGORITHM = "HS256"
AUDIENCE = "cvms-admin"
MAX_SECONDS = 24 * 60 * 60
# For the clocks of the machines that mint and check tokens.
LEEWAY_SECONDS = 5
MAX_LENGTH = 4096
MAX_SUBJECT = 200


class Role(IntEnum):
    """Role of an administrator. Each one includes those before it."""

    VIEWER = 1  # read
    OPERATOR = 2  # correct the service's own data
    ADMIN = 3  # sign as governance

    @classmethod
    def named(cls, text: object) -> Role:
        """Return the role of this name. Raises ValueError."""
        for role in cls:
            if role.label == text:
                return role
        raise ValueError(f"{text!r} is not a role: {', '.join(role.label for role in cls)}")

    @property
    def label(self) -> str:
        """The role's name in tokens."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Administrator:
    """The holder of a valid token: its subject, its role, and its expiry in Unix seconds."""

    subject: str
    role: Role
    expires_at: int

    @property
    def actor(self) -> str:
        """The name in the audit trail."""
        return f"admin:{self.subject}"


def mint(secret: bytes, *, subject: str, role: Role, seconds: int, now: int | None = None) -> str:
    """Return a token for `subject`, valid for `seconds` from now.

    Raises ValueError for more than 24 hours, and for a subject that no token may have.
    """
    check_subject(subject)
    if not 0 < seconds <= MAX_SECONDS:
        raise ValueError(f"{seconds} s is not a lifetime between 1 and {MAX_SECONDS} s")
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
    """Return the holder of the token in an Authorization header.

    Raises AdminDisabled or InvalidToken. The error does not say what is wrong with a token: only
    whoever minted it needs to know.
    """
    if secret is None:
        raise AdminDisabled("This service has no administrators, since no ADMIN_JWT_SECRET is set.")
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token or len(token) > MAX_LENGTH:
        raise InvalidToken(
            "Send a token as `Authorization: Bearer <token>`; `cvms token` mints one."
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
        if claims["exp"] - claims["iat"] > MAX_SECONDS:
            raise ValueError("the lifetime is too long")
        check_subject(claims["sub"])
        return Administrator(claims["sub"], Role.named(claims["role"]), int(claims["exp"]))
    except (jwt.InvalidTokenError, ValueError, TypeError):
        raise InvalidToken(
            "The token is invalid or has expired; `cvms token` mints a new one."
        ) from None


def check_subject(subject: str) -> None:
    """Raise ValueError unless the audit trail and the log can name this subject.

    PostgreSQL stores neither NUL nor surrogates, and a log must not contain control characters.
    """
    if not 1 <= len(subject) <= MAX_SUBJECT or not subject.isprintable():
        raise ValueError(f"a subject has 1 to {MAX_SUBJECT} printable characters")


def require(administrator: Administrator, role: Role) -> None:
    """Raise NotAllowed unless the administrator has this role or a higher one."""
    if administrator.role < role:
        raise NotAllowed(
            f"The token's role is {administrator.role.label}; {role.label} or higher is required."
        )

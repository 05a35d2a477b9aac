"""Administrator tokens: short-lived JWTs of one audience, signed with HMAC-SHA-256."""

from __future__ import annotations

import re
import time
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType
from typing import Any, Protocol
from uuid import uuid4

import jwt

from cvms.errors import AdminDisabled, InvalidToken, NotAllowed
from cvms.http.framework.response import Response
from cvms.store.postgres.driver.connection import Connection

ALGORITHM = "HS256"
AUDIENCE = "cvms-admin"
MAX_SECONDS = 24 * 60 * 60
# For the clocks of the machines that mint and check tokens.
LEEWAY_SECONDS = 5
MAX_LENGTH = 4096
MAX_SUBJECT = 200
MAX_ID = 200
# Characters without a picture that count as printable: of Unicode's Default_Ignorable_Code_Point,
# and the blank of Braille.
INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
NO_NAMES: Mapping[str, bytes] = MappingProxyType({})


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


class AdminAct(Protocol):
    """An act of an administrator, of which others may be told, or which they may have approved."""

    async def consume(self, conn: Connection) -> None:
        """Check, first in the transaction of the effect, that the act may have one."""

    async def finish(self, conn: Connection, response: Response) -> Mapping[str, Any]:
        """Store the response, last in that transaction; return details for the audit trail."""


class OrdinaryAct:
    """An act that concerns nobody else."""

    async def consume(self, conn: Connection) -> None:
        """Do nothing: the token is enough, and may be used until it expires."""

    async def finish(self, conn: Connection, response: Response) -> Mapping[str, Any]:
        """Return nothing: the audit trail names the administrator."""
        return {}


@dataclass(frozen=True, slots=True)
class Administrator:
    """The holder of a valid token: its subject and role, its times in Unix seconds, and its id.

    `act` is what is done with the token; see `Route.needs_approval`.
    """

    subject: str
    role: Role
    expires_at: int
    issued_at: int = 0
    token_id: str | None = None
    act: AdminAct = field(default_factory=OrdinaryAct, compare=False, repr=False)

    @property
    def actor(self) -> str:
        """The name in the audit trail."""
        return f"admin:{self.subject}"

    @property
    def token(self) -> tuple[str | None, str, int]:
        """What tells whether the token is revoked; see `RevokedTokens`."""
        return self.token_id, person(self.subject), self.issued_at


def person(subject: str) -> str:
    """Return what is equal for all spellings of a person's name."""
    visible = INVISIBLE.sub("", subject)
    return " ".join(unicodedata.normalize("NFKC", visible).casefold().split())


def mint(
    secret: bytes,
    *,
    subject: str,
    role: Role,
    seconds: int,
    now: int | None = None,
    secret_name: str | None = None,
    token_id: str | None = None,
) -> str:
    """Return a token for `subject`, valid for `seconds` from now.

    `secret_name` is that of the secret in ADMIN_JWT_SECRETS; ADMIN_JWT_SECRET has none. Raises
    ValueError for more than 24 hours, and for a subject that no token may have.
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
        "jti": token_id or str(uuid4()),
    }
    headers = {} if secret_name is None else {"kid": secret_name}
    return jwt.encode(claims, secret, algorithm=ALGORITHM, headers=headers)


def authenticate(
    secret: bytes | None, authorization: str | None, named: Mapping[str, bytes] = NO_NAMES
) -> Administrator:
    """Return the holder of the token in an Authorization header, which may be revoked.

    A token that names no secret is verified with `secret`, others with that of `named`. Raises
    AdminDisabled or InvalidToken. The error does not say what is wrong with a token: only
    whoever minted it needs to know.
    """
    if secret is None and not named:
        raise AdminDisabled("This service has no administrators, since no ADMIN_JWT_SECRET is set.")
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token or len(token) > MAX_LENGTH:
        raise InvalidToken(
            "Send a token as `Authorization: Bearer <token>`; `cvms token` mints one."
        )
    try:
        name = jwt.get_unverified_header(token).get("kid")
        claims = jwt.decode(
            token,
            _verifying(secret if name is None else named.get(name)),
            algorithms=[ALGORITHM],
            audience=AUDIENCE,
            leeway=LEEWAY_SECONDS,
            options={"require": ["sub", "role", "aud", "iat", "exp"]},
        )
        if claims["exp"] - claims["iat"] > MAX_SECONDS:
            raise ValueError("the lifetime is too long")
        check_subject(claims["sub"])
        token_id = claims.get("jti")
        if token_id is not None:
            check_token_id(token_id)
        return Administrator(
            claims["sub"],
            Role.named(claims["role"]),
            int(claims["exp"]),
            issued_at=int(claims["iat"]),
            token_id=token_id,
        )
    except (jwt.InvalidTokenError, ValueError, TypeError):
        raise InvalidToken(
            "The token is invalid or has expired; `cvms token` mints a new one."
        ) from None


def _verifying(secret: bytes | None) -> bytes:
    if secret is None:
        raise ValueError("there is no such secret")
    return secret


def check_token_id(token_id: str) -> None:
    """Raise ValueError unless the database can store this id of a token."""
    if not 1 <= len(token_id) <= MAX_ID or not token_id.isprintable():
        raise ValueError(f"a token's id has 1 to {MAX_ID} printable characters")


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

"""POST /api/auth/nonce: something to sign once."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta

import msgspec
from solders.pubkey import Pubkey

from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.request import Body
from cvms.http.framework.response import Reply
from cvms.http.framework.routing import Route
from cvms.store.security import nonces

NONCE_BYTES = 24


class NonceRequest(Body, frozen=True):
    owner: Pubkey


class IssuedNonce(msgspec.Struct, frozen=True):
    """A nonce, and when it stops being good for anything."""

    nonce: str
    expires_at: datetime


async def issue(deps: Dependencies, body: NonceRequest) -> Reply:
    """A nonce that only this owner can use, once, until it expires."""
    nonce = secrets.token_hex(NONCE_BYTES)  # letters and digits, as sign-in messages want it
    expires_at = datetime.now(UTC) + timedelta(seconds=deps.config.nonce_ttl)
    async with deps.database.connection() as conn:
        await nonces.issue(conn, str(body.owner), nonce, expires_at)
    return Reply(IssuedNonce(nonce, expires_at))


ROUTES = (
    Route(
        method="POST",
        rule="/api/auth/nonce",
        handler=issue,
        body=NonceRequest,
        replies={200: IssuedNonce},
        sensitive=True,
        tags=("authentication",),
    ),
)

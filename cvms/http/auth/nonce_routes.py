"""POST /api/auth/nonce, which issues the nonces of signed requests."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

import msgspec
from solders.pubkey import Pubkey

from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.request import Body
from cvms.http.framework.response import Reply
from cvms.http.framework.routing import RouteGroup
from cvms.store.security.nonces import NewNonce

NONCE_BYTES = 24

ROUTES = RouteGroup("authentication")


class NonceRequest(Body, frozen=True):
    owner: Pubkey


class IssuedNonce(msgspec.Struct, frozen=True):
    """A nonce and when it expires."""

    nonce: str
    expires_at: datetime


@ROUTES.post("/api/auth/nonce", replies={200: IssuedNonce}, sensitive=True, name="issue_nonce")
async def issue(deps: Dependencies, body: NonceRequest) -> Reply:
    """Issue a nonce.

    `owner` is the wallet that will sign. Only that wallet can use the nonce, for one request,
    before `expires_at`. Other nonces of the wallet stay valid.
    """
    nonce = secrets.token_hex(NONCE_BYTES)  # alphanumeric, as sign-in messages require
    lifetime = timedelta(seconds=deps.config.nonce_ttl)
    expires_at = await deps.queries.nonces.ask(NewNonce(str(body.owner), nonce, lifetime))
    return Reply(IssuedNonce(nonce, expires_at))

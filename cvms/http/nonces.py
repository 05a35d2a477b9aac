"""POST /api/auth/nonce: something to sign once."""

from __future__ import annotations

import secrets
from datetime import UTC, datetime, timedelta
from functools import partial

from quart import Blueprint, Response
from solders.pubkey import Pubkey

from cvms.http.body import Body, json_response, read_body
from cvms.http.services import Services
from cvms.store import nonces

NONCE_BYTES = 24


class NonceRequest(Body, frozen=True):
    owner: Pubkey


def routes(services: Services) -> Blueprint:
    blueprint = Blueprint("auth", __name__, url_prefix="/api/auth")
    blueprint.add_url_rule("/nonce", "nonce", partial(issue, services), methods=["POST"])
    return blueprint


async def issue(services: Services) -> Response:
    """A nonce that only this owner can use, once, until it expires."""
    request = await read_body(NonceRequest)
    nonce = secrets.token_urlsafe(NONCE_BYTES)
    expires_at = datetime.now(UTC) + timedelta(seconds=services.config.nonce_ttl)
    async with services.database.connection() as conn:
        await nonces.issue(conn, str(request.owner), nonce, expires_at)
    return json_response({"nonce": nonce, "expires_at": expires_at})

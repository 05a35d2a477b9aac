"""`Idempotency-Key`: a repeated request gets the reply of the first one and has no further effect.

A key belongs to whoever proves to make the request: the owner, or the administrators. Where nobody
has to, it belongs to that exact request. It is stored in the database transaction that writes the
request's effect, after the credential has been checked. So nobody can claim a key of another.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import msgspec

from cvms.errors import (
    CvmsError,
    FieldProblem,
    IdempotencyKeyReused,
    InvalidRequest,
    ProgramRefused,
)
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.request import current_request
from cvms.http.framework.response import Reply, Response
from cvms.store.postgres.driver.connection import Connection
from cvms.store.security import idempotency_keys

HEADER = "Idempotency-Key"
PATTERN = r"[\x21-\x7e]{1,128}"


class KeyRaceLost(Exception):
    """Another request with the same key took effect first, so this one must not."""


@dataclass(frozen=True, slots=True)
class IdempotencyKey:
    """A holder's key, with the SHA-256 of the request that it came with."""

    holder: str
    text: str
    fingerprint: bytes

    async def replay(self, deps: Dependencies) -> Response | None:
        """Return the stored reply, None if there is none.

        Raises IdempotencyKeyReused if the key came with another request.
        """
        async with deps.database.connection() as conn:
            kept = await idempotency_keys.get(conn, self.holder, self.text)
        if kept is None:
            return None
        if kept.fingerprint != self.fingerprint:
            raise IdempotencyKeyReused(
                f"{HEADER} {self.text} came with another request before; use a new key."
            )
        headers = {"Content-Type": kept.content_type, "Idempotency-Replayed": "true"}
        return Response(kept.content, kept.status, headers)

    async def store(self, conn: Connection, response: Response) -> None:
        """Store the reply in the transaction of its effect. Raises KeyRaceLost."""
        kept = idempotency_keys.StoredReply(
            owner=self.holder,
            key=self.text,
            fingerprint=self.fingerprint,
            status=response.status,
            content_type=response.headers["Content-Type"],
            content=response.body,
        )
        if not await idempotency_keys.store(conn, kept):
            raise KeyRaceLost


async def replay_or_run(
    deps: Dependencies,
    holder: str | None,
    operation: Callable[[IdempotencyKey | None], Awaitable[Reply]],
) -> Reply | Response:
    """Return the stored reply of an earlier request with the holder's key, else run the operation.

    `holder` is whoever proves to make the request, None if nobody has to. The operation gets the
    key of the present request, None without one, and stores its reply under the key in the
    transaction of its effect. Raises InvalidRequest for a malformed key.
    """
    key = await _key_of_request(holder)
    if key is None:
        return await operation(None)
    if (kept := await key.replay(deps)) is not None:
        return kept
    try:
        return await operation(key)
    except ProgramRefused:
        raise
    except (KeyRaceLost, CvmsError):
        # An equal request may have been faster, and have used up the credential of this one.
        if (kept := await key.replay(deps)) is not None:
            return kept
        raise


async def _key_of_request(holder: str | None) -> IdempotencyKey | None:
    request = current_request()
    text = request.header(HEADER.lower())
    if text is None:
        return None
    if not re.fullmatch(PATTERN, text):
        problem = FieldProblem(HEADER, "Expected 1 to 128 visible ASCII characters")
        raise InvalidRequest(f"The header {HEADER} is malformed.", [problem])
    body = msgspec.json.decode(await request.body())
    canonical = msgspec.json.encode([request.method, request.path, body], order="deterministic")
    fingerprint = hashlib.sha256(canonical)
    return IdempotencyKey(
        holder or f"request:{fingerprint.hexdigest()}", text, fingerprint.digest()
    )

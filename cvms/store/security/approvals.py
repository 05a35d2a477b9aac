"""Actions of administrators that a second administrator has to approve.

An approval is decided once, in the database transaction that has the action's effect, while its
row is locked. So it is pending until that commits, and whoever is late finds it decided.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal
from uuid import UUID

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import (
    delete_in_batches,
    fetch_all,
    fetch_exactly_one,
    fetch_one,
    fetch_value,
    query_for,
)
from cvms.store.security.encryption import SecretBox
from cvms.store.security.reseal import reseal_table

Decision = Literal["executed", "refused", "rejected", "withdrawn"]
State = Literal["pending", "executed", "refused", "rejected", "withdrawn", "expired"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRow:
    """An approval as stored. `request` is canonical JSON, `token_issued_at` in Unix seconds.

    `reply` is null until it is decided, and of a reply that has a secret.
    """

    id: UUID
    action: str
    summary: str
    request: str
    requested_by: str
    token_id: str | None
    token_issued_at: int
    requested_at: datetime
    expires_at: datetime
    state: State
    decided_by: str | None
    decided_at: datetime | None
    reply_status: int | None
    reply_type: str | None
    reply: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingRequest:
    """Who has requested what is pending, and after how many seconds it expires."""

    requested_by: str
    seconds_left: int


# Nobody writes that a time has come.
_STATE = """
CASE
    WHEN state = 'pending' AND expires_at <= clock_timestamp() THEN 'expired'
    ELSE state
END AS state
"""

ADD = query_for(
    ApprovalRow,
    """
    INSERT INTO approvals (
        id, action, summary, request, requested_by, token_id, token_issued_at, expires_at
    )
    VALUES (
        %(id)s, %(action)s, %(summary)s, %(request)s, %(requested_by)s, %(token_id)s,
        %(token_issued_at)s, clock_timestamp() + %(lifetime)s
    )
    RETURNING {columns}, {{state}}
    """,
    without={"state"},
).replace("{state}", _STATE)

# "approval" in ASCII: the key of the advisory lock under which requests are counted and added.
REQUEST_LOCK = 0x617070726F76616C

LOCK_REQUESTS = "SELECT pg_advisory_xact_lock(%(key)s)"

PENDING = """
SELECT requested_by,
       greatest(1, ceil(extract(EPOCH FROM expires_at - clock_timestamp())))::INT AS seconds_left
FROM approvals
WHERE state = 'pending'
  AND expires_at > clock_timestamp()
ORDER BY expires_at
"""

GET = query_for(
    ApprovalRow,
    """
    SELECT {columns}, {{state}}
    FROM approvals
    WHERE id = %(id)s
    """,
    without={"state"},
).replace("{state}", _STATE)

GET_FOR_UPDATE = GET + "FOR UPDATE"

DECIDE = """
UPDATE approvals
SET state = %(state)s,
    decided_by = %(by)s,
    decided_at = clock_timestamp(),
    reply_status = %(status)s,
    reply_type = %(type)s,
    reply = %(reply)s
WHERE id = %(id)s
  AND state = 'pending'
"""

PAGE = query_for(
    ApprovalRow,
    """
    SELECT {columns}, {{state}}
    FROM approvals
    WHERE (%(state)s::TEXT IS NULL
        OR CASE %(state)s
            WHEN 'pending' THEN state = 'pending' AND expires_at > clock_timestamp()
            WHEN 'expired' THEN state = 'pending' AND expires_at <= clock_timestamp()
            ELSE state = %(state)s
        END)
      AND (%(before)s::UUID IS NULL
        OR (requested_at, id) < (
            SELECT requested_at, id
            FROM approvals
            WHERE id = %(before)s
        ))
    ORDER BY requested_at DESC, id DESC
    LIMIT %(limit)s
    """,
    without={"state"},
).replace("{state}", _STATE)

KEEP_REPLY = """
INSERT INTO approval_secrets (approval, secret)
VALUES (%(approval)s, %(secret)s)
"""

KEPT_REPLY = """
SELECT secret
FROM approval_secrets
WHERE approval = %(approval)s
"""

PRUNE_REPLIES = """
DELETE FROM approval_secrets
WHERE created_at < now() - %(age)s
"""

PRUNE = """
DELETE FROM approvals
WHERE id IN (
    SELECT id
    FROM approvals
    WHERE requested_at < now() - %(age)s
    ORDER BY requested_at, id
    LIMIT %(limit)s
)
"""


@dataclass(frozen=True, slots=True)
class DecidedReply:
    """The reply to an action that was executed or refused. `is_secret`: `content` is encrypted."""

    status: int
    type: str
    content: bytes
    is_secret: bool = False


async def add(
    conn: Connection,
    *,
    id: UUID,  # noqa: A002
    action: str,
    summary: str,
    request: str,
    requested_by: str,
    token_id: str | None,
    token_issued_at: int,
    lifetime: timedelta,
) -> ApprovalRow:
    """Add a pending approval."""
    params = {
        "id": id,
        "action": action,
        "summary": summary,
        "request": request,
        "requested_by": requested_by,
        "token_id": token_id,
        "token_issued_at": token_issued_at,
        "lifetime": lifetime,
    }
    return await fetch_exactly_one(conn, ApprovalRow, ADD, params)


async def lock_pending(conn: Connection) -> list[PendingRequest]:
    """Return the pending requests, those first that expire first.

    Nobody else gets them until the transaction ends, which may add the next one.
    """
    await conn.execute(LOCK_REQUESTS, {"key": REQUEST_LOCK})
    return await fetch_all(conn, PendingRequest, PENDING, {})


async def get(conn: Connection, approval: UUID) -> ApprovalRow | None:
    """Return an approval, None if there is none."""
    return await fetch_one(conn, ApprovalRow, GET, {"id": approval})


async def lock(conn: Connection, approval: UUID) -> ApprovalRow | None:
    """Return an approval, locked until the transaction ends; None if there is none."""
    return await fetch_one(conn, ApprovalRow, GET_FOR_UPDATE, {"id": approval})


async def decide(
    conn: Connection, approval: UUID, state: Decision, *, by: str, reply: DecidedReply | None = None
) -> None:
    """Decide a pending approval, which must be locked."""
    params: dict[str, Any] = {"id": approval, "state": state, "by": by}
    params |= {"status": None, "type": None, "reply": None}
    if reply is not None:
        shown = None if reply.is_secret else reply.content
        params |= {"status": reply.status, "type": reply.type, "reply": shown}
        if reply.is_secret:
            kept = {"approval": str(approval), "secret": reply.content}
            await conn.execute(KEEP_REPLY, kept)
    decided = (await conn.execute(DECIDE, params)).rowcount
    assert decided == 1, "the approval was not locked"


async def secret_reply(conn: Connection, approval: UUID) -> bytes | None:
    """Return the encrypted reply of an approval, None if it is not kept any more."""
    found: bytes | None = await fetch_value(conn, KEPT_REPLY, {"approval": str(approval)})
    return found


async def page(
    conn: Connection, *, limit: int, state: State | None = None, before: UUID | None = None
) -> list[ApprovalRow]:
    """Return up to `limit` approvals, newest first, requested before that of `before`."""
    params = {"limit": limit, "state": state, "before": before}
    return await fetch_all(conn, ApprovalRow, PAGE, params)


async def prune_secrets(conn: Connection, age: timedelta) -> int:
    """Delete the replies with secrets that are older than `age`; return how many."""
    return (await conn.execute(PRUNE_REPLIES, {"age": age})).rowcount


async def prune(conn: Connection, age: timedelta) -> int:
    """Delete the approvals requested longer than `age` ago; return how many."""
    return await delete_in_batches(conn, PRUNE, {"age": age})


async def reseal(conn: Connection, secret_box: SecretBox) -> int:
    """Encrypt every secret reply with the first key; see `reseal_table`."""
    return await reseal_table(
        conn, secret_box, table="approval_secrets", key="approval", about=about
    )


def about(approval: str) -> str:
    """Return the label of the secret reply of an approval."""
    return f"approval:{approval}"

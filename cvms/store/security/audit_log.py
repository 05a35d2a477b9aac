"""The audit trail: a hash chain, so that changed or removed entries are detected.

    hash = sha256(hash of the previous entry, 32 bytes || canonical JSON of the entry, UTF-8)

The canonical JSON has the keys action, actor, at, details, id, outcome, owner in this order. Keys
are sorted at every depth; there are no spaces and no escapes. `at` is ISO 8601 in UTC. The hash
before the first entry is 32 zero bytes. `cvms.store.security.audit_verification` checks the chain.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import (
    columns,
    fetch_all,
    fetch_exactly_one,
    query_for,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditRow:
    """An entry as stored."""

    id: int
    at: datetime
    actor: str
    action: str
    owner: str | None
    outcome: str
    details: dict[str, Any]
    hash: bytes


@dataclass(frozen=True, slots=True)
class _Head:
    id: int
    hash: bytes
    at: datetime


HASHED = columns(AuditRow, without={"hash"})

HEAD = """
SELECT id, hash, clock_timestamp() AS at
FROM audit_head
"""
HEAD_FOR_UPDATE = f"{HEAD}FOR UPDATE"

APPEND = """
WITH head AS (
    UPDATE audit_head
    SET id = %(id)s, hash = %(hash)s
)
INSERT INTO audit_logs (id, at, actor, action, owner, outcome, details, hash)
VALUES (
    %(id)s, %(at)s, %(actor)s, %(action)s, %(owner)s, %(outcome)s, %(details)s::JSON, %(hash)s
)
"""

PAGE = query_for(
    AuditRow,
    """
    SELECT {columns}
    FROM audit_logs
    WHERE id < %(before_id)s
      AND (%(owner)s::TEXT IS NULL OR owner = %(owner)s)
      AND (%(action)s::TEXT IS NULL OR action = %(action)s)
    ORDER BY id DESC
    LIMIT %(limit)s
    """,
)

MAX_ID = 2**63 - 1


async def record(
    conn: Connection,
    *,
    actor: str,
    action: str,
    owner: str | None,
    outcome: str = "accepted",
    details: Mapping[str, Any] = MappingProxyType({}),
) -> int:
    """Append an entry and return its id: who did what to whose vault, and with which outcome.

    `details` must not hold secrets. Other writers wait until the transaction ends.
    """
    async with conn.transaction():
        head = await fetch_exactly_one(conn, _Head, HEAD_FOR_UPDATE, {})
        row: dict[str, Any] = {
            "id": head.id + 1,
            "actor": actor,
            "action": action,
            "owner": owner,
            "outcome": outcome,
        }
        hashed = chained_hash(head.hash, at=head.at, details=dict(details), **row)
        stored = {"at": head.at, "details": _canonical(dict(details)), "hash": hashed}
        await conn.execute(APPEND, {**row, **stored})
        return head.id + 1


async def page(
    conn: Connection,
    *,
    limit: int,
    owner: str | None = None,
    action: str | None = None,
    before_id: int | None = None,
) -> list[AuditRow]:
    """Return up to `limit` entries, newest first, older than `before_id`."""
    params = {
        "owner": owner,
        "action": action,
        "before_id": MAX_ID if before_id is None else before_id,
        "limit": limit,
    }
    return await fetch_all(conn, AuditRow, PAGE, params)


def chained_hash(previous: bytes, *, at: datetime, **entry: Any) -> bytes:
    """Return the hash of an entry, as the module's docstring defines it."""
    canonical = _canonical({**entry, "at": at.astimezone(UTC).isoformat()})
    return hashlib.sha256(previous + canonical.encode()).digest()


def hash_of(row: AuditRow, previous: bytes) -> bytes:
    """Return the hash that the row must have after the one with the hash `previous`."""
    return chained_hash(previous, **{name: getattr(row, name) for name in HASHED})


def _canonical(value: object) -> str:
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )

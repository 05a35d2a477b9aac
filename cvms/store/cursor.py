"""How far the indexer has applied a program's transactions."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from cvms.store.connection import TrioConnection
from cvms.store.rows import fetch_one

GET = """
SELECT program, slot, signature, previous_signature
FROM indexer_cursor
WHERE program = %(program)s
"""

ADVANCE = """
INSERT INTO indexer_cursor (program, slot, signature, previous_signature)
VALUES (%(program)s, %(slot)s, %(signature)s, %(previous_signature)s)
ON CONFLICT (program) DO UPDATE SET
    slot = EXCLUDED.slot,
    signature = EXCLUDED.signature,
    previous_signature = EXCLUDED.previous_signature,
    updated_at = now()
WHERE indexer_cursor.slot <= EXCLUDED.slot
"""


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last transaction applied: nothing before it is missing.

    `previous_signature` is the one applied before it, to fall back on when a fork drops the last.
    """

    program: str
    slot: int
    signature: str
    previous_signature: str | None = None


async def get(conn: TrioConnection[Any], program: str) -> Cursor | None:
    """Where `program`'s transactions were applied up to; None before the first."""
    return await fetch_one(conn, Cursor, GET, {"program": program})


async def advance(conn: TrioConnection[Any], cursor: Cursor) -> bool:
    """Move to `cursor`, in the transaction of its effects. False if it lies behind in slots."""
    done = await conn.execute(ADVANCE, asdict(cursor))
    return done.rowcount == 1

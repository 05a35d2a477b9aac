"""Which of the recorded events are final, and which still stand on a confirmed block only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cvms.store.connection import TrioConnection
from cvms.store.rows import fetch_all

UNSETTLED = """
SELECT slot, signature
FROM chain_events
WHERE commitment <> 'finalized'
  AND slot <= %(up_to_slot)s
  AND (slot, signature) > (%(slot)s, %(signature)s)
GROUP BY slot, signature
ORDER BY slot, signature
LIMIT %(limit)s
"""

SETTLE = """
WITH settled AS (
    UPDATE chain_events
    SET commitment = 'finalized'
    WHERE signature = ANY(%(signatures)s)
      AND commitment <> 'finalized'
)
UPDATE transactions
SET commitment = 'finalized'
WHERE signature = ANY(%(signatures)s)
  AND commitment <> 'finalized'
"""


@dataclass(frozen=True, slots=True, order=True)
class Unsettled:
    """A transaction whose events are recorded and not final. Sorts by slot, then signature."""

    slot: int
    signature: str


START = Unsettled(-1, "")


async def unsettled(
    conn: TrioConnection[Any], *, up_to_slot: int, after: Unsettled = START, limit: int = 256
) -> list[Unsettled]:
    """Up to `limit` transactions that follow `after`, in slots up to `up_to_slot`."""
    params = {
        "up_to_slot": up_to_slot,
        "slot": after.slot,
        "signature": after.signature,
        "limit": limit,
    }
    return await fetch_all(conn, Unsettled, UNSETTLED, params)


async def settle(conn: TrioConnection[Any], signatures: Sequence[str]) -> None:
    """Mark the events and history rows of these transactions as final. Safe to do again."""
    await conn.execute(SETTLE, {"signatures": list(signatures)})

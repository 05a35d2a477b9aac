"""Marks as final what was applied from blocks that were only confirmed."""

from __future__ import annotations

from collections.abc import Sequence

from cvms.store.index import applied_transactions
from cvms.store.index.applied_transactions import AppliedTransaction
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import by_column

# By slot as well, since a fork may have moved the transaction to a block that is not final.
MARK_FINAL = """
WITH final AS (
    UPDATE applied
    SET final = TRUE
    FROM unnest(%(signature)s::TEXT[], %(slot)s::BIGINT[]) AS finalized (signature, slot)
    WHERE applied.signature = finalized.signature
      AND applied.slot = finalized.slot
    RETURNING applied.place, applied.signature
), dropped AS (
    DELETE FROM applied_before
    USING final
    WHERE applied_before.place = final.place
), events AS (
    UPDATE chain_events
    SET commitment = 'finalized'
    FROM final
    WHERE chain_events.signature = final.signature
      AND commitment <> 'finalized'
)
UPDATE transactions
SET commitment = 'finalized'
FROM final
WHERE transactions.signature = final.signature
  AND commitment <> 'finalized'
"""


async def mark_final(conn: Connection, rows: Sequence[AppliedTransaction]) -> None:
    """Mark these transactions, their events and history rows as final. Safe to repeat."""
    if rows:
        await conn.execute(MARK_FINAL, by_column(rows, ("signature", "slot")))
        await applied_transactions.prune(conn)

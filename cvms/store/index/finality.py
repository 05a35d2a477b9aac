"""Mark what is final, which until then stands on a confirmed block only."""

from __future__ import annotations

from collections.abc import Sequence

from cvms.store.index import applied_transactions
from cvms.store.index.applied_transactions import AppliedTransaction
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import by_column

# By slot as well: what a fork has moved to another block meanwhile is not final by this.
MARK_FINAL = """
WITH final AS (
    UPDATE applied
    SET final = TRUE
    FROM unnest(%(signature)s::TEXT[], %(slot)s::BIGINT[]) AS settled (signature, slot)
    WHERE applied.signature = settled.signature
      AND applied.slot = settled.slot
    RETURNING applied.place, applied.signature
), forgotten AS (
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
    """Mark these transactions, their events and history rows as final. Safe to do again."""
    if rows:
        await conn.execute(MARK_FINAL, by_column(rows, ("signature", "slot")))
        await applied_transactions.prune(conn)

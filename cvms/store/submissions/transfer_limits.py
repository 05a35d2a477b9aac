"""How much administrators may transfer between vaults within a day, for all replicas together."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_all

WINDOW = timedelta(days=1)

# "transfer" in ASCII: the key of the advisory lock under which transfers are counted and recorded.
TRANSFER_LOCK = 0x7472616E73666572

LOCK = "SELECT pg_advisory_xact_lock(%(key)s)"

# One whose outcome is not known counts, and so does one that a wallet may still sign.
TRANSFERS = """
SELECT amount, created_at + %(window)s AS free_at
FROM submissions
WHERE kind = 'transfer_collateral'
  AND created_at > now() - %(window)s
  AND state NOT IN ('failed', 'expired')
ORDER BY created_at
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecentTransfer:
    """A transfer within the last day, and when it counts no more."""

    amount: int
    free_at: datetime


async def lock_recent(conn: Connection) -> list[RecentTransfer]:
    """Return the transfers of the last day, oldest first.

    Nobody else gets them until the transaction ends, which must record the next one.
    """
    await conn.execute(LOCK, {"key": TRANSFER_LOCK})
    return await fetch_all(conn, RecentTransfer, TRANSFERS, {"window": WINDOW})

"""By how much an owner's history exceeds what the account counts as deposited and withdrawn.

The history keeps every deposit of our token forever. The account starts over each time it is
opened, and while it holds another mint it counts that mint's tokens too. `account_offsets` holds
the difference; it is negative where the account counts more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_value
from cvms.store.vaults.history import Kind

RESET = """
INSERT INTO account_offsets (owner, deposited, withdrawn)
SELECT %(owner)s,
       coalesce(sum(amount) FILTER (WHERE kind = %(deposit)s), 0),
       coalesce(sum(amount) FILTER (WHERE kind = ANY(%(withdrawals)s)), 0)
FROM history_sums
WHERE owner = %(owner)s
ON CONFLICT (owner) DO UPDATE SET
    deposited = EXCLUDED.deposited,
    withdrawn = EXCLUDED.withdrawn
"""

EXCLUDE = """
INSERT INTO account_offsets (owner, deposited, withdrawn)
VALUES (%(owner)s, -%(deposited)s::NUMERIC, -%(withdrawn)s::NUMERIC)
ON CONFLICT (owner) DO UPDATE SET
    deposited = account_offsets.deposited + EXCLUDED.deposited,
    withdrawn = account_offsets.withdrawn + EXCLUDED.withdrawn
"""

OFFSET = """
SELECT jsonb_build_object('owner', owner, 'deposited', deposited, 'withdrawn', withdrawn)
FROM account_offsets
WHERE owner = %(owner)s
"""

RESTORE = """
INSERT INTO account_offsets (owner, deposited, withdrawn)
VALUES (%(owner)s, %(deposited)s, %(withdrawn)s)
ON CONFLICT (owner) DO UPDATE SET
    deposited = EXCLUDED.deposited,
    withdrawn = EXCLUDED.withdrawn
"""

DROP = """
DELETE FROM account_offsets
WHERE owner = %(owner)s
"""


async def reset(conn: Connection, owner: str) -> None:
    """Make the owner's next account count from zero, since this one was closed."""
    params = {
        "owner": owner,
        "deposit": Kind.DEPOSIT,
        "withdrawals": [Kind.WITHDRAW, Kind.EMERGENCY_WITHDRAW],
    }
    await conn.execute(RESET, params)


async def exclude(conn: Connection, owner: str, deposited: int, withdrawn: int) -> None:
    """Add amounts that the account has counted and the history has not."""
    amounts = {"owner": owner, "deposited": deposited, "withdrawn": withdrawn}
    await conn.execute(EXCLUDE, amounts)


async def offset(conn: Connection, owner: str) -> dict[str, Any] | None:
    """Return an owner's row as `restore` takes it, or None if there is none."""
    row: dict[str, Any] | None = await fetch_value(conn, OFFSET, {"owner": owner})
    return row


async def restore(conn: Connection, owner: str, row: Mapping[str, Any] | None) -> None:
    """Set an owner's row to a former value; None deletes it."""
    if row is None:
        await conn.execute(DROP, {"owner": owner})
    else:
        await conn.execute(RESTORE, row)

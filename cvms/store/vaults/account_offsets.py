"""What an owner's account should count as deposited and withdrawn, by the history.

The history holds every deposit of our token, for good. The account begins anew each time it is
opened, and counts other tokens too while it holds their mint: `account_offsets` keeps by how much
the history's sums exceed the account's (below zero where the account counts more).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cvms.store.postgres.driver.connection import Connection
from cvms.store.vaults.history import DEPOSIT, EMERGENCY_WITHDRAW, WITHDRAW

EXPECTED = """
WITH history AS (
    SELECT coalesce(sum(amount) FILTER (WHERE kind = %(deposit)s), 0) AS deposited,
           coalesce(sum(amount) FILTER (WHERE kind = ANY(%(withdrawals)s)), 0) AS withdrawn
    FROM transactions
    WHERE owner = %(owner)s
)
SELECT history.deposited - coalesce(account_offsets.deposited, 0),
       history.withdrawn - coalesce(account_offsets.withdrawn, 0)
FROM history
LEFT JOIN account_offsets
  ON account_offsets.owner = %(owner)s
"""

RESET = """
INSERT INTO account_offsets (owner, deposited, withdrawn)
SELECT %(owner)s,
       coalesce(sum(amount) FILTER (WHERE kind = %(deposit)s), 0),
       coalesce(sum(amount) FILTER (WHERE kind = ANY(%(withdrawals)s)), 0)
FROM transactions
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


async def expected(conn: Connection, owner: str) -> tuple[int, int]:
    """What the account of `owner` should count as deposited and withdrawn; emergencies included."""
    cursor = await conn.execute(EXPECTED, _of(owner))
    row = await cursor.fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


async def reset(conn: Connection, owner: str) -> None:
    """The account was closed: the next one of this owner counts from zero."""
    await conn.execute(RESET, _of(owner))


async def exclude(conn: Connection, owner: str, deposited: int, withdrawn: int) -> None:
    """The account has counted these, and the history has not."""
    amounts = {"owner": owner, "deposited": deposited, "withdrawn": withdrawn}
    await conn.execute(EXCLUDE, amounts)


async def offset(conn: Connection, owner: str) -> dict[str, Any] | None:
    """An owner's row, for `restore`; None where there is none."""
    cursor = await conn.execute(OFFSET, {"owner": owner})
    row = await cursor.fetchone()
    return row[0] if row else None


async def restore(conn: Connection, owner: str, row: Mapping[str, Any] | None) -> None:
    """Put an owner's row back as it was; None where there was none."""
    if row is None:
        await conn.execute(DROP, {"owner": owner})
    else:
        await conn.execute(RESTORE, row)


def _of(owner: str) -> dict[str, Any]:
    return {"owner": owner, "deposit": DEPOSIT, "withdrawals": [WITHDRAW, EMERGENCY_WITHDRAW]}

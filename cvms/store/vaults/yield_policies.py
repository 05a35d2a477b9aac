"""Policies of owners whose yield the service compounds by itself, from an amount on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_all, fetch_exactly_one, fetch_one, query_for


@dataclass(frozen=True, slots=True, kw_only=True)
class YieldPolicy:
    """Policy of an owner's vault in a program: if enabled, yield of `min_amount` is compounded."""

    owner: str
    yield_program: str
    auto_compound: bool
    min_amount: int
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class _Delegates:
    owner: str
    delegates: list[str]


PUT = query_for(
    YieldPolicy,
    """
    INSERT INTO yield_policies (owner, yield_program, auto_compound, min_amount)
    VALUES (%(owner)s, %(yield_program)s, %(auto_compound)s, %(min_amount)s)
    ON CONFLICT (owner, yield_program) DO UPDATE SET
        auto_compound = EXCLUDED.auto_compound,
        min_amount = EXCLUDED.min_amount,
        updated_at = now()
    RETURNING {columns}
    """,
)

OF_OWNER = query_for(
    YieldPolicy,
    """
    SELECT {columns}
    FROM yield_policies
    WHERE owner = %(owner)s
    ORDER BY yield_program
    """,
)

# Only vaults that let the service sign alone and have something deposited. These have an index of
# their own, since most vaults with a policy may have nothing deposited.
TO_COMPOUND = query_for(
    YieldPolicy,
    """
    SELECT {columns:policy}
    FROM yield_policies AS policy
    JOIN vaults USING (owner)
    WHERE policy.auto_compound
      AND policy.yield_program = %(yield_program)s
      AND vaults.owner > %(after)s
      AND NOT vaults.closed
      AND vaults.yield_deposited > 0
      AND vaults.multisig_threshold = 0
      AND cardinality(vaults.delegates) > 0
      AND vaults.delegates && %(delegates)s
    ORDER BY vaults.owner
    LIMIT %(limit)s
    """,
)

DELEGATES = """
SELECT owner, delegates
FROM vaults
WHERE owner = ANY(%(owners)s)
"""

# Locked, so that a change waits until what was decided by the policy is recorded.
HOLD = query_for(
    YieldPolicy,
    """
    SELECT {columns}
    FROM yield_policies
    WHERE owner = %(owner)s
      AND yield_program = %(yield_program)s
    FOR SHARE
    """,
)


async def put(
    conn: Connection,
    *,
    owner: str,
    yield_program: str,
    auto_compound: bool,
    min_amount: int,
) -> YieldPolicy:
    """Store an owner's policy for a program, replacing the previous one."""
    params = {
        "owner": owner,
        "yield_program": yield_program,
        "auto_compound": auto_compound,
        "min_amount": min_amount,
    }
    return await fetch_exactly_one(conn, YieldPolicy, PUT, params)


async def of_owner(conn: Connection, owner: str) -> list[YieldPolicy]:
    """Return the owner's policies, ordered by program."""
    return await fetch_all(conn, YieldPolicy, OF_OWNER, {"owner": owner})


async def to_compound(
    conn: Connection, *, yield_program: str, delegates: Sequence[str], after: str, limit: int
) -> list[YieldPolicy]:
    """Return up to `limit` policies that are on, ordered by owner, after the owner `after`.

    Only those of open vaults without a multisig that have a deposit in yield and one of these
    delegates.
    """
    params = {
        "yield_program": yield_program,
        "delegates": list(delegates),
        "after": after,
        "limit": limit,
    }
    return await fetch_all(conn, YieldPolicy, TO_COMPOUND, params)


async def delegates(conn: Connection, owners: Iterable[str]) -> dict[str, list[str]]:
    """Return the delegates of these owners' vaults, by owner; none of an owner without a vault."""
    owners = list(owners)
    rows = await fetch_all(conn, _Delegates, DELEGATES, {"owners": owners})
    return {owner: [] for owner in owners} | {row.owner: row.delegates for row in rows}


async def allows(conn: Connection, *, owner: str, yield_program: str, amount: int) -> bool:
    """Return whether the policy allows compounding `amount`; it stays so in this transaction."""
    params = {"owner": owner, "yield_program": yield_program}
    policy = await fetch_one(conn, YieldPolicy, HOLD, params)
    return policy is not None and policy.auto_compound and amount >= policy.min_amount

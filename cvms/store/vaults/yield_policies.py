"""Whose yield the service compounds by itself, and from which amount on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_all, fetch_one

PUT = """
INSERT INTO yield_policies (owner, yield_program, auto_compound, min_amount)
VALUES (%(owner)s, %(yield_program)s, %(auto_compound)s, %(min_amount)s)
ON CONFLICT (owner, yield_program) DO UPDATE SET
    auto_compound = EXCLUDED.auto_compound,
    min_amount = EXCLUDED.min_amount,
    updated_at = now()
RETURNING owner, yield_program, auto_compound, min_amount, updated_at
"""

OF_OWNER = """
SELECT owner, yield_program, auto_compound, min_amount, updated_at
FROM yield_policies
WHERE owner = %(owner)s
ORDER BY yield_program
"""

# Those alone whose vaults let the service sign by itself, and lend anything.
TO_COMPOUND = """
SELECT policy.owner, policy.yield_program, policy.auto_compound, policy.min_amount,
       policy.updated_at
FROM yield_policies AS policy
JOIN vaults USING (owner)
WHERE policy.auto_compound
  AND policy.yield_program = %(yield_program)s
  AND policy.owner > %(after)s
  AND NOT vaults.closed
  AND vaults.yield_deposited > 0
  AND vaults.multisig_threshold = 0
  AND %(delegate)s = ANY(vaults.delegates)
ORDER BY policy.owner
LIMIT %(limit)s
"""

# Locked, so that whoever changes it waits until what was decided by it is written down.
HOLD = """
SELECT owner, yield_program, auto_compound, min_amount, updated_at
FROM yield_policies
WHERE owner = %(owner)s
  AND yield_program = %(yield_program)s
FOR SHARE
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class YieldPolicy:
    """Whether what the owner's vault earns with a program is compounded once it is `min_amount`."""

    owner: str
    yield_program: str
    auto_compound: bool
    min_amount: int
    updated_at: datetime


async def put(
    conn: Connection,
    *,
    owner: str,
    yield_program: str,
    auto_compound: bool,
    min_amount: int,
) -> YieldPolicy:
    """Store an owner's policy for a program, in place of the one before."""
    params = {
        "owner": owner,
        "yield_program": yield_program,
        "auto_compound": auto_compound,
        "min_amount": min_amount,
    }
    stored = await fetch_one(conn, YieldPolicy, PUT, params)
    assert stored is not None
    return stored


async def of_owner(conn: Connection, owner: str) -> list[YieldPolicy]:
    """The owner's policies, by program."""
    return await fetch_all(conn, YieldPolicy, OF_OWNER, {"owner": owner})


async def to_compound(
    conn: Connection, *, yield_program: str, delegate: str, after: str, limit: int
) -> list[YieldPolicy]:
    """Up to `limit` policies that are on, in the order of their owners, those after `after`.

    Only of open vaults without a multisig that lend something and have this delegate.
    """
    params = {
        "yield_program": yield_program,
        "delegate": delegate,
        "after": after,
        "limit": limit,
    }
    return await fetch_all(conn, YieldPolicy, TO_COMPOUND, params)


async def allows(conn: Connection, *, owner: str, yield_program: str, amount: int) -> bool:
    """Whether the policy lets so much be compounded, now and until this transaction ends."""
    params = {"owner": owner, "yield_program": yield_program}
    policy = await fetch_one(conn, YieldPolicy, HOLD, params)
    return policy is not None and policy.auto_compound and amount >= policy.min_amount

"""What yield protocols paid, reading by reading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import by_column, fetch_all

PUT = """
INSERT INTO protocol_apy (
    protocol, address, source_slot, chain_time, mint, supply_apr, supply_apy, borrow_apr,
    utilization, supplied, borrowed, updated_slot, updated_time, reason, detail
)
SELECT protocol, address, source_slot, chain_time, mint, supply_apr, supply_apy, borrow_apr,
       utilization, supplied, borrowed, updated_slot, updated_time, reason, detail
FROM unnest(
    %(protocol)s::TEXT[], %(address)s::TEXT[], %(source_slot)s::BIGINT[],
    %(chain_time)s::BIGINT[], %(mint)s::TEXT[], %(supply_apr)s::NUMERIC[],
    %(supply_apy)s::NUMERIC[], %(borrow_apr)s::NUMERIC[], %(utilization)s::NUMERIC[],
    %(supplied)s::NUMERIC[], %(borrowed)s::NUMERIC[], %(updated_slot)s::NUMERIC[],
    %(updated_time)s::NUMERIC[], %(reason)s::TEXT[], %(detail)s::TEXT[]
) AS given (
    protocol, address, source_slot, chain_time, mint, supply_apr, supply_apy, borrow_apr,
    utilization, supplied, borrowed, updated_slot, updated_time, reason, detail
)
ORDER BY protocol, address
ON CONFLICT (protocol, address, source_slot) DO UPDATE SET
    chain_time = EXCLUDED.chain_time,
    read_at = EXCLUDED.read_at,
    mint = EXCLUDED.mint,
    supply_apr = EXCLUDED.supply_apr,
    supply_apy = EXCLUDED.supply_apy,
    borrow_apr = EXCLUDED.borrow_apr,
    utilization = EXCLUDED.utilization,
    supplied = EXCLUDED.supplied,
    borrowed = EXCLUDED.borrowed,
    updated_slot = EXCLUDED.updated_slot,
    updated_time = EXCLUDED.updated_time,
    reason = EXCLUDED.reason,
    detail = EXCLUDED.detail
"""

NEWEST = """
SELECT newest.protocol, newest.address, source_slot, chain_time, mint, supply_apr, supply_apy,
       borrow_apr, utilization, supplied, borrowed, updated_slot, updated_time, reason, detail,
       extract(EPOCH FROM clock_timestamp() - read_at)::FLOAT AS age
FROM unnest(%(protocol)s::TEXT[], %(address)s::TEXT[])
    WITH ORDINALITY AS source (protocol, address, place)
CROSS JOIN LATERAL (
    SELECT protocol, address, source_slot, chain_time, mint, supply_apr, supply_apy, borrow_apr,
           utilization, supplied, borrowed, updated_slot, updated_time, reason, detail, read_at
    FROM protocol_apy
    WHERE (protocol, address) = (source.protocol, source.address)
    ORDER BY read_at DESC
    LIMIT 1
) AS newest
ORDER BY source.place
"""

PRUNE = """
DELETE FROM protocol_apy
WHERE read_at < now() - %(age)s
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRate:
    """A source as a node gave it at `source_slot`, when the chain's clock showed `chain_time`.

    A rate (fractions of 1 a year, amounts in token units) or a `reason` why there is none.
    `updated_…` is when the protocol last touched its account. `age`: seconds since it was read.
    """

    protocol: str
    address: str
    source_slot: int
    chain_time: int
    mint: str | None = None
    supply_apr: Decimal | None = None
    supply_apy: Decimal | None = None
    borrow_apr: Decimal | None = None
    utilization: Decimal | None = None
    supplied: int | None = None
    borrowed: int | None = None
    updated_slot: int | None = None
    updated_time: int | None = None
    reason: str | None = None
    detail: str | None = None
    age: float = 0.0

    def __post_init__(self) -> None:
        for name in ("supplied", "borrowed", "updated_slot", "updated_time"):
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else int(value))


async def put(conn: Connection, rates: Sequence[StoredRate]) -> None:
    """Store a reading: one row for each source and slot, the later of two at one slot."""
    names = (name for name in StoredRate.__slots__ if name != "age")
    await conn.execute(PUT, by_column(rates, names))


async def newest(conn: Connection, sources: Sequence[tuple[str, str]]) -> list[StoredRate]:
    """The last reading of each protocol and address, in their order; without those never read."""
    params = {
        "protocol": [protocol for protocol, _ in sources],
        "address": [address for _, address in sources],
    }
    return await fetch_all(conn, StoredRate, NEWEST, params)


async def prune(conn: Connection, age: timedelta) -> int:
    """Delete the readings older than `age`; returns how many."""
    cursor = await conn.execute(PRUNE, {"age": age})
    return cursor.rowcount

"""The rates of yield protocols, one row for each reading."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import (
    SQL_TYPES,
    by_column,
    columns,
    fetch_all,
    fetch_value,
    query_for,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRate:
    """A yield source as read at `source_slot`, when the chain's clock showed `chain_time`.

    Either a rate (yearly fractions of 1, amounts in token units) or a `reason` why there is none.
    `updated_…` is when the protocol last changed its account. `age`: seconds since the reading.
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


# NUMERIC for integers, since an account may hold more than a BIGINT.
PUT = query_for(
    StoredRate,
    """
    INSERT INTO protocol_apy ({columns})
    SELECT {columns}
    FROM unnest({arrays}) AS given ({columns})
    ORDER BY protocol, address
    ON CONFLICT (protocol, address, source_slot) DO UPDATE SET {updates}, read_at = now()
    """,
    key={"protocol", "address", "source_slot"},
    without={"age"},
    sql_types={**SQL_TYPES, int: "NUMERIC"},
)

NEWEST = query_for(
    StoredRate,
    """
    SELECT {columns:newest}, extract(EPOCH FROM clock_timestamp() - read_at)::FLOAT AS age
    FROM unnest(%(protocol)s::TEXT[], %(address)s::TEXT[])
        WITH ORDINALITY AS source (protocol, address, place)
    CROSS JOIN LATERAL (
        SELECT {columns}, read_at
        FROM protocol_apy
        WHERE (protocol, address) = (source.protocol, source.address)
        ORDER BY read_at DESC
        LIMIT 1
    ) AS newest
    ORDER BY source.place
    """,
    without={"age"},
)

# A source that is not configured any more is not read.
MEAN_APY = """
SELECT avg(supply_apy)
FROM (
    SELECT DISTINCT ON (protocol, address) supply_apy
    FROM protocol_apy
    WHERE read_at > now() - %(within)s
    ORDER BY protocol, address, read_at DESC
) AS newest
"""

PRUNE = """
DELETE FROM protocol_apy
WHERE read_at < now() - %(age)s
"""


async def put(conn: Connection, rates: Sequence[StoredRate]) -> None:
    """Store a reading: one row for each source and slot, the later of two at the same slot."""
    await conn.execute(PUT, by_column(rates, columns(StoredRate, without={"age"})))


async def newest(conn: Connection, sources: Sequence[tuple[str, str]]) -> list[StoredRate]:
    """Return the last reading of each (protocol, address), in their order, if there is one."""
    params = {
        "protocol": [protocol for protocol, _ in sources],
        "address": [address for _, address in sources],
    }
    return await fetch_all(conn, StoredRate, NEWEST, params)


async def mean_apy(conn: Connection, *, within: timedelta) -> Decimal | None:
    """Return the mean of the newest yearly rates that were read `within` this time."""
    mean: Decimal | None = await fetch_value(conn, MEAN_APY, {"within": within})
    return mean


async def prune(conn: Connection, age: timedelta) -> int:
    """Delete the readings older than `age`; return how many."""
    return (await conn.execute(PRUNE, {"age": age})).rowcount

"""The vaults whose events an endpoint gets later than those of others, since one has failed.

There is one row for a vault, however many of its events wait. Its events from `position` on, up to
the endpoint's own position, are read from the outbox when it is due.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import by_column, fetch_all, fetch_value


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldVault:
    """A vault that is held at `position`, whose event has failed `tries` times."""

    owner: str
    position: int
    tries: int
    last_error: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """From which event on a vault is to be held, and how long; `error` if one has failed."""

    owner: str
    position: int
    tries: int = 0
    delay: timedelta = timedelta(0)
    error: str | None = None


DUE = """
SELECT owner, position, tries, last_error
FROM webhook_held_vaults
WHERE endpoint = %(endpoint)s
  AND due_at <= clock_timestamp()
ORDER BY due_at
LIMIT %(limit)s
"""

SECONDS_UNTIL_DUE = """
SELECT extract(epoch FROM min(due_at) - clock_timestamp())::FLOAT8
FROM webhook_held_vaults
WHERE endpoint = %(endpoint)s
"""

AMONG = """
SELECT owner, position, tries, last_error
FROM webhook_held_vaults
WHERE endpoint = %(endpoint)s
  AND owner = ANY(%(owners)s)
"""

# One that is held already is held at an earlier event.
ADD = """
INSERT INTO webhook_held_vaults (endpoint, owner, position, tries, due_at, last_error)
SELECT %(endpoint)s, owner, position, tries, clock_timestamp() + delay, error
FROM unnest(
    %(owner)s::TEXT[], %(position)s::BIGINT[], %(tries)s::INTEGER[], %(delay)s::INTERVAL[],
    %(error)s::TEXT[]
) AS hold (owner, position, tries, delay, error)
ON CONFLICT (endpoint, owner) DO NOTHING
"""

MOVE = """
UPDATE webhook_held_vaults AS held
SET position = hold.position,
    tries = hold.tries,
    due_at = clock_timestamp() + hold.delay,
    last_error = hold.error
FROM unnest(
    %(owner)s::TEXT[], %(position)s::BIGINT[], %(tries)s::INTEGER[], %(delay)s::INTERVAL[],
    %(error)s::TEXT[]
) AS hold (owner, position, tries, delay, error)
WHERE held.endpoint = %(endpoint)s
  AND held.owner = hold.owner
"""

REMOVE = """
DELETE FROM webhook_held_vaults
WHERE endpoint = %(endpoint)s
  AND owner = ANY(%(owners)s)
"""

MAKE_DUE = """
UPDATE webhook_held_vaults
SET due_at = clock_timestamp()
WHERE endpoint = %(endpoint)s
  AND due_at > clock_timestamp()
"""

_COLUMNS = ("owner", "position", "tries", "delay", "error")


async def due(conn: Connection, endpoint: str, *, limit: int) -> list[HeldVault]:
    """Return up to `limit` vaults that are due, the longest due first."""
    return await fetch_all(conn, HeldVault, DUE, {"endpoint": endpoint, "limit": limit})


async def seconds_until_due(conn: Connection, endpoint: str) -> float | None:
    """Return the seconds until a vault is due, None if none is held."""
    seconds = await fetch_value(conn, SECONDS_UNTIL_DUE, {"endpoint": endpoint})
    return None if seconds is None else float(seconds)


async def among(conn: Connection, endpoint: str, owners: Sequence[str]) -> dict[str, HeldVault]:
    """Return which of these vaults are held."""
    params = {"endpoint": endpoint, "owners": list(owners)}
    return {each.owner: each for each in await fetch_all(conn, HeldVault, AMONG, params)}


async def add(conn: Connection, endpoint: str, holds: Sequence[Hold]) -> None:
    """Hold vaults; those that are held stay as they are."""
    if holds:
        await conn.execute(ADD, by_column(holds, _COLUMNS) | {"endpoint": endpoint})


async def move(conn: Connection, endpoint: str, holds: Sequence[Hold]) -> None:
    """Hold vaults that are held at a later event, or for longer."""
    if holds:
        await conn.execute(MOVE, by_column(holds, _COLUMNS) | {"endpoint": endpoint})


async def remove(conn: Connection, endpoint: str, owners: Sequence[str]) -> None:
    """Hold these vaults no longer."""
    if owners:
        await conn.execute(REMOVE, {"endpoint": endpoint, "owners": list(owners)})


async def make_due(conn: Connection, endpoint: str) -> None:
    """Make every vault due now."""
    await conn.execute(MAKE_DUE, {"endpoint": endpoint})

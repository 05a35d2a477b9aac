"""The processes of the service, each of which writes that it is alive."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_all, query_for


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """What a process says of itself. `instance` is its name as the holder of the leader lease."""

    instance: str
    host: str
    version: str
    ready: bool
    started_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceRow(Instance):
    """A process whose heartbeat was last stored at `seen_at`."""

    leader: bool
    seen_at: datetime


BEAT = query_for(
    Instance,
    """
    INSERT INTO instances ({columns})
    VALUES ({values})
    ON CONFLICT (instance) DO UPDATE SET {updates}, seen_at = clock_timestamp()
    """,
    key={"instance"},
)

ALIVE = query_for(
    Instance,
    """
    SELECT {columns}, seen_at,
           EXISTS (
               SELECT FROM leadership
               WHERE holder = instance
                 AND until > clock_timestamp()
           ) AS leader
    FROM instances
    WHERE seen_at > clock_timestamp() - %(silence)s::INTERVAL
    ORDER BY started_at, instance
    LIMIT %(limit)s
    """,
)

PRUNE = """
DELETE FROM instances
WHERE seen_at < clock_timestamp() - %(age)s::INTERVAL
"""

SILENCE = timedelta(minutes=1)
"""Without a heartbeat, after which a process counts as gone."""
MOST_SHOWN = 200


async def beat(conn: Connection, instance: Instance) -> None:
    """Store that the process is alive now, by the database's clock."""
    await conn.execute(BEAT, asdict(instance))


async def alive(conn: Connection) -> list[InstanceRow]:
    """Return the processes with a heartbeat in the last minute, oldest first."""
    return await fetch_all(conn, InstanceRow, ALIVE, {"silence": SILENCE, "limit": MOST_SHOWN})


async def prune(conn: Connection, age: timedelta) -> int:
    """Delete the processes without a heartbeat for `age`; return how many."""
    return (await conn.execute(PRUNE, {"age": age})).rowcount

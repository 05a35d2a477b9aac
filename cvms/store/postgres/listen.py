"""PostgreSQL's notifications, on a connection of their own."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import psycopg
import trio
from psycopg import generators, sql

from cvms.errors import DatabaseUnavailable
from cvms.store.postgres.database import Database
from cvms.store.postgres.driver.connection import Connection

# A connection that a firewall forgot looks like one without news; ask after this long a silence.
SILENCE_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class Notification:
    """`payload` as given to NOTIFY on `channel`, by the backend `pid`."""

    channel: str
    payload: str
    pid: int


class Listener(trio.abc.ReceiveChannel[Notification]):
    """Notifications in the order of their commits.

    `receive` raises DatabaseUnavailable once the connection is lost. Whoever listens must then
    start over, since notifications may have been missed; the connection is never replaced here.
    """

    def __init__(self, connection: Connection, *, silence: float) -> None:
        self._connection = connection
        self._silence = silence
        self._arrived: deque[psycopg.Notify] = deque()
        connection.add_notify_handler(self._arrived.append)

    async def receive(self) -> Notification:
        try:
            while not self._arrived:
                await self._wait()
        except psycopg.OperationalError as error:
            raise DatabaseUnavailable(f"LISTEN was lost: {str(error).strip()}") from error
        await trio.lowlevel.checkpoint()
        notify = self._arrived.popleft()
        return Notification(notify.channel, notify.payload, notify.pid)

    async def aclose(self) -> None:
        self._connection.finish()
        await trio.lowlevel.checkpoint()

    async def _wait(self) -> None:
        try:
            await self._connection.wait(
                generators.notifies(self._connection.pgconn), timeout=self._silence
            )
        except psycopg.errors._WaitTimeout:
            await self._connection.execute("SELECT 1")


@asynccontextmanager
async def listen(
    database: Database, *channels: str, silence: float = SILENCE_SECONDS
) -> AsyncIterator[Listener]:
    """A Listener on `channels` for the block: what is committed from now on will arrive."""
    async with database.dedicated() as connection:
        listener = Listener(connection, silence=silence)
        for channel in channels:
            await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
        yield listener

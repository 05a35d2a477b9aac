"""Notifications of PostgreSQL, received on a dedicated connection."""

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
from cvms.store.postgres.row_mapping import fetch_value

# A connection dropped by a firewall looks like an idle one, so it is checked after this long.
SILENCE_SECONDS = 15.0

# Nothing is ever notified on a server that was demoted, or made read-only, and keeps its sessions.
IS_READ_ONLY = "SELECT current_setting('transaction_read_only')::BOOLEAN"


@dataclass(frozen=True, slots=True)
class Notification:
    """A notification: `payload` as sent on `channel` by the backend `pid`."""

    channel: str
    payload: str
    pid: int


class Listener(trio.abc.ReceiveChannel[Notification]):
    """Receives notifications in the order of their commits.

    `receive` raises DatabaseUnavailable once the connection is lost. The caller must then start
    over, since notifications may have been missed; a Listener never reconnects.
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
            if await fetch_value(self._connection, IS_READ_ONLY):
                raise psycopg.errors.ReadOnlySqlTransaction("the server is read-only") from None


@asynccontextmanager
async def listen(
    database: Database, *channels: str, silence: float = SILENCE_SECONDS
) -> AsyncIterator[Listener]:
    """Yield a Listener that receives whatever is committed on `channels` from now on."""
    async with database.dedicated() as connection:
        listener = Listener(connection, silence=silence)
        for channel in channels:
            await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
        yield listener

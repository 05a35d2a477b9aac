"""What one replica says to all: that there is something to do for whoever leads."""

from __future__ import annotations

from cvms.store.postgres.driver.connection import Connection

# NOTIFY channels. A submission was signed; a vault is to be compared, its owner the payload, or
# all of them without one.
SUBMIT = "submit"
RECONCILE = "reconcile"

NOTIFY = "SELECT pg_notify(%(channel)s, %(payload)s)"


async def notify_leader(conn: Connection, channel: str, payload: str = "") -> None:
    """Heard once the transaction is committed; lost if nobody leads: it is a reason to look."""
    await conn.execute(NOTIFY, {"channel": channel, "payload": payload})

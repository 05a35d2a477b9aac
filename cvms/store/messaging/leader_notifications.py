"""Notifications of work for the leader, sent by any replica to all."""

from __future__ import annotations

from cvms.store.postgres.driver.connection import Connection

# NOTIFY channels: a submission was signed; a vault is to be reconciled, with its owner as the
# payload, or all vaults without one.
SUBMIT = "submit"
RECONCILE = "reconcile"

NOTIFY = "SELECT pg_notify(%(channel)s, %(payload)s)"


async def notify_leader(conn: Connection, channel: str, payload: str = "") -> None:
    """Notify the leader once the transaction commits.

    The notification is lost while there is no leader, so it may only be a hint to look at tables.
    """
    await conn.execute(NOTIFY, {"channel": channel, "payload": payload})

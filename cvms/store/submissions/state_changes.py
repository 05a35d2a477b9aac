"""Changes of submissions' states, with the refunds and messages that belong to them."""

from __future__ import annotations

from collections.abc import Sequence

from cvms.store.messaging import outbox
from cvms.store.messaging.outbox import OutboxMessage
from cvms.store.messaging.topics import Topic
from cvms.store.postgres.driver.connection import Connection
from cvms.store.submissions import fee_budget, in_flight
from cvms.store.submissions.in_flight import StateChange
from cvms.store.submissions.submissions import State

FINAL_STATES = frozenset({State.FINALIZED, State.FAILED})


async def apply(conn: Connection, changes: Sequence[StateChange]) -> list[StateChange]:
    """Make the changes whose row is still as it was read; return those.

    What has expired is refunded. Subscribers get a message about each. Call it last in the database
    transaction: it appends to the outbox.
    """
    applied = await in_flight.apply_changes(conn, changes)
    expired = [change.row.signature for change in applied if change.state is State.EXPIRED]
    if expired:
        await fee_budget.refund(conn, expired)
    if applied:
        await outbox.append(conn, [_message(change) for change in applied])
    return applied


def _message(change: StateChange) -> OutboxMessage:
    row = change.row
    return OutboxMessage(
        topic=Topic.TRANSACTION,
        owner=row.owner,
        slot=change.slot or row.slot or 0,
        signature=row.signature,
        commitment="finalized" if change.state in FINAL_STATES else "confirmed",
        data={
            "signature": row.signature,
            "status": change.state,
            "kind": row.kind,
            "owner": row.owner,
            "amount": row.amount,
            "slot": change.slot,
            "error": change.error,
            "landed_signature": change.landed_signature,
        },
    )

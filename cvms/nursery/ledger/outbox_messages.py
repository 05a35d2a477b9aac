"""Outbox messages of history lines and vault balances."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from cvms.chain.types import Commitment
from cvms.nursery.ledger.vault_rows import balances, same_balances
from cvms.store.messaging.outbox import MessageType, OutboxMessage
from cvms.store.messaging.topics import ROW_WRITTEN, TOPIC_OF, Topic
from cvms.store.vaults.history import HistoryRow
from cvms.store.vaults.vaults import VaultRow


@dataclass(frozen=True, slots=True)
class Cause:
    """The transaction that has changed a vault, and the time of its block if that is known."""

    signature: str
    block_time: datetime | None


def event_message(
    line: HistoryRow, event: Mapping[str, Any], *, kind: MessageType = "event"
) -> OutboxMessage:
    """Return the message of a history line; `event` is the data of the line's event."""
    data = dict(event) | {
        "owner": line.owner,
        "vault": line.vault,
        "kind": line.kind,
        "amount": line.amount,
        "balance_after": line.balance_after,
        "block_time": None if line.block_time is None else line.block_time.isoformat(),
    }
    return OutboxMessage(
        topic=TOPIC_OF[line.kind],
        owner=line.owner,
        slot=line.slot,
        signature=line.signature,
        commitment=line.commitment,
        data=data,
        type=kind,
    )


def vault_messages(
    rows: Iterable[tuple[VaultRow | None, VaultRow | None]], touched_by: Mapping[str, Cause] = {}
) -> list[OutboxMessage]:
    """Return one message for each written row, given before and after (None: there is no row).

    That is its balances if they have changed. `touched_by` has the causes by owner.
    """
    messages: list[OutboxMessage] = []
    for before, row in rows:
        if row is not None and not same_balances(row, before):
            messages.append(balance_message(row, before=before, cause=touched_by.get(row.owner)))
        elif written := row or before:
            messages.append(row_message(written.owner, slot=written.slot))
    return messages


def row_message(owner: str | None, *, slot: int) -> OutboxMessage:
    """Return the message that rows were written, which tells processes to drop what they keep."""
    return OutboxMessage(
        topic=ROW_WRITTEN,
        owner=owner,
        slot=slot,
        signature=None,
        commitment=Commitment.CONFIRMED,
        data={},
    )


def balance_message(
    row: VaultRow, *, before: VaultRow | None, cause: Cause | None = None
) -> OutboxMessage:
    """Return the `vault_balance_update` of a vault's row, given the row before it.

    Without a cause it is a correction, whose time is now.
    """
    previous = 0 if before is None else before.total
    time = (cause and cause.block_time) or datetime.now(UTC)
    return OutboxMessage(
        topic=Topic.BALANCE,
        owner=row.owner,
        slot=row.slot,
        signature=None if cause is None else cause.signature,
        commitment=Commitment.CONFIRMED,
        data=balances(row)
        | {
            "previous_balance": previous,
            "delta": row.total - previous,
            "timestamp": time.isoformat(),
        },
    )

"""Messages that tell subscribers about a corrected history what they were not told before.

The outbox says what was published, for as long as it is kept. So an event that was published and
then lost from the tables is not published again, and of two replicas only one publishes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import structlog

from cvms.nursery.ledger.outbox_messages import event_message
from cvms.nursery.reconciliation.chain_history import VaultHistory
from cvms.nursery.reconciliation.history_diff import HistoryDiff
from cvms.store.messaging import outbox
from cvms.store.messaging.outbox import OutboxMessage
from cvms.store.messaging.topics import KINDS_OF
from cvms.store.postgres.driver.connection import Connection
from cvms.store.vaults import balance_history
from cvms.store.vaults.history import HistoryRow

log = structlog.get_logger(__name__)

CLOCK_MARGIN = timedelta(hours=1)
"""Difference between the clocks of the chain and of the database that is allowed for."""


async def append_late_messages(conn: Connection, proven: VaultHistory, diff: HistoryDiff) -> None:
    """Append `retracted` for what was published in error, newest first, then what was not yet.

    An event of before the outbox's retention is not published: nothing tells whether it was before.
    Call it last, under the cursor's lock; see `outbox.append`.
    """
    changed = {row.signature for each in diff.lines if (row := each.chain or each.stored)}
    if not changed:
        return
    rows = await outbox.of_transactions(
        conn, owner=proven.owner, signatures=sorted(changed), topics=list(KINDS_OF)
    )
    data = {event.identity: event.data for event in proven.events}
    lines = [line for line in proven.lines if line.signature in changed]
    wanted = [event_message(line, data[line.identity]) for line in lines]
    published = _not_retracted(rows)
    missing = _without(wanted, published)
    recent = await _recent(conn, lines)
    late = [each for each in missing if each.signature in recent]
    retracted = [replace(each, type="retracted") for each in _without(published, wanted)[::-1]]
    if not missing and not retracted:
        return
    await outbox.append(conn, [*retracted, *late])
    log.warning(
        "late_messages_appended",
        owner=proven.owner,
        events=len(late),
        retracted=len(retracted),
        too_old=len(missing) - len(late),
    )


async def _recent(conn: Connection, lines: Sequence[HistoryRow]) -> set[str]:
    """Return the transactions that are certainly of the time for which the outbox is kept.

    One whose block has no time is, if another one of that time is of the same or an earlier slot.
    """
    kept_since = await outbox.kept_since(conn) + CLOCK_MARGIN
    recent = {each.signature for each in lines if each.block_time and each.block_time >= kept_since}
    without_time = [each for each in lines if each.block_time is None]
    if without_time:
        first = await balance_history.first_slot_since(conn, kept_since, margin=CLOCK_MARGIN)
        if first is not None:
            recent |= {each.signature for each in without_time if each.slot >= first}
    return recent


def _not_retracted(messages: Iterable[OutboxMessage]) -> list[OutboxMessage]:
    """Return the published events, without those that were retracted later."""
    events: list[OutboxMessage] = []
    for message in messages:
        if message.type == "event":
            events.append(message)
            continue
        for place in reversed(range(len(events))):
            if _content(events[place]) == _content(message):
                del events[place]
                break
    return events


def _without(
    messages: Sequence[OutboxMessage], others: Sequence[OutboxMessage]
) -> list[OutboxMessage]:
    """Return the messages that are not among the others, each of which counts once."""
    left = Counter(map(_content, others))
    found = []
    for message in messages:
        content = _content(message)
        if left[content]:
            left[content] -= 1
        else:
            found.append(message)
    return found


def _content(message: OutboxMessage) -> tuple[Any, ...]:
    """Return what a message is about, without what nodes tell differently: the block's time."""
    names = ("vault", "kind", "amount", "balance_after")
    return message.topic, message.signature, *(message.data[name] for name in names)

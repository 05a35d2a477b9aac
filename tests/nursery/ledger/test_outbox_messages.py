"""Each written row is announced, so that no process keeps what it was before."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import psycopg
import pytest

from cvms.nursery.ledger.outbox_messages import Cause, balance_message, vault_messages
from cvms.store.messaging.topics import ROW_WRITTEN, Topic
from cvms.store.projection import vault_writer
from tests.nursery.world import World
from tests.store.examples import vault_row


def test_a_row_without_other_balances_is_announced_to_processes_only() -> None:
    before = vault_row(slot=1)
    changed = vault_row(slot=2, total=2000, available=2000)
    pairs = [(None, before), (before, changed), (before, replace(before, slot=2)), (before, None)]
    messages = vault_messages(pairs, {"owner": Cause("signature", None)})
    assert [(each.topic, each.slot) for each in messages] == [
        (Topic.BALANCE, 1),
        (Topic.BALANCE, 2),
        (ROW_WRITTEN, 2),
        (ROW_WRITTEN, 1),
    ]
    assert {each.owner for each in messages} == {"owner"}
    assert vault_messages([(None, None)]) == []


def test_an_update_says_what_changed_and_when() -> None:
    before, row = vault_row(slot=1), vault_row(slot=2, total=700, available=700)
    at = datetime(2026, 11, 30, 12, tzinfo=UTC)
    message = balance_message(row, before=before, cause=Cause("signature", at))
    told = message.data
    assert (told["balance"], told["previous_balance"], told["delta"]) == (
        700,
        before.total,
        700 - before.total,
    )
    assert (message.signature, told["timestamp"]) == ("signature", "2026-11-30T12:00:00+00:00")
    first = balance_message(before, before=None)
    assert (first.data["previous_balance"], first.data["delta"]) == (0, before.total)
    assert first.signature is None
    assert datetime.fromisoformat(first.data["timestamp"]).tzinfo is not None


def test_clients_cannot_subscribe_to_written_rows() -> None:
    assert ROW_WRITTEN not in set(Topic)


async def test_a_row_that_is_written_without_a_message_is_not_committed(world: World) -> None:
    """All tests with this world hold the tasks to it."""
    with pytest.raises(psycopg.errors.RaiseException, match="without a message"):
        async with world.database.transaction() as conn:
            await vault_writer.advance(conn, [vault_row()])

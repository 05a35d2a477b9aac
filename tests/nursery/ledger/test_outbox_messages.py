"""Each written row is announced, so that no process keeps what it was before."""

from __future__ import annotations

from dataclasses import replace

import psycopg
import pytest

from cvms.nursery.ledger.outbox_messages import vault_messages
from cvms.store.messaging.topics import ROW_WRITTEN, Topic
from cvms.store.projection import vault_writer
from tests.nursery.world import World
from tests.store.examples import vault_row


def test_a_row_without_other_balances_is_announced_to_processes_only() -> None:
    before = vault_row(slot=1)
    changed = vault_row(slot=2, total=2000, available=2000)
    pairs = [(None, before), (before, changed), (before, replace(before, slot=2)), (before, None)]
    messages = vault_messages(pairs, {"owner": "signature"})
    assert [(each.topic, each.slot) for each in messages] == [
        (Topic.BALANCE, 1),
        (Topic.BALANCE, 2),
        (ROW_WRITTEN, 2),
        (ROW_WRITTEN, 1),
    ]
    assert {each.owner for each in messages} == {"owner"}
    assert vault_messages([(None, None)]) == []


def test_clients_cannot_subscribe_to_written_rows() -> None:
    assert ROW_WRITTEN not in set(Topic)


async def test_a_row_that_is_written_without_a_message_is_not_committed(world: World) -> None:
    """All tests with this world hold the tasks to it."""
    with pytest.raises(psycopg.errors.RaiseException, match="without a message"):
        async with world.database.transaction() as conn:
            await vault_writer.advance(conn, [vault_row()])

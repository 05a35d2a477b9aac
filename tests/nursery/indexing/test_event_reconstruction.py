"""Reconstruction of events from a node that truncates logs."""

from __future__ import annotations

from typing import Any

from structlog.testing import capture_logs

from cvms.chain.program import instructions
from cvms.chain.rpc.responses import TransactionRecord
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.metrics import Metrics
from cvms.store.vaults import vaults
from tests.nursery.index_tables import empty_database, read_tables
from tests.nursery.program_steps import every_event, travel
from tests.nursery.world import World, address, assert_books_match


class TruncatingNode(RpcClient):
    """A node that keeps the first `lines` lines of each log."""

    lines = 1

    async def get_transactions(self, *args: Any, **kwargs: Any) -> list[TransactionRecord | None]:
        found = await super().get_transactions(*args, **kwargs)
        for record in found:
            if record is not None and record.logs and self.lines < len(record.logs):
                record.logs[self.lines :] = ["Log truncated"]
        return found


class ShallowNode(TruncatingNode):
    """A node without inner instructions either: it does not show who called the program."""

    async def get_transactions(self, *args: Any, **kwargs: Any) -> list[TransactionRecord | None]:
        found = await super().get_transactions(*args, **kwargs)
        for record in found:
            if record is not None:
                record.instructions[:] = [
                    each for each in record.instructions if each.inner_index is None
                ]
        return found


async def test_reconstructed_events_equal_those_of_complete_logs(
    world: World, postgres_server: str
) -> None:
    await every_event(world)
    await world.indexer().catch_up()
    whole = await read_tables(world.database)
    events = whole.pop("chain_events")
    node = TruncatingNode(world.rpc._transport)
    world.chain.faults.history.log_bytes = 600  # truncated like Agave does, within a line
    for node.lines in (1, 4, 1_000):
        async with empty_database(postgres_server) as database:
            cut = world.with_resources(database=database, metrics=Metrics())
            assert await cut.indexer(rpc=node).catch_up()
            rebuilt = await read_tables(database)
            await assert_books_match(cut)
        assert cut.metrics.registry.get_sample_value("cvms_indexer_unread_logs_total") == 0
        assert (cut.metrics.registry.get_sample_value("cvms_indexer_rebuilt_logs_total") or 0) > 10
        for one, other in zip(events, rebuilt.pop("chain_events"), strict=True):
            assert_same_event(one, other)
        assert rebuilt == whole


def assert_same_event(whole: tuple[Any, ...], rebuilt: tuple[Any, ...]) -> None:
    """Compare everything that can be reconstructed."""
    (*identity, expected), (*same, data) = whole, rebuilt
    assert same == identity
    unknown = {name for name, value in data.items() if value is None}
    assert unknown <= UNKNOWN
    assert data.pop("rebuilt", False) or not unknown
    known = data.keys() - unknown
    assert data.keys() == expected.keys()
    assert {name: data[name] for name in known} == {name: expected[name] for name in known}


UNKNOWN = {
    "old_mint",
    "new_len",
    "executable_at",
    "remaining_pending",
    "old_governance",
    "pause_allowed_at",
    "mint",
    "vault_daily",
    "total_daily",
    "pending_vault_daily",
    "pending_total_daily",
    "pending_at",
}
"""Fields that neither the instructions nor the stored balances determine."""


async def test_a_release_within_a_withdrawal_is_reconstructed_from_due_timelocks(
    world: World,
) -> None:
    alice = await world.owner(tokens=1_000)
    key = alice.pubkey()
    for amount, seconds in ((400, 60), (50, 10_000)):
        schedule = instructions.schedule_timelock(
            world.programs, authority=key, owner=key, amount=amount, duration_seconds=seconds
        )
        await world.act(alice, world.deposit(alice, 500), schedule)
    travel(world, 60)
    await world.act(alice, world.withdraw(alice, 900))
    with capture_logs() as logs:
        await world.indexer(rpc=TruncatingNode(world.rpc._transport)).catch_up()
    assert "events_reconstructed" in {entry["event"] for entry in logs}
    assert (await world.history(alice))[-2:] == [
        ("timelock_release", 400, None),
        ("withdraw", 900, 100),
    ]
    await assert_books_match(world)


async def test_a_failed_reconstruction_is_logged_and_the_row_is_still_correct(world: World) -> None:
    alice, bob = await world.owner(), await world.owner()
    await world.act(alice, world.deposit(alice, 100), world.agree(alice))
    await world.indexer().catch_up()
    rebalance = instructions.rebalance_collateral(
        world.programs,
        authority=world.operator.pubkey(),
        from_owner=alice.pubkey(),
        to_owner=bob.pubkey(),
        amount=70,
    )
    await world.act(world.operator, rebalance)
    with capture_logs() as logs:
        await world.indexer(rpc=ShallowNode(world.rpc._transport)).catch_up()
    assert "events_not_reconstructed" in {entry["event"] for entry in logs}
    assert world.metrics.registry.get_sample_value("cvms_indexer_unread_logs_total") == 1
    async with world.database.connection() as conn:
        row = await vaults.get(conn, address(alice))
    assert row is not None
    assert row.total == 30

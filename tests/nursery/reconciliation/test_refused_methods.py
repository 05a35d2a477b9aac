"""A provider that refuses one method: the other checks go on, and what does not is made known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from solders.pubkey import Pubkey
from structlog.testing import capture_logs
from trio.testing import MockClock

from cvms.chain.program.addresses import vault_address
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.errors import ChainUnavailable, RpcError
from cvms.nursery.alerts.monitor import AlertMonitor
from cvms.nursery.alerts.rules import Bounds
from cvms.nursery.channels.status_board import OperatorFunds
from cvms.store.alerts import alerts
from tests.nursery.reconciliation.test_reconciler import (
    DAMAGE,
    counted,
    entries,
    stored,
    two_vaults,
)
from tests.nursery.world import (
    World,
    address,
    finalize,
    full_pass_resolved,
    held_clock,
    running,
    until,
)

REFUSALS = [ChainUnavailable("HTTP 410"), RpcError(-32601, "Method not found")]


class Refusing(RpcClient):
    """A provider that refuses requests: those of a method, about an account if one is given."""

    def __init__(
        self, rpc: RpcClient, method: str, error: Exception, *, about: Pubkey | None = None
    ) -> None:
        super().__init__(rpc._transport)
        self.refused: str | None = method
        self.error = error
        self.about = about
        self.asked = 0

    async def call(self, method: str, params: Sequence[Any], **kwargs: Any) -> Any:
        about = self.about is None or params[0] == str(self.about)
        if method == self.refused and about:
            self.asked += 1
            raise self.error
        return await super().call(method, params, **kwargs)


@pytest.mark.parametrize("error", REFUSALS)
async def test_without_the_list_all_other_checks_complete_and_one_line_says_so(
    world: World, error: Exception
) -> None:
    await two_vaults(world)
    await world.execute(DAMAGE["a row is wrong"])
    await world.execute(DAMAGE["totals are wrong"])
    reconciler = world.reconciler(rpc=Refusing(world.rpc, "getProgramAccounts", error))
    with capture_logs() as logs:
        for _ in range(3):
            await full_pass_resolved(world, reconciler)
            await reconciler._begin()  # the list is asked for again
    lines = [each for each in logs if each["event"] == "check_interrupted"]
    assert [(each["check"], each["reason"]) for each in lines] == [("listing", str(error))]
    assert counted(world, "total", healed=True) == 2
    assert counted(world, "tvl", healed=True) == 1
    checks = world.board.checks.statuses()
    assert [name for name, each in checks.items() if not each.ok] == ["listing"]
    assert {name for name, each in checks.items() if each.completed_at is None} == {"listing"}


async def test_without_the_list_a_vault_without_a_row_is_found(world: World) -> None:
    await two_vaults(world)
    before = await stored(world)
    await world.execute(DAMAGE["a row is missing"])
    reconciler = world.reconciler(rpc=Refusing(world.rpc, "getProgramAccounts", REFUSALS[0]))
    await full_pass_resolved(world, reconciler)
    assert [each.field for each in await entries(world)] == ["row"]
    assert await stored(world) == before


@pytest.mark.parametrize("error", REFUSALS)
async def test_vaults_that_cannot_be_read_are_checked_once_they_can(
    world: World, error: Exception
) -> None:
    alice, bob = await two_vaults(world)
    await full_pass_resolved(world, world.reconciler())  # so that no pass is due
    await world.execute(DAMAGE["a row is wrong"])
    rpc = Refusing(world.rpc, "getMultipleAccounts", error)
    reconciler = world.reconciler(rpc=rpc)

    async def asked_twice() -> bool:
        return rpc.asked >= 2

    async def found() -> bool:
        return address(alice) in reconciler._pending

    async def healed() -> bool:
        return counted(world, "total", healed=True) == 1

    with held_clock(world.chain.chain):
        world.resources.reconcile_queue.request(address(alice))
        async with running(reconciler.run):
            await until(asked_twice)
            assert not world.board.checks.statuses()["changed_vaults"].ok
            rpc.refused = None
            await until(found)
            finalize(world)
            await world.indexer().catch_up()
            await until(healed)
    assert address(bob) not in {each.owner for each in await entries(world)}


async def test_a_history_that_cannot_be_read_keeps_no_other_vault_waiting(world: World) -> None:
    first, second = sorted(await two_vaults(world), key=address)
    vault = vault_address(world.programs, first.pubkey())
    rpc = Refusing(world.rpc, "getSignaturesForAddress", REFUSALS[0], about=vault)
    await world.execute(DAMAGE["every line is missing"])
    reconciler = world.reconciler(rpc=rpc)
    await full_pass_resolved(world, reconciler)
    assert {each.owner for each in await entries(world)} == {address(second)}
    assert list(reconciler._pending) == [address(first)]
    assert not world.board.checks.statuses()["differences"].ok
    rpc.refused = None
    await full_pass_resolved(world, reconciler)
    assert address(first) in {each.owner for each in await entries(world)}
    assert world.board.checks.statuses()["differences"].ok


async def test_an_alert_names_what_is_unchecked_until_it_is_checked_again(
    world: World, mock_clock: MockClock
) -> None:
    mock_clock.rate = 1.0
    await two_vaults(world)
    rpc = Refusing(world.rpc, "getProgramAccounts", REFUSALS[0])
    reconciler = world.reconciler(rpc=rpc)
    monitor = AlertMonitor(
        database=world.database,
        operator=world.operator.pubkey(),
        funds=OperatorFunds(),
        hub=world.resources.hub,
        progress=world.progress,
        outbox_wake=world.resources.outbox_wake,
        bounds=Bounds(
            large_amount=0,
            large_percent=0,
            unusual_factor=0,
            withdrawals_per_hour=0,
            dust=0,
        ),
        low_balance=0,
        fee_payer_minimum=0,
        hook=None,
        board=world.board,
        metrics=world.metrics,
    )

    async def unchecked() -> list[tuple[str, str]]:
        await monitor.run_once()
        async with world.database.connection() as conn:
            rows = await alerts.page(conn, limit=100)
        return [(row.subject, row.state) for row in rows if row.kind == "books_unchecked"]

    await full_pass_resolved(world, reconciler)
    assert await unchecked() == []
    mock_clock.jump(3 * 600)
    await full_pass_resolved(world, reconciler)
    assert await unchecked() == [("listing", "open")]
    rpc.refused = None
    await reconciler._begin()
    await full_pass_resolved(world, reconciler)
    await world.execute("UPDATE alerts SET last_seen_at = last_seen_at - interval '61 seconds'")
    assert await unchecked() == [("listing", "resolved")]

"""A provider that refuses one method: the other checks go on, and what does not is made known."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from structlog.testing import capture_logs
from trio.testing import MockClock

from cvms.chain.program.addresses import vault_address
from cvms.chain.rpc.rpc_client import RpcClient, open_rpc
from cvms.nursery.wiring.replica_tasks import build_alert_monitor
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
from tests.provider_proxy import Provider, provider
from tests.provider_proxy.call_faults import ErrorAnswer
from tests.provider_proxy.fault import Answer, Call, Fault, params_of
from tests.provider_proxy.request_faults import HttpRefusal

LIST, READ = "getProgramAccounts", "getMultipleAccounts"
Refusal = Callable[[str], Fault]


def gone(method: str) -> Fault:
    return HttpRefusal(methods=method, status=410)


def forbidden(method: str) -> Fault:
    return HttpRefusal(methods=method, status=403)


def unknown(method: str) -> Fault:
    return ErrorAnswer(methods=method)


every_refusal = pytest.mark.parametrize("refusal", [gone, forbidden, unknown])


@dataclass(slots=True, kw_only=True, eq=False)
class RefusesAddress(ErrorAnswer):
    """Calls about one address are refused."""

    address: str

    def answer(self, call: Call) -> Answer | None:  # type: ignore[override]
        return ErrorAnswer.answer(self, call) if params_of(call)[:1] == [self.address] else None


@asynccontextmanager
async def behind(world: World, *faults: Fault) -> AsyncIterator[tuple[Provider, RpcClient]]:
    """Open a client of the node behind a provider with these faults."""
    async with (
        provider(world.chain.rpc_url, world.chain.ws_url, *faults) as proxy,
        open_rpc([proxy.url]) as rpc,
    ):
        yield proxy, rpc


@every_refusal
async def test_without_the_list_all_other_checks_complete_and_one_line_says_so(
    world: World, refusal: Refusal
) -> None:
    await two_vaults(world)
    await world.execute(DAMAGE["a row is wrong"])
    await world.execute(DAMAGE["totals are wrong"])
    async with behind(world, refusal(LIST)) as (proxy, rpc):
        reconciler = world.reconciler(rpc=rpc)
        with capture_logs() as logs:
            for _ in range(3):
                await full_pass_resolved(world, reconciler)
        assert proxy.faults[0].struck >= 3
    lines = [each for each in logs if each["event"] == "check_interrupted"]
    assert [each["check"] for each in lines] == ["listing"]
    assert counted(world, "total", healed=True) == 2
    assert counted(world, "tvl", healed=True) == 1
    checks = world.board.checks.statuses()
    assert [name for name, each in checks.items() if not each.ok] == ["listing"]
    assert {name for name, each in checks.items() if each.completed_at is None} == {"listing"}


async def test_without_the_list_a_vault_without_a_row_is_found(world: World) -> None:
    await two_vaults(world)
    before = await stored(world)
    world.resources.reconcile_queue.take()  # the vaults that were indexed just now
    await world.execute(DAMAGE["a row is missing"])
    async with behind(world, gone(LIST)) as (_, rpc):
        await full_pass_resolved(world, world.reconciler(rpc=rpc))
    assert [each.field for each in await entries(world)] == ["row"]
    assert await stored(world) == before


@every_refusal
async def test_vaults_that_cannot_be_read_are_checked_once_they_can(
    world: World, refusal: Refusal
) -> None:
    alice, bob = await two_vaults(world)
    await full_pass_resolved(world, world.reconciler())  # so that no pass is due
    await world.execute(DAMAGE["a row is wrong"])
    async with behind(world, refusal(READ)) as (proxy, rpc):
        reconciler = world.reconciler(rpc=rpc)

        async def refused() -> bool:
            return not world.board.checks.statuses()["changed_vaults"].ok

        async def found() -> bool:
            return address(alice) in reconciler._pending

        async def healed() -> bool:
            return counted(world, "total", healed=True) == 1

        with held_clock(world.chain.chain):
            world.resources.reconcile_queue.request(address(alice))
            async with running(reconciler.run):
                await until(refused)
                proxy.clear()
                await until(found)
                finalize(world)
                await world.indexer().catch_up()
                await until(healed)
    assert address(bob) not in {each.owner for each in await entries(world)}


async def test_a_history_that_cannot_be_read_keeps_no_other_vault_waiting(world: World) -> None:
    first, second = sorted(await two_vaults(world), key=address)
    vault = str(vault_address(world.programs, first.pubkey()))
    await world.execute(DAMAGE["every line is missing"])
    fault = RefusesAddress(methods="getSignaturesForAddress", address=vault)
    async with behind(world, fault) as (proxy, rpc):
        reconciler = world.reconciler(rpc=rpc)
        await full_pass_resolved(world, reconciler)
        assert {each.owner for each in await entries(world)} == {address(second)}
        assert list(reconciler._pending) == [address(first)]
        assert not world.board.checks.statuses()["differences"].ok
        proxy.clear()
        await full_pass_resolved(world, reconciler)
    assert address(first) in {each.owner for each in await entries(world)}
    assert world.board.checks.statuses()["differences"].ok


async def test_an_alert_names_what_is_unchecked_until_it_is_checked_again(
    world: World, mock_clock: MockClock
) -> None:
    mock_clock.rate = 1.0
    await two_vaults(world)
    monitor = build_alert_monitor(world.resources)

    async def unchecked() -> list[tuple[str, str]]:
        await monitor.run_once()
        async with world.database.connection() as conn:
            rows = await alerts.page(conn, limit=100)
        return [(row.subject, row.state) for row in rows if row.kind == "books_unchecked"]

    async with behind(world, gone(LIST)) as (proxy, rpc):
        reconciler = world.reconciler(rpc=rpc)
        await full_pass_resolved(world, reconciler)
        assert await unchecked() == []
        mock_clock.jump(3 * 600)
        await full_pass_resolved(world, reconciler)
        assert await unchecked() == [("listing", "open")]
        proxy.clear()
        await full_pass_resolved(world, reconciler)
        await world.execute("UPDATE alerts SET last_seen_at = last_seen_at - interval '61 s'")
        assert await unchecked() == [("listing", "resolved")]

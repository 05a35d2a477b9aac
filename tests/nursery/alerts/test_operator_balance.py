"""Below the minimum balance, sponsoring is suspended and the metrics show it."""

from __future__ import annotations

from dataclasses import replace

from solders.keypair import Keypair

from cvms.nursery.alerts.operator_balance import BALANCE_SECONDS, OperatorBalanceMonitor
from cvms.nursery.supervision.supervisor import periodic_task
from cvms.nursery.wiring.replica_tasks import build_operator_balance_monitor
from cvms.signing.signer_set import SignerSet
from tests.harness.resources import signers_of
from tests.nursery.world import SOL, World, running, until


def balance_monitor(world: World, signers: SignerSet) -> OperatorBalanceMonitor:
    return build_operator_balance_monitor(replace(world.resources, signers=signers))


async def set_lamports(world: World, lamports: int) -> None:
    await world.rpc.call(
        "surfnet_setAccount", [str(world.operator.pubkey()), {"lamports": lamports}]
    )


def gauge(world: World, name: str) -> float | None:
    return world.metrics.registry.get_sample_value(name)


async def test_below_the_minimum_sponsoring_is_suspended_until_the_balance_recovers(
    world: World,
) -> None:
    signers = signers_of(world.operator, minimum=SOL)
    funds = signers.preferred.funds
    assert funds.enough, "the balance is unknown yet"
    task = balance_monitor(world, signers)
    results = []
    for lamports in (SOL - 1, SOL):
        await set_lamports(world, lamports)
        await task.run_once()
        results.append(
            (
                funds.enough,
                gauge(world, "cvms_operator_lamports"),
                gauge(world, "cvms_operator_pays"),
            )
        )
    assert results == [(False, SOL - 1, 0), (True, SOL, 1)]


async def test_it_runs_by_itself_and_exports_what_was_spent_today(world: World) -> None:
    await world.execute("INSERT INTO sponsored VALUES ((now() AT TIME ZONE 'UTC')::DATE, '', 7)")
    signers = signers_of(world.operator, minimum=1)

    async def has_run() -> bool:
        return world.board.tasks["operator_balance"].last_success is not None

    world.board.set_task_state("operator_balance", "running")
    monitor = balance_monitor(world, signers)
    _, run = periodic_task(
        world.board, "operator_balance", BALANCE_SECONDS, monitor.run_once, metrics=world.metrics
    )
    async with running(run):
        await until(has_run)
    assert gauge(world, "cvms_sponsored_lamports_today") == 7
    assert signers.preferred.funds.lamports is not None


async def test_each_key_is_watched_and_the_first_with_enough_pays(world: World) -> None:
    standby = Keypair()
    signers = signers_of(world.operator, standby, minimum=SOL)
    task = balance_monitor(world, signers)
    balances = {world.operator: (SOL - 1, SOL, SOL), standby: (SOL, SOL, 0)}
    results = []
    for at in range(3):
        for key, lamports in balances.items():
            account = {"lamports": lamports[at]}
            await world.rpc.call("surfnet_setAccount", [str(key.pubkey()), account])
        await task.run_once()
        payer = signers.payer()
        assert payer is not None
        results.append((payer.address, gauge(world, "cvms_operator_pays")))
        for key, lamports in balances.items():
            labels = {"address": str(key.pubkey())}
            read = world.metrics.registry.get_sample_value("cvms_operator_signer_lamports", labels)
            assert read == lamports[at]
    first, second = world.operator.pubkey(), standby.pubkey()
    assert results == [(second, 1), (first, 1), (first, 1)]

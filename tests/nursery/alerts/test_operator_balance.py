"""The operator stops paying for others before it cannot pay for itself, and says so."""

from __future__ import annotations

from cvms.nursery.alerts.operator_balance import OperatorBalanceMonitor
from cvms.nursery.channels.status_board import OperatorFunds
from tests.nursery.world import SOL, World, running, until


def watching(world: World, funds: OperatorFunds) -> OperatorBalanceMonitor:
    return OperatorBalanceMonitor(
        database=world.database,
        rpc=world.rpc,
        operator=world.operator.pubkey(),
        funds=funds,
        board=world.board,
        metrics=world.metrics,
    )


async def hold(world: World, lamports: int) -> None:
    await world.rpc.call(
        "surfnet_setAccount", [str(world.operator.pubkey()), {"lamports": lamports}]
    )


def gauge(world: World, name: str) -> float | None:
    return world.metrics.registry.get_sample_value(name)


async def test_below_its_minimum_it_pays_for_nobody_until_it_has_more(world: World) -> None:
    funds = OperatorFunds(minimum=SOL)
    assert funds.enough, "nobody has looked yet"
    task = watching(world, funds)
    seen = []
    for lamports in (SOL - 1, SOL):
        await hold(world, lamports)
        await task.run_once()
        seen.append(
            (funds.enough, gauge(world, "operator_lamports"), gauge(world, "operator_pays"))
        )
    assert seen == [(False, SOL - 1, 0), (True, SOL, 1)]


async def test_it_looks_by_itself_and_shows_what_was_paid_today(world: World) -> None:
    await world.execute("INSERT INTO sponsored VALUES ((now() AT TIME ZONE 'UTC')::DATE, '', 7)")
    funds = OperatorFunds(minimum=1)

    async def looked() -> bool:
        return world.board.tasks["operator_balance"].last_success is not None

    world.board.set_task_state("operator_balance", "running")
    async with running(watching(world, funds).run):
        await until(looked)
    assert gauge(world, "sponsored_lamports_today") == 7
    assert funds.lamports is not None

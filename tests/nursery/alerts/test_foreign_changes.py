"""What somebody else changes on a real chain is critical, and what the service did is not."""

from __future__ import annotations

from solders.pubkey import Pubkey

from cvms.chain.program import instructions
from cvms.chain.program.addresses import vault_address
from cvms.nursery.alerts.monitor import AlertMonitor
from cvms.store.alerts import lifecycle
from cvms.store.alerts.alerts import AlertRow
from tests.nursery.alerts.test_monitor import monitoring, stored
from tests.nursery.program_steps import govern, lock, rebalance
from tests.nursery.world import World, address


async def seen(world: World, monitor: AlertMonitor) -> list[AlertRow]:
    """Index everything, run the monitor, and return the alerts about foreign changes."""
    await world.indexer().catch_up()
    await monitor.run_once()
    return [row for row in await stored(world.database) if row.kind.startswith("foreign")]


async def claim(world: World, signature: str, column: str) -> None:
    """Record a transaction as one that this service has submitted, or that landed as one of it."""
    await world.execute(
        "INSERT INTO submissions (message_hash, kind, owner, state, message, wire, "
        "last_valid_block_height, signature) VALUES (sha256(%s::TEXT::BYTEA), 'set_risk_level', "
        "'', 'finalized', '', '', 1, %s)",
        signature,
        signature if column == "signature" else f"another of {signature}",
    )
    await world.execute(
        f"UPDATE submissions SET {column} = %s WHERE signature LIKE '%%' || %s",
        signature,
        signature,
    )


async def test_each_rule_that_somebody_else_changes_is_critical_until_acknowledged(
    world: World,
) -> None:
    owner = await world.owner()
    async with monitoring(world.database, progress=world.progress) as monitor:
        assert await seen(world, monitor) == []  # what was there before is taken as it is
        await govern(world, owner)
        rows = await seen(world, monitor)
        kinds = [row.kind for row in rows]
        assert {kind: kinds.count(kind) for kind in kinds} == {
            "foreign_program_list": 4,
            "foreign_freeze": 2,
            "foreign_protection": 2,
            "foreign_mint": 1,
        }
        assert {(row.severity, row.state) for row in rows} == {("critical", "open")}
        summaries = [row.summary for row in rows]
        assert any(each.startswith("The risk level was set to 1, in a") for each in summaries)
        [mint] = [row for row in rows if row.kind == "foreign_mint"]
        assert mint.details["vault"] == str(vault_address(world.programs, owner.pubkey()))
        async with world.database.transaction() as conn:
            await lifecycle.acknowledge(conn, mint.id, by="olga", hook=None)
        again = await seen(world, monitor)
        assert [row.state for row in again if row.kind == "foreign_mint"] == ["resolved"]
        assert len(again) == len(rows)


async def test_what_the_service_has_submitted_is_not_foreign(world: World) -> None:
    governance = world.operator.pubkey()
    async with monitoring(world.database, progress=world.progress) as monitor:
        await seen(world, monitor)
        for column in ("signature", "landed_signature", ""):
            step = instructions.add_yield_program(
                world.programs, governance=governance, program=Pubkey.new_unique()
            )
            signature = await world.act(world.operator, step)
            if column:
                await claim(world, signature, column)
        [row] = await seen(world, monitor)
    assert row.details["signature"] == signature


async def test_collateral_that_somebody_else_moves_is_critical_for_its_owner(world: World) -> None:
    giver, taker = await world.owner(), await world.owner()
    for each in (giver, taker):
        await world.act(each, world.deposit(each, 1_000), world.agree(each))
    await lock(world, giver, 500)
    async with monitoring(world.database, progress=world.progress) as monitor:
        await seen(world, monitor)
        await rebalance(world, giver, taker, 20)
        await rebalance(world, giver, taker, 30)
        [row] = await seen(world, monitor)
        assert (row.kind, row.owner, row.severity) == (
            "foreign_transfer",
            address(giver),
            "critical",
        )
        assert (row.details["amount"], row.details["transfers"]) == (50, 2)
        assert row.details["signature"]
        await claim(world, row.details["signature"], "signature")
        await world.execute("UPDATE alert_positions SET position = 0 WHERE source = 'movements'")
        [row] = await seen(world, monitor)  # only the other one counts now
        assert (row.details["amount"], row.count) == (20, 2)

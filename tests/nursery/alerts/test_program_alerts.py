"""Alerts about governance, guards, exits and pauses, from events on a real chain."""

from __future__ import annotations

from typing import Any

from solders.pubkey import Pubkey

from cvms.chain.program import instructions
from cvms.chain.program.guard_changes import GuardChange, TransferAllowance, WithdrawMinDelay
from cvms.nursery.alerts.monitor import AlertMonitor
from cvms.nursery.alerts.rules import RESOLVE_AFTER
from cvms.store.alerts import lifecycle
from cvms.store.alerts.alerts import AlertRow
from cvms.store.postgres.database import Database
from tests.nursery.alerts.test_monitor import age_alerts, monitoring, stored
from tests.nursery.world import World, address

DAY = 24 * 60 * 60


async def seen(world: World, kind: str) -> list[AlertRow]:
    """Index everything, run the monitor twice, and return the alerts of this kind."""
    await world.indexer().catch_up()
    async with monitoring(world.database) as monitor:
        await monitor.run_once()
        await monitor.run_once()
    return await stored(world.database, kind)


async def acknowledge(database: Database, alert: AlertRow) -> None:
    async with database.transaction() as conn:
        await lifecycle.acknowledge(conn, alert.id, by="olga", hook=None)


async def test_a_new_governance_is_critical_until_a_person_has_seen_it(world: World) -> None:
    operator, other = world.operator.pubkey(), Pubkey.new_unique()
    for proposed in (other, Pubkey.default(), operator):
        await world.act(
            world.operator,
            instructions.propose_governance(world.programs, authority=operator, proposed=proposed),
        )
    await world.act(
        world.operator, instructions.accept_governance(world.programs, new_governance=operator)
    )
    proposals = await seen(world, "governance_proposed")
    assert [(row.severity, row.summary) for row in proposals] == [
        ("critical", f"{operator} proposed {other} as governance"),
        ("critical", f"{operator} withdrew the proposed governance"),
        ("critical", f"{operator} proposed {operator} as governance"),
    ]
    [accepted] = await stored(world.database, "governance_accepted")
    assert (accepted.severity, accepted.owner) == ("critical", None)
    assert accepted.details["old_governance"] == str(operator)
    await acknowledge(world.database, accepted)
    [row] = await seen(world, "governance_accepted")
    assert (row.state, row.count) == ("resolved", 1)
    assert {row.state for row in await stored(world.database, "governance_proposed")} == {"open"}


async def request(world: World, *changes: GuardChange) -> Any:
    """Return an owner with a delay who has requested these changes."""
    owner = await world.owner()
    key = owner.pubkey()
    world.chain.chain.move_time(world.chain.chain.time.now() + 1)
    await world.act(
        owner,
        instructions.set_withdraw_min_delay(world.programs, owner=key, seconds=60),
        *(
            instructions.request_guard_change(world.programs, owner=key, change=change)
            for change in changes
        ),
    )
    return owner


async def test_a_requested_change_of_guards_warns_the_owner_until_it_is_cancelled_or_applied(
    world: World,
) -> None:
    delay, allowance = WithdrawMinDelay(0), TransferAllowance(5)
    owner = await request(world, delay, allowance)
    key, programs = owner.pubkey(), world.programs
    one, other = await seen(world, "guard_change_requested")
    assert {row.details["change"]["kind"] for row in (one, other)} == {
        "WithdrawMinDelay",
        "TransferAllowance",
    }
    assert {(row.owner, row.severity, row.state) for row in (one, other)} == {
        (address(owner), "warning", "open")
    }
    await world.act(
        owner,
        instructions.cancel_guard_change(programs, authority=key, owner=key, change=allowance),
    )
    states = {
        row.details["change"]["kind"]: row.state
        for row in await seen(world, "guard_change_requested")
    }
    assert states == {"WithdrawMinDelay": "open", "TransferAllowance": "resolved"}
    world.chain.chain.move_time(world.chain.chain.time.now() + 60)
    await world.act(owner, instructions.apply_guard_change(programs, owner=key, change=delay))
    assert {row.state for row in await seen(world, "guard_change_requested")} == {"resolved"}


async def test_a_change_requested_again_warns_again_even_in_the_same_slot(world: World) -> None:
    change = TransferAllowance(5)
    owner = await request(world, change)
    key, programs = owner.pubkey(), world.programs
    cancel = instructions.cancel_guard_change(programs, authority=key, owner=key, change=change)
    again = instructions.request_guard_change(programs, owner=key, change=change)
    await world.act(owner, cancel, again)
    states = [row.state for row in await seen(world, "guard_change_requested")]
    assert states.count("open") == 1
    await world.act(owner, cancel)
    assert "open" not in [row.state for row in await seen(world, "guard_change_requested")]


async def test_a_change_that_nobody_applied_in_its_week_needs_no_attention(world: World) -> None:
    await request(world, TransferAllowance(5))
    await seen(world, "guard_change_requested")
    await world.execute(
        "UPDATE chain_events SET data = data || jsonb_build_object('executable_at', "
        "extract(epoch FROM now() - INTERVAL '7 days 1 minute')::BIGINT) "
        "WHERE name = 'GuardChangeRequestedEvent'"
    )
    [row] = await seen(world, "guard_change_requested")
    assert row.state == "resolved"


async def test_an_exit_is_shown_until_it_is_over(world: World) -> None:
    owner = await world.owner()
    await world.act(owner, instructions.request_exit(world.programs, owner=owner.pubkey()))
    [row] = await seen(world, "exit_requested")
    assert (row.owner, row.severity, row.state) == (address(owner), "info", "open")
    await world.execute(
        "UPDATE vaults SET state = state || jsonb_build_object('exit_at', "
        "extract(epoch FROM now() - INTERVAL '7 days 1 minute')::BIGINT)"
    )
    [row] = await seen(world, "exit_requested")
    assert row.state == "resolved"


async def pause(world: World, seconds: int) -> None:
    await world.act(
        world.operator,
        instructions.pause_withdrawals(
            world.programs, governance=world.operator.pubkey(), seconds=seconds
        ),
    )


async def test_a_pause_warns_while_it_lasts(world: World) -> None:
    async with monitoring(world.database) as monitor:
        assert await states(world, monitor) == []
        await pause(world, DAY)
        assert await states(world, monitor) == ["open"]
        [row] = await stored(world.database, "withdrawals_paused")
        assert (row.severity, row.subject) == ("warning", "withdrawals")
        await age_alerts(world.database, 3_600)
        assert await states(world, monitor) == ["open"]
        await pause(world, 0)
        await age_alerts(world.database, RESOLVE_AFTER["withdrawals_paused"].total_seconds() + 1)
        assert await states(world, monitor) == ["resolved"]


async def states(world: World, monitor: AlertMonitor) -> list[str]:
    await world.indexer().catch_up()
    await monitor.run_once()
    return [row.state for row in await stored(world.database, "withdrawals_paused")]


async def test_higher_transfer_limits_warn_and_lower_ones_inform(world: World) -> None:
    for daily in (100, 50, 70):
        await world.act(
            world.operator,
            instructions.set_transfer_limits(
                world.programs,
                governance=world.operator.pubkey(),
                vault_daily=daily,
                total_daily=daily,
            ),
        )
    rows = await seen(world, "transfer_limits_changed")
    assert [row.severity for row in rows] == ["info", "info", "warning"]
    assert rows[-1].details["pending_vault_daily"] == 70


async def test_an_owners_own_emergency_withdrawal_is_not_taken_for_governances(
    world: World,
) -> None:
    owner = await world.owner()
    for authority in (owner, world.operator):
        emergency = instructions.emergency_withdraw(
            world.programs, authority=authority.pubkey(), owner=owner.pubkey(), amount=5
        )
        await world.act(owner, world.deposit(owner, 10))
        await world.act(authority, emergency)
    [row] = await seen(world, "emergency_withdrawal")
    assert row.owner == address(owner)
    [_, by_governance] = await world.outbox("withdraw_event")
    assert row.subject.startswith(str(by_governance.signature))

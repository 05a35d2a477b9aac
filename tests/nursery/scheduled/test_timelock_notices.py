"""Owners are told what falls due, once each; what has matured comes back, once for each vault."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
import trio
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.transaction import VersionedTransaction

from cvms.chain.program import instructions
from cvms.chain.rpc.responses import Simulation
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.transactions.chain_clock import chain_now
from cvms.chain.transactions.release_builder import VAULTS_PER_TRANSACTION
from cvms.chain.transactions.sponsorship_policy import FeeCaps
from cvms.errors import ChainTimeout, ProgramRefused
from cvms.nursery.scheduled.timelock_notices import TimelockScheduler
from cvms.nursery.scheduled.timelock_releases import TimelockReleaser
from cvms.nursery.submission.operator_submissions import OperatorSubmitter
from cvms.operator_key import OperatorKey
from cvms.store.security import audit_log
from cvms.store.submissions import submissions
from cvms.store.submissions.fee_budget import FeeBudget
from cvms.store.submissions.submissions import Submission
from cvms.store.vaults import vaults
from tests.nursery.world import World, address, running, until

HOUR = 3_600


def cron(
    world: World,
    *,
    rpc: RpcClient | None = None,
    release: bool = True,
    operator: Keypair | None = None,
) -> TimelockScheduler:
    """The task as it is after a start, an hour's notice set."""
    releases = TimelockReleaser(
        database=world.database,
        rpc=rpc or world.rpc,
        programs=world.programs,
        operator=OperatorSubmitter(
            key=OperatorKey(
                keypair=operator or world.operator,
                programs=world.programs,
                caps=FeeCaps(lamports=25_000),
                budget=FeeBudget(owner=None, everybody=None),
            ),
            rpc=rpc or world.rpc,
            programs=world.programs,
            submit_wake=world.submit_wake,
        ),
    )
    return TimelockScheduler(
        database=world.database,
        rpc=rpc or world.rpc,
        progress=world.progress,
        notice_seconds=HOUR,
        releases=releases if release else None,
        wake=world.timelock_wake,
        outbox_wake=world.outbox_wake,
        board=world.board,
    )


async def test_an_owner_is_told_an_hour_before_and_when_it_is_there_and_then_it_is(
    world: World,
) -> None:
    alice = await saver(world, 2 * HOUR)
    assert await cron(world).run_once() > 0
    assert await notices(world) == []

    await travel(world, HOUR)
    await cron(world).run_once()
    await cron(world).run_once()
    assert await notices(world) == [("due_soon", address(alice), 60)]
    assert await releases(world) == []

    await travel(world, HOUR)
    await cron(world).run_once()
    await cron(world).run_once()
    assert await notices(world) == [
        ("due_soon", address(alice), 60),
        ("available", address(alice), 60),
    ]
    await landed(world)
    assert await balances(world, alice) == (100, 0)
    assert [kind for kind, _, _ in await world.history(alice)] == [
        "deposit",
        "timelock",
        "timelock_release",
    ]
    await cron(world).run_once()
    assert len(await releases(world)) == 1
    (notice, _) = await told(world)
    assert notice["due_at"] > 0
    assert 0 < notice["remaining_seconds"] <= HOUR


async def test_the_audit_trail_has_the_release_under_its_owner(world: World) -> None:
    alice = await saver(world, 0)
    await cron(world).run_once()
    [submission] = await releases(world)
    async with world.database.connection() as conn:
        [entry] = await audit_log.page(conn, limit=9, owner=address(alice))
    assert (entry.actor, entry.action) == ("timelocks", "release_timelocks")
    assert entry.details["tx"] == submission.signature
    assert submission.owner == address(alice)


async def test_a_withdrawal_that_was_asked_for_is_announced_once(world: World) -> None:
    alice = await world.owner()
    delay = instructions.set_withdraw_min_delay(world.programs, owner=alice.pubkey(), seconds=HOUR)
    ask = instructions.request_withdraw(world.programs, owner=alice.pubkey(), amount=40)
    await world.act(alice, world.deposit(alice, 100), delay, ask)
    await world.indexer().catch_up()
    await cron(world).run_once()
    assert await notices(world) == []
    await travel(world, HOUR)
    await cron(world).run_once()
    assert await notices(world) == [("withdrawal_available", address(alice), 40)]
    await world.act(alice, world.withdraw(alice, 30))
    await world.indexer().catch_up()
    await cron(world).run_once()
    assert await notices(world) == [("withdrawal_available", address(alice), 40)]
    assert await releases(world) == []


async def test_switched_off_it_tells_and_releases_nothing(world: World) -> None:
    alice = await saver(world, 0)
    await cron(world, release=False).run_once()
    assert await notices(world) == [("available", address(alice), 60)]
    assert await releases(world) == []


async def test_killed_between_notice_and_release_it_tells_once_and_releases_once(
    world: World,
) -> None:
    alice = await saver(world, 0)
    with pytest.raises(ChainTimeout):
        await cron(world, rpc=Node(world.rpc, silent=True)).run_once()
    assert await notices(world) == [("available", address(alice), 60)]
    assert await releases(world) == []
    await cron(world).run_once()
    assert len(await notices(world)) == 1
    assert len(await releases(world)) == 1


async def test_killed_after_the_release_was_written_down_another_is_never_made(
    world: World,
) -> None:
    """Not while the first may land, on whatever fork, nor when it has and the books lag behind."""
    alice = await saver(world, 0)
    await cron(world).run_once()
    await cron(world).run_once()
    [first] = await releases(world)
    await world.submitter().run_once()
    assert first.signature is not None
    await world.confirm(first.signature)
    await cron(world).run_once()
    await world.execute("UPDATE submissions SET state = 'finalized'")
    await cron(world).run_once()
    assert len(await releases(world)) == 1
    await world.indexer().catch_up()
    assert await balances(world, alice) == (100, 0)


async def test_one_that_expired_is_tried_again(world: World) -> None:
    await saver(world, 0)
    await cron(world).run_once()
    await world.execute("UPDATE submissions SET state = 'expired'")
    await cron(world).run_once()
    assert len(await releases(world)) == 2


async def test_two_at_once_over_many_vaults_tell_once_and_release_once(world: World) -> None:
    owners = await savers(world, 2 * VAULTS_PER_TRANSACTION + 2)
    one, other = cron(world), cron(world)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.run_once)
        nursery.start_soon(other.run_once)
    everybody = Counter(map(address, owners))
    assert Counter(owner for _, owner, _ in await notices(world)) == everybody
    await cron(world).run_once()  # what one left to the other, should both have let go
    assert Counter(await released_owners(world)) == everybody
    before = await balance(world)
    await landed(world)
    for owner in owners:
        assert await balances(world, owner) == (100, 0)
    assert before - await balance(world) == 5_000 * len(await releases(world))
    await cron(world).run_once()
    assert Counter(await released_owners(world)) == everybody
    assert len(await notices(world)) == len(owners)


async def test_a_full_transaction_holds_so_many_vaults(world: World) -> None:
    owners = await savers(world, VAULTS_PER_TRANSACTION)
    await cron(world).run_once()
    [submission] = await releases(world)
    assert submission.owner == address(world.operator)
    assert sorted(await released_owners(world)) == sorted(map(address, owners))


async def test_a_vault_that_the_program_refuses_keeps_no_other_waiting(world: World) -> None:
    owners = await savers(world, 5)
    node = Node(world.rpc, refuses=address(owners[2]))
    task = cron(world, rpc=node)
    await task.run_once()
    rest = [address(owner) for owner in owners if owner is not owners[2]]
    assert sorted(await released_owners(world)) == sorted(rest)
    simulated = node.simulated
    await landed(world)
    assert await task.run_once() > 1, (
        "it waits until something is due, not for the one it set aside"
    )
    assert node.simulated == simulated


async def test_with_enough_on_its_way_the_rest_waits(world: World) -> None:
    """What owners submit themselves must not wait behind thousands of releases."""
    alice = await saver(world, 0)
    await world.execute(
        "INSERT INTO submissions (message_hash, kind, owner, state, signature, message, wire, "
        "last_valid_block_height) "
        "SELECT sha256(n::TEXT::BYTEA), 'release_timelocks', 'o' || n, 'submitted', n, '', '', 1 "
        "FROM generate_series(1, 32) AS n"
    )
    task = cron(world)
    assert await task.run_once() <= 1
    assert address(alice) not in await released_owners(world)
    await world.execute("UPDATE submissions SET state = 'confirmed' WHERE owner = 'o1'")
    await task.run_once()
    assert address(alice) in await released_owners(world)


async def test_an_operator_who_cannot_pay_is_an_error_that_is_seen(world: World) -> None:
    await savers(world, 3)
    with pytest.raises(ProgramRefused):
        await cron(world, operator=Keypair()).run_once()
    assert await releases(world) == []


async def test_it_wakes_for_the_next_one_due_and_when_the_indexer_has_seen_one(
    world: World,
) -> None:
    """Nobody asks: tokens locked for a second are there again, and all of it was told."""
    alice = await world.owner()

    async def back() -> bool:
        return "timelock_release" in [kind for kind, _, _ in await world.history(alice)]

    await world.indexer().catch_up()
    async with running(world.indexer().run, cron(world).run, world.submitter().run):
        await until(lambda: looked(world))  # and found nothing to wait for
        await world.act(alice, world.deposit(alice, 100), lock(world, alice, 60, 1))
        await until(back)
    kinds = [kind for kind, _, _ in await notices(world)]
    assert kinds in (["due_soon", "available"], ["available"]), "a second may be over at once"


async def test_until_the_books_have_caught_up_nothing_is_told(world: World) -> None:
    await saver(world, 0)
    world.progress.slot = None
    await cron(world).run_once()
    assert await notices(world) == []


# --- what the tests do --------------------------------------------------------------------------


class Node(RpcClient):
    """A node that does not answer when something is to be sent, or refuses one owner's release."""

    def __init__(
        self, real: RpcClient, *, silent: bool = False, refuses: str | None = None
    ) -> None:
        super().__init__(real._transport)
        self.silent, self.refuses, self.simulated = silent, refuses, 0

    async def simulate(self, wire: bytes, **options: Any) -> Simulation:
        if self.silent:
            raise ChainTimeout("no answer within the deadline")
        self.simulated += 1
        keys = VersionedTransaction.from_bytes(wire).message.account_keys
        outcome = await super().simulate(wire, **options)
        if self.refuses in [str(key) for key in keys]:
            logs = ["Program log: no"]
            return replace(outcome, err={"InstructionError": [2, {"Custom": 6_003}]}, logs=logs)
        return outcome


def lock(world: World, owner: Keypair, amount: int, seconds: int) -> Instruction:
    return instructions.schedule_timelock(
        world.programs,
        authority=owner.pubkey(),
        owner=owner.pubkey(),
        amount=amount,
        duration_seconds=seconds,
    )


async def saver(world: World, seconds: int) -> Keypair:
    """An owner with 100, of which 60 are locked for so long, and the books that say so."""
    owner = await world.owner()
    await world.act(owner, world.deposit(owner, 100), lock(world, owner, 60, seconds))
    await world.indexer().catch_up()
    return owner


async def savers(world: World, count: int) -> list[Keypair]:
    owners: list[Keypair] = []

    async def one() -> None:
        owner = await world.owner()
        await world.act(owner, world.deposit(owner, 100), lock(world, owner, 60, 0))
        owners.append(owner)

    async with trio.open_nursery() as nursery:
        for _ in range(count):
            nursery.start_soon(one)
    await world.indexer().catch_up()
    return owners


async def travel(world: World, seconds: int) -> None:
    """Move the chain's clock, and wait until it is confirmed."""
    target = (await chain_now(world.rpc)).seconds + seconds
    await world.rpc.call("surfnet_timeTravel", [{"absoluteTimestamp": target * 1000}])

    async def there() -> bool:
        return (await chain_now(world.rpc)).seconds >= target

    await until(there)


async def landed(world: World) -> None:
    """Everything that was written down is sent, and the books hold what it did."""
    submitter = world.submitter()

    async def final() -> bool:
        return await submitter.run_once() == 0

    await until(final)
    await world.indexer().catch_up()


async def told(world: World) -> list[dict[str, Any]]:
    rows = await world.outbox("timelock_event")
    return [row.data for row in rows if row.signature is None]


async def notices(world: World) -> list[tuple[str, str, int]]:
    return [(each["kind"], each["owner"], each["amount"]) for each in await told(world)]


async def releases(world: World) -> list[Submission]:
    async with world.database.connection() as conn:
        cursor = await conn.execute("SELECT signature FROM submissions ORDER BY created_at")
        found = [
            await submissions.get_by_signature(conn, signature)
            for (signature,) in await cursor.fetchall()
        ]
    return [each for each in found if each is not None and each.kind == "release_timelocks"]


async def released_owners(world: World) -> list[str]:
    """Whose vaults the submissions are about, one entry for each time."""
    async with world.database.connection() as conn:
        cursor = await conn.execute(
            "SELECT unnest(CASE owners WHEN '{}' THEN ARRAY[owner] ELSE owners END) "
            "FROM submissions"
        )
        return [owner for (owner,) in await cursor.fetchall()]


async def balances(world: World, owner: Keypair) -> tuple[int, int]:
    """What is available and what is timelocked, as the books say."""
    async with world.database.connection() as conn:
        row = await vaults.get(conn, address(owner))
    assert row is not None
    return row.available, row.timelocked


async def balance(world: World) -> int:
    """The operator's lamports."""
    answer = await world.rpc.call("getBalance", [address(world.operator)])
    lamports: int = answer["value"]
    return lamports


async def looked(world: World) -> bool:
    task = world.board.tasks.get("timelocks")
    return task is not None and task.last_success is not None

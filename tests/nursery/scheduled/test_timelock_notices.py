"""Owners are notified once of what falls due, and matured timelocks are released once."""

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
from cvms.chain.transactions.scheduled_builders import VAULTS_PER_TRANSACTION
from cvms.errors import ChainTimeout, ProgramRefused
from cvms.nursery.scheduled.timelock_notices import TimelockScheduler
from cvms.nursery.wiring.leader_tasks import build_operator_submitter, build_timelock_scheduler
from cvms.signing.signer_set import SignerSet
from cvms.store.security import audit_log
from cvms.store.submissions import submissions
from cvms.store.submissions.submissions import Submission
from cvms.store.vaults import vaults
from tests.harness.resources import signers_of
from tests.nursery.world import World, address, running, until
from tests.signing.faulty_signer import FaultySigner, set_of, signs_again

HOUR = 3_600


def scheduler(
    world: World,
    *,
    rpc: RpcClient | None = None,
    release: bool = True,
    operator: Keypair | None = None,
    signers: SignerSet | None = None,
) -> TimelockScheduler:
    """Return a freshly started scheduler with a notice period of an hour."""
    config = replace(
        world.resources.config,
        timelock_notice_seconds=HOUR,
        timelock_release=release,
    )
    signers = signers or signers_of(operator or world.operator)
    resources = replace(world.resources, config=config, signers=signers, rpc=rpc or world.rpc)
    return build_timelock_scheduler(resources, build_operator_submitter(resources))


async def test_an_owner_is_notified_an_hour_before_and_at_maturity_and_the_timelock_is_released(
    world: World,
) -> None:
    alice = await locked_owner(world, 2 * HOUR)
    assert await scheduler(world).run_once() > 0
    assert await notices(world) == []

    await travel(world, HOUR)
    await scheduler(world).run_once()
    await scheduler(world).run_once()
    assert await notices(world) == [("due_soon", address(alice), 60)]
    assert await releases(world) == []

    await travel(world, HOUR)
    await scheduler(world).run_once()
    await scheduler(world).run_once()
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
    await scheduler(world).run_once()
    assert len(await releases(world)) == 1
    (notice, _) = await notice_data(world)
    assert notice["due_at"] > 0
    assert 0 < notice["remaining_seconds"] <= HOUR


async def test_the_audit_trail_has_the_release_under_its_owner(world: World) -> None:
    alice = await locked_owner(world, 0)
    await scheduler(world).run_once()
    [submission] = await releases(world)
    async with world.database.connection() as conn:
        [entry] = await audit_log.page(conn, limit=9, owner=address(alice))
    assert (entry.actor, entry.action) == ("timelocks", "release_timelocks")
    assert entry.details["tx"] == submission.signature
    assert submission.owner == address(alice)


async def test_a_requested_withdrawal_is_announced_once(world: World) -> None:
    alice = await world.owner()
    delay = instructions.set_withdraw_min_delay(world.programs, owner=alice.pubkey(), seconds=HOUR)
    ask = instructions.request_withdraw(world.programs, owner=alice.pubkey(), amount=40)
    await world.act(alice, world.deposit(alice, 100), delay, ask)
    await world.indexer().catch_up()
    await scheduler(world).run_once()
    assert await notices(world) == []
    await travel(world, HOUR)
    await scheduler(world).run_once()
    assert await notices(world) == [("withdrawal_available", address(alice), 40)]
    await world.act(alice, world.withdraw(alice, 30))
    await world.indexer().catch_up()
    await scheduler(world).run_once()
    assert await notices(world) == [("withdrawal_available", address(alice), 40)]
    assert await releases(world) == []


async def test_with_releases_off_it_only_notifies(world: World) -> None:
    alice = await locked_owner(world, 0)
    await scheduler(world, release=False).run_once()
    assert await notices(world) == [("available", address(alice), 60)]
    assert await releases(world) == []


async def test_killed_between_notice_and_release_it_does_each_once(
    world: World,
) -> None:
    alice = await locked_owner(world, 0)
    with pytest.raises(ChainTimeout):
        await scheduler(world, rpc=Node(world.rpc, silent=True)).run_once()
    assert await notices(world) == [("available", address(alice), 60)]
    assert await releases(world) == []
    await scheduler(world).run_once()
    assert len(await notices(world)) == 1
    assert len(await releases(world)) == 1


async def test_killed_after_the_release_was_recorded_it_makes_no_other(
    world: World,
) -> None:
    """Neither while the first may land on any fork, nor when it has landed but is not indexed."""
    alice = await locked_owner(world, 0)
    await scheduler(world).run_once()
    await scheduler(world).run_once()
    [first] = await releases(world)
    await world.submitter().run_once()
    assert first.signature is not None
    await world.confirm(first.signature)
    await scheduler(world).run_once()
    await world.execute("UPDATE submissions SET state = 'finalized'")
    await scheduler(world).run_once()
    assert len(await releases(world)) == 1
    await world.indexer().catch_up()
    assert await balances(world, alice) == (100, 0)


async def test_an_expired_release_is_repeated(world: World) -> None:
    await locked_owner(world, 0)
    await scheduler(world).run_once()
    await world.execute("UPDATE submissions SET state = 'expired'")
    await scheduler(world).run_once()
    assert len(await releases(world)) == 2


async def test_two_runs_at_once_over_many_vaults_notify_and_release_once(world: World) -> None:
    owners = await locked_owners(world, 2 * VAULTS_PER_TRANSACTION + 2)
    one, other = scheduler(world), scheduler(world)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.run_once)
        nursery.start_soon(other.run_once)
    all_owners = Counter(map(address, owners))
    assert Counter(owner for _, owner, _ in await notices(world)) == all_owners
    await scheduler(world).run_once()  # in case each left some to the other
    assert Counter(await released_owners(world)) == all_owners
    before = await balance(world)
    await landed(world)
    for owner in owners:
        assert await balances(world, owner) == (100, 0)
    assert before - await balance(world) == 5_000 * len(await releases(world))
    await scheduler(world).run_once()
    assert Counter(await released_owners(world)) == all_owners
    assert len(await notices(world)) == len(owners)


async def test_a_full_transaction_holds_so_many_vaults(world: World) -> None:
    owners = await locked_owners(world, VAULTS_PER_TRANSACTION)
    await scheduler(world).run_once()
    [submission] = await releases(world)
    assert submission.owner == address(world.operator)
    assert sorted(await released_owners(world)) == sorted(map(address, owners))


async def test_a_vault_that_the_program_refuses_does_not_delay_others(world: World) -> None:
    owners = await locked_owners(world, 5)
    node = Node(world.rpc, refuses=address(owners[2]))
    task = scheduler(world, rpc=node)
    await task.run_once()
    rest = [address(owner) for owner in owners if owner is not owners[2]]
    assert sorted(await released_owners(world)) == sorted(rest)
    simulated = node.simulated
    await landed(world)
    assert await task.run_once() > 1, "it waits until something is due, not for the deferred one"
    assert node.simulated == simulated


async def test_releases_in_flight_are_limited(world: World) -> None:
    """So that transactions of owners do not wait behind thousands of releases."""
    alice = await locked_owner(world, 0)
    await world.execute(
        "INSERT INTO submissions (message_hash, kind, owner, state, signature, message, wire, "
        "last_valid_block_height) "
        "SELECT sha256(n::TEXT::BYTEA), 'release_timelocks', 'o' || n, 'submitted', n, '', '', 1 "
        "FROM generate_series(1, 32) AS n"
    )
    task = scheduler(world)
    assert await task.run_once() <= 1
    assert address(alice) not in await released_owners(world)
    await world.execute("UPDATE submissions SET state = 'confirmed' WHERE owner = 'o1'")
    await task.run_once()
    assert address(alice) in await released_owners(world)


async def test_an_operator_that_cannot_pay_is_an_error(world: World) -> None:
    await locked_owners(world, 3)
    with pytest.raises(ProgramRefused):
        await scheduler(world, operator=Keypair()).run_once()
    assert await releases(world) == []


async def test_releases_wait_for_a_signer_and_notices_do_not(world: World) -> None:
    alice = await locked_owner(world, 0)
    signer = FaultySigner(world.operator, fault="dead")
    signers = set_of(signer)
    task = scheduler(world, signers=signers)
    for _ in range(2):  # the first finds out, the second knows
        assert await task.run_once() <= 1, "it looks again soon"
        assert await releases(world) == []
    assert ("available", address(alice), 60) in await notices(world)
    signer.fault = None
    await signs_again(signers)
    await task.run_once()
    assert await released_owners(world) == [address(alice)]


async def test_it_wakes_when_one_falls_due_and_when_the_indexer_finds_one(
    world: World,
) -> None:
    """Tokens that are locked for a second are released without any request, with notices."""
    alice = await world.owner()

    async def back() -> bool:
        return "timelock_release" in [kind for kind, _, _ in await world.history(alice)]

    await world.indexer().catch_up()
    async with running(world.indexer().run, scheduler(world).run, world.submitter().run):
        await until(lambda: has_run(world))  # and there was nothing to wait for
        await world.act(alice, world.deposit(alice, 100), lock(world, alice, 60, 1))
        await until(back)
    kinds = [kind for kind, _, _ in await notices(world)]
    assert kinds in (["due_soon", "available"], ["available"]), "a second may be over at once"


async def test_nothing_is_notified_until_the_indexer_has_caught_up(world: World) -> None:
    await locked_owner(world, 0)
    world.progress.slot = None
    await scheduler(world).run_once()
    assert await notices(world) == []


# --- helpers -----------------------------------------------------------------------------------


class Node(RpcClient):
    """A node that does not reply to simulations, or refuses the release of one owner."""

    def __init__(
        self, real: RpcClient, *, silent: bool = False, refuses: str | None = None
    ) -> None:
        super().__init__(real._transport)
        self.silent, self.refuses, self.simulated = silent, refuses, 0

    async def simulate(self, wire: bytes, **options: Any) -> Simulation:
        if self.silent:
            raise ChainTimeout("no reply within the deadline")
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


async def locked_owner(world: World, seconds: int) -> Keypair:
    """Create an owner with 100, of which 60 are locked for so long, and index that."""
    owner = await world.owner()
    await world.act(owner, world.deposit(owner, 100), lock(world, owner, 60, seconds))
    await world.indexer().catch_up()
    return owner


async def locked_owners(world: World, count: int) -> list[Keypair]:
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
    """Move the chain's clock, and wait until that is confirmed."""
    target = (await chain_now(world.rpc)).seconds + seconds
    await world.rpc.call("surfnet_timeTravel", [{"absoluteTimestamp": target * 1000}])

    async def there() -> bool:
        return (await chain_now(world.rpc)).seconds >= target

    await until(there)


async def landed(world: World) -> None:
    """Submit everything until it is final, and index the effects."""
    submitter = world.submitter()

    async def final() -> bool:
        return await submitter.run_once() == 0

    await until(final)
    await world.indexer().catch_up()


async def notice_data(world: World) -> list[dict[str, Any]]:
    rows = await world.outbox("timelock_event")
    return [row.data for row in rows if row.signature is None]


async def notices(world: World) -> list[tuple[str, str, int]]:
    return [(each["kind"], each["owner"], each["amount"]) for each in await notice_data(world)]


async def releases(world: World) -> list[Submission]:
    async with world.database.connection() as conn:
        cursor = await conn.execute("SELECT signature FROM submissions ORDER BY created_at")
        found = [
            await submissions.get_by_signature(conn, signature)
            for (signature,) in await cursor.fetchall()
        ]
    return [each for each in found if each is not None and each.kind == "release_timelocks"]


async def released_owners(world: World) -> list[str]:
    """Return the owners of all submissions, one entry for each time."""
    async with world.database.connection() as conn:
        cursor = await conn.execute(
            "SELECT unnest(CASE owners WHEN '{}' THEN ARRAY[owner] ELSE owners END) "
            "FROM submissions"
        )
        return [owner for (owner,) in await cursor.fetchall()]


async def balances(world: World, owner: Keypair) -> tuple[int, int]:
    """Return the available and the timelocked balance of the vault's row."""
    async with world.database.connection() as conn:
        row = await vaults.get(conn, address(owner))
    assert row is not None
    return row.available, row.timelocked


async def balance(world: World) -> int:
    """Return the operator's lamports."""
    reply = await world.rpc.call("getBalance", [address(world.operator)])
    lamports: int = reply["value"]
    return lamports


async def has_run(world: World) -> bool:
    task = world.board.tasks.get("timelocks")
    return task is not None and task.last_success is not None

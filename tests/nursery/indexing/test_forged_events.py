"""Events that another program forges in its own logs are not recorded."""

from __future__ import annotations

import base64

import pytest
from solders.account import Account
from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

from cvms.chain.program import instructions
from cvms.chain.program.addresses import token_account, vault_address
from cvms.chain.program.events.events import (
    DepositEvent,
    Event,
    VaultClosedEvent,
    WithdrawEvent,
)
from cvms.chain.types import Commitment
from cvms.localnet import Running
from cvms.localnet.ledger.program_deployment import deploy
from tests.chain.made_up import encode_event
from tests.nursery.world import World
from tests.program.harness.ledger import TOKEN
from tests.program.harness.puppet import ELF, PUPPET, Log, own_address, puppet_call, write_script


class LocalChain:
    """The world's chain, as puppet programs use it."""

    def __init__(self, running: Running) -> None:
        self._chain = running.chain

    def put(self, address: Pubkey, owner: Pubkey, data: bytes, /) -> None:
        lamports = self._chain.vm.rent_exempt(len(data))
        self._chain.overwrite(address, Account(lamports, data, owner))


@pytest.fixture
def chain(world: World) -> LocalChain:
    """The chain with the puppet program deployed."""
    deploy(world.chain.chain, PUPPET, ELF.read_bytes())
    return LocalChain(world.chain)


async def logs_of(world: World, signature: str) -> list[str]:
    [record] = await world.rpc.get_transactions([signature], commitment=Commitment.CONFIRMED)
    assert record is not None
    assert record.err is None
    assert record.logs is not None
    return record.logs


def line(event: Event) -> str:
    return "Program data: " + base64.b64encode(encode_event(event)).decode()


def unread(world: World) -> float | None:
    return world.metrics.registry.get_sample_value("cvms_indexer_unread_logs_total")


async def test_a_deposit_that_a_program_repeats_around_it_counts_once(
    world: World, chain: LocalChain
) -> None:
    owner = await world.owner(tokens=1_000)
    vault = vault_address(world.programs, owner.pubkey())
    real = DepositEvent(vault, owner.pubkey(), 300, 300, 300)
    copy = Log(encode_event(real))
    around = puppet_call(chain, copy, world.deposit(owner, 300), copy)
    alone = puppet_call(chain, copy)
    signature = await world.act(owner, alone, around, alone)
    assert (await logs_of(world, signature)).count(line(real)) == 5

    await world.indexer().catch_up()
    assert await world.history(owner) == [("deposit", 300, 300)]
    assert len(await world.outbox("deposit_event")) == 1
    assert await world.problems() == []
    assert unread(world) == 0


async def test_forged_events_change_nothing(world: World, chain: LocalChain) -> None:
    owner = await world.owner(tokens=1_000)
    await world.act(owner, world.deposit(owner, 700))
    vault = vault_address(world.programs, owner.pubkey())
    forged: list[Event] = [
        DepositEvent(vault, owner.pubkey(), 10**9, 10**9, 10**9),
        WithdrawEvent(vault, owner.pubkey(), 700, 0, 0),
        VaultClosedEvent(vault, owner.pubkey()),
    ]
    played = puppet_call(chain, *(Log(encode_event(event)) for event in forged))
    # The vault program and the vault are named, so that the transaction is listed and read.
    named = [AccountMeta(key, False, False) for key in (world.programs.vault, vault)]
    forging = Instruction(PUPPET, b"", [*named, *played.accounts])
    logs = await logs_of(world, await world.act(owner, forging))
    assert [each for each in logs if each.startswith("Program data: ")] == [*map(line, forged)]

    await world.indexer().catch_up()
    assert await world.history(owner) == [("deposit", 700, 700)]
    assert await world.problems() == []
    assert unread(world) == 0


async def test_a_yield_program_cannot_forge_events_of_the_vault_that_calls_it(
    world: World, chain: LocalChain
) -> None:
    """Its frame is inside the vault program's frame, and the vault has signed for it."""
    programs, operator = world.programs, world.operator
    listed = instructions.add_yield_program(programs, governance=operator.pubkey(), program=PUPPET)
    await world.act(operator, listed)
    owner = await world.owner(tokens=1_000)
    await world.act(owner, world.deposit(owner, 700))
    await keep_tokens(world, own_address())

    vault = vault_address(programs, owner.pubkey())
    forged = DepositEvent(vault, owner.pubkey(), 10**9, 10**9, 10**9)
    lie = Log(encode_event(forged))
    mint = programs.mint
    taken = transfer(token_account(vault, mint), token_account(own_address(), mint), vault, 200)
    earning = instructions.yield_deposit(
        programs,
        authority=owner.pubkey(),
        owner=owner.pubkey(),
        yield_program=PUPPET,
        amount=200,
        yield_accounts=write_script(chain, lie, taken, lie, signing_later=[vault]),
    )
    logs = await logs_of(world, await world.act(owner, earning))
    assert f"Program {PUPPET} invoke [2]" in logs
    assert logs.count(line(forged)) == 2

    await world.indexer().catch_up()
    [deposited, moved] = await world.history(owner)
    assert deposited == ("deposit", 700, 700)
    assert moved[:2] == ("yield_deposit", 200)
    assert await world.problems() == []
    assert unread(world) == 0


async def keep_tokens(world: World, wallet: Pubkey) -> None:
    params = [str(wallet), str(world.programs.mint), {"amount": 0}]
    await world.rpc.call("surfnet_setTokenAccount", params)


def transfer(source: Pubkey, target: Pubkey, authority: Pubkey, amount: int) -> Instruction:
    metas = [
        AccountMeta(source, False, True),
        AccountMeta(target, False, True),
        AccountMeta(authority, True, False),
    ]
    return Instruction(TOKEN, b"\3" + amount.to_bytes(8, "little"), metas)

"""The yield pool's builders and accounts, compared with its IDL and on the local chain."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import AsyncIterator
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from solana.constants import SYSTEM_PROGRAM_ID
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.token.associated import get_associated_token_address
from solders.transaction import VersionedTransaction
from spl.token.constants import TOKEN_PROGRAM_ID

from cvms.chain import borsh
from cvms.chain.program.accounts import read_token_account
from cvms.chain.program.addresses import token_account
from cvms.chain.program.instructions import yield_pool as instructions
from cvms.chain.program.program_errors import program_error, to_program_error
from cvms.chain.program.yield_pool_accounts import (
    PER_TOKEN_UNIT,
    POOL_DISCRIMINATOR,
    POSITION_DISCRIMINATOR,
    SECONDS_PER_YEAR,
    YieldPoolAccount,
    YieldPositionAccount,
    claimable,
    pool_address,
    position_address,
    read_pool,
    read_position,
    reserve_address,
)
from cvms.chain.rpc.rpc_client import RpcClient, open_rpc
from cvms.chain.types import YIELD_POOL_PROGRAM, Account, Commitment, Lamports
from cvms.config.loader import load_programs
from cvms.errors import DecodeError, ProgramRefused
from tests.chain.made_up import structures, to_json, unhurried
from tests.chain.program.idl_borsh import idl, instruction_of, read_arguments, read_struct
from tests.chain.test_on_the_local_chain import confirmed
from tests.harness.localnet import Localnet

IDL = idl("yield_pool")
NAMES = [entry["name"] for entry in IDL["instructions"]]
ADMIN, MINT, OWNER, FUNDER, PAYER = (Pubkey.new_unique() for _ in range(5))
PROGRAMS = load_programs({})
USDT = 1_000_000


# Addresses and ids


def test_nobody_chose_the_programs_id() -> None:
    """It is the first of these hashes on the curve, so no program's PDA, and nobody has its key."""
    hashes = (Pubkey(hashlib.sha256(f"cvms yield pool {n}".encode()).digest()) for n in count())
    assert next(filter(Pubkey.is_on_curve, hashes)) == Pubkey.from_string(YIELD_POOL_PROGRAM)
    assert IDL["address"] == YIELD_POOL_PROGRAM


def test_another_yield_pool_program_can_be_set() -> None:
    assert str(load_programs({}).yield_pool) == YIELD_POOL_PROGRAM
    assert load_programs({"YIELD_POOL_PROGRAM_ID": str(OWNER)}).yield_pool == OWNER


def test_every_error_of_the_program_has_its_name() -> None:
    assert [entry["code"] for entry in IDL["errors"]] == list(range(6000, 6010))
    for entry in IDL["errors"]:
        found = program_error(PROGRAMS.yield_pool, entry["code"], PROGRAMS)
        assert (found.name, found.msg) == (entry["name"], entry["msg"])
    assert program_error(PROGRAMS.yield_pool, 2006, PROGRAMS).name == "ConstraintSeeds"


# Instructions


def derived(program: Pubkey, *seeds: bytes) -> Pubkey:
    return Pubkey.find_program_address(seeds, program)[0]


def places() -> dict[str, Pubkey]:
    """Return the expected accounts, by the IDL's names."""
    program = PROGRAMS.yield_pool
    pool = derived(program, b"pool", bytes(MINT), bytes(ADMIN))
    return {
        "admin": ADMIN,
        "mint": MINT,
        "owner": OWNER,
        "funder": FUNDER,
        "payer": PAYER,
        "pool": pool,
        "position": derived(program, b"position", bytes(pool), bytes(OWNER)),
        "pool_tokens": get_associated_token_address(pool, MINT),
        "reserve_tokens": derived(program, b"reserve", bytes(pool)),
        "owner_tokens": get_associated_token_address(OWNER, MINT),
        "funder_tokens": get_associated_token_address(FUNDER, MINT),
    }


@pytest.mark.parametrize("name", NAMES)
@unhurried
@given(number=st.integers(0, 2**32 - 1) | st.integers(2**63, 2**64 - 1))
def test_an_instruction_is_what_the_idl_says(name: str, number: int) -> None:
    entry = instruction_of(IDL, name)
    belongs = places()
    arguments = {each["name"]: number for each in entry["args"]}
    builder = getattr(instructions, name)
    wanted = inspect.signature(builder).parameters.keys() - {"programs"} - arguments.keys()
    keys = {each: belongs[each] for each in wanted}
    if number >= 2**32 and "rate_bps" in arguments:
        with pytest.raises(ValueError, match="format"):
            builder(PROGRAMS, **keys, **arguments)
        return
    built: Instruction = builder(PROGRAMS, **keys, **arguments)

    assert built.program_id == PROGRAMS.yield_pool
    assert built.data[:8] == bytes(entry["discriminator"])
    assert read_arguments(IDL, name, built.data[8:]) == (arguments, b"")
    for slot, meta in zip(entry["accounts"], built.accounts, strict=True):
        expected = slot.get("address") or str(belongs[slot["name"]])
        assert str(meta.pubkey) == expected, slot["name"]
        assert meta.is_writable == slot.get("writable", False), slot["name"]
        assert meta.is_signer == slot.get("signer", False), slot["name"]


def test_what_the_vault_program_passes_on_is_a_deposit_that_the_vault_does_not_sign_yet() -> None:
    pool = pool_address(PROGRAMS, mint=MINT, admin=ADMIN)
    given = instructions.deposit(PROGRAMS, owner=OWNER, pool=pool, mint=MINT, amount=1)
    passed = instructions.vault_yield_accounts(PROGRAMS, vault=OWNER, pool=pool, mint=MINT)
    assert passed == [
        AccountMeta(meta.pubkey, is_signer=False, is_writable=meta.is_writable)
        for meta in given.accounts
    ]


# Accounts


@pytest.mark.parametrize(
    ("name", "kind", "discriminator"),
    [
        ("Pool", YieldPoolAccount, POOL_DISCRIMINATOR),
        ("Position", YieldPositionAccount, POSITION_DISCRIMINATOR),
    ],
)
@unhurried
@given(data=st.data())
def test_an_account_reads_as_the_idl_says(
    name: str, kind: type, discriminator: bytes, data: st.DataObject
) -> None:
    [entry] = [each for each in IDL["accounts"] if each["name"] == name]
    assert discriminator == bytes(entry["discriminator"])
    state = data.draw(structures(kind))
    wire = discriminator + borsh.encode(state)
    values, left = read_struct(IDL, name, wire[8:])
    assert left == b""
    assert to_json(state) == values
    account = Account(Lamports(1), PROGRAMS.yield_pool, wire, executable=False)
    read: Any = read_pool if kind is YieldPoolAccount else read_position
    assert read(account, PROGRAMS) == state


@pytest.mark.parametrize("read", [read_pool, read_position])
def test_other_accounts_are_distinguished(read: Any) -> None:
    def account(owner: Pubkey, data: bytes) -> Account:
        return Account(Lamports(1), owner, data, executable=False)

    assert read(None, PROGRAMS) is None
    assert read(account(SYSTEM_PROGRAM_ID, b""), PROGRAMS) is None
    with pytest.raises(DecodeError, match="belongs to"):
        read(account(TOKEN_PROGRAM_ID, POOL_DISCRIMINATOR + bytes(157)), PROGRAMS)
    for data in (b"", bytes(165), POOL_DISCRIMINATOR, POSITION_DISCRIMINATOR + bytes(96)):
        with pytest.raises(DecodeError):
            read(account(PROGRAMS.yield_pool, data), PROGRAMS)


def test_a_number_that_does_not_fit_is_not_written() -> None:
    for accrued in (-1, 2**128):
        with pytest.raises(ValueError, match="int"):
            borsh.encode(YieldPositionAccount(OWNER, OWNER, 1, 1, accrued, 1))


def test_what_can_be_claimed_counts_until_now() -> None:
    pool = YieldPoolAccount(
        ADMIN, MINT, MINT, MINT, 500, 1_000, index=70, last_accrued_at=1_000, bump=1
    )
    position = YieldPositionAccount(OWNER, OWNER, 1_000 * USDT, index=70, accrued=0, bump=1)
    assert claimable(pool, position, now=1_000) == 0
    assert claimable(pool, position, now=999) == 0
    assert claimable(pool, position, now=1_000 + SECONDS_PER_YEAR) == 50 * USDT
    assert claimable(pool, position, now=999 + SECONDS_PER_YEAR) == 50 * USDT - 2
    earlier = YieldPositionAccount(
        OWNER, OWNER, PER_TOKEN_UNIT, index=60, accrued=PER_TOKEN_UNIT - 1, bump=1
    )
    assert claimable(pool, earlier, now=1_000) == 10


# On the local chain


class Saver:
    """A wallet with its own pool on a local chain."""

    def __init__(self, localnet: Localnet, rpc: RpcClient) -> None:
        self.localnet, self.rpc, self.programs = localnet, rpc, localnet.programs
        self.keypair = Keypair()
        self.owner = self.keypair.pubkey()
        self.pool = pool_address(self.programs, mint=self.programs.mint, admin=self.owner)

    async def receive(self, amount: int) -> None:
        signature = await self.rpc.call("requestAirdrop", [str(self.owner), 10**9])
        given = [str(self.owner), str(self.programs.mint), {"amount": amount}]
        await self.rpc.call("surfnet_setTokenAccount", given)
        await confirmed(self.localnet, self.rpc, signature)

    async def send(self, *steps: Instruction) -> None:
        """Simulate, send and confirm. Raises the exception of a failed simulation."""
        latest = await self.rpc.get_latest_blockhash()
        message = MessageV0.try_compile(self.owner, list(steps), [], latest.blockhash)
        wire = bytes(VersionedTransaction(message, [self.keypair]))
        outcome = await self.rpc.simulate(wire)
        if outcome.err is not None:
            raise to_program_error(outcome.err, outcome.logs, self.programs)
        await confirmed(self.localnet, self.rpc, await self.rpc.send_transaction(wire))

    async def state(self) -> tuple[YieldPoolAccount, YieldPositionAccount]:
        position = position_address(self.programs, pool=self.pool, owner=self.owner)
        found = await self.rpc.get_accounts([self.pool, position], commitment=Commitment.CONFIRMED)
        pool_state = read_pool(found.accounts[0], self.programs)
        position_state = read_position(found.accounts[1], self.programs)
        assert pool_state is not None
        assert position_state is not None
        return pool_state, position_state

    async def tokens(self, address: Pubkey) -> int:
        found = await self.rpc.get_accounts([address], commitment=Commitment.CONFIRMED)
        account = read_token_account(found.accounts[0])
        assert account is not None
        return account.amount


@pytest.fixture
async def saver(localnet: Localnet) -> AsyncIterator[Saver]:
    async with open_rpc([localnet.rpc_url]) as rpc:
        yield Saver(localnet, rpc)


async def test_a_deposit_earns_interest_over_a_year_on_the_local_chain(saver: Saver) -> None:
    programs, owner, pool, mint = saver.programs, saver.owner, saver.pool, saver.programs.mint
    theirs = {"owner": owner, "pool": pool, "mint": mint}
    await saver.receive(2_000 * USDT)
    await saver.send(
        instructions.initialize_pool(programs, admin=owner, mint=mint, rate_bps=500),
        instructions.fund_reserve(programs, funder=owner, pool=pool, mint=mint, amount=900 * USDT),
        instructions.open_position(programs, payer=owner, owner=owner, pool=pool),
        instructions.deposit(programs, **theirs, amount=1_000 * USDT),
    )
    state, position = await saver.state()
    year_on = state.last_accrued_at + SECONDS_PER_YEAR
    assert claimable(state, position, now=year_on) == 50 * USDT
    await saver.rpc.call("surfnet_timeTravel", [{"absoluteTimestamp": year_on * 1000}])
    with pytest.raises(ProgramRefused) as caught:
        await saver.send(instructions.claim(programs, **theirs, amount=51 * USDT))
    assert (caught.value.code, caught.value.name) == (6004, "InsufficientInterest")
    await saver.send(
        instructions.claim(programs, **theirs, amount=50 * USDT),
        instructions.withdraw(programs, **theirs, amount=400 * USDT),
    )
    _, position = await saver.state()
    assert position.principal == await saver.tokens(token_account(pool, mint)) == 600 * USDT
    assert await saver.tokens(reserve_address(programs, pool)) == 850 * USDT
    assert await saver.tokens(token_account(owner, mint)) == 550 * USDT

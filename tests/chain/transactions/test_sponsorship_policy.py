"""The operator's key signs as fee payer, and as more only where the service itself acts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from solders.compute_budget import request_heap_frame
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from spl.token.constants import TOKEN_PROGRAM_ID
from spl.token.instructions import create_idempotent_associated_token_account

from cvms.chain.program import instructions
from cvms.chain.program.guard_changes import WithdrawMinDelay
from cvms.chain.program.instructions import yield_pool
from cvms.chain.rpc.responses import LatestBlockhash
from cvms.chain.transactions.sponsorship_policy import (
    TOKEN_ACCOUNT_RENT,
    TRANSFER_LIMITS_RENT,
    FeeCaps,
    check_sponsored,
    fee_of,
    max_price,
)
from cvms.chain.transactions.versioned import build_transaction
from cvms.chain.types import BlockHeight, Slot
from cvms.config.loader import load_programs
from cvms.errors import NotSponsored

PROGRAMS = load_programs({})
CHANGE = WithdrawMinDelay(0)
OPERATOR, OWNER, OTHER = (Keypair().pubkey() for _ in range(3))
CAPS = FeeCaps(price=100_000, lamports=50_000, signatures=3)
BLOCKHASH = LatestBlockhash(Hash.new_unique(), BlockHeight(150), Slot(1))


def cost(
    instruction: Instruction,
    *setup: Instruction,
    acts: bool = False,
    payer: Pubkey = OPERATOR,
    price: int = 0,
    units: int = 200_000,
) -> int:
    built = build_transaction(
        instruction,
        fee_payer=payer,
        blockhash=BLOCKHASH,
        setup=setup,
        compute_unit_limit=units,
        compute_unit_price=price,
    )
    return check(built.message, acts=acts)


def check(message: MessageV0, *, acts: bool = False) -> int:
    return check_sponsored(
        message, operator=OPERATOR, programs=PROGRAMS, caps=CAPS, acts=acts
    ).lamports


def deposit(authority: Pubkey = OWNER) -> Instruction:
    return instructions.deposit(PROGRAMS, authority=authority, owner=OWNER, amount=1)


def withdraw(authority: Pubkey, *others: Pubkey) -> Instruction:
    return instructions.withdraw(
        PROGRAMS,
        authority=authority,
        owner=OWNER,
        recipient_token_account=OTHER,
        position_summaries=[],
        amount=1,
        extra_signers=others,
    )


def create(payer: Pubkey) -> Instruction:
    return create_idempotent_associated_token_account(payer=payer, owner=OWNER, mint=PROGRAMS.mint)


def test_it_pays_for_what_an_owner_signs_and_the_cost_is_the_chains() -> None:
    assert cost(deposit()) == 10_000
    assert cost(deposit(), price=1_000) == 10_200
    assert cost(withdraw(OWNER, OTHER), create(OWNER)) == 15_000
    assert cost(instructions.initialize_vault(PROGRAMS, OWNER)) == 10_000


BY_ITSELF: list[Callable[[], Instruction]] = [
    lambda: withdraw(OPERATOR),
    lambda: instructions.release_timelocks(PROGRAMS, authority=OPERATOR, owner=OWNER),
    lambda: instructions.set_freeze_flag(PROGRAMS, governance=OPERATOR, freeze=True),
    lambda: instructions.rebalance_collateral(
        PROGRAMS, authority=OPERATOR, from_owner=OWNER, to_owner=OTHER, amount=1
    ),
]


@pytest.mark.parametrize("build", BY_ITSELF)
def test_it_is_delegate_and_governance_only_where_the_service_decides(
    build: Callable[[], Instruction],
) -> None:
    assert cost(build(), acts=True) == 5_000
    with pytest.raises(NotSponsored):
        cost(build())


OF_OWNERS: list[Callable[[], Instruction]] = [
    lambda: instructions.set_transfer_allowance(PROGRAMS, owner=OWNER, amount=1),
    lambda: instructions.request_guard_change(PROGRAMS, owner=OWNER, change=CHANGE),
    lambda: instructions.apply_guard_change(PROGRAMS, owner=OWNER, change=CHANGE),
    lambda: instructions.cancel_guard_change(PROGRAMS, authority=OTHER, owner=OWNER, change=CHANGE),
    lambda: instructions.cancel_withdraw_request(PROGRAMS, owner=OWNER, amount=1, executable_at=1),
    lambda: instructions.cancel_timelock(PROGRAMS, owner=OWNER, amount=1, unlock_time=1),
    lambda: instructions.request_exit(PROGRAMS, owner=OWNER),
    lambda: instructions.release_unclaimed(PROGRAMS, owner=OWNER, position_summaries=[OTHER]),
    lambda: instructions.sweep(
        PROGRAMS, owner=OWNER, token_account=OTHER, recipient_token_account=OTHER
    ),
    lambda: instructions.settle_position_summary(PROGRAMS, owner=OWNER),
    lambda: instructions.emergency_withdraw(PROGRAMS, authority=OWNER, owner=OWNER, amount=1),
]


@pytest.mark.parametrize("build", OF_OWNERS)
def test_it_pays_for_guards_and_exits_of_owners(build: Callable[[], Instruction]) -> None:
    signatures = sum(meta.is_signer for meta in build().accounts)
    assert cost(build()) == 5_000 * (1 + signatures)


OF_GOVERNANCE: list[Callable[[Pubkey], Instruction]] = [
    lambda key: instructions.propose_governance(PROGRAMS, authority=key, proposed=OTHER),
    lambda key: instructions.accept_governance(PROGRAMS, new_governance=key),
    lambda key: instructions.pause_withdrawals(PROGRAMS, governance=key, seconds=1),
    lambda key: instructions.set_freeze_flag(PROGRAMS, governance=key, freeze=True),
    lambda key: instructions.rebalance_collateral(
        PROGRAMS, authority=key, from_owner=OWNER, to_owner=OTHER, amount=1
    ),
]


@pytest.mark.parametrize("build", OF_GOVERNANCE)
def test_it_pays_for_governance_only_where_it_is_governance(
    build: Callable[[Pubkey], Instruction],
) -> None:
    assert cost(build(OPERATOR), acts=True) == 5_000
    for key in (OPERATOR, OWNER):
        with pytest.raises(NotSponsored, match="governance"):
            cost(build(key))


def test_it_counts_the_rent_of_the_transfer_limits() -> None:
    limits = instructions.set_transfer_limits(
        PROGRAMS, governance=OPERATOR, vault_daily=1, total_daily=1
    )
    assert cost(limits, acts=True) == 5_000 + TRANSFER_LIMITS_RENT
    assert TRANSFER_LIMITS_RENT == (128 + 96) * 6_960


def test_it_pays_for_a_token_account_only_by_its_own_decision() -> None:
    emergency = instructions.emergency_withdraw(PROGRAMS, authority=OPERATOR, owner=OWNER, amount=1)
    assert cost(emergency, create(OPERATOR), acts=True) == 5_000 + TOKEN_ACCOUNT_RENT
    with pytest.raises(NotSponsored, match="token account"):
        cost(deposit(), create(OPERATOR))


STEAL = transfer(TransferParams(from_pubkey=OPERATOR, to_pubkey=OTHER, lamports=1))
HOSTILE = Instruction(OTHER, b"", [AccountMeta(OPERATOR, is_signer=True, is_writable=True)])
TOKENS = Instruction(TOKEN_PROGRAM_ID, b"\3" + bytes(8), HOSTILE.accounts)
TWICE = Instruction(
    PROGRAMS.vault,
    bytes(withdraw(OPERATOR).data),
    [*withdraw(OPERATOR).accounts, AccountMeta(OPERATOR, is_signer=True, is_writable=True)],
)
NEVER = {
    "its lamports": STEAL,
    "another program": HOSTILE,
    "the token program": TOKENS,
    "another program without it": Instruction(OTHER, b"", []),
    "its tokens": deposit(OPERATOR),
    "a vault of its own": instructions.initialize_vault(PROGRAMS, OPERATOR),
    "another's rent": instructions.init_position_summary(PROGRAMS, payer=OPERATOR, owner=OWNER),
    "a pool's rent": yield_pool.open_position(PROGRAMS, payer=OPERATOR, owner=OWNER, pool=OTHER),
    "its place taken twice": TWICE,
}


@pytest.mark.parametrize("acts", [False, True])
@pytest.mark.parametrize("name", NEVER)
def test_the_operator_never_gives(name: str, acts: bool) -> None:
    for message in (NEVER[name],):
        with pytest.raises(NotSponsored):
            cost(message, acts=acts)
        with pytest.raises(NotSponsored):
            cost(deposit(), message, acts=acts)


def test_price_fee_and_signatures_have_their_caps() -> None:
    assert cost(deposit(), price=100_000) == 30_000
    with pytest.raises(NotSponsored, match="price of 100001"):
        cost(deposit(), price=100_001, units=1)
    assert cost(deposit(), price=100_000, units=400_000) == 50_000
    with pytest.raises(NotSponsored, match="50001 lamports"):
        cost(deposit(), price=100_000, units=400_001)
    with pytest.raises(NotSponsored, match="3 signatures"):
        cost(withdraw(OWNER, OTHER, Keypair().pubkey()))


def test_only_compute_units_are_bought_and_always_limited() -> None:
    unlimited = MessageV0.try_compile(OPERATOR, [deposit()], [], Hash.new_unique())
    with pytest.raises(NotSponsored, match="limit"):
        check(unlimited)
    with pytest.raises(NotSponsored, match="more than compute units"):
        cost(deposit(), request_heap_frame(64 * 1024))


def test_the_operator_signs_only_as_fee_payer() -> None:
    with pytest.raises(NotSponsored, match="not its fee payer"):
        cost(withdraw(OPERATOR), payer=OWNER, acts=True)


@pytest.mark.parametrize("units", [1, 7, 100, 123_457, 1_400_000])
@pytest.mark.parametrize("signatures", [1, 2, 9, 10, 11])
def test_the_maximum_price_keeps_the_whole_fee_below_its_cap(units: int, signatures: int) -> None:
    price = max_price(CAPS, signatures=signatures, units=units)
    assert 0 <= price <= CAPS.price
    if signatures <= 10:
        assert fee_of(signatures=signatures, units=units, price=price) <= CAPS.lamports
        above = fee_of(signatures=signatures, units=units, price=price + 1)
        assert price == CAPS.price or above > CAPS.lamports
    else:
        assert price == 0

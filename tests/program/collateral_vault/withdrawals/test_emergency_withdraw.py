"""Returning tokens to their owner when ordinary withdrawals are blocked."""

import pytest
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.program.harness.effects import changes, refused
from tests.program.harness.instructions import build
from tests.program.harness.ledger import (
    POSITION_MANAGER,
    START,
    Event,
    Ledger,
    add_delegate,
    govern,
    readonly,
    signer,
    summary_address,
    vault_address,
    withdraw,
)
from tests.program.harness.positions import (
    ELF,
    close_position,
    init_position_summary,
    open_position,
    summary_of,
    trader,
)

YIELD = Keypair().pubkey()


@pytest.fixture
def traded(governed: Ledger, governance: Keypair) -> Ledger:
    """A chain whose only authorized program is the position manager."""
    governed.svm.add_program(POSITION_MANAGER, ELF.read_bytes())
    add = govern("add_authorized_program", governance.pubkey(), value=POSITION_MANAGER)
    governed.must(add, governance)
    return governed


@pytest.fixture
def owner(traded: Ledger) -> Keypair:
    """The owner of 1,000 in a vault, none of it locked."""
    return trader(traded, deposited=1_000)


@pytest.fixture
def locked(traded: Ledger, owner: Keypair) -> Keypair:
    """The owner of 1,000 in a vault, 600 of it locked for a position."""
    traded.must(open_position(owner.pubkey(), 600), owner)
    return owner


def rescue(owner: Keypair, amount: int, *, by: Keypair, to: Pubkey | None = None) -> Instruction:
    accounts = {} if to is None else {"user_token_account": to}
    key = by.pubkey()
    return build(
        "emergency_withdraw", owner.pubkey(), authority=key, accounts=accounts, amount=amount
    )


def rescued(owner: Keypair, by: Keypair, amount: int, *left: int) -> tuple[Event, ...]:
    """Return a rescue's events; `left` is the remaining total, available and locked balance."""
    whose = {"vault": vault_address(owner.pubkey()), "owner": owner.pubkey()}
    balances = ("new_total_balance", "new_available_balance", "new_locked_balance")
    fields = whose | {"authority": by.pubkey(), "amount": amount}
    fields |= dict(zip(balances, left, strict=True))
    kind = {"transaction_type": "EmergencyWithdrawal", "timestamp": START}
    return (
        ("EmergencyWithdrawEvent", fields),
        ("TransactionEvent", whose | {"amount": amount} | kind),
    )


# By the owner


def test_the_owner_takes_what_is_available_without_any_summary(
    traded: Ledger, owner: Keypair
) -> None:
    key = owner.pubkey()
    refused(traded, key, withdraw(key, 1), owner, error="PositionSummaryMissing")
    events = changes(
        traded,
        key,
        rescue(owner, 400, by=owner),
        owner,
        total_balance=600,
        available_balance=600,
        total_withdrawn=400,
    )
    assert events == rescued(owner, owner, 400, 600, 600, 0)
    assert (traded.tokens(key), traded.tokens(vault_address(key))) == (400, 600)
    refused(traded, key, rescue(owner, 601, by=owner), owner, error="InsufficientFunds")
    traded.must(rescue(owner, 600, by=owner), owner)


def test_the_owner_takes_nothing_while_anything_is_locked(traded: Ledger, locked: Keypair) -> None:
    one = rescue(locked, 1, by=locked)
    refused(traded, locked.pubkey(), one, locked, error="OpenPositionsExist")
    traded.must(close_position(locked.pubkey(), 600), locked)
    traded.must(one, locked)


# By governance


def test_governance_takes_what_is_available_first_and_then_what_is_locked(
    traded: Ledger, governance: Keypair, locked: Keypair
) -> None:
    key = locked.pubkey()
    events = changes(
        traded,
        key,
        rescue(locked, 300, by=governance),
        governance,
        total_balance=700,
        available_balance=100,
        total_withdrawn=300,
    )
    assert events == rescued(locked, governance, 300, 700, 100, 600)
    events = changes(
        traded,
        key,
        rescue(locked, 250, by=governance),
        governance,
        total_balance=450,
        available_balance=0,
        locked_balance=450,
        total_withdrawn=550,
    )
    assert events == rescued(locked, governance, 250, 450, 0, 450)
    too_much = rescue(locked, 451, by=governance)
    refused(traded, key, too_much, governance, error="InsufficientFunds")
    changes(
        traded,
        key,
        rescue(locked, 450, by=governance),
        governance,
        total_balance=0,
        locked_balance=0,
        total_withdrawn=1_000,
    )
    assert (traded.tokens(key), traded.tokens(governance.pubkey())) == (1_000, 0)


def test_a_position_without_its_collateral_leaves_the_owner_only_the_rescue(
    traded: Ledger, governance: Keypair, locked: Keypair
) -> None:
    key = locked.pubkey()
    traded.must(rescue(locked, 1_000, by=governance), governance)
    traded.put_tokens(key, 1_000)
    traded.must(build("deposit", key, amount=1_000), locked)

    # The summary still counts the position whose collateral is gone.
    assert summary_of(traded, key)["locked_amount"] == 600
    refused(traded, key, close_position(key, 600), locked, error="InsufficientFunds")
    summary = readonly(summary_address(vault_address(key)))
    ordinary = withdraw(key, 1_000, remaining=[summary])
    refused(traded, key, ordinary, locked, error="OpenPositionsExist")

    # Nothing reconciles the two, since each close unlocks as much as it subtracts.
    traded.must(open_position(key, 600), locked)
    traded.must(close_position(key, 600), locked)
    refused(traded, key, close_position(key, 600), locked, error="InsufficientFunds")

    traded.must(rescue(locked, 1_000, by=locked), locked)
    assert traded.tokens(key) == 1_000


# Anyone


def test_nobody_else_takes_anything(traded: Ledger, owner: Keypair) -> None:
    delegate, stranger, cosigner = traded.wallet(), traded.wallet(), traded.wallet()
    traded.must(add_delegate(owner.pubkey(), delegate.pubkey()), owner)
    for other in (delegate, stranger):
        theirs = rescue(owner, 1, by=other)
        refused(traded, owner.pubkey(), theirs, other, error="Unauthorized")
    multisig = build("set_vault_multisig", owner.pubkey(), signers=[cosigner.pubkey()], threshold=1)
    traded.must(multisig, owner)
    theirs = rescue(owner, 1, by=cosigner)
    refused(traded, owner.pubkey(), theirs, cosigner, error="Unauthorized")


def test_a_rescue_of_nothing_is_refused(
    traded: Ledger, governance: Keypair, owner: Keypair
) -> None:
    for one in (owner, governance):
        nothing = rescue(owner, 0, by=one)
        refused(traded, owner.pubkey(), nothing, one, error="InvalidAmount")


def test_nobody_can_rescue_timelocks_or_yield(
    traded: Ledger, governance: Keypair, owner: Keypair
) -> None:
    key = owner.pubkey()
    traded.must(build("schedule_timelock", key, amount=300, duration_seconds=0), owner)
    traded.must(govern("add_yield_program", governance.pubkey(), value=YIELD), governance)
    lend = build("yield_deposit", key, accounts={"yield_program": YIELD}, amount=500)
    traded.must(lend, owner)
    for one in (owner, governance):
        too_much = rescue(owner, 201, by=one)
        refused(traded, key, too_much, one, error="InsufficientFunds")
    traded.must(rescue(owner, 200, by=governance), governance)
    traded.must(build("release_timelocks", key), owner)
    traded.must(rescue(owner, 300, by=owner), owner)
    assert traded.vault(key)["total_balance"] == 500


# Recipients


def test_tokens_go_to_any_account_of_the_owners_wallet_and_to_no_other(
    traded: Ledger, governance: Keypair, owner: Keypair
) -> None:
    key, friend = owner.pubkey(), traded.wallet().pubkey()
    traded.must(build("add_withdraw_whitelist", key, address=friend), owner)
    second = traded.put_tokens(key, 0, address=Keypair().pubkey())
    vault = vault_address(key)
    others = [
        traded.put_tokens(wallet, 0, address=Keypair().pubkey())
        for wallet in (friend, governance.pubkey(), vault)
    ]
    for one in (owner, governance):
        for other in others:
            theirs = rescue(owner, 1, by=one, to=other)
            refused(traded, key, theirs, one, error="ConstraintTokenOwner")
        traded.must(rescue(owner, 10, by=one, to=second), one)
    assert traded.tokens_at(second) == 20


def test_a_rescue_pays_only_the_vaults_token(
    traded: Ledger, governance: Keypair, owner: Keypair
) -> None:
    other_mint = Keypair().pubkey()
    foreign = traded.put_tokens(owner.pubkey(), 0, mint=other_mint)
    for one in (owner, governance):
        wrong = rescue(owner, 1, by=one, to=foreign)
        refused(traded, owner.pubkey(), wrong, one, error="ConstraintTokenMint")


# What blocks a withdrawal but not a rescue


def test_delay_rate_and_multisig_block_the_owner_and_not_governance(
    traded: Ledger, governance: Keypair, owner: Keypair
) -> None:
    key, cosigner = owner.pubkey(), traded.wallet()
    traded.must(govern("set_freeze_flag", governance.pubkey(), value=True), governance)
    multisig = build("set_vault_multisig", key, signers=[cosigner.pubkey()], threshold=1)
    traded.must(multisig, owner)
    traded.must(build("set_withdraw_min_delay", key, seconds=60), owner)
    traded.must(build("request_withdraw", key, amount=7), owner)
    traded.must(build("set_withdraw_rate_limit", key, window_seconds=60, max_amount=5), owner)

    summary = readonly(summary_address(vault_address(key)))
    remaining = [summary, signer(cosigner.pubkey())]
    ordinary = withdraw(key, 5, remaining=remaining)
    refused(traded, key, ordinary, owner, cosigner, error="Unauthorized")
    refused(traded, key, rescue(owner, 5, by=owner), owner, error="Unauthorized")
    changes(
        traded,
        key,
        rescue(owner, 400, by=governance),
        governance,
        total_balance=600,
        available_balance=600,
        total_withdrawn=400,
    )


def test_the_freeze_flag_blocks_no_rescue(
    traded: Ledger, governance: Keypair, owner: Keypair
) -> None:
    traded.must(govern("set_freeze_flag", governance.pubkey(), value=True), governance)
    for one in (owner, governance):
        traded.must(rescue(owner, 400, by=one), one)


def test_governance_that_owns_a_vault_reaches_its_own_locked_tokens(
    traded: Ledger, governance: Keypair
) -> None:
    key = governance.pubkey()
    traded.put_tokens(key, 100)
    traded.must(build("initialize_vault", key), governance)
    traded.must(build("deposit", key, amount=100), governance)
    traded.must(init_position_summary(key, payer=key), governance)
    traded.must(open_position(key, 100), governance)
    traded.must(rescue(governance, 100, by=governance), governance)
    assert traded.tokens(key) == 100

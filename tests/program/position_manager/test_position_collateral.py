"""Positions on real collateral: both programs, their recorded balances, and the tokens."""

from typing import Any

import pytest
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.program.harness import ledger as chain
from tests.program.harness import positions
from tests.program.harness.ledger import (
    POSITION_MANAGER,
    Ledger,
    summary_address,
    vault_address,
    withdraw,
)
from tests.program.harness.positions import (
    close_position,
    open_position,
    rebalance_collateral,
    summary_of,
)
from tests.program.harness.refusals import assert_refused


@pytest.fixture
def traded(governed: Ledger) -> Ledger:
    """A chain whose only authorized program is the position manager."""
    return positions.with_position_manager(governed)


@pytest.fixture
def owner(traded: Ledger) -> Keypair:
    return positions.trader(traded, deposited=100)


def balances(ledger: Ledger, owner: Keypair) -> tuple[int, int, int, int]:
    """Return the vault's available and locked balance, the summary's positions and locked sum."""
    vault, summary = ledger.vault(owner.pubkey()), summary_of(ledger, owner.pubkey())
    available, locked = vault["available_balance"], vault["locked_balance"]
    assert vault["total_balance"] == available + locked
    return available, locked, summary["open_positions"], summary["locked_amount"]


def attempt_withdrawal(ledger: Ledger, owner: Keypair, amount: int) -> chain.Outcome:
    summary = chain.readonly(summary_address(vault_address(owner.pubkey())))
    return ledger.send(withdraw(owner.pubkey(), amount, remaining=[summary]), owner)


def direct(ledger: Ledger, name: str, owner: Keypair, amount: int) -> Instruction:
    accounts = {
        "caller_program": POSITION_MANAGER,
        "vault_authority": chain.authority_address(),
        "vault": vault_address(owner.pubkey()),
    }
    return chain.instruction(name, {"amount": amount}, accounts)


def test_an_open_position_holds_tokens_until_it_is_closed(traded: Ledger, owner: Keypair) -> None:
    traded.must(open_position(owner.pubkey(), 60), owner)
    assert balances(traded, owner) == (40, 60, 1, 60)
    assert_refused(attempt_withdrawal(traded, owner, 1), "OpenPositionsExist")
    traded.must(close_position(owner.pubkey(), 60), owner)
    assert balances(traded, owner) == (100, 0, 0, 0)
    assert attempt_withdrawal(traded, owner, 100).error is None
    assert traded.tokens(owner.pubkey()) == 100


def test_the_vault_program_emits_an_event_for_each_position(traded: Ledger, owner: Keypair) -> None:
    opened = traded.must(open_position(owner.pubkey(), 60), owner)
    closed = traded.must(close_position(owner.pubkey(), 25), owner)
    whose = {"vault": vault_address(owner.pubkey()), "owner": owner.pubkey()}
    locked: dict[str, Any] = {"new_locked_balance": 60, "new_available_balance": 40}
    unlocked: dict[str, Any] = {"new_locked_balance": 35, "new_available_balance": 65}
    assert ("LockEvent", whose | {"amount": 60} | locked) in opened.events
    assert ("UnlockEvent", whose | {"amount": 25} | unlocked) in closed.events


def test_a_summary_stores_the_slot_of_its_last_change(traded: Ledger, owner: Keypair) -> None:
    clock = traded.svm.get_clock()
    for slot, change in ((9_000, open_position), (9_001, close_position)):
        clock.slot = slot
        traded.svm.set_clock(clock)
        traded.must(change(owner.pubkey(), 10), owner)
        assert summary_of(traded, owner.pubkey())["last_updated_slot"] == slot


def test_positions_are_open_exactly_while_an_amount_is_locked(
    traded: Ledger, owner: Keypair
) -> None:
    for change, amount, expected in (
        (open_position, 10, (90, 10, 1, 10)),
        (open_position, 20, (70, 30, 2, 30)),
        (open_position, 30, (40, 60, 3, 60)),
        (close_position, 30, (70, 30, 2, 30)),
        (close_position, 10, (80, 20, 1, 20)),
        (close_position, 5, (85, 15, 1, 15)),  # a partial close: it stays open
        (open_position, 1, (84, 16, 2, 16)),
        (close_position, 16, (100, 0, 0, 0)),  # both at once
    ):
        traded.must(change(owner.pubkey(), amount), owner)
        assert balances(traded, owner) == expected


def test_a_position_is_open_while_anything_is_locked(traded: Ledger, owner: Keypair) -> None:
    """Even if the count of positions was lost."""
    traded.must(open_position(owner.pubkey(), 9), owner)
    traded.put_summary(owner.pubkey(), open_positions=0, locked_amount=9)
    traded.must(close_position(owner.pubkey(), 5), owner)
    assert balances(traded, owner) == (96, 4, 1, 4)


def test_a_delegate_trades_for_the_owner(traded: Ledger, owner: Keypair) -> None:
    signers = [Keypair().pubkey() for _ in range(10)]
    delegates = [traded.wallet() for _ in range(16)]
    keys = [delegate.pubkey() for delegate in delegates]
    traded.change_vault(owner.pubkey(), multisig_signers=signers, delegates=keys)
    for delegate in (delegates[0], delegates[-1]):
        key = delegate.pubkey()
        traded.must(open_position(owner.pubkey(), 5, authority=key), delegate)
        assert balances(traded, owner) == (95, 5, 1, 5)
        traded.must(close_position(owner.pubkey(), 5, authority=key), delegate)
        assert balances(traded, owner) == (100, 0, 0, 0)


def test_no_more_is_opened_than_is_available(traded: Ledger, owner: Keypair) -> None:
    for amount in (101, 2**64 - 1):
        outcome = traded.send(open_position(owner.pubkey(), amount), owner)
        assert_refused(outcome, "InsufficientFunds")
    assert balances(traded, owner) == (100, 0, 0, 0)
    traded.must(open_position(owner.pubkey(), 100), owner)
    assert balances(traded, owner) == (0, 100, 1, 100)


def test_a_refusal_by_the_vault_leaves_the_summary_unchanged(
    traded: Ledger, owner: Keypair
) -> None:
    traded.must(open_position(owner.pubkey(), 60), owner)
    for changed, refusal in (
        ({"freeze": True}, "Frozen"),
        ({"freeze": False, "authorized_programs": []}, "UnauthorizedProgram"),
    ):
        traded.change_authority(**changed)
        for change in (open_position, close_position):
            assert_refused(traded.send(change(owner.pubkey(), 10), owner), refusal)
            assert balances(traded, owner) == (40, 60, 1, 60)


@pytest.mark.parametrize("enforced", [False, True])
def test_the_position_manager_names_itself_as_the_caller(
    traded: Ledger, owner: Keypair, enforced: bool
) -> None:
    traded.change_authority(cpi_enforced=enforced)
    traded.must(open_position(owner.pubkey(), 60), owner)
    traded.must(close_position(owner.pubkey(), 60), owner)
    assert balances(traded, owner) == (100, 0, 0, 0)


def test_another_authority_account_is_refused_by_the_vault_program(
    traded: Ledger, owner: Keypair
) -> None:
    real = traded.data(chain.authority_address())
    copy = Keypair().pubkey()
    traded.put(copy, chain.PROGRAM, real)
    given = open_position(owner.pubkey(), 10, vault_authority=copy)
    assert_refused(traded.send(given, owner), "ConstraintSeeds")
    given = open_position(owner.pubkey(), 10, vault_authority=vault_address(owner.pubkey()))
    assert_refused(traded.send(given, owner), "AccountDiscriminatorMismatch")
    assert balances(traded, owner) == (100, 0, 0, 0)


@pytest.mark.parametrize("name", ["lock_collateral", "unlock_collateral"])
def test_nobody_locks_or_unlocks_directly(traded: Ledger, owner: Keypair, name: str) -> None:
    traded.must(open_position(owner.pubkey(), 60), owner)
    refused = traded.send(direct(traded, name, owner, 10), owner)
    assert_refused(refused, "UnauthorizedProgram")
    assert balances(traded, owner) == (40, 60, 1, 60)


@pytest.mark.parametrize("name", ["lock_collateral", "unlock_collateral"])
def test_an_authorized_call_in_the_transaction_lends_no_authority(
    traded: Ledger, owner: Keypair, name: str
) -> None:
    traded.must(open_position(owner.pubkey(), 60), owner)
    neighbour, forged = open_position(owner.pubkey(), 1), direct(traded, name, owner, 10)
    for given in ([neighbour, forged], [forged, neighbour], [neighbour, forged, neighbour]):
        assert_refused(traded.send(given, owner), "UnauthorizedProgram")
        assert balances(traded, owner) == (40, 60, 1, 60)


def test_several_changes_in_one_transaction_add_up(traded: Ledger, owner: Keypair) -> None:
    given = [
        chain.get_vault_info(owner.pubkey()),
        open_position(owner.pubkey(), 10),
        open_position(owner.pubkey(), 20),
        close_position(owner.pubkey(), 10),
    ]
    assert traded.send(given, owner).error is None
    assert balances(traded, owner) == (80, 20, 1, 20)


# Rebalancing


def funds(ledger: Ledger, owner: Keypair) -> tuple[int, int]:
    """Return the vault's recorded total and its tokens."""
    return ledger.vault(owner.pubkey())["total_balance"], ledger.tokens(
        vault_address(owner.pubkey())
    )


def test_governance_moves_collateral_between_vaults(
    traded: Ledger, owner: Keypair, governance: Keypair
) -> None:
    taker = positions.trader(traded, deposited=5)
    traded.must(open_position(owner.pubkey(), 30), owner)
    keys: tuple[Pubkey, Pubkey] = owner.pubkey(), taker.pubkey()
    outcome = traded.must(rebalance_collateral(governance.pubkey(), *keys, 30), governance)
    assert funds(traded, owner) == (70, 70)
    assert funds(traded, taker) == (35, 35)
    assert "TransferEvent" in [name for name, _ in outcome.events]
    assert attempt_withdrawal(traded, taker, 35).error is None


def test_locked_collateral_is_moved_before_what_the_owner_agreed_to(
    traded: Ledger, owner: Keypair, governance: Keypair
) -> None:
    taker = positions.trader(traded)
    traded.must(open_position(owner.pubkey(), 60), owner)
    keys = owner.pubkey(), taker.pubkey()
    given = rebalance_collateral(governance.pubkey(), *keys, 61)
    assert_refused(traded.send(given, governance), "TransferNotAgreed")
    traded.must(rebalance_collateral(governance.pubkey(), *keys, 60), governance)
    assert funds(traded, owner) == (40, 40)
    assert attempt_withdrawal(traded, taker, 60).error is None


def test_a_rebalance_moves_tokens_between_two_vaults_and_nowhere_else(
    traded: Ledger, owner: Keypair, governance: Keypair
) -> None:
    taker = positions.trader(traded)
    keys = owner.pubkey(), taker.pubkey()
    wallet_tokens = chain.token_address(governance.pubkey())
    giver_tokens = chain.token_address(vault_address(owner.pubkey()))
    substitutes = [
        ("to_vault_token_account", wallet_tokens, "ConstraintAssociated"),
        ("from_vault_token_account", wallet_tokens, "ConstraintAssociated"),
        ("to_vault_token_account", giver_tokens, "ConstraintAssociated"),
        ("to_vault", vault_address(owner.pubkey()), "ConstraintDuplicateMutableAccount"),
        ("from_vault", vault_address(taker.pubkey()), "ConstraintDuplicateMutableAccount"),
        ("to_vault", governance.pubkey(), "AccountNotInitialized"),
        ("from_vault", chain.authority_address(), "AccountDiscriminatorMismatch"),
    ]
    for account, fake, refusal in substitutes:
        given = rebalance_collateral(governance.pubkey(), *keys, 10, **{account: fake})
        assert_refused(traded.send(given, governance), refusal)
        assert (funds(traded, owner), funds(traded, taker)) == ((100, 100), (0, 0))

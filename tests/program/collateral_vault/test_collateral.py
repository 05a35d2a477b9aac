"""Locking, unlocking and transferring collateral: the calling program and the recorded balances."""

from typing import Any

import pytest
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.program.harness import ledger as chain
from tests.program.harness import positions
from tests.program.harness.ledger import (
    POSITION_MANAGER,
    PROGRAM,
    START,
    TOKEN,
    Ledger,
    change_lock,
    govern,
    token_address,
    transfer_collateral,
    vault_address,
)
from tests.program.harness.positions import close_position, open_position, rebalance_collateral
from tests.program.harness.refusals import assert_refused

MAX = 2**64 - 1


@pytest.fixture
def traded(governed: Ledger) -> Ledger:
    """A chain whose only authorized program is the position manager."""
    return positions.with_position_manager(governed)


@pytest.fixture
def owner(traded: Ledger) -> Keypair:
    return positions.trader(traded, deposited=100)


@pytest.fixture
def taker(traded: Ledger, owner: Keypair) -> Keypair:
    return traded.owner(deposited=5)


def change(name: str, owner: Pubkey, amount: int, locked: int, available: int) -> Any:
    parties = {"vault": vault_address(owner), "owner": owner}
    moved = {"amount": amount, "new_locked_balance": locked, "new_available_balance": available}
    recorded = {"transaction_type": name, "amount": amount, "timestamp": START}
    return ((f"{name}Event", parties | moved), ("TransactionEvent", parties | recorded))


def test_locks_and_unlocks_change_balances_and_move_no_token(
    traded: Ledger, owner: Keypair
) -> None:
    key = owner.pubkey()
    before = traded.vault(key)
    outcome = traded.must(open_position(key, 70), owner)
    assert traded.vault(key) == before | {"locked_balance": 70, "available_balance": 30}
    assert outcome.events == change("Lock", key, 70, 70, 30)
    assert "Program log: Instruction: LockCollateral" in outcome.logs

    outcome = traded.must(close_position(key, 50), owner)
    assert traded.vault(key) == before | {"locked_balance": 20, "available_balance": 80}
    assert outcome.events == change("Unlock", key, 50, 20, 80)
    assert "Program log: Instruction: UnlockCollateral" in outcome.logs
    assert traded.tokens(vault_address(key)) == 100


def test_no_more_is_locked_than_is_available(traded: Ledger, owner: Keypair) -> None:
    outcome = traded.send(open_position(owner.pubkey(), 101), owner)
    assert_refused(outcome, "InsufficientFunds")
    traded.must(open_position(owner.pubkey(), 100), owner)


def test_no_more_is_unlocked_than_is_locked(traded: Ledger, owner: Keypair) -> None:
    """The vault keeps its own count, whatever the position manager's summary says."""
    traded.must(open_position(owner.pubkey(), 100), owner)
    traded.change_vault(owner.pubkey(), locked_balance=40, available_balance=60)
    outcome = traded.send(close_position(owner.pubkey(), 41), owner)
    assert_refused(outcome, "InsufficientFunds")


def test_locking_works_beside_timelocks_and_yield(traded: Ledger, owner: Keypair) -> None:
    key = owner.pubkey()
    locks = [{"amount": 20, "unlock_time": START + 1}]
    traded.change_vault(key, available_balance=50, yield_deposited_balance=30, timelocks=locks)
    traded.must(open_position(key, 50), owner)
    assert traded.vault(key)["locked_balance"] == 50
    traded.must(close_position(key, 50), owner)


def test_balances_that_do_not_add_up_lock_nothing(traded: Ledger, owner: Keypair) -> None:
    traded.change_vault(owner.pubkey(), available_balance=99)
    assert_refused(traded.send(open_position(owner.pubkey(), 1), owner), "InvariantViolation")


def test_frozen_vaults_neither_lock_nor_unlock(
    traded: Ledger, owner: Keypair, governance: Keypair
) -> None:
    key = owner.pubkey()
    traded.must(open_position(key, 10), owner)
    traded.must(govern("set_freeze_flag", governance.pubkey(), value=True), governance)
    for frozen in (open_position(key, 1), close_position(key, 1)):
        assert_refused(traded.send(frozen, owner), "Frozen")
    traded.must(govern("set_freeze_flag", governance.pubkey(), value=False), governance)
    traded.must(close_position(key, 10), owner)


# Transfers


def test_a_transfer_moves_balances_and_tokens_of_both_vaults(
    traded: Ledger, owner: Keypair, taker: Keypair, governance: Keypair
) -> None:
    giver, gets = owner.pubkey(), taker.pubkey()
    traded.must(open_position(giver, 30), owner)
    before, before_taker = traded.vault(giver), traded.vault(gets)
    moved = rebalance_collateral(governance.pubkey(), giver, gets, 30)
    outcome = traded.must(moved, governance)
    assert traded.vault(giver) == before | {"total_balance": 70, "locked_balance": 0}
    assert traded.vault(gets) == before_taker | {"total_balance": 35, "available_balance": 35}
    assert traded.tokens(vault_address(giver)) == 70
    assert traded.tokens(vault_address(gets)) == 35
    transfer = {
        "from_vault": vault_address(giver),
        "to_vault": vault_address(gets),
        "amount": 30,
        "from_new_total_balance": 70,
        "to_new_total_balance": 35,
    }
    recorded = {
        "vault": vault_address(giver),
        "owner": giver,
        "transaction_type": "Transfer",
        "amount": 30,
        "timestamp": START,
    }
    assert outcome.events[:2] == (("TransferEvent", transfer), ("TransactionEvent", recorded))


def test_no_more_is_transferred_than_the_vault_holds(
    traded: Ledger, owner: Keypair, taker: Keypair, governance: Keypair
) -> None:
    traded.must(open_position(owner.pubkey(), 60), owner)
    traded.change_vault(owner.pubkey(), transfer_allowance=MAX)
    keys = (governance.pubkey(), owner.pubkey(), taker.pubkey())
    outcome = traded.send(rebalance_collateral(*keys, 101), governance)
    assert_refused(outcome, "InsufficientFunds")
    traded.must(rebalance_collateral(*keys, 100), governance)


def test_a_full_vault_receives_no_more(
    traded: Ledger, owner: Keypair, taker: Keypair, governance: Keypair
) -> None:
    traded.must(open_position(owner.pubkey(), 1), owner)
    traded.change_vault(taker.pubkey(), total_balance=MAX, available_balance=MAX)
    moved = rebalance_collateral(governance.pubkey(), owner.pubkey(), taker.pubkey(), 1)
    assert_refused(traded.send(moved, governance), "Overflow")
    assert traded.vault(owner.pubkey())["total_balance"] == 100


@pytest.mark.parametrize("side", ["owner", "taker"])
def test_a_transfer_checks_the_tokens_of_both_vaults(
    traded: Ledger, owner: Keypair, taker: Keypair, governance: Keypair, side: str
) -> None:
    traded.must(open_position(owner.pubkey(), 1), owner)
    wallet, amount = {"owner": (owner, 99), "taker": (taker, 4)}[side]
    traded.put_tokens(vault_address(wallet.pubkey()), amount)
    moved = rebalance_collateral(governance.pubkey(), owner.pubkey(), taker.pubkey(), 1)
    assert_refused(traded.send(moved, governance), "InvariantViolation")


# The caller


def direct(owner: Pubkey, taker: Pubkey, amount: int = 1) -> list[Instruction]:
    return [
        change_lock("lock_collateral", owner, amount),
        change_lock("unlock_collateral", owner, amount),
        transfer_collateral(owner, taker, amount),
    ]


def test_direct_calls_are_refused(
    traded: Ledger, owner: Keypair, taker: Keypair, governance: Keypair
) -> None:
    traded.change_authority(authorized_programs=[POSITION_MANAGER, PROGRAM])
    for called in direct(owner.pubkey(), taker.pubkey()):
        for wallet in (owner, governance):
            assert_refused(traded.send(called, wallet), "UnauthorizedProgram")


def test_authorized_calls_in_the_transaction_do_not_authorize_a_direct_call(
    traded: Ledger, owner: Keypair, taker: Keypair
) -> None:
    honest = open_position(owner.pubkey(), 1)
    for called in direct(owner.pubkey(), taker.pubkey()):
        outcome = traded.send([honest, called, honest], owner)
        assert_refused(outcome, "UnauthorizedProgram")


def test_the_caller_is_found_at_any_instruction_index(traded: Ledger, owner: Keypair) -> None:
    key = owner.pubkey()
    neighbour = chain.get_vault_info(key)
    honest = [neighbour, open_position(key, 3), neighbour, close_position(key, 2), neighbour]
    outcome = traded.send(honest, owner)
    assert outcome.error is None
    assert traded.vault(key)["locked_balance"] == 1


def test_an_unauthorized_program_moves_nothing(
    traded: Ledger, owner: Keypair, taker: Keypair, governance: Keypair
) -> None:
    key = owner.pubkey()
    traded.must(open_position(key, 10), owner)
    name = "remove_authorized_program"
    traded.must(govern(name, governance.pubkey(), value=POSITION_MANAGER), governance)
    for called, wallet in (
        (open_position(key, 1), owner),
        (close_position(key, 1), owner),
        (rebalance_collateral(governance.pubkey(), key, taker.pubkey(), 1), governance),
    ):
        assert_refused(traded.send(called, wallet), "UnauthorizedProgram")


def test_an_authorized_caller_names_itself_when_required(
    traded: Ledger, owner: Keypair, governance: Keypair
) -> None:
    traded.must(govern("set_cpi_enforced", governance.pubkey(), value=True), governance)
    traded.must(open_position(owner.pubkey(), 1), owner)


# The accounts are checked before the caller, so that a direct call shows each refusal


def test_an_amount_of_zero_is_refused(traded: Ledger, owner: Keypair, taker: Keypair) -> None:
    for called in direct(owner.pubkey(), taker.pubkey(), 0):
        assert_refused(traded.send(called, owner), "InvalidAmount")


def test_a_vault_does_not_transfer_to_itself(traded: Ledger, owner: Keypair) -> None:
    outcome = traded.send(transfer_collateral(owner.pubkey(), owner.pubkey(), 1), owner)
    assert_refused(outcome, "ConstraintDuplicateMutableAccount")


def test_vaults_of_two_mints_do_not_mix(traded: Ledger, owner: Keypair, taker: Keypair) -> None:
    mint, vault = Keypair().pubkey(), vault_address(taker.pubkey())
    tokens = traded.put_tokens(vault, 5, mint=mint, address=token_address(vault))
    traded.change_vault(taker.pubkey(), usdt_mint=mint, token_account=tokens)
    for pair in ((owner, taker), (taker, owner)):
        called = transfer_collateral(pair[0].pubkey(), pair[1].pubkey(), 1)
        assert_refused(traded.send(called, owner), "ConstraintTokenMint")


@pytest.mark.parametrize("name", ["from_vault_token_account", "to_vault_token_account"])
def test_no_account_replaces_a_vaults_token_account(
    traded: Ledger, owner: Keypair, taker: Keypair, name: str
) -> None:
    for wallet in (owner.pubkey(), vault_address(traded.owner(deposited=1).pubkey())):
        accounts = {name: token_address(wallet)}
        called = transfer_collateral(owner.pubkey(), taker.pubkey(), 1, **accounts)
        assert_refused(traded.send(called, owner), "ConstraintAssociated")


NAMES = [(at, name) for at in range(3) for name in ("vault_authority", "instructions")]
VAULTS = [(0, "vault"), (1, "vault"), (2, "from_vault"), (2, "to_vault")]


def swapped(at: int, owner: Pubkey, taker: Pubkey, accounts: dict[str, Pubkey]) -> Instruction:
    if at == 2:
        return transfer_collateral(owner, taker, 1, **accounts)
    return change_lock(["lock_collateral", "unlock_collateral"][at], owner, 1, **accounts)


@pytest.mark.parametrize(("at", "name"), VAULTS)
def test_no_account_replaces_a_vault(
    traded: Ledger, owner: Keypair, taker: Keypair, at: int, name: str
) -> None:
    data, forged = traded.data(vault_address(owner.pubkey())), Keypair().pubkey()
    for program, refusal in ((PROGRAM, "ConstraintSeeds"), (TOKEN, "AccountOwnedByWrongProgram")):
        traded.put(forged, program, data)
        called = swapped(at, owner.pubkey(), taker.pubkey(), {name: forged})
        assert_refused(traded.send(called, owner), refusal)
    called = swapped(at, owner.pubkey(), taker.pubkey(), {name: chain.authority_address()})
    assert_refused(traded.send(called, owner), "AccountDiscriminatorMismatch")
    called = swapped(at, owner.pubkey(), taker.pubkey(), {name: Keypair().pubkey()})
    assert_refused(traded.send(called, owner), "AccountNotInitialized")


@pytest.mark.parametrize(("at", "name"), NAMES)
def test_no_account_replaces_the_authority_or_the_sysvar(
    traded: Ledger, owner: Keypair, taker: Keypair, at: int, name: str
) -> None:
    forged = Keypair().pubkey()
    traded.put(forged, PROGRAM, traded.data(chain.authority_address()))
    called = swapped(at, owner.pubkey(), taker.pubkey(), {name: forged})
    refusal = {"vault_authority": "ConstraintSeeds", "instructions": "AccountSysvarMismatch"}
    assert_refused(traded.send(called, owner), refusal[name])


def test_no_other_token_program_is_called(traded: Ledger, owner: Keypair, taker: Keypair) -> None:
    called = transfer_collateral(owner.pubkey(), taker.pubkey(), 1, token_program=PROGRAM)
    assert_refused(traded.send(called, owner), "InvalidProgramId")


def test_missing_rights_and_missing_accounts_are_refused(
    traded: Ledger, owner: Keypair, taker: Keypair
) -> None:
    for whole in direct(owner.pubkey(), taker.pubkey()):
        for at, meta in enumerate(whole.accounts):
            if meta.is_writable:
                readonly = chain.without(whole, writable=at)
                assert_refused(traded.send(readonly, owner), "ConstraintMut")
            cut = Instruction(PROGRAM, bytes(whole.data), whole.accounts[:at])
            assert_refused(traded.send(cut, owner), "AccountNotEnoughKeys")

"""Transfers take what is locked first, and of what is available only what the owner agreed to."""

from dataclasses import dataclass

import pytest
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.program.harness import positions
from tests.program.harness.governing import DAY, limit_transfers, pause
from tests.program.harness.instructions import build
from tests.program.harness.ledger import (
    POSITION_MANAGER,
    START,
    Ledger,
    Outcome,
    govern,
    readonly,
    summary_address,
    transfer_collateral,
    vault_address,
    withdraw,
)
from tests.program.harness.positions import (
    close_position,
    init_position_summary,
    open_position,
    rebalance_collateral,
)
from tests.program.harness.puppet import PUPPET, puppet_call, with_puppet
from tests.program.harness.refusals import assert_refused

MAX = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Desk:
    """A vault of 100 units, another of 5, and governance, which moves from one to the other."""

    ledger: Ledger
    governance: Keypair
    owner: Keypair
    taker: Keypair

    def lock(self, amount: int) -> None:
        self.ledger.must(open_position(self.owner.pubkey(), amount), self.owner)

    def allow(self, amount: int) -> None:
        self.ledger.change_vault(self.owner.pubkey(), transfer_allowance=amount)

    def allowance(self) -> int:
        return int(self.ledger.vault(self.owner.pubkey())["transfer_allowance"])

    def transfer(self, amount: int) -> Instruction:
        key = self.governance.pubkey()
        return rebalance_collateral(key, self.owner.pubkey(), self.taker.pubkey(), amount)

    def send(self, amount: int) -> Outcome:
        return self.ledger.send(self.transfer(amount), self.governance)

    def set_freeze(self, freeze: bool) -> None:
        given = govern("set_freeze_flag", self.governance.pubkey(), value=freeze)
        self.ledger.must(given, self.governance)

    def balances(self, owner: Keypair) -> tuple[int, int]:
        """Return what is available and what is locked, which together are the tokens."""
        vault = self.ledger.vault(owner.pubkey())
        available, locked = vault["available_balance"], vault["locked_balance"]
        assert vault["total_balance"] == available + locked
        assert self.ledger.tokens(vault_address(owner.pubkey())) == available + locked
        return available, locked


@pytest.fixture
def desk(governed: Ledger, governance: Keypair) -> Desk:
    positions.with_position_manager(governed)
    owner = positions.trader(governed, deposited=100)
    return Desk(governed, governance, owner, governed.owner(deposited=5))


# What one signature of governance cannot do


def test_governance_does_not_take_an_unlocked_vault(desk: Desk) -> None:
    for amount in (100, 1):
        assert_refused(desk.send(amount), "TransferNotAgreed")
    assert desk.balances(desk.owner) == (100, 0)


def test_a_frozen_vault_is_not_taken(desk: Desk) -> None:
    desk.lock(60)
    desk.allow(MAX)
    desk.set_freeze(True)
    for amount in (60, 100):
        assert_refused(desk.send(amount), "Frozen")
    assert desk.balances(desk.owner) == (40, 60)
    desk.set_freeze(False)
    assert desk.send(100).error is None


# Locked first


def test_what_is_locked_is_transferred_and_available_to_the_receiver(desk: Desk) -> None:
    desk.lock(60)
    outcome = desk.send(60)
    assert outcome.error is None, outcome
    assert desk.balances(desk.owner) == (40, 0)
    assert desk.balances(desk.taker) == (65, 0)
    owner, giver = desk.owner.pubkey(), vault_address(desk.owner.pubkey())
    between = {"from_vault": giver, "to_vault": vault_address(desk.taker.pubkey())}
    totals = {"from_new_total_balance": 40, "to_new_total_balance": 65}
    recorded = {"transaction_type": "Transfer", "amount": 60, "timestamp": START}
    moved = {
        "caller": POSITION_MANAGER,
        "amount": 60,
        "from_locked": 60,
        "from_new_locked_balance": 0,
        "from_new_available_balance": 40,
        "to_new_available_balance": 65,
    }
    assert outcome.events == (
        ("TransferEvent", between | {"amount": 60} | totals),
        ("TransactionEvent", {"vault": giver, "owner": owner} | recorded),
        ("CollateralTransferredEvent", between | moved),
    )


def test_a_transfer_takes_locked_collateral_before_any_that_the_owner_agreed_to(
    desk: Desk,
) -> None:
    desk.lock(60)
    desk.allow(30)
    assert_refused(desk.send(91), "TransferNotAgreed")
    assert desk.send(45).error is None
    assert (desk.balances(desk.owner), desk.allowance()) == ((40, 15), 30)
    outcome = desk.send(25)
    assert outcome.error is None
    assert (desk.balances(desk.owner), desk.allowance()) == ((30, 0), 20)
    event = dict(outcome.events)["CollateralTransferredEvent"]
    assert (event["amount"], event["from_locked"]) == (25, 15)
    assert_refused(desk.send(21), "TransferNotAgreed")
    assert desk.send(20).error is None
    assert_refused(desk.send(1), "TransferNotAgreed")
    assert (desk.balances(desk.owner), desk.allowance()) == ((10, 0), 0)


@pytest.mark.parametrize(("before", "after"), [(MAX, MAX), (MAX - 1, MAX - 101), (100, 0)])
def test_only_an_unlimited_allowance_is_not_used_up(desk: Desk, before: int, after: int) -> None:
    desk.allow(before)
    assert desk.send(100).error is None
    assert desk.allowance() == after


def test_a_refused_transfer_uses_up_no_allowance(desk: Desk) -> None:
    desk.lock(60)
    desk.allow(1_000)
    assert_refused(desk.send(101), "InsufficientFunds")
    assert_refused(desk.send(MAX), "InsufficientFunds")
    assert desk.allowance() == 1_000


def test_the_receivers_allowance_does_not_count(desk: Desk) -> None:
    desk.ledger.change_vault(desk.taker.pubkey(), transfer_allowance=MAX)
    assert_refused(desk.send(1), "TransferNotAgreed")


# The caller that the event names


@pytest.mark.parametrize("named", [POSITION_MANAGER, PUPPET], ids=["another", "itself"])
def test_the_event_names_the_program_that_called(desk: Desk, named: Pubkey) -> None:
    """Not the one that `caller_program` names, which counts only when that is enforced."""
    desk.lock(60)
    with_puppet(desk.ledger)
    desk.ledger.change_authority(authorized_programs=[POSITION_MANAGER, PUPPET])
    owner, taker = desk.owner.pubkey(), desk.taker.pubkey()
    given = transfer_collateral(owner, taker, 10, caller_program=named)
    outcome = desk.ledger.must(puppet_call(desk.ledger, given), desk.governance)
    assert dict(outcome.events)["CollateralTransferredEvent"]["caller"] == PUPPET


# What freeze and pause stop, in all combinations


@pytest.mark.parametrize("frozen", [False, True], ids=["running", "frozen"])
@pytest.mark.parametrize("paused", [False, True], ids=["open", "paused"])
def test_freeze_stops_programs_and_pause_stops_owners(
    desk: Desk, frozen: bool, paused: bool
) -> None:
    """Who takes out is the receiver, who has nothing locked."""
    taker = desk.taker.pubkey()
    desk.lock(60)
    desk.ledger.must(init_position_summary(taker, payer=taker), desk.taker)
    desk.set_freeze(frozen)
    desk.ledger.must(pause(desk.governance.pubkey(), 60 if paused else 0), desk.governance)
    summary = readonly(summary_address(vault_address(taker)))
    by_programs = [
        (desk.transfer(30), desk.governance),
        (open_position(desk.owner.pubkey(), 1), desk.owner),
        (close_position(desk.owner.pubkey(), 1), desk.owner),
    ]
    by_owners = [
        (withdraw(taker, 1, remaining=[summary]), desk.taker),
        (build("emergency_withdraw", taker, amount=1), desk.taker),
    ]
    for attempts, stopped, refusal in (
        (by_programs, frozen, "Frozen"),
        (by_owners, paused, "WithdrawalsPaused"),
    ):
        for given, signer in attempts:
            outcome = desk.ledger.send(given, signer)
            if stopped:
                assert_refused(outcome, refusal)
            else:
                assert outcome.error is None, outcome
    seized = build("emergency_withdraw", taker, authority=desk.governance.pubkey(), amount=1)
    desk.ledger.must(seized, desk.governance)


# The interface of before


def test_the_accounts_of_before_suffice_while_no_limits_are_set(desk: Desk) -> None:
    desk.lock(60)
    given = desk.transfer(10)
    assert len(given.accounts) == 10
    desk.ledger.must(given, desk.governance)
    limits = limit_transfers(desk.governance.pubkey(), MAX, MAX)
    desk.ledger.must(limits, desk.governance)
    desk.ledger.set_time(START + DAY)
    assert_refused(desk.send(10), "AccountNotEnoughKeys")

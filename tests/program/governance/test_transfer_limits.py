"""Daily limits of transfers: out of one vault and out of all, raised only after three days."""

from dataclasses import dataclass

import pytest
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.program.harness import positions
from tests.program.harness.governing import (
    DAY,
    HOUR,
    LIMITS,
    change_limits,
    limit_transfers,
    transfer_limits,
)
from tests.program.harness.instructions import build
from tests.program.harness.ledger import (
    PROGRAM,
    SOL,
    START,
    SYSTEM,
    TOKEN,
    Ledger,
    Outcome,
    authority_address,
    change_lock,
    govern,
    readonly,
    transfer_collateral,
    transfer_limits_address,
    vault_address,
)
from tests.program.harness.puppet import PUPPET, puppet_call, with_puppet
from tests.program.harness.refusals import assert_refused

MAX = 2**64 - 1
RAISE = 72 * HOUR


@dataclass(frozen=True, slots=True)
class Market:
    """Two vaults with 1,000 locked units each, and a third one that receives them."""

    ledger: Ledger
    governance: Keypair
    one: Pubkey
    other: Pubkey
    taker: Pubkey

    def limit(self, vault_daily: int, total_daily: int) -> Outcome:
        given = limit_transfers(self.governance.pubkey(), vault_daily, total_daily)
        return self.ledger.must(given, self.governance)

    def transfer(self, giver: Pubkey, amount: int, *remaining: AccountMeta) -> Outcome:
        """Let an authorized program transfer. The limits' account is given if none is."""
        given = transfer_collateral(giver, self.taker, amount)
        accounts = [*given.accounts, *(remaining or [LIMITS])]
        given = Instruction(given.program_id, bytes(given.data), accounts)
        return self.ledger.send(puppet_call(self.ledger, given), self.governance)

    def moves(self, giver: Pubkey, amount: int) -> None:
        outcome = self.transfer(giver, amount)
        assert outcome.error is None, outcome

    def refuses(self, giver: Pubkey, amount: int) -> None:
        before = transfer_limits(self.ledger), self.ledger.vault(giver)
        assert_refused(self.transfer(giver, amount), "TransferLimitExceeded")
        assert (transfer_limits(self.ledger), self.ledger.vault(giver)) == before


@pytest.fixture
def market(governed: Ledger, governance: Keypair) -> Market:
    positions.with_position_manager(with_puppet(governed))
    governed.change_authority(authorized_programs=[PUPPET])
    one, other = (governed.owner(deposited=1_000).pubkey() for _ in range(2))
    for owner in (one, other):
        governed.change_vault(owner, locked_balance=1_000, available_balance=0)
    return Market(governed, governance, one, other, governed.owner().pubkey())


def limits_set(vault: int, total: int, *pending: int) -> tuple[str, dict[str, int]]:
    names = ("pending_vault_daily", "pending_total_daily", "pending_at")
    waiting = dict(zip(names, pending or (0, 0, 0), strict=True))
    return ("TransferLimitsSetEvent", {"vault_daily": vault, "total_daily": total} | waiting)


# What one key moves within a day


def test_a_vault_loses_no_more_in_a_day_than_its_limit(market: Market) -> None:
    market.limit(100, MAX)
    market.refuses(market.one, 101)
    market.moves(market.one, 60)
    market.refuses(market.one, 41)
    market.moves(market.one, 40)
    market.refuses(market.one, 1)
    market.moves(market.other, 100)
    assert market.ledger.vault(market.one)["total_balance"] == 900


def test_all_vaults_together_lose_no_more_in_a_day_than_the_limit_in_all(market: Market) -> None:
    market.limit(100, 150)
    market.moves(market.one, 100)
    market.refuses(market.other, 51)
    market.moves(market.other, 50)
    market.refuses(market.other, 1)
    market.refuses(market.one, 1)
    assert market.ledger.vault(market.taker)["total_balance"] == 150


def test_a_program_that_a_thief_lists_moves_no_more_than_the_limits(market: Market) -> None:
    """With the governance key he lists his own, which locks what is free and transfers it."""
    market.limit(100, 150)
    market.ledger.change_authority(authorized_programs=[])
    free = {"locked_balance": 0, "available_balance": 1_000}
    for owner in (market.one, market.other):
        market.ledger.change_vault(owner, **free)
    listed = govern("add_authorized_program", market.governance.pubkey(), value=PUPPET)
    market.ledger.must(listed, market.governance)
    for owner in (market.one, market.other):
        lock = change_lock("lock_collateral", owner, 1_000, caller_program=PUPPET)
        market.ledger.must(puppet_call(market.ledger, lock), market.governance)
    market.moves(market.one, 100)
    market.refuses(market.one, 1)
    market.moves(market.other, 50)
    market.refuses(market.other, 1)


def test_limits_of_zero_stop_every_transfer(market: Market) -> None:
    market.limit(0, 0)
    market.refuses(market.one, 1)


def test_an_allowance_does_not_lift_the_limits(market: Market) -> None:
    market.limit(100, 100)
    fields = {"locked_balance": 0, "available_balance": 1_000, "transfer_allowance": MAX}
    market.ledger.change_vault(market.one, **fields)
    market.refuses(market.one, 101)
    market.moves(market.one, 100)


def test_a_window_starts_with_its_first_transfer_and_ends_a_day_later(market: Market) -> None:
    market.limit(100, 1_000)
    market.ledger.set_time(START + 10)
    market.moves(market.one, 1)
    market.ledger.set_time(START + DAY)
    market.moves(market.one, 99)
    market.ledger.set_time(START + 10 + DAY - 1)
    market.refuses(market.one, 1)
    vault = market.ledger.vault(market.one)
    assert (vault["transfer_window_start"], vault["transferred_in_window"]) == (START + 10, 100)
    market.ledger.set_time(START + 10 + DAY)
    market.moves(market.one, 100)
    market.refuses(market.one, 1)
    vault = market.ledger.vault(market.one)
    started = START + 10 + DAY
    assert (vault["transfer_window_start"], vault["transferred_in_window"]) == (started, 100)


def test_the_window_of_all_vaults_runs_on_its_own(market: Market) -> None:
    market.limit(1_000, 100)
    market.moves(market.one, 100)
    market.ledger.set_time(START + DAY - 1)
    market.refuses(market.other, 1)
    limits = transfer_limits(market.ledger)
    assert (limits["window_start"], limits["transferred"]) == (START, 100)
    market.ledger.set_time(START + DAY)
    market.moves(market.other, 7)
    limits = transfer_limits(market.ledger)
    assert (limits["window_start"], limits["transferred"]) == (START + DAY, 7)


def test_a_clock_that_goes_back_starts_no_new_window(market: Market) -> None:
    market.limit(100, 100)
    market.moves(market.one, 100)
    market.ledger.set_time(START - 10 * DAY)
    market.refuses(market.one, 1)


def test_the_largest_limits_and_sums_do_not_overflow(market: Market) -> None:
    market.limit(MAX, MAX)
    recent = {"transferred_in_window": MAX - 10, "transfer_window_start": START}
    market.ledger.change_vault(market.one, **recent)
    market.refuses(market.one, 11)
    market.moves(market.one, 10)
    change_limits(market.ledger, transferred=MAX - 10, window_start=START)
    market.refuses(market.other, 11)
    market.moves(market.other, 10)


# Setting limits


def test_the_first_limits_are_in_force_at_once(market: Market) -> None:
    before = market.ledger.authority()
    outcome = market.limit(100, 1_000)
    assert outcome.events == (limits_set(100, 1_000),)
    assert market.ledger.authority() == before | {"transfers_limited": True}
    bump = Pubkey.find_program_address([b"transfer_limits"], PROGRAM)[1]
    idle = ("window_start", "transferred", "pending_vault_daily", "pending_total_daily")
    assert transfer_limits(market.ledger) == {
        "vault_daily": 100,
        "total_daily": 1_000,
        **dict.fromkeys((*idle, "pending_at"), 0),
        "bump": bump,
        "_reserved": bytes(31),
    }
    account = market.ledger.svm.get_account(transfer_limits_address())
    assert account is not None
    assert account.lamports == market.ledger.svm.minimum_balance_for_rent_exemption(96)


@pytest.mark.parametrize("dust", [1, SOL])
def test_lamports_sent_to_the_address_before_do_not_block_the_limits(
    market: Market, dust: int
) -> None:
    market.ledger.put(transfer_limits_address(), SYSTEM, b"", dust)
    market.limit(100, 100)
    market.refuses(market.one, 101)


def test_a_lower_limit_applies_at_once_and_to_the_running_window(market: Market) -> None:
    market.limit(100, 100)
    market.moves(market.one, 60)
    assert market.limit(60, 80).events == (limits_set(60, 80),)
    market.refuses(market.one, 1)
    market.moves(market.other, 20)
    market.refuses(market.other, 1)


def test_a_higher_limit_is_not_used_before_three_days(market: Market) -> None:
    market.limit(100, 100)
    at = START + RAISE
    assert market.limit(1_000, 2_000).events == (limits_set(100, 100, 1_000, 2_000, at),)
    assert pending(market) == [1_000, 2_000, at]
    for now in (START, at - 1):
        market.ledger.set_time(now)
        market.refuses(market.one, 101)
    market.ledger.set_time(at)
    market.moves(market.one, 1_000)
    limits = transfer_limits(market.ledger)
    assert (limits["vault_daily"], limits["total_daily"]) == (1_000, 2_000)
    assert pending(market) == [0, 0, 0]


def pending(market: Market) -> list[int]:
    """Return the limits that wait, and until when."""
    limits = transfer_limits(market.ledger)
    names = ("pending_vault_daily", "pending_total_daily", "pending_at")
    return [limits[name] for name in names]


def test_a_raise_that_time_has_no_numbers_for_is_refused(market: Market) -> None:
    """A sum that wrapped would let the higher limit apply at once."""
    market.limit(100, 100)
    market.ledger.set_time(2**63 - RAISE)
    given = limit_transfers(market.governance.pubkey(), 101, 100)
    assert_refused(market.ledger.send(given, market.governance), "Overflow")
    market.ledger.set_time(2**63 - 1 - RAISE)
    market.limit(101, 100)


def test_of_two_limits_the_lower_one_applies_and_the_higher_one_waits(market: Market) -> None:
    market.limit(100, 100)
    at = START + RAISE
    assert market.limit(50, 200).events == (limits_set(50, 100, 50, 200, at),)
    market.ledger.set_time(START + 1)
    assert market.limit(300, 90).events == (limits_set(50, 90, 300, 90, at + 1),)
    market.ledger.set_time(at)
    market.refuses(market.one, 51)
    market.ledger.set_time(at + 1)
    market.refuses(market.one, 91)
    market.moves(market.one, 90)


def test_a_new_setting_replaces_the_one_that_waits(market: Market) -> None:
    """Also when it is the limit in force, so that a raise can be cancelled."""
    market.limit(100, 100)
    market.limit(1_000, 1_000)
    assert market.limit(100, 100).events == (limits_set(100, 100),)
    market.ledger.set_time(START + RAISE)
    market.refuses(market.one, 101)


def test_a_setting_first_applies_what_has_waited_long_enough(market: Market) -> None:
    market.limit(100, 100)
    market.limit(500, 500)
    market.ledger.set_time(START + RAISE)
    assert market.limit(400, 400).events == (limits_set(400, 400),)
    market.moves(market.one, 400)


def test_a_raise_in_small_steps_waits_each_time(market: Market) -> None:
    market.limit(100, 100)
    market.limit(200, 200)
    market.ledger.set_time(START + RAISE - 1)
    at = START + 2 * RAISE - 1
    assert market.limit(300, 300).events == (limits_set(100, 100, 300, 300, at),)
    market.ledger.set_time(START + RAISE)
    market.refuses(market.one, 101)


def test_only_governance_sets_limits(market: Market) -> None:
    thief = market.ledger.wallet()
    given = limit_transfers(thief.pubkey(), 1, 1)
    assert_refused(market.ledger.send(given, thief), "Unauthorized")
    market.limit(100, 100)
    assert_refused(market.ledger.send(given, thief), "Unauthorized")


def test_limits_at_another_address_are_refused(market: Market) -> None:
    def at(address: Pubkey) -> Instruction:
        accounts, key = {"transfer_limits": address}, market.governance.pubkey()
        return build("set_transfer_limits", key, accounts=accounts, vault_daily=1, total_daily=1)

    elsewhere = Keypair().pubkey()
    given = (at(elsewhere), market.governance)
    assert_refused(market.ledger.send(*given), "ConstraintSeeds")
    market.limit(100, 100)
    assert_refused(market.ledger.send(*given), "AccountNotInitialized")
    real = market.ledger.data(transfer_limits_address())
    market.ledger.put(elsewhere, PROGRAM, real)
    assert_refused(market.ledger.send(*given), "ConstraintSeeds")
    market.ledger.put(elsewhere, TOKEN, real)
    assert_refused(market.ledger.send(*given), "AccountOwnedByWrongProgram")
    given = (at(authority_address()), market.governance)
    assert_refused(market.ledger.send(*given), "AccountDiscriminatorMismatch")


def test_limits_are_set_only_in_a_writable_account(market: Market) -> None:
    for daily in (100, 50):  # the first ones, and others
        given = limit_transfers(market.governance.pubkey(), daily, daily)
        account = given.accounts[2]
        assert account.pubkey == transfer_limits_address()
        accounts = [*given.accounts[:2], readonly(account.pubkey), *given.accounts[3:]]
        fixed = Instruction(given.program_id, given.data, accounts)
        assert_refused(market.ledger.send(fixed, market.governance), "ConstraintMut")
        market.limit(daily, daily)


# The account of a transfer


def test_a_transfer_does_without_the_limits_only_until_they_are_set(market: Market) -> None:
    nothing = readonly(market.taker)
    assert market.transfer(market.one, 1, nothing).error is None
    market.limit(100, 100)
    assert_refused(market.transfer(market.one, 1, nothing), "AccountNotEnoughKeys")


def test_the_limits_account_may_stand_anywhere_among_the_remaining(market: Market) -> None:
    market.limit(100, 100)
    others = readonly(market.taker), readonly(transfer_limits_address())
    assert market.transfer(market.one, 100, others[0], LIMITS, others[0]).error is None
    assert_refused(market.transfer(market.one, 1, others[0], LIMITS), "TransferLimitExceeded")


def test_the_limits_account_must_be_writable(market: Market) -> None:
    market.limit(100, 100)
    given = readonly(transfer_limits_address())
    assert_refused(market.transfer(market.one, 1, given), "ConstraintMut")


def writable(address: Pubkey) -> AccountMeta:
    return AccountMeta(address, is_signer=False, is_writable=True)


def test_no_forged_limits_are_taken(market: Market) -> None:
    market.limit(100, 100)
    change_limits(market.ledger, vault_daily=MAX, total_daily=MAX)
    generous, fake = market.ledger.data(transfer_limits_address()), Keypair().pubkey()
    change_limits(market.ledger, vault_daily=100, total_daily=100)
    for owner, refusal in (
        (PUPPET, "AccountNotEnoughKeys"),
        (SYSTEM, "AccountNotEnoughKeys"),
        (PROGRAM, "ConstraintSeeds"),
    ):
        market.ledger.put(fake, owner, generous)
        assert_refused(market.transfer(market.one, 101, writable(fake)), refusal)
    market.ledger.put(fake, PUPPET, generous)
    outcome = market.transfer(market.one, 101, writable(fake), LIMITS)
    assert_refused(outcome, "TransferLimitExceeded")
    vault = writable(vault_address(market.taker))
    assert_refused(market.transfer(market.one, 1, vault), "AccountDiscriminatorMismatch")

"""A pause stops what owners and delegates take out, for a bounded time and not again at once."""

from collections.abc import Callable

import pytest
from solders.instruction import Instruction
from solders.keypair import Keypair

from tests.program.harness.governing import DAY, HOUR, pause
from tests.program.harness.instructions import build
from tests.program.harness.ledger import START, Ledger, add_delegate, deposit, withdraw
from tests.program.harness.refusals import assert_refused

LONGEST = 72 * HOUR


@pytest.fixture
def owner(governed: Ledger) -> Keypair:
    return governed.owner(usdt=10, deposited=100)


Attempt = Callable[[Keypair], Instruction]
TAKING_OUT: dict[str, Attempt] = {
    "a withdrawal": lambda owner: withdraw(owner.pubkey(), 1),
    "an emergency withdrawal": lambda owner: build("emergency_withdraw", owner.pubkey(), amount=1),
}
taking_out = pytest.mark.parametrize("attempt", TAKING_OUT.values(), ids=TAKING_OUT)


@taking_out
def test_an_owner_takes_nothing_out_until_the_pause_is_over(
    governed: Ledger, governance: Keypair, owner: Keypair, attempt: Attempt
) -> None:
    governed.must(attempt(owner), owner)
    outcome = governed.must(pause(governance.pubkey(), LONGEST), governance)
    event = {"paused_until": START + LONGEST, "pause_allowed_at": START + LONGEST + 7 * DAY}
    assert outcome.events == (("WithdrawalsPausedEvent", event),)
    for now in (START, START + LONGEST - 1):
        governed.set_time(now)
        assert_refused(governed.send(attempt(owner), owner), "WithdrawalsPaused")
    governed.set_time(START + LONGEST)
    governed.must(attempt(owner), owner)
    assert governed.tokens(owner.pubkey()) == 10 + 2


def test_a_delegate_takes_nothing_out_either(
    governed: Ledger, governance: Keypair, owner: Keypair
) -> None:
    delegate = governed.wallet()
    governed.must(add_delegate(owner.pubkey(), delegate.pubkey()), owner)
    governed.must(pause(governance.pubkey(), 1), governance)
    attempt = withdraw(owner.pubkey(), 1, authority=delegate.pubkey())
    assert_refused(governed.send(attempt, delegate), "WithdrawalsPaused")
    governed.set_time(START + 1)
    governed.must(attempt, delegate)


def test_a_pause_stops_neither_deposits_nor_governances_own_withdrawal_to_the_owner(
    governed: Ledger, governance: Keypair, owner: Keypair
) -> None:
    key = owner.pubkey()
    governed.must(pause(governance.pubkey(), LONGEST), governance)
    governed.must(deposit(key, 10), owner)
    given = build("emergency_withdraw", key, authority=governance.pubkey(), amount=110)
    governed.must(given, governance)
    assert governed.tokens(key) == 110


def test_a_pause_changes_only_its_own_fields(governed: Ledger, governance: Keypair) -> None:
    before = governed.authority()
    governed.must(pause(governance.pubkey(), 5), governance)
    times = {"withdrawals_paused_until": START + 5, "pause_allowed_at": START + 5 + 7 * DAY}
    assert governed.authority() == before | times


@pytest.mark.parametrize(
    ("seconds", "refusal"),
    [
        (-1, "InvalidAmount"),
        (-(2**63), "InvalidAmount"),
        (LONGEST + 1, "DurationTooLong"),
        (2**63 - 1, "DurationTooLong"),
    ],
)
def test_the_length_of_a_pause_is_bounded(
    governed: Ledger, governance: Keypair, seconds: int, refusal: str
) -> None:
    assert_refused(governed.send(pause(governance.pubkey(), seconds), governance), refusal)
    assert governed.authority()["withdrawals_paused_until"] == 0


@pytest.mark.parametrize("left", [LONGEST - 1, LONGEST, LONGEST + 7 * DAY - 1])
def test_a_pause_that_time_has_no_numbers_for_is_refused(
    governed: Ledger, governance: Keypair, left: int
) -> None:
    """A sum that wrapped would end the pause, or allow the next one, in the past."""
    governed.set_time(2**63 - 1 - left)
    assert_refused(governed.send(pause(governance.pubkey(), LONGEST), governance), "Overflow")
    governed.set_time(2**63 - 1 - LONGEST - 7 * DAY)
    governed.must(pause(governance.pubkey(), LONGEST), governance)


def test_a_pause_is_not_renewed_forever(
    governed: Ledger, governance: Keypair, owner: Keypair
) -> None:
    """Seven days after its end at the earliest, so that owners can leave in between."""
    again = pause(governance.pubkey(), LONGEST)
    governed.must(again, governance)
    allowed = START + LONGEST + 7 * DAY
    for now in (START, START + LONGEST - 1, START + LONGEST, allowed - 1):
        governed.set_time(now)
        assert_refused(governed.send(again, governance), "NotExecutableNow")
    governed.must(withdraw(owner.pubkey(), 1), owner)
    governed.set_time(allowed)
    governed.must(again, governance)
    assert_refused(governed.send(withdraw(owner.pubkey(), 1), owner), "WithdrawalsPaused")


def test_an_early_end_brings_the_next_pause_no_nearer(
    governed: Ledger, governance: Keypair, owner: Keypair
) -> None:
    key = governance.pubkey()
    governed.must(pause(key, LONGEST), governance)
    allowed = START + LONGEST + 7 * DAY
    governed.set_time(START + 10)
    outcome = governed.must(pause(key, 0), governance)
    event = {"paused_until": 0, "pause_allowed_at": allowed}
    assert outcome.events == (("WithdrawalsPausedEvent", event),)
    governed.must(withdraw(owner.pubkey(), 1), owner)
    governed.set_time(allowed - 1)
    assert_refused(governed.send(pause(key, 1), governance), "NotExecutableNow")
    governed.set_time(allowed)
    governed.must(pause(key, 1), governance)


def test_ending_no_pause_changes_nothing(governed: Ledger, governance: Keypair) -> None:
    before = governed.authority()
    governed.must(pause(governance.pubkey(), 0), governance)
    assert governed.authority() == before


def test_nobody_else_pauses(governed: Ledger, governance: Keypair, owner: Keypair) -> None:
    governed.must(pause(governance.pubkey(), 60), governance)
    for seconds in (0, 60):
        given = pause(owner.pubkey(), seconds)
        assert_refused(governed.send(given, owner), "Unauthorized")
    assert governed.authority()["withdrawals_paused_until"] == START + 60

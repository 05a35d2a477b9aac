"""Yield without a call: changes of recorded balances alone never claim tokens held elsewhere."""

import pytest
from solders.keypair import Keypair

from tests.program.harness.instructions import build
from tests.program.harness.ledger import START, Ledger, vault_address, withdraw
from tests.program.harness.refusals import assert_refused
from tests.program.harness.venues import (
    YEAR,
    Venue,
    assert_balances_match_tokens,
    move,
    pool_refused,
    refused,
)


@pytest.fixture
def owner(governed: Ledger, venue: Venue) -> Keypair:
    return venue.enter(governed.owner(deposited=1_000))


def kept(ledger: Ledger, owner: Keypair) -> int:
    """Return the yield that never left the vault's tokens."""
    amount: int = ledger.vault(owner.pubkey())["yield_kept"]
    return amount


def test_without_accounts_a_deposit_changes_balances_and_moves_no_tokens(
    governed: Ledger, venue: Venue, owner: Keypair
) -> None:
    before = governed.vault(owner.pubkey())
    outcome = governed.must(
        move("yield_deposit", owner.pubkey(), 400, program=venue.program), owner
    )
    assert governed.vault(owner.pubkey()) == before | {
        "available_balance": 600,
        "yield_deposited_balance": 400,
        "active_yield_program": venue.program,
        "yield_kept": 400,
    }
    assert governed.tokens(vault_address(owner.pubkey())) == 1_000
    assert [name for name, _ in outcome.events] == ["YieldDepositEvent", "TransactionEvent"]
    assert not any("invoke [2]" in line for line in outcome.logs)


def test_yield_deposited_without_a_call_returns_without_a_call(
    governed: Ledger, venue: Venue, owner: Keypair
) -> None:
    before = governed.vault(owner.pubkey())
    governed.must(move("yield_deposit", owner.pubkey(), 400, program=venue.program), owner)
    for amount in (1, 399):
        given = move("yield_withdraw", owner.pubkey(), amount, program=venue.program)
        outcome = governed.must(given, owner)
    assert [name for name, _ in outcome.events] == ["YieldWithdrawEvent", "TransactionEvent"]
    assert governed.vault(owner.pubkey()) == before
    governed.must(withdraw(owner.pubkey(), 1_000), owner)


def test_yield_held_by_a_program_never_returns_without_a_call(
    governed: Ledger, venue: Venue, owner: Keypair
) -> None:
    governed.must(venue.move("yield_deposit", owner.pubkey(), 400), owner)
    for amount in (1, 400):
        given = move("yield_withdraw", owner.pubkey(), amount, program=venue.program)
        refused(governed, given, owner, error="InvariantViolation")
    governed.must(venue.move("yield_withdraw", owner.pubkey(), 400), owner)


def test_a_yield_program_returns_only_what_it_received(
    governed: Ledger, venue: Venue, owner: Keypair
) -> None:
    """What stayed in the vault's account must not count as returned."""
    key = owner.pubkey()
    governed.must(move("yield_deposit", key, 300, program=venue.program), owner)
    governed.must(venue.move("yield_deposit", key, 200), owner)
    refused(
        governed,
        venue.move("yield_withdraw", key, 201),
        owner,
        error="InsufficientYieldBalance",
    )
    refused(
        governed,
        move("yield_withdraw", key, 301, program=venue.program),
        owner,
        error="InvariantViolation",
    )
    governed.must(venue.move("yield_withdraw", key, 200), owner)
    governed.must(move("yield_withdraw", key, 300, program=venue.program), owner)
    assert_balances_match_tokens(governed, key)
    assert governed.vault(key)["available_balance"] == 1_000


def test_yield_deposited_without_a_call_is_out_of_reach_until_it_returns(
    governed: Ledger, venue: Venue, owner: Keypair
) -> None:
    key = owner.pubkey()
    governed.must(move("yield_deposit", key, 1_000, program=venue.program), owner)
    refused(governed, withdraw(key, 1), owner, error="InsufficientFunds")
    refused(governed, venue.move("yield_deposit", key, 1), owner, error="InsufficientFunds")
    assert_refused(governed.send(build("close_vault", key), owner), "NonZeroBalance")


def test_compounding_without_a_call_is_limited_to_accrued_yield(
    governed: Ledger, venue: Venue, owner: Keypair
) -> None:
    key = owner.pubkey()
    governed.must(venue.move("yield_deposit", key, 400), owner)
    governed.set_time(START + YEAR)
    given = move("compound_yield", key, 1, program=venue.program)
    refused(governed, given, owner, error="InsufficientYieldBalance")
    governed.change_vault(key, yield_accrued_balance=20)
    before = governed.vault(key)
    governed.must(move("compound_yield", key, 15, program=venue.program), owner)
    assert governed.vault(key) == before | {
        "total_balance": 1_015,
        "yield_deposited_balance": 415,
        "yield_accrued_balance": 5,
        "last_compounded_at": START + YEAR,
    }
    given = move("compound_yield", key, 6, program=venue.program)
    refused(governed, given, owner, error="InsufficientYieldBalance")


def test_yield_compounded_without_a_call_must_still_come_from_the_program(
    governed: Ledger, venue: Venue, owner: Keypair
) -> None:
    """A recorded balance is no token: the pool pays principal, and interest only as interest."""
    key = owner.pubkey()
    governed.must(venue.move("yield_deposit", key, 400), owner)
    governed.change_vault(key, yield_accrued_balance=20)
    governed.must(move("compound_yield", key, 20, program=venue.program), owner)
    given = move("yield_withdraw", key, 20, program=venue.program)
    refused(governed, given, owner, error="InvariantViolation")
    given = venue.move("yield_withdraw", key, 420)
    pool_refused(governed, given, owner, error="InsufficientPrincipal")
    governed.must(venue.move("yield_withdraw", key, 400), owner)
    assert kept(governed, owner) == 0
    assert_balances_match_tokens(governed, key)


def test_more_than_the_reserve_can_count_is_refused(
    governed: Ledger, venue: Venue, owner: Keypair
) -> None:
    governed.change_vault(owner.pubkey(), yield_kept=2**64 - 1)
    given = move("yield_deposit", owner.pubkey(), 1, program=venue.program)
    refused(governed, given, owner, error="Overflow")

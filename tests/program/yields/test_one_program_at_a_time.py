"""A vault lends to one yield program at a time, so that the list keeps nothing of what it lent."""

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.program.harness.ledger import START, Ledger, add_delegate, govern
from tests.program.harness.puppet import PUPPET
from tests.program.harness.venues import (
    YEAR,
    Venue,
    assert_balances_match_tokens,
    lend_to_another,
    move,
    open_venue,
    refused,
)
from tests.program.yields.hostile import (
    AMOUNT,
    HANDS,
    honest_compound,
    order,
    whitelist_hostile_program,
)

NOBODY = Pubkey.default()


@pytest.fixture
def second(governed: Ledger, governance: Keypair) -> Venue:
    return open_venue(governed, governance, program=Keypair().pubkey(), rate_bps=1_000)


@pytest.fixture
def owner(governed: Ledger, venue: Venue, second: Venue) -> Keypair:
    """The owner of 1000 units, 400 of which the first program has held for a year."""
    owner = second.enter(venue.enter(governed.owner(deposited=1_000)))
    governed.must(venue.move("yield_deposit", owner.pubkey(), 400), owner)
    governed.set_time(START + YEAR)
    return owner


def active(ledger: Ledger, owner: Keypair) -> Pubkey:
    program: Pubkey = ledger.vault(owner.pubkey())["active_yield_program"]
    return program


@pytest.mark.parametrize("name", ["yield_deposit", "compound_yield"])
def test_no_other_program_gets_anything_while_one_holds_a_unit(
    governed: Ledger, venue: Venue, second: Venue, owner: Keypair, name: str
) -> None:
    key = owner.pubkey()
    governed.must(venue.move("yield_withdraw", key, 399), owner)
    refused(governed, second.move(name, key, 1), owner, error="AnotherYieldProgramHolds")
    governed.must(venue.move("yield_withdraw", key, 1), owner)
    assert active(governed, owner) == NOBODY
    governed.must(second.move("yield_deposit", key, 1), owner)
    assert active(governed, owner) == second.program


def test_all_that_is_lent_comes_back_after_the_removal_of_its_program(
    governed: Ledger, governance: Keypair, venue: Venue, second: Venue, owner: Keypair
) -> None:
    key = owner.pubkey()
    remove = govern("remove_yield_program", governance.pubkey(), value=venue.program)
    governed.must(remove, governance)
    elsewhere = second.move("yield_deposit", key, 400)
    refused(governed, elsewhere, owner, error="AnotherYieldProgramHolds")
    governed.must(venue.move("yield_withdraw", key, 400), owner)
    state = governed.vault(key)
    assert (state["available_balance"], state["yield_deposited_balance"]) == (1_000, 0)


def test_interest_that_is_left_makes_its_program_the_active_one(
    governed: Ledger, venue: Venue, second: Venue, owner: Keypair
) -> None:
    """What compounds it holds tokens again, and no other program may."""
    key = owner.pubkey()
    governed.must(venue.move("yield_withdraw", key, 400), owner)
    governed.must(venue.move("compound_yield", key, 20), owner)
    assert active(governed, owner) == venue.program
    refused(governed, second.move("yield_deposit", key, 1), owner, error="AnotherYieldProgramHolds")
    governed.must(venue.move("yield_withdraw", key, 20), owner)
    assert_balances_match_tokens(governed, key)


def test_a_delegate_compounds_only_where_the_owner_has_lent(
    governed: Ledger, venue: Venue, owner: Keypair
) -> None:
    """Otherwise it would choose the program to which it may lend everything else."""
    key, delegate = owner.pubkey(), governed.wallet()
    governed.must(add_delegate(key, delegate.pubkey()), owner)
    by = {"authority": delegate.pubkey()}
    governed.must(venue.move("compound_yield", key, 10, **by), delegate)
    governed.must(venue.move("yield_withdraw", key, 410, **by), delegate)
    compound = venue.move("compound_yield", key, 10, **by)
    refused(governed, compound, delegate, error="Unauthorized")
    governed.must(venue.move("compound_yield", key, 10), owner)


def test_a_delegate_does_not_make_a_thief_active_by_compounding(
    governed: Ledger, governance: Keypair
) -> None:
    """The thief pays the interest itself, and takes it as a deposit."""
    whitelist_hostile_program(governed, governance)
    governed.put_tokens(HANDS, AMOUNT)
    owner, delegate = governed.owner(deposited=1_000), governed.wallet()
    governed.must(add_delegate(owner.pubkey(), delegate.pubkey()), owner)
    given = order(governed, "compound_yield", owner, *honest_compound(owner))
    by_delegate = move(
        "compound_yield",
        owner.pubkey(),
        AMOUNT,
        program=PUPPET,
        through=given.accounts[5:],
        authority=delegate.pubkey(),
    )
    refused(governed, by_delegate, delegate, error="Unauthorized")
    governed.must(given, owner)


def test_what_never_left_the_vault_is_lent_to_nobody(
    governed: Ledger, venue: Venue, second: Venue
) -> None:
    owner = second.enter(venue.enter(governed.owner(deposited=1_000)))
    key = owner.pubkey()
    governed.must(move("yield_deposit", key, 300, program=venue.program), owner)
    governed.must(second.move("yield_deposit", key, 200), owner)
    assert active(governed, owner) == second.program
    governed.must(move("yield_deposit", key, 100, program=venue.program), owner)
    assert active(governed, owner) == second.program
    refused(governed, venue.move("yield_deposit", key, 1), owner, error="AnotherYieldProgramHolds")
    governed.must(second.move("yield_withdraw", key, 200), owner)
    governed.must(venue.move("yield_deposit", key, 1), owner)
    assert active(governed, owner) == venue.program
    assert_balances_match_tokens(governed, key, kept=400)


def test_accrued_yield_is_compounded_for_any_listed_program_without_a_call(
    governed: Ledger, second: Venue, owner: Keypair
) -> None:
    """No program receives anything by it."""
    governed.change_vault(owner.pubkey(), yield_accrued_balance=5)
    before = active(governed, owner)
    given = move("compound_yield", owner.pubkey(), 5, program=second.program)
    governed.must(given, owner)
    assert active(governed, owner) == before


def test_a_vault_that_had_lent_to_two_takes_back_from_both_and_adds_to_the_active_one(
    governed: Ledger, venue: Venue, second: Venue, owner: Keypair
) -> None:
    key = owner.pubkey()
    lend_to_another(governed, key, second.program)
    governed.must(second.move("yield_deposit", key, 200), owner)
    for name in ("yield_deposit", "compound_yield"):
        refused(governed, venue.move(name, key, 1), owner, error="AnotherYieldProgramHolds")
    governed.set_time(START + 2 * YEAR)
    governed.must(second.move("compound_yield", key, 20), owner)
    governed.must(venue.move("yield_withdraw", key, 400), owner)
    governed.must(second.move("yield_withdraw", key, 220), owner)
    state = governed.vault(key)
    assert (state["available_balance"], state["total_balance"]) == (1_020, 1_020)
    assert active(governed, owner) == NOBODY
    assert_balances_match_tokens(governed, key)

"""The error of each refused yield instruction; a failed call fails the whole instruction."""

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.program.harness.ledger import START, Ledger, govern, without
from tests.program.harness.venues import (
    YEAR,
    Venue,
    lend_to_another,
    move,
    open_venue,
    pool_refused,
    refused,
    whitelist,
)

NAMES = ("yield_deposit", "yield_withdraw", "compound_yield")
every = pytest.mark.parametrize("name", NAMES)


@pytest.fixture
def owner(governed: Ledger, venue: Venue) -> Keypair:
    """The owner of 1000 units, 400 of which have been in yield for a year and earned 20."""
    owner = venue.enter(governed.owner(deposited=1_000))
    governed.must(venue.move("yield_deposit", owner.pubkey(), 400), owner)
    governed.set_time(START + YEAR)
    return owner


@every
def test_the_unmodified_instruction_succeeds(
    governed: Ledger, venue: Venue, owner: Keypair, name: str
) -> None:
    governed.must(venue.move(name, owner.pubkey(), 20), owner)


@every
@pytest.mark.parametrize("called", [True, False], ids=["through the program", "without a call"])
def test_a_zero_amount_is_refused(
    governed: Ledger, venue: Venue, owner: Keypair, name: str, called: bool
) -> None:
    through = venue.accounts(owner.pubkey()) if called else ()
    given = move(name, owner.pubkey(), 0, program=venue.program, through=through)
    refused(governed, given, owner, error="InvalidAmount")


@every
def test_a_stranger_moves_nothing(
    governed: Ledger, venue: Venue, owner: Keypair, name: str
) -> None:
    stranger = governed.wallet()
    given = venue.move(name, owner.pubkey(), 20, authority=stranger.pubkey())
    refused(governed, given, stranger, error="Unauthorized")


@every
def test_governance_moves_nothing(
    governed: Ledger, governance: Keypair, venue: Venue, owner: Keypair, name: str
) -> None:
    given = venue.move(name, owner.pubkey(), 20, authority=governance.pubkey())
    refused(governed, given, governance, error="Unauthorized")


@every
def test_the_authority_must_sign(governed: Ledger, venue: Venue, owner: Keypair, name: str) -> None:
    given = without(venue.move(name, owner.pubkey(), 20), signer=0)
    refused(governed, given, governed.wallet(), error="AccountNotSigner")


@every
def test_a_program_that_was_never_whitelisted_is_not_called(
    governed: Ledger, venue: Venue, owner: Keypair, name: str
) -> None:
    through = venue.accounts(owner.pubkey())
    for program in (Keypair().pubkey(), Pubkey.default(), venue.pool):
        given = move(name, owner.pubkey(), 20, program=program, through=through)
        refused(governed, given, owner, error="YieldProgramNotWhitelisted")
        refused(
            governed,
            move(name, owner.pubkey(), 20, program=program),
            owner,
            error="YieldProgramNotWhitelisted",
        )


@every
def test_a_removed_yield_program_is_called_only_once_it_is_listed_again(
    governed: Ledger, governance: Keypair, venue: Venue, owner: Keypair, name: str
) -> None:
    remove, add = (
        govern(verb, governance.pubkey(), value=venue.program)
        for verb in ("remove_yield_program", "add_yield_program")
    )
    governed.must(remove, governance)
    given = venue.move(name, owner.pubkey(), 20)
    if name != "yield_withdraw":
        refused(governed, given, owner, error="YieldProgramNotWhitelisted")
    governed.must(add, governance)
    governed.must(given, owner)


def test_a_removed_yield_program_gives_back_all_that_was_lent(
    governed: Ledger, governance: Keypair, venue: Venue, owner: Keypair
) -> None:
    governed.must(
        govern("remove_yield_program", governance.pubkey(), value=venue.program), governance
    )
    governed.must(venue.move("yield_withdraw", owner.pubkey(), 400), owner)
    vault = governed.vault(owner.pubkey())
    assert (vault["available_balance"], vault["yield_deposited_balance"]) == (1_000, 0)
    given = venue.move("yield_withdraw", owner.pubkey(), 1)
    refused(governed, given, owner, error="YieldProgramNotWhitelisted")


@pytest.mark.parametrize("listed", [True, False], ids=["listed", "removed"])
def test_a_deposit_that_moves_no_tokens_does_not_keep_what_was_lent(
    governed: Ledger, governance: Keypair, venue: Venue, owner: Keypair, listed: bool
) -> None:
    """It is made before or after the program is removed."""
    second = Keypair().pubkey()
    whitelist(governed, governance, second)
    given = move("yield_deposit", owner.pubkey(), 1, program=second)
    remove = govern("remove_yield_program", governance.pubkey(), value=venue.program)
    steps = [(given, owner), (remove, governance)]
    for step, key in steps if listed else reversed(steps):
        governed.must(step, key)
    governed.must(venue.move("yield_withdraw", owner.pubkey(), 400), owner)


@pytest.mark.parametrize("amount", [601, 2**64 - 1])
def test_no_more_is_deposited_than_is_available(
    governed: Ledger, venue: Venue, owner: Keypair, amount: int
) -> None:
    given = venue.move("yield_deposit", owner.pubkey(), amount)
    refused(governed, given, owner, error="InsufficientFunds")
    governed.must(venue.move("yield_deposit", owner.pubkey(), 600), owner)


@pytest.mark.parametrize("amount", [401, 2**64 - 1])
def test_no_more_is_withdrawn_than_was_deposited(
    governed: Ledger, venue: Venue, owner: Keypair, amount: int
) -> None:
    given = venue.move("yield_withdraw", owner.pubkey(), amount)
    refused(governed, given, owner, error="InsufficientYieldBalance")
    governed.must(venue.move("yield_withdraw", owner.pubkey(), 400), owner)


def test_no_more_is_withdrawn_than_this_program_received(
    governed: Ledger, governance: Keypair, venue: Venue, owner: Keypair
) -> None:
    second = open_venue(governed, governance, program=Keypair().pubkey())
    second.enter(owner)
    lend_to_another(governed, owner.pubkey(), second.program)
    governed.must(second.move("yield_deposit", owner.pubkey(), 100), owner)
    given = second.move("yield_withdraw", owner.pubkey(), 101)
    pool_refused(governed, given, owner, error="InsufficientPrincipal")


def test_no_more_is_compounded_than_was_earned(
    governed: Ledger, venue: Venue, owner: Keypair
) -> None:
    given = venue.move("compound_yield", owner.pubkey(), 21)
    pool_refused(governed, given, owner, error="InsufficientInterest")
    governed.must(venue.move("compound_yield", owner.pubkey(), 20), owner)
    again = venue.move("compound_yield", owner.pubkey(), 1)
    pool_refused(governed, again, owner, error="InsufficientInterest")


def test_interest_that_the_reserve_cannot_pay_is_not_compounded(
    governed: Ledger, venue: Venue, owner: Keypair
) -> None:
    venue.fund(19)
    given = venue.move("compound_yield", owner.pubkey(), 20)
    pool_refused(governed, given, owner, error="InsufficientReserve")
    governed.must(venue.move("compound_yield", owner.pubkey(), 19), owner)
    venue.fund(1)
    governed.must(venue.move("compound_yield", owner.pubkey(), 1), owner)


def test_a_total_that_would_overflow_is_not_compounded(
    governed: Ledger, venue: Venue, owner: Keypair
) -> None:
    maximum = 2**64 - 1
    governed.change_vault(
        owner.pubkey(), total_balance=maximum - 19, yield_deposited_balance=maximum - 619
    )
    given = venue.move("compound_yield", owner.pubkey(), 20)
    refused(governed, given, owner, error="Overflow")
    governed.must(venue.move("compound_yield", owner.pubkey(), 19), owner)


@every
def test_balances_that_do_not_add_up_are_refused(
    governed: Ledger, venue: Venue, owner: Keypair, name: str
) -> None:
    governed.change_vault(owner.pubkey(), total_balance=1_001)
    given = venue.move(name, owner.pubkey(), 20)
    refused(governed, given, owner, error="InvariantViolation")
    governed.change_vault(owner.pubkey(), total_balance=1_000)
    governed.must(given, owner)


@every
def test_missing_tokens_are_detected(
    governed: Ledger, venue: Venue, owner: Keypair, name: str
) -> None:
    state = governed.vault(owner.pubkey())
    governed.put(state["token_account"], *_with_tokens(governed, state["token_account"], 599))
    given = venue.move(name, owner.pubkey(), 20)
    refused(governed, given, owner, error="InvariantViolation")


def _with_tokens(ledger: Ledger, address: Pubkey, amount: int) -> tuple[Pubkey, bytes]:
    account = ledger.svm.get_account(address)
    assert account is not None
    data = bytes(account.data)
    return account.owner, data[:64] + amount.to_bytes(8, "little") + data[72:]


@every
def test_another_vaults_position_cannot_be_used(
    governed: Ledger, venue: Venue, owner: Keypair, name: str
) -> None:
    """The caller passes another vault's accounts with the pool, and its own token account."""
    other = venue.enter(governed.owner(deposited=100))
    accounts = venue.accounts(owner.pubkey())
    accounts[1] = venue.accounts(other.pubkey())[1]
    given = move(name, owner.pubkey(), 20, program=venue.program, through=accounts)
    refused(governed, given, owner, error="ConstraintSeeds")

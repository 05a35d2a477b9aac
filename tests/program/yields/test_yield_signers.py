"""Who may move a vault's tokens into yield: its owner, its delegates, or enough of its signers."""

from collections.abc import Callable
from functools import partial

import pytest
from solders.instruction import Instruction
from solders.keypair import Keypair

from tests.program.harness.instructions import build
from tests.program.harness.ledger import (
    START,
    Ledger,
    add_delegate,
    readonly,
    remove_delegate,
    vault_address,
)
from tests.program.harness.venues import (
    YEAR,
    Venue,
    assert_balances_match_tokens,
    move,
    open_venue,
    refused,
)

every = pytest.mark.parametrize("name", ["yield_deposit", "yield_withdraw", "compound_yield"])


@pytest.fixture
def owner(governed: Ledger, venue: Venue) -> Keypair:
    """The owner of 1000 units, 400 of which have been in yield for a year and earned 20."""
    owner = venue.enter(governed.owner(deposited=1_000))
    governed.must(venue.move("yield_deposit", owner.pubkey(), 400), owner)
    governed.set_time(START + YEAR)
    return owner


@pytest.fixture
def signers(governed: Ledger, owner: Keypair) -> list[Keypair]:
    """Three signers with a threshold of two."""
    signers = [governed.wallet() for _ in range(3)]
    keys = [keypair.pubkey() for keypair in signers]
    given = build("set_vault_multisig", owner.pubkey(), signers=keys, threshold=2)
    governed.must(given, owner)
    return signers


@every
def test_a_delegate_may_move_yield_like_the_owner(
    governed: Ledger, venue: Venue, owner: Keypair, name: str
) -> None:
    delegate = governed.wallet()
    given = venue.move(name, owner.pubkey(), 20, authority=delegate.pubkey())
    refused(governed, given, delegate, error="Unauthorized")
    governed.must(add_delegate(owner.pubkey(), delegate.pubkey()), owner)
    governed.must(given, delegate)
    governed.must(remove_delegate(owner.pubkey(), delegate.pubkey()), owner)
    refused(governed, given, delegate, error="Unauthorized")
    assert_balances_match_tokens(governed, owner.pubkey())


def test_a_delegate_lends_only_where_the_owner_has_lent(
    governed: Ledger, governance: Keypair, venue: Venue, owner: Keypair
) -> None:
    """Else governance could list a thief, to whom a delegate lends."""
    delegate, key = governed.wallet(), owner.pubkey()
    governed.must(add_delegate(key, delegate.pubkey()), owner)
    other = open_venue(governed, governance, program=Keypair().pubkey())
    other.enter(owner)
    lend = other.move("yield_deposit", key, 20, authority=delegate.pubkey())
    refused(governed, lend, delegate, error="Unauthorized")
    in_the_books = move(
        "yield_deposit", key, 20, program=other.program, authority=delegate.pubkey()
    )
    refused(governed, in_the_books, delegate, error="Unauthorized")
    governed.must(venue.move("yield_withdraw", key, 400, authority=delegate.pubkey()), delegate)
    again = venue.move("yield_deposit", key, 20, authority=delegate.pubkey())
    refused(governed, again, delegate, error="Unauthorized")
    governed.must(other.move("yield_deposit", key, 20), owner)
    governed.must(lend, delegate)
    assert_balances_match_tokens(governed, key)


@every
def test_enough_signers_follow_the_yield_programs_accounts(
    governed: Ledger, venue: Venue, owner: Keypair, signers: list[Keypair], name: str
) -> None:
    first, second, third = signers
    stranger = governed.wallet()
    for some in ([first], [owner, third], [third, owner], [owner, stranger]):
        given, keypairs = ordered(venue.move, name, owner, some)
        refused(governed, given, *keypairs, error="Unauthorized")
    for enough in ([second, first], [owner, first, third], [stranger, third, owner, first]):
        given, keypairs = ordered(venue.move, name, owner, enough)
        before = governed.data(vault_address(owner.pubkey()))
        governed.must(given, *keypairs)
        assert governed.data(vault_address(owner.pubkey())) != before
    assert_balances_match_tokens(governed, owner.pubkey())


@every
def test_enough_signers_without_accounts_change_the_balances(
    governed: Ledger, venue: Venue, owner: Keypair, signers: list[Keypair], name: str
) -> None:
    governed.change_vault(
        owner.pubkey(),
        available_balance=580,
        yield_deposited_balance=420,
        yield_accrued_balance=5,
        yield_kept=20,
    )
    in_the_books = partial(move, program=venue.program)
    for some in ([signers[0]], [owner, signers[1]]):
        given, keypairs = ordered(in_the_books, name, owner, some)
        refused(governed, given, *keypairs, error="Unauthorized")
    given, keypairs = ordered(in_the_books, name, owner, signers[1:])
    outcome = governed.must(given, *keypairs)
    assert not any("invoke [2]" in line for line in outcome.logs)


def test_enough_signers_choose_the_program_without_the_owner(
    governed: Ledger, venue: Venue
) -> None:
    owner, signers = (
        venue.enter(governed.owner(deposited=100)),
        [governed.wallet(), governed.wallet()],
    )
    keys = [keypair.pubkey() for keypair in signers]
    governed.must(build("set_vault_multisig", owner.pubkey(), signers=keys, threshold=2), owner)
    given, keypairs = ordered(venue.move, "yield_deposit", owner, signers)
    governed.must(given, *keypairs)
    assert governed.vault(owner.pubkey())["active_yield_program"] == venue.program
    assert_balances_match_tokens(governed, owner.pubkey())


def ordered(
    build: Callable[..., Instruction], name: str, owner: Keypair, who: list[Keypair]
) -> tuple[Instruction, list[Keypair]]:
    """Return a move of 5 by the first, with the others as extra signers, and who signs it."""
    authority, *cosigners = (keypair.pubkey() for keypair in who)
    return build(name, owner.pubkey(), 5, authority=authority, cosigners=cosigners), who


def test_a_signer_passed_twice_counts_once(
    governed: Ledger, venue: Venue, owner: Keypair, signers: list[Keypair]
) -> None:
    first = signers[0]
    given, _ = ordered(venue.move, "yield_deposit", owner, [first, first, first])
    refused(governed, given, first, error="Unauthorized")


def test_all_ten_signers_fit_behind_the_yield_programs_accounts(
    governed: Ledger, venue: Venue, owner: Keypair
) -> None:
    signers = [Keypair() for _ in range(10)]
    keys = [keypair.pubkey() for keypair in signers]
    given = build("set_vault_multisig", owner.pubkey(), signers=keys, threshold=10)
    governed.must(given, owner)
    given, keypairs = ordered(venue.move, "yield_withdraw", owner, [owner, *signers[1:]])
    refused(governed, given, *keypairs, error="Unauthorized")
    given, keypairs = ordered(venue.move, "yield_withdraw", owner, [owner, *signers])
    governed.must(given, *keypairs)


def test_a_signer_before_the_yield_programs_accounts_does_not_count(
    governed: Ledger, venue: Venue, owner: Keypair, signers: list[Keypair]
) -> None:
    """Extra signers come last; one placed before is an account for the yield program."""
    first, second, _ = signers
    accounts = venue.accounts(owner.pubkey())
    through = [readonly(second.pubkey()), *accounts]
    given = move(
        "yield_withdraw",
        owner.pubkey(),
        20,
        program=venue.program,
        through=through,
        authority=first.pubkey(),
    )
    refused(governed, given, first, error="Unauthorized")

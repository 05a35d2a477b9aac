"""Whatever a whitelisted yield program is or does, a vault loses only what its balances say."""

import hashlib

import pytest
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.program.harness import positions
from tests.program.harness.ledger import (
    ASSOCIATED,
    POSITION_MANAGER,
    PROGRAM,
    RENT,
    START,
    SYSTEM,
    TOKEN,
    UPGRADEABLE_LOADER,
    Ledger,
    add_delegate,
    deposit,
    readonly,
    token_address,
    vault_address,
    without,
)
from tests.program.harness.venues import (
    YEAR,
    Venue,
    assert_balances_match_tokens,
    lend_to_another,
    move,
    open_venue,
    refused,
    whitelist,
    writable,
)

NAMES = ("yield_deposit", "yield_withdraw", "compound_yield")
every = pytest.mark.parametrize("name", NAMES)
SYSVARS = Pubkey.from_string("Sysvar1111111111111111111111111111111111111")


@pytest.fixture
def owner(governed: Ledger, venue: Venue) -> Keypair:
    """The owner of 1000 units, 400 of them in yield."""
    owner = venue.enter(governed.owner(deposited=1_000))
    governed.must(venue.move("yield_deposit", owner.pubkey(), 400), owner)
    return owner


# Programs that are not yield programs, whitelisted by mistake


def mistake(ledger: Ledger, governance: Keypair, owner: Keypair, program: Pubkey) -> None:
    whitelist(ledger, governance, program)
    lend_to_another(ledger, owner.pubkey(), program)


@every
def test_the_vault_program_cannot_be_a_yield_program(
    governed: Ledger, governance: Keypair, owner: Keypair, name: str
) -> None:
    """A yield program gets data that begin like `deposit`'s, and the vault would sign."""
    whitelist(governed, governance, PROGRAM)
    thief = governed.owner()
    governed.must(add_delegate(owner.pubkey(), thief.pubkey()), owner)
    vault = vault_address(owner.pubkey())
    governed.must(add_delegate(thief.pubkey(), vault), thief)
    into_the_thiefs_vault = deposit(thief.pubkey(), 20, authority=vault)
    given = move(
        name,
        owner.pubkey(),
        20,
        program=PROGRAM,
        through=unsigned(into_the_thiefs_vault),
        authority=thief.pubkey(),
    )
    refused(governed, given, thief, error="InvalidProgramId")


def unsigned(given: Instruction) -> list[AccountMeta]:
    """Return an instruction's accounts as another program passes them on, without signers."""
    return [AccountMeta(meta.pubkey, False, meta.is_writable) for meta in given.accounts]


@every
@pytest.mark.parametrize(
    "program", [TOKEN, SYSTEM, ASSOCIATED], ids=["token", "system", "associated token"]
)
def test_well_known_programs_are_called_and_reject_the_instruction(
    governed: Ledger, governance: Keypair, owner: Keypair, name: str, program: Pubkey
) -> None:
    """The accounts are in the order in which the token program would transfer, approve or close."""
    mistake(governed, governance, owner, program)
    thief = governed.wallet()
    vault = vault_address(owner.pubkey())
    through = [
        writable(token_address(vault)),
        writable(token_address(thief.pubkey())),
        writable(vault),
        readonly(program),
    ]
    given = move(name, owner.pubkey(), 20, program=program, through=through)
    outcome = refused(governed, given, owner, error=None)
    assert any(line.startswith(f"Program {program} failed") for line in outcome.logs)


def test_yield_instructions_are_no_instructions_of_the_token_program() -> None:
    """The token program reads one byte: it knows 0 to 45, and 255 for a batch.

    The system program reads four bytes and knows 0 to 13.
    """
    for name in ("deposit", "withdraw", "claim"):
        discriminator = hashlib.sha256(f"global:{name}".encode()).digest()[:8]
        assert 45 < discriminator[0] < 255
        assert int.from_bytes(discriminator[:4], "little") > 13


@every
def test_the_position_manager_cannot_be_a_yield_program(
    governed: Ledger, governance: Keypair, owner: Keypair, name: str
) -> None:
    positions.with_position_manager(governed)
    mistake(governed, governance, owner, POSITION_MANAGER)
    opening = positions.open_position(owner.pubkey(), 20)
    vault = vault_address(owner.pubkey())
    given = [meta for meta in unsigned(opening)[:-1] if meta.pubkey != PROGRAM]
    through = [*given, writable(token_address(vault)), writable(vault)]
    call = move(name, owner.pubkey(), 20, program=POSITION_MANAGER, through=through)
    refused(governed, call, owner, error="InstructionFallbackNotFound")


@every
def test_a_wallet_cannot_be_a_yield_program(
    governed: Ledger, governance: Keypair, venue: Venue, owner: Keypair, name: str
) -> None:
    wallet = governed.wallet().pubkey()
    mistake(governed, governance, owner, wallet)
    through = venue.accounts(owner.pubkey())[2:]
    given = move(name, owner.pubkey(), 20, program=wallet, through=through)
    outcome = refused(governed, given, owner, error=None)
    assert isinstance(outcome.error, str)


# Accounts that the caller passes


@every
def test_a_call_without_the_vaults_token_account_is_refused(
    governed: Ledger, venue: Venue, owner: Keypair, name: str
) -> None:
    key = owner.pubkey()
    tokens = token_address(vault_address(key))
    second = governed.put_tokens(vault_address(key), 1_000, address=Keypair().pubkey())
    for instead in ([], [writable(second)], [writable(token_address(key))]):
        through = [
            each
            for meta in venue.accounts(key)
            for each in (instead if meta.pubkey == tokens else [meta])
        ]
        given = move(name, key, 20, program=venue.program, through=through)
        refused(governed, given, owner, error="AccountNotEnoughKeys")


@every
def test_a_second_account_of_the_vault_does_not_replace_its_own(
    governed: Ledger, venue: Venue, owner: Keypair, name: str
) -> None:
    """The pool would accept either, but the vault's own account is checked and must change."""
    governed.set_time(START + YEAR)
    key = owner.pubkey()
    second = governed.put_tokens(vault_address(key), 1_000, address=Keypair().pubkey())
    own = venue.accounts(key)
    through = [*own[:4], writable(second), *own[5:], own[4]]
    given = move(name, key, 20, program=venue.program, through=through)
    refused(governed, given, owner, error="InvariantViolation")


@every
def test_the_vaults_token_account_may_be_passed_twice(
    governed: Ledger, venue: Venue, owner: Keypair, name: str
) -> None:
    governed.set_time(START + YEAR)
    key = owner.pubkey()
    own = venue.accounts(key)
    given = move(name, key, 20, program=venue.program, through=[*own, own[4]])
    governed.must(given, owner)
    assert_balances_match_tokens(governed, key)


@every
def test_a_readonly_token_account_is_refused_by_the_pool(
    governed: Ledger, venue: Venue, owner: Keypair, name: str
) -> None:
    governed.set_time(START + YEAR)
    given = without(venue.move(name, owner.pubkey(), 20), writable=5 + 4)
    refused(governed, given, owner, error="ConstraintMut")  # by the pool


@every
def test_without_the_vault_among_the_accounts_nobody_signs(
    governed: Ledger, venue: Venue, owner: Keypair, name: str
) -> None:
    key = owner.pubkey()
    own = venue.accounts(key)
    through = [*own[:5], readonly(key), *own[6:]]
    given = move(name, key, 20, program=venue.program, through=through)
    refused(governed, given, owner, error="AccountNotSigner")


@every
def test_thirty_two_accounts_are_passed_on_and_no_more(
    governed: Ledger, venue: Venue, owner: Keypair, name: str
) -> None:
    governed.set_time(START + YEAR)
    key = owner.pubkey()
    own = venue.accounts(key)
    for count, accepted in ((33, False), (32, True)):
        through = [*own, *[own[6]] * (count - len(own))]
        given = move(name, key, 20, program=venue.program, through=through)
        if accepted:
            governed.must(given, owner)
        else:
            outcome = refused(governed, given, owner, error=None)
            assert outcome.error == "InstructionErrorFieldless.InvalidArgument"


# The vault's accounts with another yield program


@every
def test_a_yield_program_gets_no_account_of_another_yield_program(
    governed: Ledger, governance: Keypair, venue: Venue, owner: Keypair, name: str
) -> None:
    """It could take those with the vault's signature; only the vault's own tokens are checked."""
    second = open_venue(governed, governance, program=Keypair().pubkey())
    second.enter(owner)
    key = owner.pubkey()
    lend_to_another(governed, key, second.program)
    governed.must(second.move("yield_deposit", key, 100), owner)
    lend_to_another(governed, key, venue.program)
    governed.set_time(START + YEAR)
    position = second.position(vault_address(key))
    through = [*venue.accounts(key), writable(position)]
    given = move(name, key, 5, program=venue.program, through=through)
    refused(governed, given, owner, error="AccountOwnedByWrongProgram")
    governed.must(venue.move(name, key, 5), owner)


@every
@pytest.mark.parametrize("entry", [TOKEN, SYSTEM, PROGRAM, UPGRADEABLE_LOADER, SYSVARS], ids=str)
def test_an_entry_that_owns_accounts_of_every_call_keeps_nothing(
    governed: Ledger, venue: Venue, owner: Keypair, name: str, entry: Pubkey
) -> None:
    """Governance lists it by mistake, or to keep what vaults have lent.

    The token program, of which every call has an account, belongs to a loader.
    """
    key, nobodys = owner.pubkey(), Keypair().pubkey()
    governed.set_time(START + YEAR)
    governed.change_authority(yield_whitelist=[venue.program, entry])
    through = [*venue.accounts(key), *map(readonly, (RENT, nobodys))]
    governed.must(move(name, key, 20, program=venue.program, through=through), owner)
    assert_balances_match_tokens(governed, key)


@pytest.mark.parametrize("name", ["yield_deposit", "compound_yield"])
def test_another_vault_stays_out_of_the_call_if_this_program_is_listed(
    governed: Ledger, governance: Keypair, venue: Venue, owner: Keypair, name: str
) -> None:
    whitelist(governed, governance, PROGRAM)
    other = vault_address(governed.owner().pubkey())
    through = [*venue.accounts(owner.pubkey()), readonly(other)]
    given = move(name, owner.pubkey(), 20, program=venue.program, through=through)
    refused(governed, given, owner, error="AccountOwnedByWrongProgram")


@every
def test_a_full_whitelist_and_the_maximum_of_accounts_fit_the_compute_budget(
    governed: Ledger, venue: Venue, owner: Keypair, name: str
) -> None:
    governed.set_time(START + YEAR)
    others = [Keypair().pubkey() for _ in range(63)]
    governed.change_authority(yield_whitelist=[*others, venue.program])
    key = owner.pubkey()
    own = venue.accounts(key)
    through = [*own, *[own[6]] * (32 - len(own))]
    outcome = governed.must(move(name, key, 20, program=venue.program, through=through), owner)
    assert outcome.units < 150_000  # of 200 000

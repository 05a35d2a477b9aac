"""A yield program cannot use the vault's signature with any other program."""

import pytest
from solders.account import Account
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.program.harness import pools
from tests.program.harness.ledger import (
    ASSOCIATED,
    POSITION_MANAGER,
    PROGRAM,
    SYSTEM,
    TOKEN,
    Ledger,
    get_vault_info,
    govern,
    readonly,
    vault_address,
)
from tests.program.harness.positions import with_position_manager
from tests.program.harness.puppet import PUPPET, Command
from tests.program.harness.venues import (
    Venue,
    assert_balances_match_tokens,
    lend_to_another,
    refused,
    writable,
)
from tests.program.yields.hostile import (
    AMOUNT,
    HANDS,
    POCKET,
    honest,
    order,
    take,
    whitelist_hostile_program,
)

NAMES = ("yield_deposit", "yield_withdraw", "compound_yield")
every = pytest.mark.parametrize("name", NAMES)
both = pytest.mark.parametrize("name", NAMES[:2])
LOADERS = [
    "BPFLoaderUpgradeab1e11111111111111111111111",
    "BPFLoader2111111111111111111111111111111111",
    "BPFLoader1111111111111111111111111111111111",
    "LoaderV411111111111111111111111111111111111",
    "NativeLoader1111111111111111111111111111111",
]
NATIVE = [
    "AddressLookupTab1e1111111111111111111111111",
    "ComputeBudget111111111111111111111111111111",
    "Ed25519SigVerify111111111111111111111111111",
    "KeccakSecp256k11111111111111111111111111111",
    "Stake11111111111111111111111111111111111111",
    "Vote111111111111111111111111111111111111111",
]


@pytest.fixture
def owner(governed: Ledger, governance: Keypair, venue: Venue) -> Keypair:
    """The owner of 1000 units: 100 in a pool, and 400 with the hostile program."""
    whitelist_hostile_program(governed, governance)
    owner = venue.enter(governed.owner(deposited=1_000))
    governed.must(venue.move("yield_deposit", owner.pubkey(), 100), owner)
    lend_to_another(governed, owner.pubkey(), PUPPET)
    governed.must(order(governed, "yield_deposit", owner, take(owner, 400), amount=400), owner)
    return owner


def out_of_the_pool(venue: Venue, owner: Keypair) -> tuple[Command, ...]:
    """Return commands that pass 100 from the pool through the vault's account to the thief."""
    vault = vault_address(owner.pubkey())
    return pools.withdraw(vault, venue.pool, 100), take(owner, AMOUNT + 100)


def test_a_listed_pool_is_out_of_reach(governed: Ledger, venue: Venue, owner: Keypair) -> None:
    given = order(governed, "yield_deposit", owner, *out_of_the_pool(venue, owner))
    refused(governed, given, owner, error="AccountOwnedByWrongProgram")
    assert venue.position_state(owner.pubkey())["principal"] == 100


def test_a_pool_taken_off_the_whitelist_is_out_of_reach(
    governed: Ledger, governance: Keypair, venue: Venue, owner: Keypair
) -> None:
    unlist = govern("remove_yield_program", governance.pubkey(), value=venue.program)
    governed.must(unlist, governance)
    before = governed.tokens_at(POCKET)
    governed.send(order(governed, "yield_deposit", owner, *out_of_the_pool(venue, owner)), owner)
    assert governed.tokens_at(POCKET) == before
    assert venue.position_state(owner.pubkey())["principal"] == 100


@both
def test_it_gets_no_program_that_it_could_call(
    governed: Ledger, governance: Keypair, venue: Venue, owner: Keypair, name: str
) -> None:
    unlist = govern("remove_yield_program", governance.pubkey(), value=venue.program)
    governed.must(unlist, governance)
    with_position_manager(governed)
    for program in (venue.program, PROGRAM, POSITION_MANAGER):
        given = order(governed, name, owner, honest(name, owner), also=(readonly(program),))
        refused(governed, given, owner, error="InvalidProgramId")


@both
def test_it_may_get_itself_and_the_programs_of_the_interface(
    governed: Ledger, owner: Keypair, name: str
) -> None:
    programs = tuple(map(readonly, (PUPPET, TOKEN, ASSOCIATED, SYSTEM)))
    governed.must(order(governed, name, owner, honest(name, owner), also=programs), owner)
    assert_balances_match_tokens(governed, owner.pubkey(), kept=0)


@pytest.mark.parametrize("address", NATIVE)
def test_it_gets_no_native_program(governed: Ledger, owner: Keypair, address: str) -> None:
    program = Pubkey.from_string(address)
    if governed.svm.get_account(program) is None:
        native = Pubkey.from_string("NativeLoader1111111111111111111111111111111")
        governed.svm.set_account(program, Account(1, b"x", native, executable=True))
    given = order(governed, "yield_deposit", owner, take(owner, AMOUNT), also=(readonly(program),))
    refused(governed, given, owner, error="InvalidProgramId")


@pytest.mark.parametrize("address", LOADERS)
def test_a_loaders_account_is_a_program_even_if_not_marked_executable(
    governed: Ledger, owner: Keypair, address: str
) -> None:
    program = Keypair().pubkey()
    governed.put(program, Pubkey.from_string(address), b"\1" * 40)
    given = order(governed, "yield_deposit", owner, take(owner, AMOUNT), also=(readonly(program),))
    refused(governed, given, owner, error="InvalidProgramId")
    governed.put(program, HANDS, b"\1" * 40)
    governed.must(given, owner)


def test_it_changes_no_account_of_another_program_even_if_it_could_call_it(
    governed: Ledger, governance: Keypair, venue: Venue, owner: Keypair
) -> None:
    """The other program is in the transaction, though not among the accounts."""
    unlist = govern("remove_yield_program", governance.pubkey(), value=venue.program)
    governed.must(unlist, governance)
    given = order(governed, "yield_deposit", owner, *out_of_the_pool(venue, owner))
    metas = [meta for meta in given.accounts if meta.pubkey != venue.program]
    without_it = Instruction(given.program_id, bytes(given.data), metas)
    other = get_vault_info(owner.pubkey())
    beside = Instruction(
        other.program_id, bytes(other.data), [*other.accounts, readonly(venue.program)]
    )
    outcome = governed.send([without_it, beside], owner)
    assert outcome.error == 3007  # AccountOwnedByWrongProgram
    assert venue.position_state(owner.pubkey())["principal"] == 100


@every
def test_an_account_of_another_program_is_readonly(
    governed: Ledger, owner: Keypair, name: str
) -> None:
    foreign = Keypair().pubkey()
    governed.put(foreign, Keypair().pubkey(), bytes(8))
    for other in (foreign, vault_address(governed.owner().pubkey())):
        given = order(governed, name, owner, also=(writable(other),))
        refused(governed, given, owner, error="AccountOwnedByWrongProgram")


@both
def test_a_readonly_account_of_another_program_is_passed_on(
    governed: Ledger, owner: Keypair, name: str
) -> None:
    """For example a price."""
    foreign = Keypair().pubkey()
    governed.put(foreign, Keypair().pubkey(), bytes(8))
    given = order(governed, name, owner, honest(name, owner), also=(readonly(foreign),))
    governed.must(given, owner)


@both
def test_writable_accounts_of_its_own_of_nobody_and_the_vault_are_passed_on(
    governed: Ledger, owner: Keypair, name: str
) -> None:
    own, nobodys = Keypair().pubkey(), Keypair().pubkey()
    governed.put(own, PUPPET, bytes(8))
    also = (writable(own), writable(nobodys), writable(vault_address(owner.pubkey())))
    governed.must(order(governed, name, owner, honest(name, owner), also=also), owner)


def test_the_vaults_tokens_in_a_pool_come_back_once_it_is_listed_again(
    governed: Ledger, governance: Keypair, venue: Venue, owner: Keypair
) -> None:
    for verb in ("remove_yield_program", "add_yield_program"):
        governed.must(govern(verb, governance.pubkey(), value=venue.program), governance)
    governed.must(venue.move("yield_withdraw", owner.pubkey(), 100), owner)
    assert_balances_match_tokens(governed, owner.pubkey())

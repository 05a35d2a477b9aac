"""An authorized program that others call moves collateral if it signs with its caller PDA.

`PUPPET` stands for any authorized program, `STRANGER` for any program that wraps its calls.
"""

from collections.abc import Callable

import pytest
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.program.harness.ledger import (
    POSITION_IDL,
    POSITION_MANAGER,
    PROGRAM,
    SYSTEM,
    TOKEN,
    Ledger,
    caller_address,
    govern,
    readonly,
    signer,
    without,
)
from tests.program.harness.positions import extended, wrapped
from tests.program.harness.puppet import PUPPET, CallBound, own_address, puppet_call
from tests.program.harness.refusals import assert_refused
from tests.program.test_caller_rule import (
    EFFECTS,
    STRANGER,
    Market,
    each_call,
    enforced_or_not,
    honest,
    open_market,
)

at_depths = pytest.mark.parametrize("depth", [3, 4], ids=["depth 3", "depth 4"])


@pytest.fixture
def market(governed: Ledger, governance: Keypair) -> Market:
    return open_market(governed, governance)


def signed(given: Instruction, *, by: Pubkey = PUPPET, to: Pubkey = PROGRAM) -> Instruction:
    """Return the call with the signature of the PDA with which `by` signs its calls of `to`."""
    return extended(given, signer(caller_address(by, to)))


def wrap(market: Market, given: Instruction, *, depth: int) -> Instruction:
    """Return an instruction that runs `given`, which calls the vault program, so that the vault
    program runs at this depth.
    """
    for _ in range(2, depth):
        given = puppet_call(market.ledger, given, program=STRANGER)
    return given


def trader_of(market: Market, name: str) -> Keypair:
    return market.governance if name == "transfer_collateral" else market.owner


# What moves collateral


@each_call
@enforced_or_not
@at_depths
def test_an_authorized_program_that_signs_moves_collateral_whoever_calls_it(
    market: Market, name: str, enforced: bool, depth: int
) -> None:
    market.ledger.change_authority(cpi_enforced=enforced)
    called = puppet_call(market.ledger, CallBound(signed(market.call(name))))
    market.moves(name, wrap(market, called, depth=depth))


@each_call
@enforced_or_not
@at_depths
def test_the_position_manager_signs_when_it_is_given_its_pda(
    market: Market, name: str, enforced: bool, depth: int
) -> None:
    market.ledger.change_authority(cpi_enforced=enforced)
    given = wrap(market, wrapped(market.trade(name)), depth=depth)
    market.moves(name, given, trader_of(market, name))


@each_call
@enforced_or_not
def test_the_position_manager_may_be_given_its_pda_when_nobody_wraps_it(
    market: Market, name: str, enforced: bool
) -> None:
    market.ledger.change_authority(cpi_enforced=enforced)
    market.moves(name, wrapped(market.trade(name)), trader_of(market, name))


@each_call
@pytest.mark.parametrize("place", range(3))
def test_a_signature_is_found_anywhere_among_the_remaining_accounts(
    market: Market, name: str, place: int
) -> None:
    remaining = [readonly(market.owner.pubkey()), readonly(caller_address())]
    remaining.insert(place, signer(caller_address(PUPPET)))
    call = CallBound(extended(market.call(name), *remaining))
    market.moves(name, wrap(market, puppet_call(market.ledger, call), depth=3))


# What does not


@each_call
@enforced_or_not
@at_depths
def test_a_pda_that_does_not_sign_proves_nothing(
    market: Market, name: str, enforced: bool, depth: int
) -> None:
    market.ledger.change_authority(cpi_enforced=enforced)
    unsigned = readonly(caller_address(PUPPET))
    for others in ([], [signer(own_address())]):  # another signature beside it does not help
        call = extended(market.call(name), unsigned, *others)
        market.refuses(wrap(market, puppet_call(market.ledger, call), depth=depth))


@each_call
@enforced_or_not
@pytest.mark.parametrize("named", [STRANGER, PUPPET, POSITION_MANAGER], ids=str)
@pytest.mark.parametrize("depth", [2, 3, 4])
def test_the_signature_of_an_unlisted_program_proves_nothing(
    market: Market, name: str, enforced: bool, named: Pubkey, depth: int
) -> None:
    market.ledger.change_authority(cpi_enforced=enforced)
    call = signed(market.call(name, caller_program=named), by=STRANGER)
    called = puppet_call(market.ledger, CallBound(call), program=STRANGER)
    market.refuses(wrap(market, called, depth=depth))


@each_call
@enforced_or_not
@pytest.mark.parametrize("named", [STRANGER, POSITION_MANAGER, SYSTEM], ids=str)
def test_a_program_that_signs_must_name_itself(
    market: Market, name: str, enforced: bool, named: Pubkey
) -> None:
    market.ledger.change_authority(cpi_enforced=enforced)
    call = signed(market.call(name, caller_program=named))
    market.refuses(wrap(market, puppet_call(market.ledger, CallBound(call)), depth=3))


@each_call
@enforced_or_not
@pytest.mark.parametrize("bound", [STRANGER, PUPPET, POSITION_MANAGER, SYSTEM, TOKEN], ids=str)
def test_a_signature_for_another_vault_program_proves_nothing(
    market: Market, name: str, enforced: bool, bound: Pubkey
) -> None:
    market.ledger.change_authority(cpi_enforced=enforced)
    call = CallBound(signed(market.call(name), to=bound), bound)
    market.refuses(wrap(market, puppet_call(market.ledger, call), depth=3))


@each_call
@enforced_or_not
def test_another_pda_of_an_authorized_program_proves_nothing(
    market: Market, name: str, enforced: bool
) -> None:
    market.ledger.change_authority(cpi_enforced=enforced)
    call = extended(market.call(name), signer(own_address()))
    market.refuses(wrap(market, puppet_call(market.ledger, call), depth=3))


@each_call
@enforced_or_not
def test_no_signature_makes_a_direct_call(market: Market, name: str, enforced: bool) -> None:
    """A PDA cannot sign a transaction, so it comes unsigned, or another account signs."""
    authorized = [POSITION_MANAGER, PUPPET, PROGRAM]
    market.ledger.change_authority(cpi_enforced=enforced, authorized_programs=authorized)
    impostor = Keypair()
    for program in authorized:
        call = market.call(name, caller_program=program)
        market.refuses(extended(call, readonly(caller_address(program))))
        market.refuses(extended(call, signer(impostor.pubkey())), by=[impostor])


@each_call
def test_a_removed_program_that_signs_is_refused(market: Market, name: str) -> None:
    called = puppet_call(market.ledger, CallBound(signed(market.call(name))))
    removed = govern("remove_authorized_program", market.governance.pubkey(), value=PUPPET)
    market.ledger.must(removed, market.governance)
    market.refuses(wrap(market, called, depth=3))


@pytest.mark.parametrize("name", ["lock_collateral", "unlock_collateral"])
def test_freezing_stops_a_program_that_signs(market: Market, name: str) -> None:
    called = puppet_call(market.ledger, CallBound(signed(market.call(name))))
    market.ledger.change_authority(freeze=True)
    market.refuses(wrap(market, called, depth=3), error="Frozen")


@each_call
@enforced_or_not
def test_an_authorized_call_that_is_wrapped_lends_no_authority(
    market: Market, name: str, enforced: bool
) -> None:
    """A wrapper adds a call of its own before it, after it, and on both sides."""
    market.ledger.change_authority(cpi_enforced=enforced)
    good = wrapped(market.trade(name))
    forged = extended(market.call(name), readonly(caller_address(PUPPET)))
    own = extended(market.call(name, caller_program=POSITION_MANAGER), readonly(caller_address()))
    for bad in (market.call(name), forged, own):
        for script in ((bad, good), (good, bad), (good, bad, good)):
            given = puppet_call(market.ledger, *script, program=STRANGER)
            market.refuses(given, by=[trader_of(market, name)])


@each_call
def test_a_wrapper_gains_nothing_from_authorized_instructions_beside_it(
    market: Market, name: str
) -> None:
    call = extended(market.call(name), readonly(caller_address(PUPPET)))
    given = puppet_call(market.ledger, call, program=STRANGER)
    for transaction in ([*honest(market), given], [given, *honest(market)]):
        market.refuses(*transaction, by=[market.owner])


# Wrappers that change what they pass on to the position manager


Change = Callable[[Instruction], Instruction]


def replaced(given: Instruction, place: int, address: Pubkey) -> Instruction:
    metas = list(given.accounts)
    old = metas[place]
    metas[place] = AccountMeta(address, old.is_signer, old.is_writable)
    return Instruction(given.program_id, bytes(given.data), metas)


CHANGES: dict[str, tuple[Change, str]] = {
    "no caller PDA": (
        lambda given: Instruction(given.program_id, bytes(given.data), given.accounts[:-1]),
        "UnauthorizedProgram",
    ),
    "the PDA of another program": (
        lambda given: replaced(given, -1, caller_address(PUPPET)),
        "UnauthorizedProgram",
    ),
    "the PDA for another vault program": (
        lambda given: replaced(given, -1, caller_address(POSITION_MANAGER, STRANGER)),
        "UnauthorizedProgram",
    ),
    "another caller": (lambda given: replaced(given, 0, PUPPET), "UnauthorizedProgram"),
    "another sysvar": (lambda given: replaced(given, 2, TOKEN), "AccountSysvarMismatch"),
    "no signature": (
        lambda given: without(given, signer=len(given.accounts) - 2),
        "AccountNotSigner",
    ),
    "the caller PDA as the authority": (
        lambda given: replaced(
            without(given, signer=len(given.accounts) - 2), -2, caller_address()
        ),
        "AccountNotSigner",
    ),
    "itself as the vault program": (
        lambda given: replaced(given, -3, STRANGER),
        "InvalidProgramId",
    ),
    "a vault that is not writable": (lambda given: without(given, writable=3), "ConstraintMut"),
    "accounts cut off": (
        lambda given: Instruction(given.program_id, bytes(given.data), given.accounts[:-2]),
        "AccountNotEnoughKeys",
    ),
}


@each_call
@pytest.mark.parametrize("change", CHANGES)
def test_a_wrapper_that_changes_accounts_or_signatures_moves_nothing(
    market: Market, name: str, change: str
) -> None:
    changed, refusal = CHANGES[change]
    given = puppet_call(market.ledger, changed(wrapped(market.trade(name))), program=STRANGER)
    before = market.ledger.vault(market.owner.pubkey())
    outcome = market.ledger.send(given, market.payer, *signers_of(market, given))
    assert_refused(outcome, refusal, idl=POSITION_IDL)
    assert market.ledger.vault(market.owner.pubkey()) == before


def signers_of(market: Market, given: Instruction) -> list[Keypair]:
    wanted = {meta.pubkey for meta in given.accounts if meta.is_signer}
    return [key for key in (market.owner, market.governance) if key.pubkey() in wanted]


@each_call
def test_accounts_that_a_wrapper_adds_change_nothing(market: Market, name: str) -> None:
    trader = trader_of(market, name)
    extra = [readonly(PUPPET), signer(trader.pubkey()), readonly(caller_address())]
    given = puppet_call(market.ledger, extended(market.trade(name), *extra), program=STRANGER)
    market.moves(name, given, trader)


@each_call
def test_more_accounts_than_a_call_can_take_are_refused(market: Market, name: str) -> None:
    named = 8 if name == "transfer_collateral" else 4
    trader = trader_of(market, name)
    for count, error in ((32, None), (33, "InstructionErrorFieldless.InvalidArgument")):
        remaining = [readonly(caller_address())] * (count - named)
        given = extended(market.trade(name), *remaining)
        assert market.ledger.send(given, trader).error == error
    assert market.ledger.vault(market.owner.pubkey()).items() >= EFFECTS[name].items()

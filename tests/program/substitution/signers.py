"""Stand-ins for signers, named wallets, programs and sysvars."""

from solders.pubkey import Pubkey

from tests.program.harness import ledger as chain
from tests.program.harness import pools
from tests.program.harness.ledger import ASSOCIATED, POSITION_MANAGER, PROGRAM, RENT, SYSTEM, TOKEN
from tests.program.harness.puppet import PUPPET

from .standins import (
    Role,
    as_good,
    delegate,
    elsewhere,
    friend,
    governance,
    nothing,
    other,
    owner,
    owners_vault,
    program,
    refused_with,
    stranger,
)
from .tokens import TOKEN_2022
from .world import World

CLOCK = Pubkey.from_string("SysvarC1ock11111111111111111111111111111111")
SYSVARS = Pubkey.from_string("Sysvar1111111111111111111111111111111111111")

# All of them sign: the question is only whether they are authorized.


def former_delegate(world: World, _: Pubkey) -> Pubkey:
    owner, former = world.keys[world.owner], world.wallet()
    world.ledger.must(chain.add_delegate(world.owner, former), owner)
    world.ledger.must(chain.remove_delegate(world.owner, former), owner)
    return former


def multisig_signer(world: World, _: Pubkey) -> Pubkey:
    """A signer of a multisig that is stored but has a threshold of zero."""
    world.change(multisig_signers=[world.stranger])
    return world.stranger


VAULTS_SIGNER: Role = refused_with(
    "Unauthorized",
    a_stranger=stranger,
    another_owner=other,
    governance=governance,
    a_wallet_that_may_be_paid=friend,
    a_former_delegate=former_delegate,
    a_signer_without_a_multisig=multisig_signer,
)
CANCELLING_SIGNER: Role = refused_with(
    "Unauthorized",
    a_stranger=stranger,
    another_owner=other,
    governance=governance,
    the_delegate=delegate,
    a_wallet_that_may_be_paid=friend,
    a_signer_without_a_multisig=multisig_signer,
)
SIGNING_OWNER: Role = refused_with(
    "ConstraintSeeds",
    a_stranger=stranger,
    another_owner=other,
    governance=governance,
    the_delegate=delegate,
    a_wallet_that_may_be_paid=friend,
)
GOVERNANCE: Role = refused_with(
    "Unauthorized", a_stranger=stranger, the_owner=owner, another_owner=other, the_delegate=delegate
)
EMERGENCY_SIGNER: Role = refused_with(
    "Unauthorized",
    a_stranger=stranger,
    another_owner=other,
    the_delegate=delegate,
    a_wallet_that_may_be_paid=friend,
)
NEW_OWNER: Role = refused_with(
    "ConstraintSeeds",
    somebody_elses_wallet=friend,
    another_owner=other,
    governance=governance,
)
ANYBODY: Role = as_good(
    a_stranger_who_may=stranger, another_owner_who_may=other, the_delegate_who_may=delegate
)
NAMED_OWNER: Role = refused_with(
    "ConstraintSeeds",
    a_stranger=stranger,
    another_owner=other,
    governance=governance,
    the_delegate=delegate,
    the_vault=owners_vault,
    nothing=nothing,
)


# Programs and sysvars


def impostor(world: World, _: Pubkey) -> Pubkey:
    """A program that accepts calls, but is the wrong one."""
    address = Pubkey.new_unique()
    world.ledger.svm.add_program(address, chain.ELF.read_bytes())
    return address


def other_programs(refusal: str, *, than: Pubkey | None = None) -> Role:
    known = {
        "the vault program": PROGRAM,
        "the token program": TOKEN,
        "the newer token program": TOKEN_2022,
        "the associated token program": ASSOCIATED,
        "the system program": SYSTEM,
    }
    role = refused_with(
        refusal, a_program_of_an_attacker=impostor, nothing=nothing, a_wallet=stranger
    )
    for name, address in known.items():
        if address != than:
            role |= refused_with(refusal, **{name: program(address)})
    return role


def the_program(right: Pubkey) -> Role:
    return other_programs("InvalidProgramId", than=right)


def forged_instructions(world: World, _: Pubkey) -> Pubkey:
    """A forged sysvar that says that the position manager is running."""
    running = bytes(2) + bytes(POSITION_MANAGER) + bytes(2)
    data = (1).to_bytes(2, "little") + (4).to_bytes(2, "little") + running + bytes(2)
    return world.put(SYSVARS, data)


NO_SYSVAR: Role = refused_with(
    "AccountSysvarMismatch",
    another_sysvar=program(CLOCK),
    a_program=program(SYSTEM),
    nothing=nothing,
    a_wallet=stranger,
)
RENT_SYSVAR = NO_SYSVAR | refused_with("AccountSysvarMismatch", a_copy_of_it=elsewhere())
INSTRUCTIONS_SYSVAR = NO_SYSVAR | refused_with(
    "AccountSysvarMismatch", a_forged_one=forged_instructions, the_rent=program(RENT)
)


def unnamed(world: World, _: Pubkey) -> Pubkey:
    """This has no effect: the caller is read from the transaction, whatever this account is."""
    world.ledger.change_authority(cpi_enforced=False)
    return world.stranger


# The puppet gives these when it calls, and the position manager when it is called.
PUPPETS_NAME = other_programs("UnauthorizedProgram") | refused_with(
    "UnauthorizedProgram", another_on_the_list=program(POSITION_MANAGER)
)
MANAGERS_NAME = other_programs("UnauthorizedProgram") | refused_with(
    "UnauthorizedProgram", another_on_the_list=program(PUPPET)
)


def another_on_the_list(world: World, _: Pubkey) -> Pubkey:
    """A program that is whitelisted too, but does not own this pool."""
    address = Pubkey.new_unique()
    world.ledger.svm.add_program(address, pools.ELF.read_bytes())
    programs = [pools.YIELD_POOL, address]
    world.ledger.change_authority(yield_whitelist=programs)
    return address


YIELD_PROGRAM = other_programs("YieldProgramNotWhitelisted") | refused_with(
    "AccountOwnedByWrongProgram", another_on_the_list=another_on_the_list
)

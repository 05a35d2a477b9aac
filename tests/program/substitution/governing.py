"""Stand-ins for the program-data account, the proposed governance and the transfer limits."""

from solders.pubkey import Pubkey

from tests.program.harness import ledger as chain
from tests.program.harness.ledger import POSITION_MANAGER, PROGRAM

from .standins import (
    Change,
    Role,
    as_good,
    authority_account,
    cut_short,
    delegate,
    elsewhere,
    governance,
    in_place,
    never_created,
    nothing,
    of_another_kind,
    one_byte,
    other,
    owner,
    owners_vault,
    program,
    refused_with,
    stranger,
    the_discriminator,
    zeros,
)
from .world import World


def tagged(tag: int) -> Change:
    return lambda data: tag.to_bytes(4, "little") + data[4:]


def without_authority(data: bytes) -> bytes:
    """Program data as the loader leaves them when it removes the authority."""
    return data[:12] + b"\0" + data[13:]


def of_another_program(world: World, meant: Pubkey) -> Pubkey:
    """The program data of an attacker's program, which names the right authority."""
    address = chain.program_data_address(POSITION_MANAGER)
    return world.put(chain.UPGRADEABLE_LOADER, world.ledger.data(meant), address)


UPGRADE_AUTHORITY: Role = refused_with(
    "NotUpgradeAuthority",
    a_stranger=stranger,
    the_owner=owner,
    another_owner=other,
    the_delegate=delegate,
)
PROPOSER: Role = UPGRADE_AUTHORITY | as_good(governance_who_may=governance)
PROPOSED: Role = refused_with(
    "Unauthorized",
    a_stranger=stranger,
    the_owner=owner,
    the_delegate=delegate,
    governance=governance,
)
PROGRAM_DATA: Role = refused_with(
    "NotUpgradeAuthority",
    its_bytes_elsewhere=elsewhere(),
    itself_in_the_hands_of_another_program=in_place(owner=PROGRAM),
    the_program_data_of_another_program=of_another_program,
    a_buffer_in_its_place=in_place(tagged(1)),
    a_program_in_its_place=in_place(tagged(2)),
    zeros_in_its_place=in_place(zeros),
    itself_without_an_authority=in_place(without_authority),
    nothing_where_it_was=never_created,
    the_program=program(PROGRAM),
    nothing=nothing,
    a_wallet=stranger,
    a_vault=owners_vault,
)

LIMITS_THERE: Role = (
    refused_with("ConstraintSeeds", its_bytes_elsewhere=elsewhere())
    | refused_with(
        "AccountDiscriminatorMismatch",
        zeros_in_its_place=in_place(zeros),
        one_byte_in_its_place=in_place(one_byte),
        an_account_of_another_kind=in_place(of_another_kind),
        the_authority_account=authority_account,
        a_vault=owners_vault,
    )
    | refused_with(
        "AccountDidNotDeserialize",
        cut_short_in_its_place=in_place(cut_short),
        its_discriminator_in_its_place=in_place(the_discriminator),
    )
)
LIMITS: Role = (
    LIMITS_THERE
    | refused_with(
        "AccountNotInitialized",
        nothing_where_it_was=never_created,
        nothing=nothing,
        a_wallet=stranger,
    )
    | refused_with(
        "AccountOwnedByWrongProgram",
        its_bytes_with_another_program=elsewhere(owner=POSITION_MANAGER),
        itself_in_the_hands_of_another_program=in_place(owner=POSITION_MANAGER),
    )
)
LIMITS_OF_A_TRANSFER: Role = LIMITS_THERE | refused_with(
    "AccountNotEnoughKeys",
    nothing_where_it_was=never_created,
    nothing=nothing,
    a_wallet=stranger,
    its_bytes_with_another_program=elsewhere(owner=POSITION_MANAGER),
    itself_in_the_hands_of_another_program=in_place(owner=POSITION_MANAGER),
)

"""Stand-ins for the request of a change of an owner's guards."""

from solders.pubkey import Pubkey

from tests.program.harness.guard_changes import allowance, min_delay
from tests.program.harness.ledger import POSITION_MANAGER, PROGRAM

from .standins import (
    Role,
    as_good,
    authority_account,
    cut_short,
    elsewhere,
    in_place,
    never_created,
    nothing,
    of_another_kind,
    one_byte,
    others_vault,
    owners_vault,
    refused_with,
    stranger,
    the_discriminator,
    zeros,
)
from .vaults import taken
from .world import World


def of_another_vault(world: World, _: Pubkey) -> Pubkey:
    """The request of the same change by another owner."""
    world.ledger.change_vault(world.other, min_withdraw_delay_seconds=60)
    other = world.keys[world.other]
    world.ledger.must(min_delay(0).request(other), other)
    return min_delay(0).address(world.other)


def of_another_change(world: World, _: Pubkey) -> Pubkey:
    return allowance(1).address(world.owner)


def with_another_change(data: bytes) -> bytes:
    return data[:89] + allowance(2**64 - 1).borsh()


def with_a_longer_change(data: bytes) -> bytes:
    return data + b"\0"


def with_more_than_any_change(data: bytes) -> bytes:
    return data + bytes(400)


def cut_into_its_times(data: bytes) -> bytes:
    return data[:88]


GUARD_REQUEST: Role = (
    refused_with(
        "ConstraintSeeds",
        another_owners=of_another_vault,
        its_bytes_elsewhere=elsewhere(),
        itself_with_another_change=in_place(with_another_change),
        itself_with_a_longer_change=in_place(with_a_longer_change),
        cut_short_elsewhere=elsewhere(cut_short),
        cut_short_in_its_place=in_place(cut_short),
    )
    | refused_with(
        "AccountNotInitialized",
        nothing_where_it_was=never_created,
        one_never_made=of_another_change,
        a_wallet=stranger,
        nothing=nothing,
    )
    | refused_with(
        "AccountOwnedByWrongProgram",
        its_bytes_with_another_program=elsewhere(owner=POSITION_MANAGER),
        itself_in_the_hands_of_another_program=in_place(owner=POSITION_MANAGER),
    )
    | refused_with(
        "AccountDiscriminatorMismatch",
        zeros_in_its_place=in_place(zeros),
        one_byte_in_its_place=in_place(one_byte),
        an_account_of_another_kind=in_place(of_another_kind),
        the_vault=owners_vault,
        the_authority_account=authority_account,
    )
    | refused_with(
        "AccountDidNotDeserialize",
        one_that_ends_before_its_change=in_place(cut_into_its_times),
        one_longer_than_any=in_place(with_more_than_any_change),
        its_discriminator_in_its_place=in_place(the_discriminator),
    )
)
NEW_GUARD_REQUEST: Role = (
    refused_with(
        "ConstraintSeeds",
        another_owners=of_another_vault,
        of_another_change=of_another_change,
        another_owners_vault=others_vault,
        a_wallet=stranger,
        nothing=nothing,
    )
    | refused_with(
        "AlreadyExists", one_that_is_there=lambda world, meant: world.put(PROGRAM, b"\0", meant)
    )
    | refused_with("AccountAlreadyInUse", an_account_of_another_program=taken)
)
# The owner cancels without a look at the vault, which may be closed.
NAMED_VAULT: Role = refused_with(
    "ConstraintSeeds",
    another_owners=others_vault,
    a_wallet=stranger,
    nothing=nothing,
    the_authority_account=authority_account,
) | as_good(the_address_of_a_closed_one=never_created, itself_emptied=in_place(zeros))

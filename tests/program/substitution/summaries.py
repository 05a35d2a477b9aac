"""Stand-ins for a position summary, of the position manager and of a withdrawal."""

from solders.pubkey import Pubkey

from tests.program.harness.ledger import (
    POSITION_IDL,
    POSITION_MANAGER,
    PROGRAM,
    SYSTEM,
    summary_address,
    vault_address,
)
from tests.program.harness.puppet import PUPPET

from .standins import (
    Change,
    Role,
    as_good,
    cut_short,
    elsewhere,
    in_place,
    never_created,
    nothing,
    of_another_kind,
    one_byte,
    owners_vault,
    refused_with,
    stranger,
    the_discriminator,
    zeros,
)
from .vaults import COPY, taken
from .world import World


def another_vaults(world: World, _: Pubkey) -> Pubkey:
    return world.ledger.put_summary(world.other)


def another_vaults_to_come(world: World, _: Pubkey) -> Pubkey:
    return summary_address(vault_address(world.other))


def by_another_program(world: World, _: Pubkey) -> Pubkey:
    """An attacker's program's summary of the same vault, at the address that it derives."""
    return world.ledger.put_summary(world.owner, program=COPY)


def for_vault(vault: Pubkey) -> Change:
    return lambda data: data[:8] + bytes(vault) + data[40:]


def for_owner(owner: Pubkey) -> Change:
    return lambda data: data[:40] + bytes(owner) + data[72:]


# Of the position manager

SUMMARY: Role = (
    refused_with(
        "AccountNotInitialized",
        nothing_where_it_was=never_created,
        another_vaults_that_was_never_created=another_vaults_to_come,
        a_wallet=stranger,
    )
    | refused_with(
        "ConstraintSeeds",
        another_vaults=another_vaults,
        its_bytes_elsewhere=elsewhere(),
        itself_for_another_vault=in_place(for_vault(COPY)),
        itself_for_another_owner=in_place(for_owner(COPY)),
    )
    | refused_with(
        "AccountOwnedByWrongProgram",
        another_programs=by_another_program,
        its_bytes_with_another_program=elsewhere(owner=PROGRAM),
        itself_in_the_hands_of_another_program=in_place(owner=PROGRAM),
        the_vault=owners_vault,
    )
    | refused_with(
        "AccountDiscriminatorMismatch",
        zeros_in_its_place=in_place(zeros),
        one_byte_in_its_place=in_place(one_byte),
        an_account_of_another_kind=in_place(of_another_kind),
    )
    | refused_with(
        "AccountDidNotDeserialize",
        itself_cut_short=in_place(cut_short),
        its_discriminator=in_place(the_discriminator),
    )
)

NEW_SUMMARY: Role = (
    refused_with(
        "ConstraintSeeds",
        another_vaults=another_vaults,
        another_vaults_that_was_never_created=another_vaults_to_come,
        where_another_program_would_keep_it=by_another_program,
        the_vault=owners_vault,
        a_wallet=stranger,
        nothing=nothing,
    )
    | refused_with(
        "AlreadyInitialized",
        one_that_is_there=lambda world, meant: world.put(POSITION_MANAGER, bytes(96), meant),
    )
    | refused_with("AccountAlreadyInUse", an_account_of_another_program=taken)
)

# Of a withdrawal, which checks the authorized programs in order


CONSENT: Role = refused_with(
    "PositionSummaryInvalid",
    another_vaults=another_vaults,
    another_vaults_that_was_never_created=another_vaults_to_come,
    another_programs=by_another_program,
    another_programs_that_was_never_created=lambda world, _: summary_address(
        vault_address(world.owner), COPY
    ),
    a_summary_of_somebody_elses_making=elsewhere(
        lambda _: POSITION_IDL.accounts["PositionSummaryAccount"] + bytes(88), owner=SYSTEM
    ),
    itself_in_the_hands_of_another_program=in_place(owner=COPY),
    the_vault=owners_vault,
    a_wallet=stranger,
    nothing=nothing,
)
CREATED_CONSENT = (
    CONSENT
    | refused_with(
        "PositionSummaryInvalid",
        the_one_of_the_next_program=lambda world, _: summary_address(
            vault_address(world.owner), PUPPET
        ),
        its_bytes_with_another_program=elsewhere(owner=COPY),
        itself_for_another_vault=in_place(for_vault(COPY)),
        itself_for_another_owner=in_place(for_owner(COPY)),
        zeros_in_its_place=in_place(zeros),
        an_account_of_another_kind=in_place(of_another_kind),
        itself_cut_short=in_place(cut_short),
    )
    | as_good(another_of_the_program_that_alone_can_write_one=elsewhere())
)
MISSING_CONSENT = CONSENT | refused_with(
    "PositionSummaryInvalid",
    the_one_of_the_program_before=lambda world, _: summary_address(vault_address(world.owner)),
    itself_with_data_but_no_program=lambda world, meant: world.put(SYSTEM, b"\0", meant),
    itself_empty_with_its_program=lambda world, meant: world.put(PUPPET, b"", meant),
)

"""Stand-ins for a vault and for the authority account."""

from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.program.harness import ledger as chain
from tests.program.harness.instructions import build
from tests.program.harness.ledger import POSITION_MANAGER, PROGRAM, vault_address

from .standins import (
    Make,
    Role,
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
from .world import World

# Another deployment of the same program: an attacker's copy, with accounts as valid as ours.
COPY = Keypair().pubkey()


def never_created_vault(world: World, _: Pubkey) -> Pubkey:
    return vault_address(world.stranger)


def dust(world: World, _: Pubkey) -> Pubkey:
    address = vault_address(world.stranger)
    world.ledger.put(address, chain.SYSTEM, b"", 1)
    return address


def closed_vault(world: World, _: Pubkey) -> Pubkey:
    owner = world.wallet()
    world.open_vault(owner, holding=0)
    world.ledger.must(build("close_vault", owner), world.keys[owner])
    return vault_address(owner)


def vault_of_a_copy(world: World, meant: Pubkey) -> Pubkey:
    """A vault at the address that the copy derives for the same owner."""
    data = world.ledger.data(meant)
    address, bump = Pubkey.find_program_address([b"vault", data[8:40]], COPY)
    return world.put(COPY, data[:208] + bytes([bump]) + data[209:], address)


def token_account_of(world: World, meant: Pubkey) -> Pubkey:
    return chain.token_address(meant)


def summary_of(world: World, meant: Pubkey) -> Pubkey:
    return world.ledger.put_summary(world.owner)


def third_vault(world: World, _: Pubkey) -> Pubkey:
    world.open_vault(world.stranger)
    return vault_address(world.stranger)


NO_VAULT: Role = (
    refused_with(
        "AccountNotInitialized",
        a_vault_never_created=never_created_vault,
        nothing_where_it_was=never_created,
        the_address_of_a_vault_to_come_with_dust=dust,
        a_closed_vault=closed_vault,
        a_wallet=stranger,
    )
    | refused_with("ConstraintSeeds", its_bytes_elsewhere=elsewhere())
    | refused_with(
        "AccountOwnedByWrongProgram",
        its_bytes_with_another_program=elsewhere(owner=POSITION_MANAGER),
        itself_in_the_hands_of_another_program=in_place(owner=POSITION_MANAGER),
        the_vault_of_the_same_owner_with_a_copy_of_the_program=vault_of_a_copy,
        its_token_account=token_account_of,
        its_position_summary=summary_of,
    )
    | refused_with(
        "AccountDiscriminatorMismatch",
        zeros_elsewhere=elsewhere(zeros),
        zeros_in_its_place=in_place(zeros),
        one_byte_elsewhere=elsewhere(one_byte),
        one_byte_in_its_place=in_place(one_byte),
        an_account_of_another_kind=in_place(of_another_kind),
        the_authority_account=authority_account,
    )
    | refused_with(
        "AccountDidNotDeserialize",
        its_discriminator_elsewhere=elsewhere(the_discriminator),
        cut_short_in_its_place=in_place(cut_short),
    )
)

# Stand-ins where the owner is named, where the token account is named, and where neither is.
OWNERS_VAULT = NO_VAULT | refused_with("ConstraintSeeds", another_owners=others_vault)
VAULT_OF_THE_TOKENS = NO_VAULT | refused_with("ConstraintAssociated", another_owners=third_vault)
ANY_VAULT = NO_VAULT

# The position manager takes the program that owns an account for the vault program.
ITSELF_WITH_ANOTHER_PROGRAM: Role = refused_with(
    "ConstraintSeeds",
    its_bytes_with_another_program=elsewhere(owner=POSITION_MANAGER),
    itself_in_the_hands_of_another_program=in_place(owner=POSITION_MANAGER),
)
VAULT_OF_ANY_PROGRAM = ITSELF_WITH_ANOTHER_PROGRAM | refused_with(
    "AccountDiscriminatorMismatch",
    its_token_account=token_account_of,
    its_position_summary=summary_of,
)


def vault_of_the_same_owner_with_a_copy(refusal: str) -> Role:
    return refused_with(
        refusal, the_vault_of_the_same_owner_with_a_copy_of_the_program=vault_of_a_copy
    )


def vault_there(world: World, meant: Pubkey) -> Pubkey:
    return world.put(PROGRAM, bytes(chain.VAULT_LENGTH), meant)


def taken(world: World, meant: Pubkey) -> Pubkey:
    return world.put(COPY, b"\0", meant)


NEW_VAULT: Role = (
    refused_with(
        "ConstraintSeeds",
        another_owners=others_vault,
        a_vault_to_come_of_somebody_else=lambda world, _: vault_address(world.friend),
        a_wallet=stranger,
        nothing=nothing,
        the_authority_account=authority_account,
    )
    | refused_with("AlreadyInitialized", one_that_is_there=vault_there)
    | refused_with("AccountAlreadyInUse", an_account_of_another_program=taken)
)

# The authority


def authority_of_a_copy(world: World, meant: Pubkey) -> Pubkey:
    """The copy's authority account, which names another governance."""
    address, bump = Pubkey.find_program_address([b"vault_authority"], COPY)
    data = governed_by(world.stranger, world.ledger.data(meant))
    at = 44 + 32 * int.from_bytes(data[40:44], "little")
    return world.put(COPY, data[:at] + bytes([bump]) + data[at + 1 :], address)


def governed_by(governance: Pubkey, data: bytes) -> bytes:
    return data[:8] + bytes(governance) + data[40:]


def naming_a_stranger(world: World, meant: Pubkey) -> Pubkey:
    return world.put(PROGRAM, governed_by(world.stranger, world.ledger.data(meant)))


def listing(count: int) -> Make:
    """Make an authority that claims to list `count` authorized programs."""

    def hostile(data: bytes) -> bytes:
        return data[:40] + count.to_bytes(4, "little") + data[44:]

    return in_place(hostile)


AUTHORITY: Role = (
    refused_with(
        "AccountNotInitialized",
        nothing_where_it_was=never_created,
        an_address_nobody_uses=nothing,
        a_vault_never_created=never_created_vault,
        a_wallet=stranger,
    )
    | refused_with(
        "ConstraintSeeds",
        its_bytes_elsewhere=elsewhere(),
        one_that_names_a_stranger_as_governance=naming_a_stranger,
    )
    | refused_with(
        "AccountOwnedByWrongProgram",
        its_bytes_with_another_program=elsewhere(owner=POSITION_MANAGER),
        itself_in_the_hands_of_another_program=in_place(owner=POSITION_MANAGER),
        the_authority_of_a_copy_of_the_program=authority_of_a_copy,
    )
    | refused_with(
        "AccountDiscriminatorMismatch",
        zeros_elsewhere=elsewhere(zeros),
        zeros_in_its_place=in_place(zeros),
        one_byte_in_its_place=in_place(one_byte),
        an_account_of_another_kind=in_place(of_another_kind),
        a_vault=owners_vault,
    )
    | refused_with(
        "AccountDidNotDeserialize",
        its_discriminator_elsewhere=elsewhere(the_discriminator),
        cut_short_in_its_place=in_place(cut_short),
        a_list_longer_than_it_may_be=listing(65),
        a_list_longer_than_memory=listing(2**32 - 1),
    )
)
AUTHORITY_OF_ANY_PROGRAM = (
    AUTHORITY
    | ITSELF_WITH_ANOTHER_PROGRAM
    | refused_with("InvalidProgramId", the_authority_of_a_copy_of_the_program=authority_of_a_copy)
)

NEW_AUTHORITY: Role = (
    refused_with(
        "ConstraintSeeds",
        a_vault=owners_vault,
        a_wallet=stranger,
        nothing=nothing,
        the_authority_of_a_copy_of_the_program=lambda world, _: world.put(COPY, b"\0"),
    )
    | refused_with(
        "AlreadyInitialized",
        one_that_is_there=lambda world, meant: world.put(
            PROGRAM, bytes(chain.AUTHORITY_LENGTH), meant
        ),
    )
    | refused_with("AccountAlreadyInUse", an_account_of_another_program=taken)
)

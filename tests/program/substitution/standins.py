"""Stand-ins: accounts passed in place of the right one, and forgeries that suit any account."""

from collections.abc import Callable
from typing import NamedTuple

from solders.pubkey import Pubkey

from tests.program.harness import ledger as chain

from .world import World

# Creates the stand-in for the given account, possibly at the same address.
Make = Callable[[World, Pubkey], Pubkey]
Change = Callable[[bytes], bytes]


class StandIn(NamedTuple):
    make: Make
    refusal: str | None  # a name in refusals.py or below; None if it is equally valid


# Stand-ins by a name that says what is wrong with them.
Role = dict[str, StandIn]


def unchanged(data: bytes) -> bytes:
    return data


def zeros(data: bytes) -> bytes:
    return bytes(len(data))


def one_byte(data: bytes) -> bytes:
    return data[:1]


def cut_short(data: bytes) -> bytes:
    return data[:-1]


def the_discriminator(data: bytes) -> bytes:
    return data[:8]


def of_another_kind(data: bytes) -> bytes:
    return bytes(8) + data[8:]


def elsewhere(change: Change = unchanged, *, owner: Pubkey | None = None) -> Make:
    """Make a changed copy of the account at a new address, of the same program or of `owner`."""

    def make(world: World, meant: Pubkey) -> Pubkey:
        return world.put(owner or world.program_of(meant), change(world.ledger.data(meant)))

    return make


def in_place(change: Change = unchanged, *, owner: Pubkey | None = None) -> Make:
    """Make a changed copy at the account's own address, so that only its content is wrong."""

    def make(world: World, meant: Pubkey) -> Pubkey:
        program = owner or world.program_of(meant)
        return world.put(program, change(world.ledger.data(meant)), meant)

    return make


def never_created(world: World, meant: Pubkey) -> Pubkey:
    """The right address, at which no account was ever created."""
    return world.erase(meant)


def nothing(_: World, __: Pubkey) -> Pubkey:
    """An address that nobody uses."""
    return Pubkey.new_unique()


def stranger(world: World, _: Pubkey) -> Pubkey:
    return world.stranger


def owner(world: World, _: Pubkey) -> Pubkey:
    return world.owner


def other(world: World, _: Pubkey) -> Pubkey:
    return world.other


def delegate(world: World, _: Pubkey) -> Pubkey:
    return world.delegate


def friend(world: World, _: Pubkey) -> Pubkey:
    return world.friend


def governance(world: World, _: Pubkey) -> Pubkey:
    return world.governance


def authority_account(_: World, __: Pubkey) -> Pubkey:
    return chain.authority_address()


def owners_vault(world: World, _: Pubkey) -> Pubkey:
    return chain.vault_address(world.owner)


def others_vault(world: World, _: Pubkey) -> Pubkey:
    return chain.vault_address(world.other)


def program(address: Pubkey) -> Make:
    return lambda world, meant: address


def refused_with(refusal: str, **makes: Make) -> Role:
    """Return stand-ins that are all refused with the same error, named by their keywords."""
    return {name.replace("_", " "): StandIn(make, refusal) for name, make in makes.items()}


def as_good(**makes: Make) -> Role:
    """Return stand-ins that must succeed; their names say why."""
    return {name.replace("_", " "): StandIn(make, None) for name, make in makes.items()}

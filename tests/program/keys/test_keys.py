"""What each key alone can do, compared with the tables of docs/security.md.

Each instruction that somebody signs is prepared to succeed, and is then signed by each key in the
signer's place.
"""

from collections.abc import Callable
from dataclasses import replace

import pytest
from solders.pubkey import Pubkey

from tests.program.harness.ledger import MINT, TOKEN, signer
from tests.program.substitution.cases import INTERFACE, directly, prepared_case
from tests.program.substitution.world import World
from tests.program.test_substitution import refusal_of

from .document import CELLS

ACTS = {
    "take out": ("withdraw", "emergency_withdraw"),
    "lend": ("yield_deposit", "yield_withdraw", "compound_yield"),
    "transfer": ("transfer_collateral", "rebalance_collateral"),
    "lock, unlock": ("lock_collateral", "unlock_collateral", "open_position", "close_position"),
    "timelock": ("schedule_timelock", "cancel_timelock"),
    "loosen guards": (
        "set_vault_multisig",
        "disable_vault_multisig",
        "add_withdraw_whitelist",
        "set_transfer_allowance",
    ),
    "delegates": ("add_delegate", "remove_delegate"),
    "sweep": ("sweep",),
    "close": ("close_vault",),
    "lists, limits": (
        "add_authorized_program",
        "remove_authorized_program",
        "add_yield_program",
        "remove_yield_program",
        "set_transfer_limits",
        "update_usdt_mint",
    ),
    "hand over governance": ("propose_governance", "accept_governance"),
    "freeze": ("set_freeze_flag",),
    "pause": ("pause_withdrawals",),
}


# Each gives a key its role, and returns it and who signs beside it.


def fresh_multisig(world: World) -> list[Pubkey]:
    """Two signers, both of whom are needed, and who have no other role."""
    signers = [world.wallet(), world.wallet()]
    world.change(multisig_signers=signers, multisig_threshold=2)
    return signers


def owner_under_a_multisig(world: World) -> list[Pubkey]:
    fresh_multisig(world)
    return [world.owner]


def proposed(world: World) -> list[Pubkey]:
    key = world.wallet()
    world.ledger.change_authority(pending_governance=key)
    return [key]


def upgrade_authority(world: World) -> list[Pubkey]:
    key = world.wallet()
    world.ledger.set_upgrade_authority(key)
    return [key]


def mint_authority(world: World) -> list[Pubkey]:
    """A wallet that mints, and that freezes token accounts."""
    key = world.wallet()
    option = b"\1\0\0\0" + bytes(key)
    world.ledger.put(MINT, TOKEN, option + world.ledger.data(MINT)[36:46] + option)
    return [key]


KEYS: dict[str, Callable[[World], list[Pubkey]]] = {
    "owner, no guard": lambda world: [world.owner],
    "owner, under a multisig of others": owner_under_a_multisig,
    "delegate; the operator as one": lambda world: [world.delegate],
    "one signer of a multisig": lambda world: fresh_multisig(world)[:1],
    "enough signers, without the owner": fresh_multisig,
    "governance": lambda world: [world.governance],
    "proposed governance": proposed,
    "upgrade authority of the vault program": upgrade_authority,
    "the mint's authorities": mint_authority,
    "the operator as fee payer": lambda world: [world.payer.pubkey()],
    "stranger": lambda world: [world.wallet()],
}
REFUSALS = {
    "ConstraintSeeds",
    "GuardInForce",
    "NotUpgradeAuthority",
    "Unauthorized",
    "UnauthorizedProgram",
}


def refusal(name: str, key: str) -> str | None:
    """Return why the key cannot do it, not through a program, in the place of who may."""
    given = prepared_case(name)
    world = given.world
    world.keys[world.payer.pubkey()] = world.payer
    first, *others = KEYS[key](world)
    for at, account in enumerate(INTERFACE[name]["accounts"]):
        if account.get("signer"):
            given = given.swapped(at, first, signing=True)
    given = given.given([*given.instruction.accounts, *map(signer, others)])
    return refusal_of(replace(given, wrap=directly).send())


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("act", ACTS)
def test_a_key_does_what_the_document_says(key: str, act: str) -> None:
    answers = {name: refusal(name, key) for name in ACTS[act]}
    done = [name for name, answer in answers.items() if answer is None]
    assert {*answers.values()} - {None} <= REFUSALS, answers
    assert CELLS[key, act].startswith("yes" if done else "no"), answers

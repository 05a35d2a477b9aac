"""The keys for the model's names, the same in every run so that a run can be repeated."""

from functools import cache
from hashlib import sha256
from typing import Any

from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.program.harness import pools
from tests.program.harness.guard_changes import GuardChange
from tests.program.harness.ledger import (
    MINT,
    POSITION_MANAGER,
    PROGRAM,
    SYSTEM,
    TOKEN,
    VAULT_IDL,
    token_address,
    vault_address,
)
from tests.program.harness.pools import YIELD_POOL

from . import model
from .model import NOBODY

OWNERS = ["ada", "bob", "cyd", "dan"]
GOVERNANCE = "governance"
PEOPLE = [*OWNERS, "eve", "fay", "gus", "hal", "ida", "joe", "kim", GOVERNANCE]
PAYER = "payer"

# Two deployments of the same program are different programs.
POSITION_MANAGERS = ["desk", "other desk"]
YIELD_PROGRAMS = ["pool", "other pool"]
MINTS = ["usdt", "other mint"]
PROGRAMS = {
    "collateral_vault": ["vault program"],
    "position_manager": POSITION_MANAGERS,
    "yield_pool": YIELD_PROGRAMS,
}
"""The deployments of each program."""
# No program that could lock collateral; the first one's key is zeros.
IMPOSSIBLE = {"system program": SYSTEM, "vault program": PROGRAM, "token program": TOKEN}
KNOWN = {"desk": POSITION_MANAGER, "pool": YIELD_POOL, "usdt": MINT, NOBODY: SYSTEM} | IMPOSSIBLE


@cache
def keypair(name: str) -> Keypair:
    return Keypair.from_seed(sha256(name.encode()).digest())


@cache
def key(name: str) -> Pubkey:
    """Return the key of a person, a program, a mint, or a vault."""
    owner, _, what = name.partition("'s ")
    return vault(owner) if what == "vault" else KNOWN.get(name) or keypair(name).pubkey()


@cache
def person(address: Pubkey) -> str:
    """Return the name of the person whose key the address is."""
    return next(name for name in [*PEOPLE, PAYER] if key(name) == address)


@cache
def vault(owner: str) -> Pubkey:
    return vault_address(key(owner))


def guard_change(change: model.GuardChange) -> GuardChange:
    """Return the change of the specification as the programs know it."""
    variant, values = change
    kinds = next(
        each["fields"]
        for each in VAULT_IDL.types["GuardChange"]["variants"]
        if each["name"] == variant
    )
    fields = {kind["name"]: program_value(value) for kind, value in zip(kinds, values, strict=True)}
    return GuardChange(variant, fields)


def program_value(value: Any) -> Any:
    if isinstance(value, tuple):
        return [program_value(each) for each in value]
    return key(value) if isinstance(value, str) else value


@cache
def pool(program: str) -> Pubkey:
    """Return the one pool of a yield program, which governance has opened."""
    return derived(program, b"pool", MINT, key(GOVERNANCE))


@cache
def position(program: str, owner: str) -> Pubkey:
    return derived(program, b"position", pool(program), vault(owner))


@cache
def tokens(holder: str, mint: str) -> Pubkey:
    """Return the token account of a person, a vault, a pool or a pool's reserve."""
    name, _, what = holder.partition("'s ")
    if what == "reserve":
        return derived(name, b"reserve", pool(name))
    return token_address(pool(name) if name in YIELD_PROGRAMS else key(holder), key(mint))


def derived(program: str, seed: bytes, *keys: Pubkey) -> Pubkey:
    if program == "pool":
        return pools.derived(seed, *keys)
    return Pubkey.find_program_address([seed, *map(bytes, keys)], key(program))[0]

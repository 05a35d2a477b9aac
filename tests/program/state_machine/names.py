"""The keys that the model's names stand for: the same in every run, so that it can be repeated."""

from functools import cache
from hashlib import sha256

from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.program.harness import pools
from tests.program.harness.ledger import MINT, POSITION_MANAGER, token_address, vault_address
from tests.program.harness.pools import YIELD_POOL

OWNERS = ["ada", "bob", "cyd", "dan"]
GOVERNANCE = "governance"
PEOPLE = [*OWNERS, "eve", "fay", "gus", "hal", "ida", "joe", "kim", GOVERNANCE]
PAYER = "payer"

# Two deployments of the same program are two programs.
POSITION_MANAGERS = ["desk", "other desk"]
YIELD_PROGRAMS = ["pool", "other pool"]
MINTS = ["usdt", "other mint"]
KNOWN = {"desk": POSITION_MANAGER, "pool": YIELD_POOL, "usdt": MINT}


@cache
def keypair(name: str) -> Keypair:
    return Keypair.from_seed(sha256(name.encode()).digest())


@cache
def key(name: str) -> Pubkey:
    """Of a person, a program, a mint, or a vault."""
    owner, _, what = name.partition("'s ")
    return vault(owner) if what == "vault" else KNOWN.get(name) or keypair(name).pubkey()


@cache
def person(address: Pubkey) -> str:
    """Whose signature an address needs."""
    return next(name for name in [*PEOPLE, PAYER] if key(name) == address)


@cache
def vault(owner: str) -> Pubkey:
    return vault_address(key(owner))


@cache
def pool(program: str) -> Pubkey:
    """The one pool of each yield program, opened by governance."""
    return derived(program, b"pool", MINT, key(GOVERNANCE))


@cache
def position(program: str, owner: str) -> Pubkey:
    return derived(program, b"position", pool(program), vault(owner))


@cache
def tokens(holder: str, mint: str) -> Pubkey:
    """The token account of a person, a vault, a pool or a pool's reserve."""
    name, _, what = holder.partition("'s ")
    if what == "reserve":
        return derived(name, b"reserve", pool(name))
    return token_address(pool(name) if name in YIELD_PROGRAMS else key(holder), key(mint))


def derived(program: str, seed: bytes, *keys: Pubkey) -> Pubkey:
    if program == "pool":
        return pools.derived(seed, *keys)
    return Pubkey.find_program_address([seed, *map(bytes, keys)], key(program))[0]

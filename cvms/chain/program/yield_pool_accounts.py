"""Addresses and accounts of the reference yield program, and the interest they imply."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from solders.pubkey import Pubkey

from cvms.chain import borsh
from cvms.chain.borsh import I64, U8, U32, U64, U128
from cvms.chain.program.accounts import decode_account, read_account
from cvms.chain.types import Account, Programs

BASIS_POINTS = 10_000
SECONDS_PER_YEAR = 365 * 24 * 60 * 60
# Accrued interest is counted in fractions of a token unit: principal · basis points · seconds.
PER_TOKEN_UNIT = BASIS_POINTS * SECONDS_PER_YEAR


@dataclass(frozen=True, slots=True)
class YieldPoolAccount:
    """A pool of one mint, as in the IDL. Times are Unix seconds, amounts token units."""

    admin: Pubkey
    mint: Pubkey
    pool_tokens: Pubkey
    reserve_tokens: Pubkey
    rate_bps: U32
    total_principal: U64
    index: U64
    last_accrued_at: I64
    bump: U8


@dataclass(frozen=True, slots=True)
class YieldPositionAccount:
    """An owner's position in a pool. PER_TOKEN_UNIT of `accrued` make one token unit."""

    pool: Pubkey
    owner: Pubkey
    principal: U64
    index: U64
    accrued: U128
    bump: U8


POOL_DISCRIMINATOR = borsh.discriminator("account", "Pool")
POSITION_DISCRIMINATOR = borsh.discriminator("account", "Position")


def pool_address(programs: Programs, *, mint: Pubkey, admin: Pubkey) -> Pubkey:
    """Return the address of the admin's pool of a mint.

    Its deposits are in its associated token account.
    """
    return _derive(programs, b"pool", mint, admin)


def reserve_address(programs: Programs, pool: Pubkey) -> Pubkey:
    """Return the address of the token account from which a pool pays interest."""
    return _derive(programs, b"reserve", pool)


def position_address(programs: Programs, *, pool: Pubkey, owner: Pubkey) -> Pubkey:
    """Return the address of a position. For a vault's tokens, the owner is the vault account."""
    return _derive(programs, b"position", pool, owner)


def read_pool(account: Account | None, programs: Programs) -> YieldPoolAccount | None:
    """Return the pool in an account, None when there is none.

    Raises DecodeError when another program owns the account, or its data are not a pool.
    """
    decode = partial(decode_account, YieldPoolAccount, POOL_DISCRIMINATOR)
    return read_account(account, programs.yield_pool, decode)


def read_position(account: Account | None, programs: Programs) -> YieldPositionAccount | None:
    """Return the position in an account; as `read_pool`."""
    decode = partial(decode_account, YieldPositionAccount, POSITION_DISCRIMINATOR)
    return read_account(account, programs.yield_pool, decode)


def claimable(pool: YieldPoolAccount, position: YieldPositionAccount, *, now: int) -> int:
    """Return the interest that the position may claim at `now`, in token units.

    The claim succeeds only if the reserve holds it.
    """
    seconds = max(0, now - pool.last_accrued_at)
    growth = pool.index + pool.rate_bps * seconds - position.index
    return (position.accrued + position.principal * growth) // PER_TOKEN_UNIT


def _derive(programs: Programs, seed: bytes, *keys: Pubkey) -> Pubkey:
    return Pubkey.find_program_address([seed, *map(bytes, keys)], programs.yield_pool)[0]

"""Instructions of the reference yield program: pools, rates, reserves and positions.

Some share their names with instructions of the vault program, so callers import the module.
"""

from __future__ import annotations

from typing import Any

from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

from cvms.chain.program.addresses import token_account
from cvms.chain.program.instructions.encoding import instruction
from cvms.chain.program.yield_pool_accounts import pool_address, position_address, reserve_address
from cvms.chain.types import Programs


def initialize_pool(
    programs: Programs, *, admin: Pubkey, mint: Pubkey, rate_bps: int
) -> Instruction:
    """Create the admin's pool of a mint, with an empty reserve. The admin pays the rent."""
    pool = pool_address(programs, mint=mint, admin=admin)
    return _instruction(
        programs,
        "initialize_pool",
        admin=admin,
        mint=mint,
        pool=pool,
        pool_tokens=token_account(pool, mint),
        reserve_tokens=reserve_address(programs, pool),
        rate_bps=rate_bps,
    )


def set_rate(programs: Programs, *, admin: Pubkey, pool: Pubkey, rate_bps: int) -> Instruction:
    """Set the annual rate from now on, at most 10,000 basis points."""
    return _instruction(programs, "set_rate", admin=admin, pool=pool, rate_bps=rate_bps)


def fund_reserve(
    programs: Programs, *, funder: Pubkey, pool: Pubkey, mint: Pubkey, amount: int
) -> Instruction:
    """Add `amount` to the reserve, which only ever pays interest."""
    return _instruction(
        programs,
        "fund_reserve",
        pool=pool,
        reserve_tokens=reserve_address(programs, pool),
        funder_tokens=token_account(funder, mint),
        funder=funder,
        amount=amount,
    )


def open_position(programs: Programs, *, payer: Pubkey, owner: Pubkey, pool: Pubkey) -> Instruction:
    """Create the position of any owner, such as a vault account. `payer` pays the rent."""
    position = position_address(programs, pool=pool, owner=owner)
    return _instruction(
        programs, "open_position", payer=payer, owner=owner, pool=pool, position=position
    )


def deposit(
    programs: Programs, *, owner: Pubkey, pool: Pubkey, mint: Pubkey, amount: int
) -> Instruction:
    """Move `amount` of the owner's tokens into the pool."""
    return _movement(programs, "deposit", owner=owner, pool=pool, mint=mint, amount=amount)


def withdraw(
    programs: Programs, *, owner: Pubkey, pool: Pubkey, mint: Pubkey, amount: int
) -> Instruction:
    """Move `amount` of principal back to the owner."""
    return _movement(programs, "withdraw", owner=owner, pool=pool, mint=mint, amount=amount)


def claim(
    programs: Programs, *, owner: Pubkey, pool: Pubkey, mint: Pubkey, amount: int
) -> Instruction:
    """Pay `amount` of accrued interest to the owner."""
    return _movement(programs, "claim", owner=owner, pool=pool, mint=mint, amount=amount)


def vault_yield_accounts(
    programs: Programs, *, vault: Pubkey, pool: Pubkey, mint: Pubkey
) -> list[AccountMeta]:
    """Return the `yield_accounts` of the vault program's yield instructions for this pool."""
    signed = deposit(programs, owner=vault, pool=pool, mint=mint, amount=0).accounts
    return [AccountMeta(meta.pubkey, False, meta.is_writable) for meta in signed]


def _movement(
    programs: Programs, name: str, *, owner: Pubkey, pool: Pubkey, mint: Pubkey, amount: int
) -> Instruction:
    return _instruction(
        programs,
        name,
        pool=pool,
        position=position_address(programs, pool=pool, owner=owner),
        pool_tokens=token_account(pool, mint),
        reserve_tokens=reserve_address(programs, pool),
        owner_tokens=token_account(owner, mint),
        owner=owner,
        amount=amount,
    )


def _instruction(programs: Programs, name: str, /, **values: Any) -> Instruction:
    return instruction(programs.yield_pool, "yield_pool", name, programs, **values)

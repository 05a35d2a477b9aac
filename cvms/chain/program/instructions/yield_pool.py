"""Instructions of the reference yield program: pools, rates, reserves and positions.

Some share their names with instructions of the vault program, so callers import the module.
"""

from __future__ import annotations

from solana.constants import SYSTEM_PROGRAM_ID
from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey
from spl.token.constants import ASSOCIATED_TOKEN_PROGRAM_ID, TOKEN_PROGRAM_ID

from cvms.chain.program.addresses import token_account
from cvms.chain.program.instructions.encoding import (
    instruction,
    readonly,
    signer,
    u32,
    u64,
    writable,
)
from cvms.chain.program.yield_pool_accounts import pool_address, position_address, reserve_address
from cvms.chain.types import Programs


def initialize_pool(
    programs: Programs, *, admin: Pubkey, mint: Pubkey, rate_bps: int
) -> Instruction:
    """Create the admin's pool of a mint, with an empty reserve. The admin pays the rent."""
    pool = pool_address(programs, mint=mint, admin=admin)
    accounts = [
        signer(admin, writable=True),
        readonly(mint),
        writable(pool),
        writable(token_account(pool, mint)),
        writable(reserve_address(programs, pool)),
        readonly(SYSTEM_PROGRAM_ID),
        readonly(TOKEN_PROGRAM_ID),
        readonly(ASSOCIATED_TOKEN_PROGRAM_ID),
    ]
    return instruction(programs.yield_pool, "initialize_pool", accounts, u32(rate_bps))


def set_rate(programs: Programs, *, admin: Pubkey, pool: Pubkey, rate_bps: int) -> Instruction:
    """Set the annual rate from now on, at most 10,000 basis points."""
    accounts = [signer(admin), writable(pool)]
    return instruction(programs.yield_pool, "set_rate", accounts, u32(rate_bps))


def fund_reserve(
    programs: Programs, *, funder: Pubkey, pool: Pubkey, mint: Pubkey, amount: int
) -> Instruction:
    """Add `amount` to the reserve, which only ever pays interest."""
    accounts = [
        readonly(pool),
        writable(reserve_address(programs, pool)),
        writable(token_account(funder, mint)),
        signer(funder),
        readonly(TOKEN_PROGRAM_ID),
    ]
    return instruction(programs.yield_pool, "fund_reserve", accounts, u64(amount))


def open_position(programs: Programs, *, payer: Pubkey, owner: Pubkey, pool: Pubkey) -> Instruction:
    """Create the position of any owner, such as a vault account. `payer` pays the rent."""
    accounts = [
        signer(payer, writable=True),
        readonly(owner),
        readonly(pool),
        writable(position_address(programs, pool=pool, owner=owner)),
        readonly(SYSTEM_PROGRAM_ID),
    ]
    return instruction(programs.yield_pool, "open_position", accounts)


def deposit(
    programs: Programs, *, owner: Pubkey, pool: Pubkey, mint: Pubkey, amount: int
) -> Instruction:
    """Move `amount` of the owner's tokens into the pool."""
    return _signed(programs, "deposit", owner=owner, pool=pool, mint=mint, amount=amount)


def withdraw(
    programs: Programs, *, owner: Pubkey, pool: Pubkey, mint: Pubkey, amount: int
) -> Instruction:
    """Move `amount` of principal back to the owner."""
    return _signed(programs, "withdraw", owner=owner, pool=pool, mint=mint, amount=amount)


def claim(
    programs: Programs, *, owner: Pubkey, pool: Pubkey, mint: Pubkey, amount: int
) -> Instruction:
    """Pay `amount` of accrued interest to the owner."""
    return _signed(programs, "claim", owner=owner, pool=pool, mint=mint, amount=amount)


def vault_yield_accounts(
    programs: Programs, *, vault: Pubkey, pool: Pubkey, mint: Pubkey
) -> list[AccountMeta]:
    """Return the `yield_accounts` of the vault program's yield instructions for this pool."""
    return _accounts(programs, readonly(vault), pool, mint)


def _signed(
    programs: Programs, name: str, *, owner: Pubkey, pool: Pubkey, mint: Pubkey, amount: int
) -> Instruction:
    accounts = _accounts(programs, signer(owner), pool, mint)
    return instruction(programs.yield_pool, name, accounts, u64(amount))


def _accounts(
    programs: Programs, owner: AccountMeta, pool: Pubkey, mint: Pubkey
) -> list[AccountMeta]:
    return [
        writable(pool),
        writable(position_address(programs, pool=pool, owner=owner.pubkey)),
        writable(token_account(pool, mint)),
        writable(reserve_address(programs, pool)),
        writable(token_account(owner.pubkey, mint)),
        owner,
        readonly(TOKEN_PROGRAM_ID),
    ]

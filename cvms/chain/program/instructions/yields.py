"""Instructions that move vault tokens into a yield program and back.

`yield_accounts` follow the named accounts and are passed to the yield program. Without them, only
the balances in the vault account change.
"""

from __future__ import annotations

from collections.abc import Sequence

from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

from cvms.chain.program.addresses import vault_address, vault_authority_address
from cvms.chain.program.instructions.encoding import (
    readonly,
    signer,
    signers,
    u64,
    vault_program,
    writable,
)
from cvms.chain.types import Programs


def yield_deposit(
    programs: Programs,
    *,
    authority: Pubkey,
    owner: Pubkey,
    yield_program: Pubkey,
    amount: int,
    yield_accounts: Sequence[AccountMeta] = (),
    extra_signers: Sequence[Pubkey] = (),
) -> Instruction:
    """Move `amount` from the available balance into a whitelisted yield program."""
    named = _named(programs, authority, owner, yield_program)
    accounts = [*named, *yield_accounts, *signers(extra_signers)]
    return vault_program(programs, "yield_deposit", accounts, u64(amount))


def yield_withdraw(
    programs: Programs,
    *,
    authority: Pubkey,
    owner: Pubkey,
    yield_program: Pubkey,
    amount: int,
    yield_accounts: Sequence[AccountMeta] = (),
    extra_signers: Sequence[Pubkey] = (),
) -> Instruction:
    """Move `amount` from a whitelisted yield program back to the available balance."""
    named = _named(programs, authority, owner, yield_program)
    accounts = [*named, *yield_accounts, *signers(extra_signers)]
    return vault_program(programs, "yield_withdraw", accounts, u64(amount))


def compound_yield(
    programs: Programs,
    *,
    authority: Pubkey,
    owner: Pubkey,
    yield_program: Pubkey,
    compounded_amount: int,
    yield_accounts: Sequence[AccountMeta] = (),
    extra_signers: Sequence[Pubkey] = (),
) -> Instruction:
    """Add `compounded_amount` of accrued yield to the balance in the yield program."""
    named = _named(programs, authority, owner, yield_program)
    accounts = [*named, *yield_accounts, *signers(extra_signers)]
    return vault_program(programs, "compound_yield", accounts, u64(compounded_amount))


def _named(
    programs: Programs, authority: Pubkey, owner: Pubkey, yield_program: Pubkey
) -> list[AccountMeta]:
    return [
        signer(authority, writable=True),
        readonly(owner),
        writable(vault_address(programs, owner)),
        readonly(vault_authority_address(programs)),
        readonly(yield_program),
    ]

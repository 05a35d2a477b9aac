"""Instructions that move vault tokens into a yield program and back.

`yield_accounts` follow the named accounts and are passed to the yield program. Without them, only
the balances in the vault account change.
"""

from __future__ import annotations

from collections.abc import Sequence

from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

from cvms.chain.program.instructions.encoding import signers, vault_program
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
    return vault_program(
        programs,
        "yield_deposit",
        [*yield_accounts, *signers(extra_signers)],
        authority=authority,
        owner=owner,
        yield_program=yield_program,
        amount=amount,
    )


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
    return vault_program(
        programs,
        "yield_withdraw",
        [*yield_accounts, *signers(extra_signers)],
        authority=authority,
        owner=owner,
        yield_program=yield_program,
        amount=amount,
    )


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
    return vault_program(
        programs,
        "compound_yield",
        [*yield_accounts, *signers(extra_signers)],
        authority=authority,
        owner=owner,
        yield_program=yield_program,
        compounded_amount=compounded_amount,
    )

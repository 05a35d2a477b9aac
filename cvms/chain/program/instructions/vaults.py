"""Instructions to open a vault, to deposit, to withdraw, and to close it."""

from __future__ import annotations

from collections.abc import Sequence

from solana.constants import SYSTEM_PROGRAM_ID
from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey
from solders.sysvar import RENT
from spl.token.constants import ASSOCIATED_TOKEN_PROGRAM_ID, TOKEN_PROGRAM_ID

from cvms.chain.program.addresses import token_account, vault_address, vault_authority_address
from cvms.chain.program.instructions.encoding import (
    readonly,
    signer,
    signers,
    u64,
    vault_program,
    writable,
)
from cvms.chain.types import Programs


def initialize(programs: Programs) -> Instruction:
    """Do nothing; the instruction is part of the program's interface."""
    return vault_program(programs, "initialize", [readonly(SYSTEM_PROGRAM_ID)])


def initialize_vault(programs: Programs, user: Pubkey) -> Instruction:
    """Create the user's vault and its token account; the user pays their rent."""
    vault = vault_address(programs, user)
    accounts = [
        signer(user, writable=True),
        writable(vault),
        writable(token_account(vault, programs.mint)),
        readonly(programs.mint),
        readonly(SYSTEM_PROGRAM_ID),
        readonly(TOKEN_PROGRAM_ID),
        readonly(ASSOCIATED_TOKEN_PROGRAM_ID),
        readonly(RENT),
    ]
    return vault_program(programs, "initialize_vault", accounts)


def close_vault(programs: Programs, user: Pubkey) -> Instruction:
    """Close the user's empty vault and its token account. Their rent is returned to the user."""
    vault = vault_address(programs, user)
    accounts = [
        signer(user, writable=True),
        writable(vault),
        writable(token_account(vault, programs.mint)),
        readonly(TOKEN_PROGRAM_ID),
    ]
    return vault_program(programs, "close_vault", accounts)


def get_vault_info(programs: Programs, owner: Pubkey) -> Instruction:
    """Check that the vault exists, without any effect."""
    return vault_program(programs, "get_vault_info", [readonly(vault_address(programs, owner))])


def deposit(programs: Programs, *, authority: Pubkey, owner: Pubkey, amount: int) -> Instruction:
    """Move `amount` from the authority's associated token account into the owner's vault."""
    vault = vault_address(programs, owner)
    accounts = [
        signer(authority, writable=True),
        readonly(owner),
        writable(vault),
        writable(token_account(authority, programs.mint)),
        writable(token_account(vault, programs.mint)),
        readonly(TOKEN_PROGRAM_ID),
    ]
    return vault_program(programs, "deposit", accounts, u64(amount))


def withdraw(
    programs: Programs,
    *,
    authority: Pubkey,
    owner: Pubkey,
    recipient_token_account: Pubkey,
    position_summaries: Sequence[Pubkey],
    amount: int,
    extra_signers: Sequence[Pubkey] = (),
) -> Instruction:
    """Move `amount` from the owner's vault to a token account.

    `position_summaries`: one for each authorized program, in the vault authority's order.
    """
    accounts = [
        *_payout(programs, authority, owner, recipient_token_account),
        *(readonly(summary) for summary in position_summaries),
        *signers(extra_signers),
    ]
    return vault_program(programs, "withdraw", accounts, u64(amount))


def emergency_withdraw(
    programs: Programs, *, authority: Pubkey, owner: Pubkey, amount: int
) -> Instruction:
    """Move `amount` to the owner's associated token account.

    The authority is the owner, limited to the available balance, or governance, which can withdraw
    the locked balance too.
    """
    accounts = _payout(programs, authority, owner, token_account(owner, programs.mint))
    return vault_program(programs, "emergency_withdraw", accounts, u64(amount))


def _payout(
    programs: Programs, authority: Pubkey, owner: Pubkey, recipient_token_account: Pubkey
) -> list[AccountMeta]:
    vault = vault_address(programs, owner)
    return [
        signer(authority, writable=True),
        readonly(owner),
        writable(vault),
        readonly(vault_authority_address(programs)),
        writable(token_account(vault, programs.mint)),
        writable(recipient_token_account),
        readonly(TOKEN_PROGRAM_ID),
    ]

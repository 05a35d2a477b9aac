"""Instructions to open a vault, to deposit, to withdraw, and to close it."""

from __future__ import annotations

from collections.abc import Sequence

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from cvms.chain.program.addresses import token_account, vault_address
from cvms.chain.program.instructions.encoding import readonly, signers, vault_program, writable
from cvms.chain.types import Programs


def initialize(programs: Programs) -> Instruction:
    """Do nothing; the instruction is part of the program's interface."""
    return vault_program(programs, "initialize")


def initialize_vault(programs: Programs, user: Pubkey) -> Instruction:
    """Create the user's vault and its token account; the user pays their rent."""
    vault = vault_address(programs, user)
    return vault_program(programs, "initialize_vault", user=user, vault=vault)


def close_vault(
    programs: Programs,
    user: Pubkey,
    *,
    surplus_account: Pubkey | None = None,
    extra_signers: Sequence[Pubkey] = (),
) -> Instruction:
    """Close the user's empty vault and its token account. Their rent is returned to the user.

    Tokens that the balances do not count go to the user's token account `surplus_account`; only
    these need a multisig's signers.
    """
    vault = vault_address(programs, user)
    remaining = [] if surplus_account is None else [writable(surplus_account)]
    remaining += signers(extra_signers)
    return vault_program(programs, "close_vault", remaining, user=user, vault=vault)


def get_vault_info(programs: Programs, owner: Pubkey) -> Instruction:
    """Check that the vault exists, without any effect."""
    return vault_program(programs, "get_vault_info", owner=owner)


def deposit(programs: Programs, *, authority: Pubkey, owner: Pubkey, amount: int) -> Instruction:
    """Move `amount` from the authority's associated token account into the owner's vault."""
    return vault_program(
        programs,
        "deposit",
        authority=authority,
        owner=owner,
        user_token_account=token_account(authority, programs.mint),
        amount=amount,
    )


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
    return vault_program(
        programs,
        "withdraw",
        [*map(readonly, position_summaries), *signers(extra_signers)],
        authority=authority,
        owner=owner,
        user_token_account=recipient_token_account,
        amount=amount,
    )


def emergency_withdraw(
    programs: Programs,
    *,
    authority: Pubkey,
    owner: Pubkey,
    amount: int,
    extra_signers: Sequence[Pubkey] = (),
) -> Instruction:
    """Move `amount` to the owner's associated token account.

    The authority is the owner, limited to the available balance and by the vault's guards, or
    governance, which can withdraw the locked balance too.
    """
    return vault_program(
        programs,
        "emergency_withdraw",
        signers(extra_signers),
        authority=authority,
        owner=owner,
        user_token_account=token_account(owner, programs.mint),
        amount=amount,
    )

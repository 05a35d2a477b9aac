"""Instructions of the vault program, and the few of other programs that go with them.

Account order and flags are the IDL's. Amounts are token units; one out of a u64's range raises
ValueError.
"""

from __future__ import annotations

from collections.abc import Sequence

from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

from cvms.chain import borsh
from cvms.chain.addresses import (
    ASSOCIATED_TOKEN_PROGRAM,
    RENT_SYSVAR,
    SYSTEM_PROGRAM,
    TOKEN_PROGRAM,
    position_summary_address,
    token_account,
    vault_address,
    vault_authority_address,
)
from cvms.chain.types import Programs

__all__ = [
    "add_delegate",
    "create_token_account",
    "deposit",
    "initialize_vault",
    "initialize_vault_authority",
    "position_summary_address",
    "remove_delegate",
    "set_compute_unit_limit",
    "set_compute_unit_price",
    "token_account",
    "vault_address",
    "vault_authority_address",
    "withdraw",
]


def initialize_vault_authority(
    programs: Programs,
    *,
    governance: Pubkey,
    authorized_programs: Sequence[Pubkey] = (),
    freeze: bool | None = None,
) -> Instruction:
    """Create the vault authority; the signer becomes governance. Works once."""
    count = len(authorized_programs).to_bytes(4, "little")
    keys = b"".join(bytes(program) for program in authorized_programs)
    flag = b"\0" if freeze is None else b"\1" + bytes([freeze])
    accounts = [
        _signer(governance, writable=True),
        _writable(vault_authority_address(programs)),
        _readonly(SYSTEM_PROGRAM),
    ]
    return _vault_program(programs, "initialize_vault_authority", accounts, count + keys + flag)


def initialize_vault(programs: Programs, user: Pubkey) -> Instruction:
    """Create the user's vault and its token account; the user pays their rent."""
    vault = vault_address(programs, user)
    accounts = [
        _signer(user, writable=True),
        _writable(vault),
        _writable(token_account(vault, programs.mint)),
        _readonly(programs.mint),
        _readonly(SYSTEM_PROGRAM),
        _readonly(TOKEN_PROGRAM),
        _readonly(ASSOCIATED_TOKEN_PROGRAM),
        _readonly(RENT_SYSVAR),
    ]
    return _vault_program(programs, "initialize_vault", accounts)


def deposit(programs: Programs, *, authority: Pubkey, owner: Pubkey, amount: int) -> Instruction:
    """Move `amount` from the authority's associated token account into the owner's vault."""
    vault = vault_address(programs, owner)
    accounts = [
        _signer(authority, writable=True),
        _readonly(owner),
        _writable(vault),
        _writable(token_account(authority, programs.mint)),
        _writable(token_account(vault, programs.mint)),
        _readonly(TOKEN_PROGRAM),
    ]
    return _vault_program(programs, "deposit", accounts, _u64(amount))


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
    `extra_signers`: the multisig's co-signers besides the authority.
    """
    vault = vault_address(programs, owner)
    accounts = [
        _signer(authority, writable=True),
        _readonly(owner),
        _writable(vault),
        _readonly(vault_authority_address(programs)),
        _writable(token_account(vault, programs.mint)),
        _writable(recipient_token_account),
        _readonly(TOKEN_PROGRAM),
        *(_readonly(summary) for summary in position_summaries),
        *(_signer(signer) for signer in extra_signers),
    ]
    return _vault_program(programs, "withdraw", accounts, _u64(amount))


def add_delegate(programs: Programs, *, owner: Pubkey, delegate: Pubkey) -> Instruction:
    """Let `delegate` act for the owner's vault; it can only ever pay out to the owner's side."""
    return _delegate(programs, "add_delegate", owner, delegate)


def remove_delegate(programs: Programs, *, owner: Pubkey, delegate: Pubkey) -> Instruction:
    """Take back what `add_delegate` gave."""
    return _delegate(programs, "remove_delegate", owner, delegate)


def create_token_account(*, payer: Pubkey, owner: Pubkey, mint: Pubkey) -> Instruction:
    """Create the owner's associated token account; succeeds too when it is there already."""
    accounts = [
        _signer(payer, writable=True),
        _writable(token_account(owner, mint)),
        _readonly(owner),
        _readonly(mint),
        _readonly(SYSTEM_PROGRAM),
        _readonly(TOKEN_PROGRAM),
    ]
    return Instruction(ASSOCIATED_TOKEN_PROGRAM, b"\1", accounts)  # 1: CreateIdempotent


def _delegate(programs: Programs, name: str, owner: Pubkey, delegate: Pubkey) -> Instruction:
    accounts = [_signer(owner, writable=True), _writable(vault_address(programs, owner))]
    return _vault_program(programs, name, accounts, bytes(delegate))


def _vault_program(
    programs: Programs, name: str, accounts: list[AccountMeta], arguments: bytes = b""
) -> Instruction:
    data = borsh.discriminator("global", name) + arguments
    return Instruction(programs.vault, data, accounts)


def _u64(amount: int) -> bytes:
    return borsh.encode_number(borsh.Number("<Q"), amount)


def _signer(address: Pubkey, *, writable: bool = False) -> AccountMeta:
    return AccountMeta(address, is_signer=True, is_writable=writable)


def _writable(address: Pubkey) -> AccountMeta:
    return AccountMeta(address, is_signer=False, is_writable=True)


def _readonly(address: Pubkey) -> AccountMeta:
    return AccountMeta(address, is_signer=False, is_writable=False)

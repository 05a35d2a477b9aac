"""Instructions for an owner's policy: who may act for the vault, and how tokens may leave it."""

from __future__ import annotations

from collections.abc import Sequence

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from cvms.chain.program.addresses import vault_address
from cvms.chain.program.instructions.encoding import (
    i64,
    keys,
    signer,
    u8,
    u32,
    u64,
    vault_program,
    writable,
)
from cvms.chain.types import Programs


def set_vault_multisig(
    programs: Programs, *, owner: Pubkey, signers: Sequence[Pubkey], threshold: int
) -> Instruction:
    """Require `threshold` of these signers, 10 at most, to move the vault's tokens."""
    accounts = [signer(owner), writable(vault_address(programs, owner))]
    return vault_program(programs, "set_vault_multisig", accounts, keys(signers) + u8(threshold))


def disable_vault_multisig(programs: Programs, *, owner: Pubkey) -> Instruction:
    """Let the owner and the delegates act alone again."""
    accounts = [signer(owner), writable(vault_address(programs, owner))]
    return vault_program(programs, "disable_vault_multisig", accounts)


def add_delegate(programs: Programs, *, owner: Pubkey, delegate: Pubkey) -> Instruction:
    """Let `delegate` act for the owner's vault; it can only pay out to the owner's side."""
    return _by_owner(programs, "add_delegate", owner, bytes(delegate))


def remove_delegate(programs: Programs, *, owner: Pubkey, delegate: Pubkey) -> Instruction:
    """Undo `add_delegate`."""
    return _by_owner(programs, "remove_delegate", owner, bytes(delegate))


def set_withdraw_min_delay(programs: Programs, *, owner: Pubkey, seconds: int) -> Instruction:
    """Set the delay between the request of a withdrawal and its execution; 0 removes it."""
    return _by_owner(programs, "set_withdraw_min_delay", owner, i64(seconds))


def set_withdraw_rate_limit(
    programs: Programs, *, owner: Pubkey, window_seconds: int, max_amount: int
) -> Instruction:
    """Limit withdrawals to `max_amount` within a window, which starts now; 0 removes the limit."""
    arguments = u32(window_seconds) + u64(max_amount)
    return _by_owner(programs, "set_withdraw_rate_limit", owner, arguments)


def add_withdraw_whitelist(programs: Programs, *, owner: Pubkey, address: Pubkey) -> Instruction:
    """Allow withdrawals to token accounts of this wallet, besides the owner's."""
    return _by_owner(programs, "add_withdraw_whitelist", owner, bytes(address))


def remove_withdraw_whitelist(programs: Programs, *, owner: Pubkey, address: Pubkey) -> Instruction:
    """Undo `add_withdraw_whitelist`."""
    return _by_owner(programs, "remove_withdraw_whitelist", owner, bytes(address))


def _by_owner(programs: Programs, name: str, owner: Pubkey, arguments: bytes) -> Instruction:
    accounts = [signer(owner, writable=True), writable(vault_address(programs, owner))]
    return vault_program(programs, name, accounts, arguments)

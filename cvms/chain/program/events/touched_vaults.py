"""Vaults that a transaction opened, closed or may have written, from its instructions."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from solders.pubkey import Pubkey

from cvms.chain.borsh import discriminator
from cvms.chain.program.idl import ProgramName, load_idl
from cvms.chain.rpc.responses import TransactionRecord
from cvms.chain.types import Programs

_VAULTS = frozenset({"vault", "from_vault", "to_vault"})
_INITIALIZE_VAULT = discriminator("global", "initialize_vault")
_CLOSE_VAULT = discriminator("global", "close_vault")


@dataclass(frozen=True, slots=True)
class OpenedVault:
    """A vault, from the instruction that created it."""

    owner: Pubkey
    vault: Pubkey
    token_account: Pubkey
    mint: Pubkey


@dataclass(frozen=True, slots=True)
class ClosedVault:
    """A vault, from the instruction that closed it."""

    vault: Pubkey


def touched_vaults(record: TransactionRecord, programs: Programs) -> set[Pubkey]:
    """Return the vaults that instructions of our programs, top-level or inner, may have written.

    The position manager's instructions count too, since a node without inner instructions does not
    show its calls of the vault program. A failed transaction wrote nothing. Fetching an address
    shows whether it is a vault.
    """
    if record.err is not None:
        return set()
    names: dict[Pubkey, ProgramName] = {
        programs.vault: "collateral_vault",
        programs.position_manager: "position_manager",
    }
    touched = set()
    for instruction in record.instructions:
        if name := names.get(instruction.program_id):
            for position in _positions(name).get(instruction.data[:8], ()):
                if position < len(instruction.accounts):
                    touched.add(instruction.accounts[position])
    return touched


def vault_lifecycle(
    record: TransactionRecord, programs: Programs
) -> list[OpenedVault | ClosedVault]:
    """Return the vaults that a transaction opened and closed, in order; none if it failed."""
    if record.err is not None:
        return []
    changes: list[OpenedVault | ClosedVault] = []
    for each in record.instructions:
        if each.program_id != programs.vault or len(each.accounts) < 4:
            continue
        if each.data[:8] == _INITIALIZE_VAULT:
            changes.append(OpenedVault(*each.accounts[:4]))
        elif each.data[:8] == _CLOSE_VAULT:
            changes.append(ClosedVault(each.accounts[1]))
    return changes


@cache
def _positions(program: ProgramName) -> dict[bytes, tuple[int, ...]]:
    """Return the indexes of writable vaults among the accounts, by instruction discriminator."""
    return {
        bytes(instruction.discriminator): tuple(
            position
            for position, slot in enumerate(instruction.accounts)
            if slot.writable and slot.name in _VAULTS
        )
        for instruction in load_idl(program).instructions
    }

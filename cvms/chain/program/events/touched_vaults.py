"""Which vaults a transaction opened, closed and wrote, whatever its logs say."""

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
    """A vault as the instruction that created it names it."""

    owner: Pubkey
    vault: Pubkey
    token_account: Pubkey
    mint: Pubkey


@dataclass(frozen=True, slots=True)
class ClosedVault:
    """A vault as the instruction that closed it names it."""

    vault: Pubkey


def touched_vaults(record: TransactionRecord, programs: Programs) -> set[Pubkey]:
    """The vaults that our programs' instructions, top-level or inner, may have written.

    The position manager's count too: a node that keeps no inner instructions does not show its
    calls of the vault program. A failed transaction wrote none. That an address really is a vault
    is seen when it is fetched.
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
    """The vaults that a transaction opened and closed, in its order; none if it failed."""
    if record.err is not None:
        return []
    found: list[OpenedVault | ClosedVault] = []
    for each in record.instructions:
        if each.program_id != programs.vault or len(each.accounts) < 4:
            continue
        if each.data[:8] == _INITIALIZE_VAULT:
            found.append(OpenedVault(*each.accounts[:4]))
        elif each.data[:8] == _CLOSE_VAULT:
            found.append(ClosedVault(each.accounts[1]))
    return found


@cache
def _positions(program: ProgramName) -> dict[bytes, tuple[int, ...]]:
    """By instruction discriminator: where in its account list writable vaults are."""
    return {
        bytes(instruction.discriminator): tuple(
            position
            for position, slot in enumerate(instruction.accounts)
            if slot.writable and slot.name in _VAULTS
        )
        for instruction in load_idl(program).instructions
    }

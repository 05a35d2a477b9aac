"""Which vaults a transaction wrote: the accounts to fetch again, whatever its logs say."""

from __future__ import annotations

from functools import cache

from solders.pubkey import Pubkey

from cvms.chain.answers import TransactionRecord
from cvms.chain.idl import load_idl
from cvms.chain.types import Programs

_VAULTS = frozenset({"vault", "from_vault", "to_vault"})


def touched_vaults(record: TransactionRecord, programs: Programs) -> set[Pubkey]:
    """The vaults that our program's instructions, top-level or inner, may have written.

    A failed transaction wrote none. That an address really is a vault is seen when it is fetched.
    """
    if record.err is not None:
        return set()
    touched = set()
    for instruction in record.instructions:
        if instruction.program_id == programs.vault:
            for position in _positions().get(instruction.data[:8], ()):
                if position < len(instruction.accounts):
                    touched.add(instruction.accounts[position])
    return touched


@cache
def _positions() -> dict[bytes, tuple[int, ...]]:
    """By instruction discriminator: where in its account list writable vaults are."""
    return {
        bytes(instruction.discriminator): tuple(
            position
            for position, slot in enumerate(instruction.accounts)
            if slot.writable and slot.name in _VAULTS
        )
        for instruction in load_idl("collateral_vault").instructions
    }

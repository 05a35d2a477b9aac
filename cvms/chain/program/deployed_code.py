"""Code of deployed programs: its hash, and who can replace it.

Source of the layout: `UpgradeableLoaderState` of the Solana SDK.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files

from solana.constants import BPF_LOADER_PROGRAM_ID
from solders.pubkey import Pubkey

from cvms.chain.program.accounts import owned_by
from cvms.chain.types import Account, Programs, Slot
from cvms.errors import DecodeError

HEADER_LENGTH = 45
"""State, slot of the deployment and upgrade authority, which precede the code."""
_PROGRAM_DATA_STATE = 3


@dataclass(frozen=True, slots=True)
class ProgramData:
    """The header of a program's data. `upgrade_authority` is None once nobody can replace it."""

    deployed_at: Slot
    upgrade_authority: Pubkey | None


def read_program_data(account: Account | None) -> ProgramData | None:
    """Return the header of the account at a program's data address, None if there is none.

    Raises DecodeError if it is something else.
    """
    owned = owned_by(account, BPF_LOADER_PROGRAM_ID)
    if owned is None:
        return None
    data = owned.data
    if len(data) < HEADER_LENGTH or int.from_bytes(data[:4], "little") != _PROGRAM_DATA_STATE:
        raise DecodeError("not a program's data")
    authority = Pubkey.from_bytes(data[13:45]) if data[12] else None
    return ProgramData(Slot(int.from_bytes(data[4:12], "little")), authority)


def code_hash(code: bytes) -> str:
    """Return the hash of a program's file, as `solana-verify get-program-hash` computes it."""
    return hashlib.sha256(code.rstrip(b"\0")).hexdigest()


def shipped_hash(name: str) -> str:
    """Return the hash of a program of this package, such as `collateral_vault`."""
    return code_hash(files("cvms").joinpath("programs", f"{name}.so").read_bytes())


def named_programs(programs: Programs) -> dict[str, Pubkey]:
    """Return the addresses of the service's programs by the name of their files."""
    return {
        "collateral_vault": programs.vault,
        "position_manager": programs.position_manager,
        "yield_pool": programs.yield_pool,
    }

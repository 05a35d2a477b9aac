"""The programs of this package: their names, their settings and their code."""

from __future__ import annotations

from importlib.resources import files

from solders.pubkey import Pubkey

from cvms.chain.types import Programs

PROGRAM_SETTINGS = {
    "collateral_vault": "PROGRAM_ID",
    "position_manager": "POSITION_MANAGER_PROGRAM_ID",
    "yield_pool": "YIELD_POOL_PROGRAM_ID",
}
"""The setting of each program's id."""
PROGRAM_NAMES = tuple(PROGRAM_SETTINGS)


def bundled_elf(name: str) -> bytes:
    """Return the code of one of this package's programs."""
    return files("cvms").joinpath("programs", f"{name}.so").read_bytes()


def named_programs(programs: Programs) -> dict[str, Pubkey]:
    """Return the ids of the programs by their names."""
    ids = (programs.vault, programs.position_manager, programs.yield_pool)
    return dict(zip(PROGRAM_NAMES, ids, strict=True))

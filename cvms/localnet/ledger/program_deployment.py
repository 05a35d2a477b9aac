"""Deployment of programs: an account that points to its code, as the upgradeable loader's."""

from __future__ import annotations

from solana.constants import BPF_LOADER_PROGRAM_ID
from solders.account import Account
from solders.pubkey import Pubkey

from cvms.localnet.ledger.chain import LocalnetChain

PROGRAM_STATE = (2).to_bytes(4, "little")
PROGRAM_DATA_STATE = (3).to_bytes(4, "little")
HEADER_LENGTH = 45
"""State, slot of the deployment and upgrade authority, which precede the code."""


def code_address(program_id: Pubkey) -> Pubkey:
    return Pubkey.find_program_address([bytes(program_id)], BPF_LOADER_PROGRAM_ID)[0]


def deployed_code(chain: LocalnetChain, program_id: Pubkey) -> bytes:
    """Return a program's code, empty if it does not exist."""
    account = chain.accounts.latest(code_address(program_id))
    return b"" if account is None else bytes(account.data)[HEADER_LENGTH:]


def deploy(
    chain: LocalnetChain, program_id: Pubkey, elf: bytes, *, authority: Pubkey | None = None
) -> None:
    """Install or replace a program, which can run at once.

    Raises ProgramNotLoadable if the code is incomplete. The code is kept, but the program does
    not exist until it is complete.
    """
    slot = (0).to_bytes(8, "little")
    owner = bytes([authority is not None]) + bytes(authority or Pubkey.default())
    code = PROGRAM_DATA_STATE + slot + owner + elf
    program = PROGRAM_STATE + bytes(code_address(program_id))
    chain.overwrite(program_id, None)  # a program must not point to code that it does not run
    _write(chain, code_address(program_id), code, executable=False)
    _write(chain, program_id, program, executable=True)


def _write(chain: LocalnetChain, key: Pubkey, data: bytes, *, executable: bool) -> None:
    lamports = chain.vm.rent_exempt(len(data))
    chain.overwrite(key, Account(lamports, data, BPF_LOADER_PROGRAM_ID, executable=executable))

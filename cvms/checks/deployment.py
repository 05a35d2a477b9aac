"""The accounts of a deployment on the chain: programs, vault authority, transfer limits, mint."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from solders.pubkey import Pubkey

from cvms.chain.program.accounts import read_vault_authority
from cvms.chain.program.addresses import (
    program_data_address,
    transfer_limits_address,
    vault_authority_address,
)
from cvms.chain.program.bundled_programs import named_programs
from cvms.chain.program.upgradeable_loader import PROGRAM_DATA_HEADER, executable_hash
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Account, Commitment, Programs
from cvms.errors import DecodeError

HEADERS_ONLY = (0, PROGRAM_DATA_HEADER)
RUNS_WITH_SAME_HASH = 20
"""The code of an unchanged header is read again after as many runs: it is half a megabyte."""


@dataclass(frozen=True, slots=True)
class ProgramAccounts:
    """A program's account, the first bytes of its data account, and the hash of its code."""

    address: Pubkey
    account: Account | None
    data: Account | None
    hash: str | None = None


@dataclass(frozen=True, slots=True)
class Deployment:
    """What the chain holds. `own` are the service's programs by the name of their file."""

    programs: Programs
    authority: Account | None
    limits: Account | None
    mint: Account | None
    own: Mapping[str, ProgramAccounts]
    listed: Sequence[ProgramAccounts]


@dataclass(slots=True, eq=False)
class DeploymentReader:
    """Reads a deployment, and the code of its programs only if it was deployed again."""

    rpc: RpcClient
    programs: Programs
    _hashes: dict[Pubkey, tuple[bytes, str, int]] = field(default_factory=dict, init=False)
    _runs: int = field(default=0, init=False)

    async def read(self) -> Deployment:
        """Read the accounts. Raises ChainUnavailable and RpcError."""
        self._runs += 1
        found = await self.rpc.get_accounts(
            [
                vault_authority_address(self.programs),
                transfer_limits_address(self.programs),
                self.programs.mint,
            ],
            commitment=Commitment.CONFIRMED,
        )
        authority, limits, mint = found.accounts
        named = named_programs(self.programs)
        listed = [each for each in _listed(authority, self.programs) if each not in named.values()]
        programs = await self._programs([*named.values(), *listed])
        return Deployment(
            programs=self.programs,
            authority=authority,
            limits=limits,
            mint=mint,
            own={
                name: await self._with_hash(program)
                for name, program in zip(named, programs, strict=False)
            },
            listed=programs[len(named) :],
        )

    async def _programs(self, addresses: Sequence[Pubkey]) -> list[ProgramAccounts]:
        """Return the programs without the hashes of their code."""
        data_addresses = [program_data_address(each) for each in addresses]
        found = await self.rpc.get_accounts(
            [*addresses, *data_addresses],
            commitment=Commitment.CONFIRMED,
            data_slice=HEADERS_ONLY,
        )
        half = len(addresses)
        pairs = zip(addresses, found.accounts[:half], found.accounts[half:], strict=True)
        return [ProgramAccounts(address, account, data) for address, account, data in pairs]

    async def _with_hash(self, program: ProgramAccounts) -> ProgramAccounts:
        if program.data is None:
            return program
        header, known, read_in = self._hashes.get(program.address, (b"", "", 0))
        if header != program.data.data or self._runs - read_in >= RUNS_WITH_SAME_HASH:
            found = await self.rpc.get_accounts(
                [program_data_address(program.address)], commitment=Commitment.CONFIRMED
            )
            [account] = found.accounts
            if account is None:  # closed since
                return ProgramAccounts(program.address, program.account, None)
            known = executable_hash(account.data[PROGRAM_DATA_HEADER:])
            self._hashes[program.address] = (account.data[:PROGRAM_DATA_HEADER], known, self._runs)
        return ProgramAccounts(program.address, program.account, program.data, known)


def _listed(authority: Account | None, programs: Programs) -> list[Pubkey]:
    """Return the programs that the vault authority lists, each once."""
    try:
        known = read_vault_authority(authority, programs)
    except DecodeError:
        return []  # reported by the check of the authority
    if known is None:
        return []
    return list(dict.fromkeys([*known.authorized_programs, *known.yield_whitelist]))

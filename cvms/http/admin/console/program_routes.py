"""The route that shows the programs on the chain, and the authority that governs them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec
import trio
from solders.pubkey import Pubkey

from cvms.chain.program.accounts import VaultAuthority, read_vault_authority
from cvms.chain.program.upgradeable_loader import read_program_data
from cvms.checks.deployment import Deployment, DeploymentReader, ProgramAccounts
from cvms.checks.program_check import shipped_hashes
from cvms.errors import ChainUnavailable, DecodeError, RpcError
from cvms.http.framework.admin_tokens import Administrator, Role
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.response import Reply
from cvms.http.framework.routing import Auth, RouteGroup


class ProgramOnChain(msgspec.Struct, frozen=True, kw_only=True):
    """A program of the service, or one that the vault authority lists, whose name is its address.

    `expected_hash` is that of the code in this version, null for a program of others, whose code is
    not read. `upgrade_authority` is null if nobody can replace the code, `slot` is that of the last
    deployment; both are null where there is no program of the upgradeable loader.
    """

    name: str
    program_id: str
    deployed: bool
    code_hash: str | None
    expected_hash: str | None
    upgrade_authority: str | None
    slot: int | None


class AuthorityOnChain(msgspec.Struct, frozen=True, kw_only=True):
    """The vault authority: who governs, and which programs it lists."""

    governance: str
    proposed_governance: str | None
    frozen: bool
    withdrawals_paused_until: datetime | None
    programs: list[str]
    yield_programs: list[str]


class ProgramsOnChain(msgspec.Struct, frozen=True, kw_only=True):
    """The programs, the service's own first. `authority` is null while there is none."""

    programs: list[ProgramOnChain]
    authority: AuthorityOnChain | None


def program_routes() -> RouteGroup:
    """Return the route of one application, which reads unchanged code only now and then."""
    group = RouteGroup("administration", auth=Auth.ADMIN, role=Role.VIEWER)
    reading = trio.Lock()
    readers: list[DeploymentReader] = []
    shipped: dict[str, str] = {}

    @group.get(
        "/api/admin/programs",
        replies={200: ProgramsOnChain},
        refusals=(ChainUnavailable, RpcError),
    )
    async def list_programs(deps: Dependencies, administrator: Administrator) -> Reply:
        """List the programs on the chain.

        Returns those of the service with the hash of their code beside the expected one, those that
        the vault authority lists, and the authority itself, at `confirmed`.
        """
        async with reading:
            if not readers:
                shipped.update(await trio.to_thread.run_sync(shipped_hashes))
                readers.append(DeploymentReader(deps.rpc, deps.programs))
            deployment = await readers[0].read()
        return Reply(_reply(deployment, shipped))

    return group


def _reply(deployment: Deployment, shipped: Mapping[str, str]) -> ProgramsOnChain:
    own = [_program(name, each, shipped[name]) for name, each in deployment.own.items()]
    listed = [_program(str(each.address), each, None) for each in deployment.listed]
    try:
        authority = read_vault_authority(deployment.authority, deployment.programs)
    except DecodeError:
        authority = None  # `cvms check` says what is wrong with it
    return ProgramsOnChain(
        programs=[*own, *listed], authority=None if authority is None else _authority(authority)
    )


def _program(name: str, program: ProgramAccounts, expected: str | None) -> ProgramOnChain:
    try:
        data = read_program_data(program.data)
    except DecodeError:
        data = None
    authority = None if data is None else data.authority
    return ProgramOnChain(
        name=name,
        program_id=str(program.address),
        deployed=program.account is not None and program.account.executable,
        code_hash=program.hash,
        expected_hash=expected,
        upgrade_authority=None if authority is None else str(authority),
        slot=None if data is None else data.slot,
    )


def _authority(authority: VaultAuthority) -> AuthorityOnChain:
    proposed, until = authority.pending_governance, authority.withdrawals_paused_until
    return AuthorityOnChain(
        governance=str(authority.governance),
        proposed_governance=None if proposed == Pubkey.default() else str(proposed),
        frozen=authority.freeze,
        withdrawals_paused_until=datetime.fromtimestamp(until, UTC) if until else None,
        programs=[str(each) for each in authority.authorized_programs],
        yield_programs=[str(each) for each in authority.yield_whitelist],
    )

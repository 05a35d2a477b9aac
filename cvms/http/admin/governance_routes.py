"""Routes of governance: changes that concern all vaults.

The operator's key signs them where it is governance. Elsewhere they are answered with a transaction
for the wallet that is, or with instructions for the program that is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, ClassVar

import msgspec
from solders.instruction import Instruction
from solders.pubkey import Pubkey

from cvms.chain.program import instructions
from cvms.chain.program.accounts import TransferLimits as LimitsAccount
from cvms.chain.program.accounts import read_transfer_limits
from cvms.chain.program.addresses import transfer_limits_address
from cvms.chain.types import Commitment
from cvms.errors import Conflict, NotFound, NotSponsored, ProgramRefused
from cvms.http.auth.credential import AdministratorRequest
from cvms.http.framework.admin_tokens import Administrator
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.request import Body, WholeNumber
from cvms.http.framework.response import Reply, Response
from cvms.http.framework.routing import Auth, RouteGroup
from cvms.http.operations import plans
from cvms.http.operations.execute import GOVERNED, execute_operation

NOBODY = Pubkey.default()
SHORTEST_PAUSE = 3600
"""In seconds, that one administrator may set alone."""
PauseSeconds = Annotated[int, msgspec.Meta(ge=0, le=72 * 3600)]
RiskLevel = Annotated[int, msgspec.Meta(ge=0, le=255)]

ROUTES = RouteGroup(
    "administration",
    replies=GOVERNED,
    refusals=(ProgramRefused, NotSponsored, NotFound),
    auth=Auth.ADMIN,
    idempotent=True,
)


class AuthorizedProgram(Body, frozen=True):
    """The program may also be called `program_id`."""

    aliases: ClassVar[Mapping[str, str]] = {"program_id": "program"}

    program: Pubkey


class YieldProgram(Body, frozen=True):
    """The program may also be called `yield_program`."""

    aliases: ClassVar[Mapping[str, str]] = {"yield_program": "program"}

    program: Pubkey


class Freeze(Body, frozen=True):
    freeze: bool


class CpiEnforced(Body, frozen=True):
    cpi_enforced: bool


class Risk(Body, frozen=True):
    risk_level: RiskLevel


class Handover(Body, frozen=True):
    proposed: Pubkey


class Accepting(Body, frozen=True):
    pass


class Pause(Body, frozen=True):
    seconds: PauseSeconds


class TransferLimits(Body, frozen=True):
    vault_daily: WholeNumber
    total_daily: WholeNumber


@ROUTES.post("/api/admin/vault-authority/add", needs_approval="add_authorized_program")
async def add_authorized_program(
    deps: Dependencies, body: AuthorizedProgram, administrator: Administrator
) -> Reply | Response:
    """Authorize a program to move collateral.

    The program may then lock, unlock and transfer the collateral of vaults.
    """
    return await _govern(deps, administrator, instructions.add_authorized_program, body)


@ROUTES.post("/api/admin/vault-authority/remove")
async def remove_authorized_program(
    deps: Dependencies, body: AuthorizedProgram, administrator: Administrator
) -> Reply | Response:
    """Revoke a program's authorization to move collateral."""
    return await _govern(deps, administrator, instructions.remove_authorized_program, body)


@ROUTES.post("/api/admin/yield-program/add", needs_approval="add_yield_program")
async def add_yield_program(
    deps: Dependencies, body: YieldProgram, administrator: Administrator
) -> Reply | Response:
    """Add a program to the yield whitelist.

    Vaults may then deposit tokens into it.
    """
    return await _govern(deps, administrator, instructions.add_yield_program, body)


@ROUTES.post("/api/admin/yield-program/remove")
async def remove_yield_program(
    deps: Dependencies, body: YieldProgram, administrator: Administrator
) -> Reply | Response:
    """Remove a program from the yield whitelist."""
    return await _govern(deps, administrator, instructions.remove_yield_program, body)


@ROUTES.post("/api/admin/risk-level/set")
async def set_risk_level(
    deps: Dependencies, body: Risk, administrator: Administrator
) -> Reply | Response:
    """Set the risk level.

    The number informs readers of the vault authority's account; the program ignores it.
    """
    return await _govern(deps, administrator, instructions.set_risk_level, body)


async def _unfreezes(deps: Dependencies, body: Freeze) -> bool:
    return not body.freeze


@ROUTES.post("/api/admin/freeze/set", needs_approval="set_freeze_flag", exposes=_unfreezes)
async def set_freeze_flag(
    deps: Dependencies, body: Freeze, administrator: Administrator
) -> Reply | Response:
    """Freeze or unfreeze what programs do with collateral.

    While frozen, collateral can be neither locked, unlocked nor transferred. Withdrawals go on:
    `POST /api/admin/withdrawals/pause` stops them for a time.
    """
    return await _govern(deps, administrator, instructions.set_freeze_flag, body)


async def _unnames_callers(deps: Dependencies, body: CpiEnforced) -> bool:
    return not body.cpi_enforced


@ROUTES.post(
    "/api/admin/cpi-enforced/set", needs_approval="set_cpi_enforced", exposes=_unnames_callers
)
async def set_cpi_enforced(
    deps: Dependencies, body: CpiEnforced, administrator: Administrator
) -> Reply | Response:
    """Set whether calling programs must be named.

    If enforced, instructions that move collateral must name the calling program in
    `caller_program`.
    """
    return await _govern(deps, administrator, instructions.set_cpi_enforced, body)


async def _proposes_somebody(deps: Dependencies, body: Handover) -> bool:
    return body.proposed != NOBODY


@ROUTES.post(
    "/api/admin/governance/propose", needs_approval="propose_governance", exposes=_proposes_somebody
)
async def propose_governance(
    deps: Dependencies, body: Handover, administrator: Administrator
) -> Reply | Response:
    """Propose a new governance.

    It takes over when it accepts. The zero address (`1111…`) withdraws a proposal. Where
    governance is lost or stolen, the program's upgrade authority proposes, without this service.
    """
    governance = (await plans.vault_authority(deps)).governance
    instruction = instructions.propose_governance(
        deps.programs, authority=governance, proposed=body.proposed
    )
    return await _act(
        deps, administrator, instruction, body, action="propose_governance", signer=governance
    )


async def _require_proposal(deps: Dependencies, body: Accepting) -> bool:
    await _proposed(deps)
    return True


@ROUTES.post(
    "/api/admin/governance/accept", needs_approval="accept_governance", exposes=_require_proposal
)
async def accept_governance(
    deps: Dependencies, body: Accepting, administrator: Administrator
) -> Reply | Response:
    """Accept governance for the address that it was proposed to.

    409 if there is no proposal.
    """
    proposed = await _proposed(deps)
    instruction = instructions.accept_governance(deps.programs, new_governance=proposed)
    return await _act(
        deps, administrator, instruction, body, action="accept_governance", signer=proposed
    )


async def _proposed(deps: Dependencies) -> Pubkey:
    """Return the address that governance is proposed to. Raises Conflict if there is none."""
    proposed = (await plans.vault_authority(deps)).pending_governance
    if proposed == NOBODY:
        raise Conflict("No new governance is proposed. Propose one first.")
    return proposed


async def _leaves_unprotected(deps: Dependencies, body: Pause) -> bool:
    """Return whether it ends a pause, or is so short that it only delays the next one."""
    return body.seconds < SHORTEST_PAUSE


@ROUTES.post(
    "/api/admin/withdrawals/pause",
    needs_approval="pause_withdrawals",
    exposes=_leaves_unprotected,
)
async def pause_withdrawals(
    deps: Dependencies, body: Pause, administrator: Administrator
) -> Reply | Response:
    """Pause the withdrawals of all vaults.

    At most 72 hours, and not again within seven days of a pause's end; 0 ends a pause. It stops
    what owners and delegates take out, but not governance's own emergency withdrawals to owners.
    """
    return await _govern(deps, administrator, instructions.pause_withdrawals, body)


async def _raises_a_limit(deps: Dependencies, body: TransferLimits) -> bool:
    """Return whether a limit will be higher than it is; the first limits are lower than none."""
    limits = await _transfer_limits(deps)
    return limits is not None and (
        body.vault_daily > limits.vault_daily or body.total_daily > limits.total_daily
    )


@ROUTES.post(
    "/api/admin/transfer-limits/set",
    needs_approval="set_transfer_limits",
    exposes=_raises_a_limit,
)
async def set_transfer_limits(
    deps: Dependencies, body: TransferLimits, administrator: Administrator
) -> Reply | Response:
    """Set the daily limits of transfers between vaults.

    `vault_daily` bounds what leaves one vault in 24 hours, `total_daily` what leaves all vaults.
    The first limits and lower ones apply at once, higher ones after 72 hours.
    """
    return await _govern(deps, administrator, instructions.set_transfer_limits, body)


async def _transfer_limits(deps: Dependencies) -> LimitsAccount | None:
    address = transfer_limits_address(deps.programs)
    found = await deps.rpc.get_accounts([address], commitment=Commitment.CONFIRMED)
    return read_transfer_limits(found.accounts[0], deps.programs)


async def _govern(
    deps: Dependencies,
    administrator: Administrator,
    build: Callable[..., Instruction],
    body: Body,
) -> Reply | Response:
    """Execute an instruction that is signed as governance.

    The action has the name of `build`. The body's fields are the instruction's arguments, and go
    to the audit trail.
    """
    governance = (await plans.vault_authority(deps)).governance
    instruction = build(deps.programs, governance=governance, **msgspec.structs.asdict(body))
    return await _act(
        deps, administrator, instruction, body, action=build.__name__, signer=governance
    )


async def _act(
    deps: Dependencies,
    administrator: Administrator,
    instruction: Instruction,
    body: Body,
    *,
    action: str,
    signer: Pubkey,
) -> Reply | Response:
    """Execute an instruction that `signer` signs, which is governance or becomes it."""
    details = {
        name: str(value) if isinstance(value, Pubkey) else value
        for name, value in msgspec.structs.asdict(body).items()
    }
    return await execute_operation(
        deps,
        action,
        owner=signer,
        credential=AdministratorRequest(administrator),
        plan=lambda: plans.by_governance(deps, signer, instruction, details=details),
    )

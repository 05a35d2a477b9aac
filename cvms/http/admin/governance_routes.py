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
from spl.token.instructions import create_idempotent_associated_token_account

from cvms.chain.program import instructions
from cvms.chain.program.accounts import owned_by
from cvms.chain.program.addresses import position_summary_address, token_account, vault_address
from cvms.chain.transactions.vault_builders import fetch_vault
from cvms.chain.types import Commitment
from cvms.errors import (
    Conflict,
    FieldProblem,
    InvalidRequest,
    NotFound,
    NotSponsored,
    ProgramRefused,
    VaultNotFound,
)
from cvms.http.auth.credential import AdministratorRequest
from cvms.http.framework.admin_tokens import Administrator
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.request import Body, TokenAmount, WholeNumber
from cvms.http.framework.response import Reply, Response
from cvms.http.framework.routing import Auth, RouteGroup
from cvms.http.operations import plans
from cvms.http.operations.execute import GOVERNED, execute_operation
from cvms.http.operations.plans import TransactionPlan

NOBODY = Pubkey.default()
PauseSeconds = Annotated[int, msgspec.Meta(ge=0, le=72 * 3600)]
RiskLevel = Annotated[int, msgspec.Meta(ge=0, le=255)]
# Without control characters except tabs and line breaks: SQL cannot read NUL in JSON.
Reason = Annotated[
    str,
    msgspec.Meta(min_length=1, max_length=500, pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]+\Z"),
]

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


class Emergency(Body, frozen=True):
    owner: Pubkey
    amount: TokenAmount
    reason: Reason


class Transfer(Body, frozen=True):
    from_owner: Pubkey
    to_owner: Pubkey
    amount: TokenAmount
    caller_program: Pubkey | None = None


@ROUTES.post("/api/admin/vault-authority/add")
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


@ROUTES.post("/api/admin/yield-program/add")
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


@ROUTES.post("/api/admin/freeze/set")
async def set_freeze_flag(
    deps: Dependencies, body: Freeze, administrator: Administrator
) -> Reply | Response:
    """Freeze or unfreeze what programs do with collateral.

    While frozen, collateral can be neither locked, unlocked nor transferred. Withdrawals go on:
    `POST /api/admin/withdrawals/pause` stops them for a time.
    """
    return await _govern(deps, administrator, instructions.set_freeze_flag, body)


@ROUTES.post("/api/admin/cpi-enforced/set")
async def set_cpi_enforced(
    deps: Dependencies, body: CpiEnforced, administrator: Administrator
) -> Reply | Response:
    """Set whether calling programs must be named.

    If enforced, instructions that move collateral must name the calling program in
    `caller_program`.
    """
    return await _govern(deps, administrator, instructions.set_cpi_enforced, body)


@ROUTES.post("/api/admin/governance/propose")
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


@ROUTES.post("/api/admin/governance/accept")
async def accept_governance(
    deps: Dependencies, body: Accepting, administrator: Administrator
) -> Reply | Response:
    """Accept governance for the address that it was proposed to.

    409 if there is no proposal.
    """
    proposed = (await plans.vault_authority(deps)).pending_governance
    if proposed == NOBODY:
        raise Conflict("No new governance is proposed. Propose one first.")
    instruction = instructions.accept_governance(deps.programs, new_governance=proposed)
    return await _act(
        deps, administrator, instruction, body, action="accept_governance", signer=proposed
    )


@ROUTES.post("/api/admin/withdrawals/pause")
async def pause_withdrawals(
    deps: Dependencies, body: Pause, administrator: Administrator
) -> Reply | Response:
    """Pause the withdrawals of all vaults.

    At most 72 hours, and not again within seven days of a pause's end; 0 ends a pause. It stops
    what owners and delegates take out, but not governance's own emergency withdrawals to owners.
    """
    return await _govern(deps, administrator, instructions.pause_withdrawals, body)


@ROUTES.post("/api/admin/transfer-limits/set")
async def set_transfer_limits(
    deps: Dependencies, body: TransferLimits, administrator: Administrator
) -> Reply | Response:
    """Set the daily limits of transfers between vaults.

    `vault_daily` bounds what leaves one vault in 24 hours, `total_daily` what leaves all vaults.
    The first limits and lower ones apply at once, higher ones after 72 hours.
    """
    return await _govern(deps, administrator, instructions.set_transfer_limits, body)


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


@ROUTES.post(
    "/api/vault/emergency-withdraw",
    refusals=(ProgramRefused, VaultNotFound, NotFound, Conflict, NotSponsored),
    sensitive=True,
)
async def emergency_withdraw(
    deps: Dependencies, body: Emergency, administrator: Administrator
) -> Reply | Response:
    """Withdraw a vault's tokens to its owner in an emergency.

    The tokens go to the owner's own token account, locked tokens included; a missing account is
    created. The `reason` is recorded in the audit trail.
    """
    return await execute_operation(
        deps,
        "emergency_withdraw",
        owner=body.owner,
        credential=AdministratorRequest(administrator),
        plan=lambda: _emergency_plan(deps, body),
    )


async def _emergency_plan(deps: Dependencies, body: Emergency) -> TransactionPlan:
    mint = deps.programs.mint
    await fetch_vault(deps.rpc, deps.programs, body.owner)
    governance = (await plans.vault_authority(deps)).governance
    instruction = instructions.emergency_withdraw(
        deps.programs, authority=governance, owner=body.owner, amount=body.amount
    )
    has_account = await plans.has_token_account(deps, body.owner)
    create = create_idempotent_associated_token_account(
        payer=governance, owner=body.owner, mint=mint
    )
    return await plans.by_governance(
        deps,
        governance,
        instruction,
        amount=body.amount,
        setup=[] if has_account else [create],
        details={"reason": body.reason, "recipient": str(token_account(body.owner, mint))},
    )


@ROUTES.post(
    "/api/internal/transfer-collateral",
    refusals=(ProgramRefused, VaultNotFound, NotFound, Conflict, NotSponsored),
    sensitive=True,
)
async def transfer_collateral(
    deps: Dependencies, body: Transfer, administrator: Administrator
) -> Reply | Response:
    """Transfer collateral between two vaults.

    The position manager makes the transfer. `caller_program` may name that program only.
    """
    manager = deps.programs.position_manager
    if body.caller_program not in {None, manager}:
        problem = FieldProblem("caller_program", f"only {manager} is supported")
        raise InvalidRequest(f"Omit `caller_program`, or set it to {manager}.", [problem])
    return await execute_operation(
        deps,
        "transfer_collateral",
        owner=body.from_owner,
        credential=AdministratorRequest(administrator),
        plan=lambda: _transfer_plan(deps, body),
    )


async def _transfer_plan(deps: Dependencies, body: Transfer) -> TransactionPlan:
    for owner in (body.from_owner, body.to_owner):
        await fetch_vault(deps.rpc, deps.programs, owner)
    authority = await plans.vault_authority(deps)
    instruction = instructions.rebalance_collateral(
        deps.programs,
        authority=authority.governance,
        from_owner=body.from_owner,
        to_owner=body.to_owner,
        amount=body.amount,
        limited=authority.transfers_limited,
        settles=await _has_summary(deps, body.from_owner),
        wrapped=not authority.governance.is_on_curve(),
    )
    return await plans.by_governance(
        deps,
        authority.governance,
        instruction,
        amount=body.amount,
        details={"to_owner": str(body.to_owner)},
    )


async def _has_summary(deps: Dependencies, owner: Pubkey) -> bool:
    """Return whether the position manager keeps a summary of the owner's positions."""
    vault = vault_address(deps.programs, owner)
    address = position_summary_address(deps.programs.position_manager, vault)
    found = await deps.rpc.get_accounts([address], commitment=Commitment.CONFIRMED)
    return owned_by(found.accounts[0], deps.programs.position_manager) is not None

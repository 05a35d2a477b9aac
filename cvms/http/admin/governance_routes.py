"""Routes of governance: changes that concern all vaults, signed with the operator's key."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, ClassVar

import msgspec
from solders.instruction import Instruction
from solders.pubkey import Pubkey
from spl.token.instructions import create_idempotent_associated_token_account

from cvms.chain.program import instructions
from cvms.chain.program.addresses import token_account
from cvms.chain.transactions.vault_builders import fetch_vault
from cvms.errors import (
    Conflict,
    FieldProblem,
    InvalidRequest,
    NotSponsored,
    ProgramRefused,
    VaultNotFound,
)
from cvms.http.auth.credential import AdministratorRequest
from cvms.http.framework import schemas
from cvms.http.framework.admin_tokens import Administrator
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.request import Body, TokenAmount
from cvms.http.framework.response import Reply, Response
from cvms.http.framework.routing import Auth, RouteGroup
from cvms.http.operations import plans
from cvms.http.operations.execute import execute_operation
from cvms.http.operations.plans import TransactionPlan

RiskLevel = Annotated[int, msgspec.Meta(ge=0, le=255)]
# Without control characters except tabs and line breaks: SQL cannot read NUL in JSON.
Reason = Annotated[
    str,
    msgspec.Meta(min_length=1, max_length=500, pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]+\Z"),
]

ROUTES = RouteGroup(
    "administration",
    replies={202: schemas.Submitted},
    refusals=(ProgramRefused, NotSponsored),
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
    """Freeze or unfreeze collateral.

    While frozen, collateral can be neither locked nor unlocked. Withdrawals and transfers go on.
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


async def _govern(
    deps: Dependencies,
    administrator: Administrator,
    build: Callable[..., Instruction],
    body: Body,
) -> Reply | Response:
    """Submit an instruction that is signed as governance.

    The action has the name of `build`. The body's fields are the instruction's arguments, and go
    to the audit trail.
    """
    governance, arguments = deps.operator.address, msgspec.structs.asdict(body)
    instruction = build(deps.programs, governance=governance, **arguments)
    details = {
        name: str(value) if isinstance(value, Pubkey) else value
        for name, value in arguments.items()
    }
    return await execute_operation(
        deps,
        build.__name__,
        owner=governance,
        credential=AdministratorRequest(administrator),
        plan=lambda: plans.by_governance(deps, instruction, details=details),
    )


@ROUTES.post(
    "/api/vault/emergency-withdraw",
    refusals=(ProgramRefused, VaultNotFound, Conflict, NotSponsored),
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
    operator, mint = deps.operator.address, deps.programs.mint
    await fetch_vault(deps.rpc, deps.programs, body.owner)
    instruction = instructions.emergency_withdraw(
        deps.programs, authority=operator, owner=body.owner, amount=body.amount
    )
    has_account = await plans.has_token_account(deps, body.owner)
    create = create_idempotent_associated_token_account(payer=operator, owner=body.owner, mint=mint)
    return await plans.by_governance(
        deps,
        instruction,
        amount=body.amount,
        setup=[] if has_account else [create],
        details={"reason": body.reason, "recipient": str(token_account(body.owner, mint))},
    )


@ROUTES.post(
    "/api/internal/transfer-collateral",
    refusals=(ProgramRefused, VaultNotFound, Conflict, NotSponsored),
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
    instruction = instructions.rebalance_collateral(
        deps.programs,
        authority=deps.operator.address,
        from_owner=body.from_owner,
        to_owner=body.to_owner,
        amount=body.amount,
    )
    return await plans.by_governance(
        deps,
        instruction,
        amount=body.amount,
        details={"to_owner": str(body.to_owner)},
    )

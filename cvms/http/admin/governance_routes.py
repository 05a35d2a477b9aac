"""What governance decides for all vaults: the operator's key signs, the audit trail says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any

import msgspec
from quart import Response
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
from cvms.http.auth.requester import AdministratorRequest
from cvms.http.framework import schemas
from cvms.http.framework.admin_tokens import Administrator
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.request import Body, TokenAmount
from cvms.http.framework.response import Reply
from cvms.http.framework.routing import Auth, Route
from cvms.http.operations import plans
from cvms.http.operations.execute import execute_operation
from cvms.http.operations.plans import TransactionPlan

SUBMITTED = {202: schemas.Submitted}

RiskLevel = Annotated[int, msgspec.Meta(ge=0, le=255)]
Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=500)]


class Program(Body, frozen=True):
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


async def decide(
    deps: Dependencies,
    body: Any,
    administrator: Administrator,
    *,
    action: str,
    build: Callable[..., Instruction],
) -> Reply | Response:
    """One decision; its body's field is the instruction's argument."""
    arguments: Mapping[str, Any] = msgspec.structs.asdict(body)
    governance = deps.operator.pubkey()
    instruction = build(deps.programs, governance=governance, **arguments)
    details = {name: _shown(value) for name, value in arguments.items()}
    plan = partial(plans.by_governance, deps, action, instruction, details=details)
    requester = AdministratorRequest(administrator)
    return await execute_operation(deps, action, plan, owner=governance, requester=requester)


async def emergency_withdraw(
    deps: Dependencies, body: Emergency, administrator: Administrator
) -> Reply | Response:
    """Send a vault's tokens to its owner's own account, the locked ones too, and say why."""
    requester = AdministratorRequest(administrator)
    plan = partial(_emergency, deps, body)
    return await execute_operation(
        deps, "emergency_withdraw", plan, owner=body.owner, requester=requester
    )


async def _emergency(deps: Dependencies, body: Emergency) -> TransactionPlan:
    operator, mint = deps.operator.pubkey(), deps.programs.mint
    await fetch_vault(deps.rpc, deps.programs, body.owner)
    instruction = instructions.emergency_withdraw(
        deps.programs, authority=operator, owner=body.owner, amount=body.amount
    )
    receives = await plans.has_token_account(deps, body.owner)
    create = create_idempotent_associated_token_account(payer=operator, owner=body.owner, mint=mint)
    return await plans.by_governance(
        deps,
        "emergency_withdraw",
        instruction,
        owner=body.owner,
        amount=body.amount,
        setup=[] if receives else [create],
        details={"reason": body.reason, "recipient": str(token_account(body.owner, mint))},
    )


async def transfer_collateral(
    deps: Dependencies, body: Transfer, administrator: Administrator
) -> Reply | Response:
    """Move collateral between two vaults, through the position manager."""
    manager = deps.programs.position_manager
    if body.caller_program not in {None, manager}:
        problem = FieldProblem("caller_program", f"only {manager} calls for this service")
        raise InvalidRequest("This service cannot call through that program.", [problem])
    plan = partial(_transfer, deps, body)
    requester = AdministratorRequest(administrator)
    return await execute_operation(
        deps, "transfer_collateral", plan, owner=body.from_owner, requester=requester
    )


async def _transfer(deps: Dependencies, body: Transfer) -> TransactionPlan:
    for owner in (body.from_owner, body.to_owner):
        await fetch_vault(deps.rpc, deps.programs, owner)
    instruction = instructions.rebalance_collateral(
        deps.programs,
        authority=deps.operator.pubkey(),
        from_owner=body.from_owner,
        to_owner=body.to_owner,
        amount=body.amount,
    )
    return await plans.by_governance(
        deps,
        "transfer_collateral",
        instruction,
        owner=body.from_owner,
        amount=body.amount,
        details={"to_owner": str(body.to_owner)},
    )


def _shown(value: Any) -> Any:
    return str(value) if isinstance(value, Pubkey) else value


DECISIONS: tuple[tuple[str, str, type[Body], Callable[..., Instruction], str], ...] = (
    (
        "/api/admin/vault-authority/add",
        "add_authorized_program",
        Program,
        instructions.add_authorized_program,
        "Let a program lock, unlock and transfer collateral.",
    ),
    (
        "/api/admin/vault-authority/remove",
        "remove_authorized_program",
        Program,
        instructions.remove_authorized_program,
        "Take that back.",
    ),
    (
        "/api/admin/yield-program/add",
        "add_yield_program",
        Program,
        instructions.add_yield_program,
        "Let vaults put tokens into a yield program.",
    ),
    (
        "/api/admin/yield-program/remove",
        "remove_yield_program",
        Program,
        instructions.remove_yield_program,
        "Take that back.",
    ),
    (
        "/api/admin/risk-level/set",
        "set_risk_level",
        Risk,
        instructions.set_risk_level,
        "Note a level of risk for readers of the vault authority.",
    ),
    (
        "/api/admin/freeze/set",
        "set_freeze_flag",
        Freeze,
        instructions.set_freeze_flag,
        "Stop locking and unlocking, or allow it again.",
    ),
    (
        "/api/admin/cpi-enforced/set",
        "set_cpi_enforced",
        CpiEnforced,
        instructions.set_cpi_enforced,
        "Whether a calling program must also be named.",
    ),
)

ROUTES = (
    *(
        Route(
            method="POST",
            rule=rule,
            handler=partial(decide, action=action, build=build),
            summary=summary,
            body=body,
            replies=SUBMITTED,
            refusals=(ProgramRefused, NotSponsored),
            auth=Auth.ADMIN,
            idempotent=True,
            tags=("administration",),
        )
        for rule, action, body, build, summary in DECISIONS
    ),
    Route(
        method="POST",
        rule="/api/vault/emergency-withdraw",
        handler=emergency_withdraw,
        body=Emergency,
        replies=SUBMITTED,
        refusals=(ProgramRefused, VaultNotFound, Conflict, NotSponsored),
        auth=Auth.ADMIN,
        sensitive=True,
        idempotent=True,
        tags=("administration",),
    ),
    Route(
        method="POST",
        rule="/api/internal/transfer-collateral",
        handler=transfer_collateral,
        body=Transfer,
        replies=SUBMITTED,
        refusals=(ProgramRefused, VaultNotFound, Conflict, NotSponsored),
        auth=Auth.ADMIN,
        sensitive=True,
        idempotent=True,
        tags=("administration",),
    ),
)

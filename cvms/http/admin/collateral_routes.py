"""Routes by which governance moves collateral: to its owner, or between vaults."""

from __future__ import annotations

from dataclasses import replace

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
    TransferLimitReached,
    TransferNotAllowed,
    VaultNotFound,
)
from cvms.http.auth.credential import AdministratorRequest
from cvms.http.framework.admin_tokens import Administrator
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.request import Body, Reason, TokenAmount
from cvms.http.framework.response import Reply, Response
from cvms.http.framework.routing import Auth, RouteGroup
from cvms.http.operations import plans
from cvms.http.operations.execute import GOVERNED, execute_operation
from cvms.http.operations.plans import TransactionPlan
from cvms.http.operations.transfer_limits import check_day, check_transfer

ROUTES = RouteGroup("administration", replies=GOVERNED, auth=Auth.ADMIN, idempotent=True)


class Emergency(Body, frozen=True):
    owner: Pubkey
    amount: TokenAmount
    reason: Reason


class Transfer(Body, frozen=True):
    from_owner: Pubkey
    to_owner: Pubkey
    amount: TokenAmount
    caller_program: Pubkey | None = None


@ROUTES.post(
    "/api/vault/emergency-withdraw",
    refusals=(ProgramRefused, VaultNotFound, NotFound, Conflict, NotSponsored),
    sensitive=True,
    needs_approval="emergency_withdraw",
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


async def _check_transfer(deps: Dependencies, body: Transfer) -> bool:
    """Raise what is refused whoever approves it."""
    manager = deps.programs.position_manager
    if body.caller_program not in {None, manager}:
        problem = FieldProblem("caller_program", f"only {manager} is supported")
        raise InvalidRequest(f"Omit `caller_program`, or set it to {manager}.", [problem])
    return True


@ROUTES.post(
    "/api/internal/transfer-collateral",
    refusals=(
        ProgramRefused,
        VaultNotFound,
        NotFound,
        Conflict,
        NotSponsored,
        TransferNotAllowed,
        TransferLimitReached,
    ),
    sensitive=True,
    needs_approval="transfer_collateral",
    exposes=_check_transfer,
)
async def transfer_collateral(
    deps: Dependencies, body: Transfer, administrator: Administrator
) -> Reply | Response:
    """Transfer collateral between two vaults.

    The position manager makes the transfer. `caller_program` may name that program only. The
    settings limit the amount, what all transfers of 24 hours move, and to which vaults: the problem
    `transfer_limit_reached` has the `limit`, what is `used`, and when the amount is `available_at`.
    """
    await _check_transfer(deps, body)
    check_transfer(deps.config.admin, to_owner=body.to_owner, amount=body.amount)
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
    plan = await plans.by_governance(
        deps,
        authority.governance,
        instruction,
        amount=body.amount,
        details={"to_owner": str(body.to_owner)},
    )
    return replace(plan, check=lambda conn: check_day(deps, conn, body.amount))


async def _has_summary(deps: Dependencies, owner: Pubkey) -> bool:
    """Return whether the position manager keeps a summary of the owner's positions."""
    vault = vault_address(deps.programs, owner)
    address = position_summary_address(deps.programs.position_manager, vault)
    found = await deps.rpc.get_accounts([address], commitment=Commitment.CONFIRMED)
    return owned_by(found.accounts[0], deps.programs.position_manager) is not None

"""Routes of the position manager: collateral is locked for positions and unlocked again."""

from __future__ import annotations

from collections.abc import Callable

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from cvms.chain.program import instructions
from cvms.chain.transactions.vault_builders import prepare_position
from cvms.errors import Conflict, ProgramRefused, VaultNotFound
from cvms.http.auth.signed_body import Signed
from cvms.http.framework import schemas
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.request import Body, TokenAmount
from cvms.http.framework.response import Reply, Response
from cvms.http.framework.routing import Auth, RouteGroup
from cvms.http.operations import plans
from cvms.http.operations.execute import (
    COSIGN,
    SIGNED_REFUSALS,
    UNSPONSORED,
    execute_by_owner,
    execute_operation,
)

ROUTES = RouteGroup(
    "positions",
    replies=COSIGN,
    refusals=(*SIGNED_REFUSALS, VaultNotFound, Conflict),
    auth=Auth.WALLET,
    sensitive=True,
    idempotent=True,
)


class Position(Signed, frozen=True, kw_only=True):
    amount: TokenAmount


class Settled(Body, frozen=True):
    owner: Pubkey


@ROUTES.post("/api/pm/lock", name="lock_collateral")
async def lock(deps: Dependencies, body: Position) -> Reply | Response:
    """Open a position.

    The position manager locks `amount` of the vault's available tokens as collateral.
    """
    return await _execute(deps, "pm_lock", body, instructions.open_position)


@ROUTES.post("/api/pm/unlock", name="unlock_collateral")
async def unlock(deps: Dependencies, body: Position) -> Reply | Response:
    """Close a position or a part of one.

    The position manager unlocks `amount` of the vault's collateral.
    """
    return await _execute(deps, "pm_unlock", body, instructions.close_position)


@ROUTES.post(
    "/api/pm/settle",
    replies={202: schemas.Submitted},
    refusals=(VaultNotFound, Conflict, ProgramRefused, *UNSPONSORED),
    auth=Auth.NONE,
    name="settle_positions",
)
async def settle(deps: Dependencies, body: Settled) -> Reply | Response:
    """Settle a vault's positions.

    After governance or a transfer took locked tokens, the position manager's summary may claim more
    than the vault has locked, which blocks withdrawals. It then claims no more than that; the
    service signs and pays. 409 if there is nothing to settle. While a settlement of the vault is
    pending, the answer is that one.
    """
    return await execute_operation(
        deps,
        "pm_settle",
        owner=body.owner,
        plan=lambda: plans.settle_positions(deps, body.owner),
    )


async def _execute(
    deps: Dependencies, action: str, body: Position, build: Callable[..., Instruction]
) -> Reply | Response:
    """Execute an instruction that the owner signs, since it moves collateral."""
    owner, amount = body.owner, body.amount
    return await execute_by_owner(
        deps,
        action,
        body.request(action),
        build(deps.programs, authority=owner, owner=owner, amount=amount),
        owner=owner,
        amount=amount,
        prepare=prepare_position,
    )

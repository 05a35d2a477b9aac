"""Routes of the position manager: collateral is locked for positions and unlocked again."""

from __future__ import annotations

from quart import Response

from cvms.chain.program import instructions
from cvms.errors import Conflict, VaultNotFound
from cvms.http.auth.signed_body import Signed
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.request import TokenAmount
from cvms.http.framework.response import Reply
from cvms.http.framework.routing import Auth, RouteGroup
from cvms.http.operations import plans
from cvms.http.operations.execute import COSIGN, SIGNED_REFUSALS, execute_operation

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


@ROUTES.post("/api/pm/lock")
async def lock(deps: Dependencies, body: Position) -> Reply | Response:
    """Open a position.

    The position manager locks `amount` of the vault's available tokens as collateral. The wallet
    signs `pm_lock:{owner}:{amount}:{nonce}`.
    """
    signed = body.request("pm_lock", body.amount)
    instruction = instructions.open_position(
        deps.programs, authority=body.owner, owner=body.owner, amount=body.amount
    )
    return await execute_operation(
        deps,
        "pm_lock",
        owner=body.owner,
        credential=signed,
        plan=lambda: plans.position(deps, "pm_lock", body.owner, instruction, amount=body.amount),
    )


@ROUTES.post("/api/pm/unlock")
async def unlock(deps: Dependencies, body: Position) -> Reply | Response:
    """Close a position or a part of one.

    The position manager unlocks `amount` of the vault's collateral. The wallet signs
    `pm_unlock:{owner}:{amount}:{nonce}`.
    """
    signed = body.request("pm_unlock", body.amount)
    instruction = instructions.close_position(
        deps.programs, authority=body.owner, owner=body.owner, amount=body.amount
    )
    return await execute_operation(
        deps,
        "pm_unlock",
        owner=body.owner,
        credential=signed,
        plan=lambda: plans.position(deps, "pm_unlock", body.owner, instruction, amount=body.amount),
    )

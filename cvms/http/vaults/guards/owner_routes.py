"""Routes of what an owner agrees to, or takes back before its time."""

from __future__ import annotations

from cvms.chain.program import instructions
from cvms.errors import Conflict, NoMultisig, VaultNotFound
from cvms.http.auth.second_factor import second_factor
from cvms.http.auth.signed_body import Signed
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.request import AllowanceText, TokenAmount, WholeNumber
from cvms.http.framework.response import Reply, Response
from cvms.http.framework.routing import Auth, RouteGroup
from cvms.http.operations.execute import COSIGN, SIGNED_REFUSALS, execute_by_owner
from cvms.http.vaults.guards.change_text import read_allowance
from cvms.http.vaults.guards.cosigned import CoSignedRequest

ROUTES = RouteGroup(
    "guards",
    replies=COSIGN,
    refusals=(*SIGNED_REFUSALS, VaultNotFound, Conflict, NoMultisig),
    auth=Auth.WALLET,
    idempotent=True,
)


class TransferAllowance(CoSignedRequest, frozen=True, kw_only=True):
    allowance: AllowanceText


class CancelledRequest(Signed, frozen=True, kw_only=True):
    amount: TokenAmount
    executable_at: WholeNumber


class CancelledTimelock(CoSignedRequest, frozen=True, kw_only=True):
    amount: TokenAmount
    unlock_time: WholeNumber


@ROUTES.post("/api/vault/transfer-allowance/set", name="set_transfer_allowance")
async def set_transfer_allowance(deps: Dependencies, body: TransferAllowance) -> Reply | Response:
    """Set the allowance for transfers to other vaults.

    It is how much may be transferred beyond what is locked. Transfers use the `allowance` up,
    unless it is `unlimited`. Under guards, a higher one needs the multisig's `signers`, or a
    requested change.
    """
    signed = body.request("transfer_allowance_set")
    instruction = instructions.set_transfer_allowance(
        deps.programs,
        owner=body.owner,
        amount=read_allowance(body.allowance),
        extra_signers=body.co_signers,
    )
    return await execute_by_owner(
        deps,
        "transfer_allowance_set",
        signed,
        instruction,
        owner=body.owner,
        signers=body.co_signers,
    )


@ROUTES.post(
    "/api/vault/request-withdraw/cancel",
    refusals=(*SIGNED_REFUSALS, VaultNotFound, Conflict),
    name="cancel_withdraw_request",
)
async def cancel_withdraw_request(deps: Dependencies, body: CancelledRequest) -> Reply | Response:
    """Cancel a requested withdrawal.

    The request with this `amount` whose time comes at `executable_at`, in Unix seconds: the
    `until_time` in `pending` of `GET /api/vault/limits/{owner}`.
    """
    signed = body.request("request_withdraw_cancel")
    instruction = instructions.cancel_withdraw_request(
        deps.programs, owner=body.owner, amount=body.amount, executable_at=body.executable_at
    )
    return await execute_by_owner(
        deps,
        "request_withdraw_cancel",
        signed,
        instruction,
        owner=body.owner,
        amount=body.amount,
    )


@ROUTES.post(
    "/api/vault/timelock/cancel", sensitive=True, second_factor=True, name="cancel_timelock"
)
async def cancel_timelock(deps: Dependencies, body: CancelledTimelock) -> Reply | Response:
    """Cancel a timelock.

    The timelock with this `amount` that matures at `unlock_time`, in Unix seconds: the `until_time`
    in `GET /api/vault/timelocks/{owner}`. A delegate's timelock ends at once. The owner's own does
    so unless there is a minimum delay; with one, it ends after that delay at the latest. A vault
    with a multisig needs its `signers`.
    """
    signed = second_factor(deps, body.request("timelock_cancel"))
    instruction = instructions.cancel_timelock(
        deps.programs,
        owner=body.owner,
        amount=body.amount,
        unlock_time=body.unlock_time,
        extra_signers=body.co_signers,
    )
    return await execute_by_owner(
        deps,
        "timelock_cancel",
        signed,
        instruction,
        owner=body.owner,
        amount=body.amount,
        signers=body.co_signers,
    )

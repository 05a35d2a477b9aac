"""What vaults earn elsewhere: tokens into a yield program, what they have earned, and back."""

from __future__ import annotations

from functools import partial

from quart import Response
from solders.pubkey import Pubkey

from cvms.errors import Conflict, VaultNotFound, YieldProgramUnsupported
from cvms.http.auth.requester import SignedRequest
from cvms.http.auth.signed_body import Signed
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.request import TokenAmount
from cvms.http.framework.response import Reply
from cvms.http.framework.routing import Auth, Route
from cvms.http.operations import yield_plans
from cvms.http.operations.execute import COSIGN_OR_SUBMIT, SIGNED_REFUSALS, execute_operation
from cvms.http.operations.yield_plans import COMPOUND, DEPOSIT, WITHDRAW, Kind
from cvms.http.yields.status import YieldStatus, get_yield_status


class YieldMovement(Signed, frozen=True, kw_only=True):
    amount: TokenAmount
    yield_program: Pubkey


class Compound(Signed, frozen=True, kw_only=True):
    compounded_amount: TokenAmount
    yield_program: Pubkey


async def deposit(deps: Dependencies, body: YieldMovement) -> Reply | Response:
    """Lend available tokens to a yield program; at once where we are delegate.

    The first deposit creates the vault's position in the pool, which the owner pays for and so
    signs. Signed text: `yield_deposit:{owner}:{amount}:{yield_program}:{nonce}`.
    """
    return await _carry_out(deps, DEPOSIT, body, body.amount)


async def withdraw(deps: Dependencies, body: YieldMovement) -> Reply | Response:
    """Take tokens back from a yield program to the available balance; at once where we are
    delegate.

    Signed text: `yield_withdraw:{owner}:{amount}:{yield_program}:{nonce}`.
    """
    return await _carry_out(deps, WITHDRAW, body, body.amount)


async def compound(deps: Dependencies, body: Compound) -> Reply | Response:
    """Claim what has been earned and lend it too; at once where we are delegate.

    Signed text: `compound_yield:{owner}:{compounded_amount}:{yield_program}:{nonce}`.
    """
    return await _carry_out(deps, COMPOUND, body, body.compounded_amount)


async def _carry_out(
    deps: Dependencies, kind: Kind, body: YieldMovement | Compound, amount: int
) -> Reply | Response:
    signed: SignedRequest = body.request(kind.action, amount, body.yield_program)
    plan = partial(
        yield_plans.move,
        deps,
        kind,
        body.owner,
        amount=amount,
        yield_program=body.yield_program,
    )
    return await execute_operation(deps, kind.action, plan, owner=body.owner, credential=signed)


ROUTES = (
    Route(
        method="GET",
        rule="/api/vault/yield-status/<owner>",
        handler=get_yield_status,
        replies={200: YieldStatus},
        refusals=(VaultNotFound,),
        tags=("yield",),
    ),
    *(
        Route(
            method="POST",
            rule=f"/api/vault/{name}",
            handler=view,
            body=body,
            replies=COSIGN_OR_SUBMIT,
            refusals=(*SIGNED_REFUSALS, VaultNotFound, Conflict, YieldProgramUnsupported),
            auth=Auth.WALLET,
            sensitive=True,
            idempotent=True,
            tags=("yield",),
        )
        for name, view, body in (
            ("yield-deposit", deposit, YieldMovement),
            ("yield-withdraw", withdraw, YieldMovement),
            ("compound", compound, Compound),
        )
    ),
)

"""Routes that move tokens between vaults and a yield program."""

from __future__ import annotations

from solders.pubkey import Pubkey

from cvms.errors import Conflict, VaultNotFound, YieldProgramUnsupported
from cvms.http.auth.signed_body import Signed
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.request import TokenAmount
from cvms.http.framework.response import Reply, Response
from cvms.http.framework.routing import Auth, RouteGroup
from cvms.http.operations import yield_plans
from cvms.http.operations.execute import COSIGN_OR_SUBMIT, SIGNED_REFUSALS, execute_operation
from cvms.http.operations.yield_plans import COMPOUND, DEPOSIT, WITHDRAW, YieldMovementKind

ROUTES = RouteGroup(
    "yield",
    replies=COSIGN_OR_SUBMIT,
    refusals=(*SIGNED_REFUSALS, VaultNotFound, Conflict, YieldProgramUnsupported),
    auth=Auth.WALLET,
    sensitive=True,
    idempotent=True,
)


class YieldMovement(Signed, frozen=True, kw_only=True):
    amount: TokenAmount
    yield_program: Pubkey


class Compound(Signed, frozen=True, kw_only=True):
    compounded_amount: TokenAmount
    yield_program: Pubkey


@ROUTES.post("/api/vault/yield-deposit", name="deposit_yield")
async def deposit(deps: Dependencies, body: YieldMovement) -> Reply | Response:
    """Deposit a vault's tokens in a yield program.

    Lends available tokens to the first configured pool of the program.

    Answers 202 where the service is the vault's delegate, the vault has no multisig, the service
    pays fees and the vault has a position in the pool; else 200. The first deposit creates the
    position: the owner pays its rent, and so signs.
    """
    return await _move(deps, DEPOSIT, body, body.amount)


@ROUTES.post("/api/vault/yield-withdraw", name="withdraw_yield")
async def withdraw(deps: Dependencies, body: YieldMovement) -> Reply | Response:
    """Withdraw a vault's tokens from a yield program.

    Returns lent tokens to the available balance.

    Answers 202 where the service is the vault's delegate, the vault has no multisig and the
    service pays fees; else 200.
    """
    return await _move(deps, WITHDRAW, body, body.amount)


@ROUTES.post("/api/vault/compound", name="compound_yield")
async def compound(deps: Dependencies, body: Compound) -> Reply | Response:
    """Compound a vault's yield.

    Claims `compounded_amount` of the accrued interest and lends it as well.

    Answers 202 where the service is the vault's delegate, the vault has no multisig and the
    service pays fees; else 200.
    """
    return await _move(deps, COMPOUND, body, body.compounded_amount)


async def _move(
    deps: Dependencies, kind: YieldMovementKind, body: YieldMovement | Compound, amount: int
) -> Reply | Response:
    return await execute_operation(
        deps,
        kind.action,
        owner=body.owner,
        credential=body.request(kind.action),
        plan=lambda: yield_plans.move(
            deps, kind, body.owner, amount=amount, yield_program=body.yield_program
        ),
    )

"""Routes of an owner's exit, which needs nobody's consent, and of stray tokens."""

from __future__ import annotations

from solders.pubkey import Pubkey

from cvms.chain.program import instructions
from cvms.chain.transactions.vault_builders import prepare_payout, prepare_release_unclaimed
from cvms.errors import Conflict, NoMultisig, NotFound, VaultNotFound
from cvms.http.auth.second_factor import second_factor
from cvms.http.auth.signed_body import Signed
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.request import TokenAmount
from cvms.http.framework.response import Reply, Response
from cvms.http.framework.routing import Auth, RouteGroup
from cvms.http.operations.execute import (
    COSIGN,
    SIGNED_REFUSALS,
    execute_by_owner,
    execute_operation,
)
from cvms.http.operations.plans import TransactionPlan
from cvms.http.vaults.guards import surplus_plans
from cvms.http.vaults.guards.cosigned import CoSignedRequest

ROUTES = RouteGroup(
    "guards",
    replies=COSIGN,
    refusals=(*SIGNED_REFUSALS, VaultNotFound, Conflict, NoMultisig),
    auth=Auth.WALLET,
    sensitive=True,
    second_factor=True,
    idempotent=True,
)


class ExitWithdraw(CoSignedRequest, frozen=True, kw_only=True):
    amount: TokenAmount


class Sweep(CoSignedRequest, frozen=True, kw_only=True):
    token_account: Pubkey


@ROUTES.post("/api/vault/exit/request", name="request_exit")
async def request(deps: Dependencies, body: CoSignedRequest) -> Reply | Response:
    """Request an exit.

    After seven days, and for seven days, the owner may release locked tokens that no position
    claims, and withdraw what is available although something is locked, even while the programs
    are frozen. A vault with a multisig needs its `signers`.
    """
    signed = second_factor(deps, body.request("exit_request"))
    instruction = instructions.request_exit(
        deps.programs, owner=body.owner, extra_signers=body.co_signers
    )
    return await execute_by_owner(
        deps, "exit_request", signed, instruction, owner=body.owner, signers=body.co_signers
    )


@ROUTES.post(
    "/api/vault/exit/release",
    refusals=(*SIGNED_REFUSALS, VaultNotFound, Conflict, NotFound),
    second_factor=False,
    name="release_unclaimed",
)
async def release(deps: Dependencies, body: Signed) -> Reply | Response:
    """Release locked tokens that no position claims.

    While an exit is in effect. They become available.
    """

    async def plan() -> TransactionPlan:
        payer = deps.operator.payer_for(body.owner)
        return TransactionPlan(
            await prepare_release_unclaimed(
                deps.rpc, deps.programs, owner=body.owner, fee_payer=payer
            )
        )

    signed = body.request("exit_release")
    return await execute_operation(
        deps, "exit_release", owner=body.owner, credential=signed, plan=plan
    )


@ROUTES.post("/api/vault/exit/withdraw", name="withdraw_to_exit")
async def withdraw(deps: Dependencies, body: ExitWithdraw) -> Reply | Response:
    """Withdraw to the owner without the consent of any program.

    The program's `emergency_withdraw` by the owner. It pays available tokens to the owner's
    associated token account, and reads no position summaries, so no authorized program can block
    it. While an exit is in effect, it does so although something is locked; at other times, only if
    nothing is. The vault's guards apply: its multisig, whose `signers` sign too, its minimum
    delay and its rate limit.
    """
    signed = second_factor(deps, body.request("exit_withdraw"))
    instruction = instructions.emergency_withdraw(
        deps.programs,
        authority=body.owner,
        owner=body.owner,
        amount=body.amount,
        extra_signers=body.co_signers,
    )
    return await execute_by_owner(
        deps,
        "exit_withdraw",
        signed,
        instruction,
        owner=body.owner,
        amount=body.amount,
        prepare=prepare_payout,
        signers=body.co_signers,
    )


@ROUTES.post(
    "/api/vault/sweep",
    refusals=(*SIGNED_REFUSALS, VaultNotFound, Conflict, NoMultisig, NotFound),
    name="sweep_tokens",
)
async def sweep(deps: Dependencies, body: Sweep) -> Reply | Response:
    """Sweep stray tokens.

    Pays to the owner what the vault's balances do not count: of the vault's own token account the
    surplus; of any other `token_account` that belongs to the vault everything, and then closes it.
    The tokens go to the owner's associated token account of their mint.
    """
    signed = second_factor(deps, body.request("sweep"))
    return await execute_operation(
        deps,
        "sweep",
        owner=body.owner,
        credential=signed,
        plan=lambda: surplus_plans.sweep(deps, body.owner, body.token_account, body.co_signers),
    )

"""Routes for an owner's yield policies: whether the service compounds by itself."""

from __future__ import annotations

from datetime import datetime

import msgspec
from solders.pubkey import Pubkey

from cvms.amounts import Amount
from cvms.errors import VaultNotFound, YieldProgramUnsupported
from cvms.http.auth.credential import SignedRequest
from cvms.http.auth.signed_body import Signed
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.operation_metrics import counted
from cvms.http.framework.request import TokenAmount, owner_in_path
from cvms.http.framework.response import Reply
from cvms.http.framework.routing import Auth, RouteGroup
from cvms.http.framework.schemas import reply_of
from cvms.http.operations.execute import SIGNED_REFUSALS
from cvms.http.operations.yield_plans import pools_of
from cvms.http.vaults.balance_routes import open_vault
from cvms.store.security import audit_log
from cvms.store.vaults import yield_policies

ACTION = "yield_policy"

ROUTES = RouteGroup("yield")


class SetYieldPolicy(Signed, frozen=True, kw_only=True):
    yield_program: Pubkey
    auto_compound: bool
    min_amount: TokenAmount


class YieldPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Policy by which the service compounds a vault's yield from a program by itself.

    It does once the claimable amount is at least `min_amount`, and worth a transaction's fee.
    """

    yield_program: str
    auto_compound: bool
    min_amount: Amount
    updated_at: datetime


class YieldPolicies(msgspec.Struct, frozen=True, kw_only=True):
    """An owner's policies. `least` is the service's own minimum: it compounds no amount below it.

    `delegated` is true if the service may act: it is the vault's delegate, and the vault has no
    multisig.
    """

    owner: str
    policies: list[YieldPolicy]
    least: Amount
    delegated: bool


@ROUTES.post(
    "/api/vault/yield-policy",
    replies={200: YieldPolicy},
    refusals=(*SIGNED_REFUSALS, VaultNotFound, YieldProgramUnsupported),
    auth=Auth.WALLET,
    sensitive=True,
    name="set_yield_policy",
)
async def set_policy(deps: Dependencies, body: SetYieldPolicy) -> Reply:
    """Set a vault's yield policy.

    With `auto_compound` the service compounds the vault's yield from the program by itself, once
    it is at least `min_amount`; without it, it stops. It can do so only as the vault's delegate.
    Nothing happens on chain.
    """
    signed = body.request(ACTION)
    with counted(deps, ACTION):
        await signed.check(deps)
        return await _store(deps, body, signed)


async def _store(deps: Dependencies, body: SetYieldPolicy, signed: SignedRequest) -> Reply:
    owner, program = str(body.owner), str(body.yield_program)
    if body.yield_program != deps.programs.yield_pool or not pools_of(deps):
        raise YieldProgramUnsupported(
            f"No pool of {program} is configured here, so the service cannot compound its yield."
        )
    async with deps.database.transaction() as conn:
        await open_vault(conn, owner)
        await signed.consume(conn)
        stored = await yield_policies.put(
            conn,
            owner=owner,
            yield_program=program,
            auto_compound=body.auto_compound,
            min_amount=body.min_amount,
        )
        await audit_log.record(
            conn,
            actor=owner,
            action=ACTION,
            owner=owner,
            details={
                "yield_program": program,
                "auto_compound": stored.auto_compound,
                "min_amount": stored.min_amount,
            },
        )
    return Reply(reply_of(stored, YieldPolicy))


@ROUTES.get(
    "/api/vault/yield-policy/<owner>",
    replies={200: YieldPolicies},
    refusals=(VaultNotFound,),
    name="list_yield_policies",
)
async def list_policies(deps: Dependencies, owner: str) -> Reply:
    """List a vault's yield policies.

    Also returns whether the service may act for the vault, and its own minimum amount.
    """
    key = str(owner_in_path(owner))
    async with deps.database.connection() as conn:
        row = await open_vault(conn, key)
        policies = await yield_policies.of_owner(conn, key)
    return Reply(
        YieldPolicies(
            owner=key,
            policies=[reply_of(each, YieldPolicy) for each in policies],
            least=deps.config.yield_compound_min_amount,
            delegated=row.multisig_threshold == 0
            and any(str(each) in row.delegates for each in deps.operator.signers.addresses),
        )
    )

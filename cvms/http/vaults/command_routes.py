"""Routes that change a vault."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from cvms.chain.program import instructions
from cvms.errors import (
    Conflict,
    InsufficientLamports,
    NoMultisig,
    NotFound,
    ProgramRefused,
    VaultNotFound,
)
from cvms.http.auth.second_factor import second_factor
from cvms.http.auth.signed_body import Signed
from cvms.http.framework import schemas
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.request import Body, TokenAmount, WholeNumber
from cvms.http.framework.response import Reply, Response
from cvms.http.framework.routing import Auth, RouteGroup
from cvms.http.operations import plans
from cvms.http.operations.execute import (
    COSIGN,
    COSIGN_OR_SUBMIT,
    SIGNED_REFUSALS,
    UNSPONSORED,
    execute_by_owner,
    execute_operation,
)
from cvms.http.vaults.guards import surplus_plans
from cvms.http.vaults.guards.cosigned import CoSignedRequest

ROUTES = RouteGroup(
    "vaults", replies=COSIGN, refusals=SIGNED_REFUSALS, auth=Auth.WALLET, idempotent=True
)


class Initialize(Body, frozen=True):
    aliases: ClassVar[Mapping[str, str]] = {"user_pubkey": "owner"}

    owner: Pubkey


class Deposit(Signed, frozen=True, kw_only=True):
    amount: TokenAmount


class Withdraw(Signed, frozen=True, kw_only=True):
    amount: TokenAmount
    recipient: Pubkey | None = None


class Schedule(Signed, frozen=True, kw_only=True):
    amount: TokenAmount
    duration_seconds: WholeNumber


class Release(Body, frozen=True):
    owner: Pubkey


class Delegate(Signed, frozen=True, kw_only=True):
    delegate: Pubkey


@ROUTES.post(
    "/api/vault/initialize",
    refusals=(Conflict, ProgramRefused, InsufficientLamports, *UNSPONSORED),
    auth=Auth.NONE,
    name="initialize_vault",
)
async def initialize(deps: Dependencies, body: Initialize) -> Reply | Response:
    """Create a vault.

    The transaction creates the vault of `owner` (also called `user_pubkey`), who signs it and pays
    the rent. 409 if the vault exists, 422 `insufficient_funds` with the amount if the wallet has
    too little SOL.
    """
    return await execute_operation(
        deps, "initialize", owner=body.owner, plan=lambda: plans.initialize(deps, body.owner)
    )


@ROUTES.post("/api/vault/deposit")
async def deposit(deps: Dependencies, body: Deposit) -> Reply | Response:
    """Deposit tokens into a vault.

    The tokens come from the owner's wallet, which signs the request and then the transaction.
    """
    signed = body.request("deposit")
    return await execute_operation(
        deps,
        "deposit",
        owner=body.owner,
        credential=signed,
        plan=lambda: plans.deposit(deps, body.owner, body.amount),
    )


@ROUTES.post(
    "/api/vault/withdraw",
    replies=COSIGN_OR_SUBMIT,
    refusals=(*SIGNED_REFUSALS, VaultNotFound, NotFound),
    sensitive=True,
    second_factor=True,
)
async def withdraw(deps: Dependencies, body: Withdraw) -> Reply | Response:
    """Withdraw tokens from a vault.

    The tokens go to the owner, or to a `recipient` on the vault's whitelist.

    Answers 202 where the service is the vault's delegate, the vault has no multisig, the recipient
    has a token account and the service pays fees; else 200.
    """
    signed = second_factor(deps, body.request("withdraw"))
    return await execute_operation(
        deps,
        "withdraw",
        owner=body.owner,
        credential=signed,
        plan=lambda: plans.withdraw(deps, body.owner, body.amount, body.recipient or body.owner),
    )


@ROUTES.post("/api/vault/delegate/add")
async def add_delegate(deps: Dependencies, body: Delegate) -> Reply | Response:
    """Add a delegate.

    A delegate may act for the vault, but tokens still go only to the owner or to a recipient on
    the whitelist.
    """
    signed = body.request("delegate_add")
    instruction = instructions.add_delegate(deps.programs, owner=body.owner, delegate=body.delegate)
    return await execute_by_owner(deps, "delegate_add", signed, instruction, owner=body.owner)


@ROUTES.delete("/api/vault/delegate/remove", idempotent=False)
async def remove_delegate(deps: Dependencies, body: Delegate) -> Reply | Response:
    """Remove a delegate."""
    signed = body.request("delegate_remove")
    instruction = instructions.remove_delegate(
        deps.programs, owner=body.owner, delegate=body.delegate
    )
    return await execute_by_owner(deps, "delegate_remove", signed, instruction, owner=body.owner)


@ROUTES.post("/api/vault/delegate/remove")
async def remove_delegate_by_post(deps: Dependencies, body: Delegate) -> Reply | Response:
    """Remove a delegate by POST.

    The same as DELETE, whose body some clients and proxies drop.
    """
    return await remove_delegate(deps, body)


@ROUTES.post(
    "/api/vault/request-withdraw",
    refusals=(*SIGNED_REFUSALS, VaultNotFound, Conflict),
    sensitive=True,
    second_factor=True,
)
async def request_withdraw(deps: Dependencies, body: Deposit) -> Reply | Response:
    """Request a delayed withdrawal.

    A vault with a minimum delay pays out only what was requested that long before.
    """
    signed = second_factor(deps, body.request("request_withdraw"))
    instruction = instructions.request_withdraw(deps.programs, owner=body.owner, amount=body.amount)
    return await execute_by_owner(
        deps, "request_withdraw", signed, instruction, owner=body.owner, amount=body.amount
    )


@ROUTES.post(
    "/api/vault/schedule-withdraw",
    replies=COSIGN_OR_SUBMIT,
    refusals=(*SIGNED_REFUSALS, VaultNotFound, Conflict),
    sensitive=True,
    second_factor=True,
)
async def schedule_withdraw(deps: Dependencies, body: Schedule) -> Reply | Response:
    """Schedule a timelock.

    Moves available tokens into a timelock of `duration_seconds`.

    Answers 202 where the service is the vault's delegate, the vault has no multisig and the
    service pays fees; else 200.
    """
    signed = second_factor(deps, body.request("schedule"))

    def instruction(authority: Pubkey) -> Instruction:
        return instructions.schedule_timelock(
            deps.programs,
            authority=authority,
            owner=body.owner,
            amount=body.amount,
            duration_seconds=body.duration_seconds,
        )

    return await execute_operation(
        deps,
        "schedule_withdraw",
        owner=body.owner,
        credential=signed,
        plan=lambda: plans.by_owner_or_delegate(deps, body.owner, instruction, amount=body.amount),
    )


@ROUTES.post(
    "/api/vault/release-timelocks",
    replies={202: schemas.Submitted},
    refusals=(VaultNotFound, Conflict, ProgramRefused, *UNSPONSORED),
    auth=Auth.NONE,
    sensitive=True,
)
async def release_timelocks(deps: Dependencies, body: Release) -> Reply | Response:
    """Release the matured timelocks.

    Makes the tokens of the owner's matured timelocks available again; the service signs and pays.
    409 if no timelock has matured. While a release of the vault is pending, the answer is that
    release.
    """
    return await execute_operation(
        deps,
        "release_timelocks",
        owner=body.owner,
        plan=lambda: plans.release_timelocks(deps, body.owner),
    )


@ROUTES.post(
    "/api/vault/close",
    refusals=(*SIGNED_REFUSALS, VaultNotFound, Conflict, NoMultisig),
    name="close_vault",
)
async def close(deps: Dependencies, body: CoSignedRequest) -> Reply | Response:
    """Close an empty vault.

    The rent goes to the owner. Tokens that were sent to the vault without a deposit go to the
    owner's associated token account; only for these a multisig needs its `signers`.
    """
    return await execute_operation(
        deps,
        "close_vault",
        owner=body.owner,
        credential=body.request("close_vault"),
        plan=lambda: surplus_plans.close(deps, body.owner, body.co_signers),
    )

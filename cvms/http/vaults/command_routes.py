"""Routes that change a vault."""

from __future__ import annotations

from functools import partial

from quart import Response
from solders.instruction import Instruction
from solders.pubkey import Pubkey

from cvms.chain.program import instructions
from cvms.errors import Conflict, ProgramRefused, VaultNotFound
from cvms.http.auth.second_factor import second_factor
from cvms.http.auth.signed_body import Signed
from cvms.http.framework import schemas
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.request import Body, Seconds, TokenAmount
from cvms.http.framework.response import Reply
from cvms.http.framework.routing import Auth, Route
from cvms.http.operations import plans
from cvms.http.operations.execute import (
    COSIGN,
    COSIGN_OR_SUBMIT,
    SIGNED_REFUSALS,
    UNSPONSORED,
    execute_operation,
)


class Initialize(Body, frozen=True):
    user_pubkey: Pubkey


class Deposit(Signed, frozen=True, kw_only=True):
    amount: TokenAmount


class Withdraw(Signed, frozen=True, kw_only=True):
    amount: TokenAmount
    recipient: Pubkey | None = None


class Schedule(Signed, frozen=True, kw_only=True):
    amount: TokenAmount
    duration_seconds: Seconds


class Release(Body, frozen=True):
    owner: Pubkey


class Delegate(Signed, frozen=True, kw_only=True):
    delegate: Pubkey


async def initialize(deps: Dependencies, body: Initialize) -> Reply | Response:
    """Create a vault.

    The transaction creates the vault of `user_pubkey`, who signs it and pays the rent. 409 if the
    vault exists.
    """
    plan = partial(plans.initialize, deps, body.user_pubkey)
    return await execute_operation(deps, "initialize", plan, owner=body.user_pubkey)


async def deposit(deps: Dependencies, body: Deposit) -> Reply | Response:
    """Deposit tokens into a vault.

    The tokens come from the owner's wallet. The wallet signs `deposit:{owner}:{amount}:{nonce}`,
    and then the transaction.
    """
    signed = body.request("deposit", body.amount)
    plan = partial(plans.deposit, deps, body.owner, body.amount)
    return await execute_operation(deps, "deposit", plan, owner=body.owner, credential=signed)


async def withdraw(deps: Dependencies, body: Withdraw) -> Reply | Response:
    """Withdraw tokens from a vault.

    The tokens go to the owner, or to a `recipient` on the vault's whitelist. The wallet signs
    `withdraw:{owner}:{amount}:{nonce}`.

    Answers 202 where the service is the vault's delegate, the vault has no multisig, the recipient
    has a token account and the service pays fees; else 200.
    """
    signed = second_factor(deps, body.request("withdraw", body.amount))
    plan = partial(plans.withdraw, deps, body.owner, body.amount, body.recipient or body.owner)
    return await execute_operation(deps, "withdraw", plan, owner=body.owner, credential=signed)


async def add_delegate(deps: Dependencies, body: Delegate) -> Reply | Response:
    """Add a delegate.

    A delegate may act for the vault, but tokens still go only to the owner or to a recipient on
    the whitelist. The wallet signs `delegate_add:{owner}:{delegate}:{nonce}`.
    """
    signed = body.request("delegate_add", body.delegate)
    instruction = instructions.add_delegate(deps.programs, owner=body.owner, delegate=body.delegate)
    plan = partial(plans.by_owner, deps, "delegate_add", body.owner, instruction)
    return await execute_operation(deps, "delegate_add", plan, owner=body.owner, credential=signed)


async def remove_delegate(deps: Dependencies, body: Delegate) -> Reply | Response:
    """Remove a delegate.

    The wallet signs `delegate_remove:{owner}:{delegate}:{nonce}`.
    """
    signed = body.request("delegate_remove", body.delegate)
    instruction = instructions.remove_delegate(
        deps.programs, owner=body.owner, delegate=body.delegate
    )
    plan = partial(plans.by_owner, deps, "delegate_remove", body.owner, instruction)
    return await execute_operation(
        deps, "delegate_remove", plan, owner=body.owner, credential=signed
    )


async def request_withdraw(deps: Dependencies, body: Deposit) -> Reply | Response:
    """Request a delayed withdrawal.

    A vault with a minimum delay pays out only what was requested that long before. The wallet
    signs `request_withdraw:{owner}:{amount}:{nonce}`.
    """
    signed = second_factor(deps, body.request("request_withdraw", body.amount))
    instruction = instructions.request_withdraw(deps.programs, owner=body.owner, amount=body.amount)
    plan = partial(
        plans.by_owner,
        deps,
        "request_withdraw",
        body.owner,
        instruction,
        amount=body.amount,
    )
    return await execute_operation(
        deps, "request_withdraw", plan, owner=body.owner, credential=signed
    )


async def schedule_withdraw(deps: Dependencies, body: Schedule) -> Reply | Response:
    """Schedule a timelock.

    Moves available tokens into a timelock of `duration_seconds`. The wallet signs
    `schedule:{owner}:{amount}:{duration_seconds}:{nonce}`.

    Answers 202 where the service is the vault's delegate, the vault has no multisig and the
    service pays fees; else 200.
    """
    signed = second_factor(deps, body.request("schedule", body.amount, body.duration_seconds))

    def instruction(authority: Pubkey) -> Instruction:
        return instructions.schedule_timelock(
            deps.programs,
            authority=authority,
            owner=body.owner,
            amount=body.amount,
            duration_seconds=body.duration_seconds,
        )

    plan = partial(
        plans.by_owner_or_delegate,
        deps,
        "schedule_withdraw",
        body.owner,
        instruction,
        amount=body.amount,
    )
    return await execute_operation(
        deps, "schedule_withdraw", plan, owner=body.owner, credential=signed
    )


async def release_timelocks(deps: Dependencies, body: Release) -> Reply | Response:
    """Release the matured timelocks.

    Makes the tokens of the owner's matured timelocks available again; the service signs and pays.
    409 if no timelock has matured. While a release of the vault is pending, the answer is that
    release.
    """
    plan = partial(plans.release_timelocks, deps, body.owner)
    return await execute_operation(deps, "release_timelocks", plan, owner=body.owner)


async def close(deps: Dependencies, body: Signed) -> Reply | Response:
    """Close an empty vault.

    The rent goes to the owner. The wallet signs `close_vault:{owner}:{nonce}`.
    """
    signed = body.request("close_vault")
    instruction = instructions.close_vault(deps.programs, body.owner)
    plan = partial(plans.by_owner, deps, "close_vault", body.owner, instruction)
    return await execute_operation(deps, "close_vault", plan, owner=body.owner, credential=signed)


ROUTES = (
    Route(
        method="POST",
        rule="/api/vault/initialize",
        handler=initialize,
        body=Initialize,
        replies=COSIGN,
        refusals=(Conflict, ProgramRefused, *UNSPONSORED),
        idempotent=True,
        tags=("vaults",),
    ),
    Route(
        method="POST",
        rule="/api/vault/deposit",
        handler=deposit,
        body=Deposit,
        replies=COSIGN,
        refusals=SIGNED_REFUSALS,
        auth=Auth.WALLET,
        idempotent=True,
        tags=("vaults",),
    ),
    Route(
        method="POST",
        rule="/api/vault/withdraw",
        handler=withdraw,
        body=Withdraw,
        replies=COSIGN_OR_SUBMIT,
        refusals=(*SIGNED_REFUSALS, VaultNotFound),
        auth=Auth.WALLET,
        sensitive=True,
        idempotent=True,
        second_factor=True,
        tags=("vaults",),
    ),
    Route(
        method="POST",
        rule="/api/vault/delegate/add",
        handler=add_delegate,
        body=Delegate,
        replies=COSIGN,
        refusals=SIGNED_REFUSALS,
        auth=Auth.WALLET,
        idempotent=True,
        tags=("vaults",),
    ),
    Route(
        method="DELETE",
        rule="/api/vault/delegate/remove",
        handler=remove_delegate,
        body=Delegate,
        replies=COSIGN,
        refusals=SIGNED_REFUSALS,
        auth=Auth.WALLET,
        tags=("vaults",),
    ),
    Route(
        method="POST",
        rule="/api/vault/request-withdraw",
        handler=request_withdraw,
        body=Deposit,
        replies=COSIGN,
        refusals=(*SIGNED_REFUSALS, VaultNotFound, Conflict),
        auth=Auth.WALLET,
        sensitive=True,
        idempotent=True,
        second_factor=True,
        tags=("vaults",),
    ),
    Route(
        method="POST",
        rule="/api/vault/schedule-withdraw",
        handler=schedule_withdraw,
        body=Schedule,
        replies=COSIGN_OR_SUBMIT,
        refusals=(*SIGNED_REFUSALS, VaultNotFound, Conflict),
        auth=Auth.WALLET,
        sensitive=True,
        idempotent=True,
        second_factor=True,
        tags=("vaults",),
    ),
    Route(
        method="POST",
        rule="/api/vault/release-timelocks",
        handler=release_timelocks,
        body=Release,
        replies={202: schemas.Submitted},
        refusals=(VaultNotFound, Conflict, ProgramRefused, *UNSPONSORED),
        sensitive=True,
        idempotent=True,
        tags=("vaults",),
    ),
    Route(
        method="POST",
        rule="/api/vault/close",
        handler=close,
        body=Signed,
        replies=COSIGN,
        refusals=(*SIGNED_REFUSALS, VaultNotFound, Conflict),
        auth=Auth.WALLET,
        idempotent=True,
        tags=("vaults",),
    ),
)

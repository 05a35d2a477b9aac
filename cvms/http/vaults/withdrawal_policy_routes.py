"""How a vault's tokens may leave: for its owner to sign, since on chain only the owner decides.

The owner's wallet asks with a signature, or an administrator on the owner's behalf.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated

import msgspec
from quart import Response
from solders.instruction import Instruction
from solders.pubkey import Pubkey

from cvms.chain.program import instructions
from cvms.errors import Conflict, FieldProblem, InvalidRequest, VaultNotFound
from cvms.http.auth.requester import AdministratorRequest, Credential, SignedRequest
from cvms.http.auth.wallet_signature import signed_text
from cvms.http.framework.admin_tokens import Administrator, Role
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.request import (
    MAX_AMOUNT,
    Body,
    Nonce,
    Seconds,
    SignInMessage,
    WalletSignature,
)
from cvms.http.framework.response import Reply
from cvms.http.framework.routing import Auth, Handler, Route
from cvms.http.operations import plans
from cvms.http.operations.execute import COSIGN, SIGNED_REFUSALS, execute_operation

WindowSeconds = Annotated[int, msgspec.Meta(ge=0, le=2**32 - 1)]
MaxAmount = Annotated[int, msgspec.Meta(ge=0, le=MAX_AMOUNT)]


class Policy(Body, frozen=True, kw_only=True):
    """`nonce` and `signature` are the wallet's; an administrator leaves them out."""

    owner: Pubkey
    nonce: Nonce | None = None
    signature: WalletSignature | None = None
    message: SignInMessage | None = None

    def requester(
        self, administrator: Administrator | None, action: str, *fields: object
    ) -> Credential:
        """Who asks: the administrator, or the wallet that has signed this action's text."""
        if administrator is not None:
            return AdministratorRequest(administrator)
        if self.nonce is None or self.signature is None:
            missing = [name for name in ("nonce", "signature") if getattr(self, name) is None]
            problems = [FieldProblem(name, "missing") for name in missing]
            raise InvalidRequest("Sign the request with the owner's wallet.", problems)
        text = signed_text(action, self.owner, *fields, self.nonce)
        return SignedRequest(self.owner, text, self.nonce, self.signature, self.message)


class Whitelisted(Policy, frozen=True, kw_only=True):
    address: Pubkey


class MinDelay(Policy, frozen=True, kw_only=True):
    seconds: Seconds


class RateLimit(Policy, frozen=True, kw_only=True):
    window_seconds: WindowSeconds
    max_amount: MaxAmount


async def add_to_whitelist(
    deps: Dependencies, body: Whitelisted, administrator: Administrator | None
) -> Reply | Response:
    """Let withdrawals go to another wallet too.

    Signed text: `whitelist_add:{owner}:{address}:{nonce}`.
    """
    requester = body.requester(administrator, "whitelist_add", body.address)
    instruction = instructions.add_withdraw_whitelist(
        deps.programs, owner=body.owner, address=body.address
    )
    return await _carry_out(deps, "whitelist_add", body, instruction, requester)


async def remove_from_whitelist(
    deps: Dependencies, body: Whitelisted, administrator: Administrator | None
) -> Reply | Response:
    """Take that back.

    Signed text: `whitelist_remove:{owner}:{address}:{nonce}`.
    """
    requester = body.requester(administrator, "whitelist_remove", body.address)
    instruction = instructions.remove_withdraw_whitelist(
        deps.programs, owner=body.owner, address=body.address
    )
    return await _carry_out(deps, "whitelist_remove", body, instruction, requester)


async def set_min_delay(
    deps: Dependencies, body: MinDelay, administrator: Administrator | None
) -> Reply | Response:
    """Make withdrawals wait.

    Signed text: `min_delay_set:{owner}:{seconds}:{nonce}`.
    """
    requester = body.requester(administrator, "min_delay_set", body.seconds)
    instruction = instructions.set_withdraw_min_delay(
        deps.programs, owner=body.owner, seconds=body.seconds
    )
    return await _carry_out(deps, "min_delay_set", body, instruction, requester)


async def set_rate_limit(
    deps: Dependencies, body: RateLimit, administrator: Administrator | None
) -> Reply | Response:
    """Bound what may leave within a window.

    Signed text: `rate_limit_set:{owner}:{window_seconds}:{max_amount}:{nonce}`.
    """
    fields = body.window_seconds, body.max_amount
    requester = body.requester(administrator, "rate_limit_set", *fields)
    instruction = instructions.set_withdraw_rate_limit(
        deps.programs,
        owner=body.owner,
        window_seconds=body.window_seconds,
        max_amount=body.max_amount,
    )
    return await _carry_out(deps, "rate_limit_set", body, instruction, requester)


async def _carry_out(
    deps: Dependencies,
    action: str,
    body: Policy,
    instruction: Instruction,
    requester: Credential,
) -> Reply | Response:
    plan = partial(plans.by_owner, deps, action, body.owner, instruction)
    return await execute_operation(deps, action, plan, owner=body.owner, credential=requester)


def _route(method: str, rule: str, view: Handler, body: type[Policy]) -> Route:
    return Route(
        method="DELETE" if method == "DELETE" else "POST",
        rule=f"/api/admin/withdraw/{rule}",
        handler=view,
        body=body,
        replies=COSIGN,
        refusals=(*SIGNED_REFUSALS, VaultNotFound, Conflict),
        auth=Auth.WALLET_OR_ADMIN,
        role=Role.OPERATOR,
        idempotent=method == "POST",
        tags=("administration",),
    )


ROUTES = (
    _route("POST", "whitelist/add", add_to_whitelist, Whitelisted),
    _route("DELETE", "whitelist/remove", remove_from_whitelist, Whitelisted),
    _route("POST", "min-delay/set", set_min_delay, MinDelay),
    _route("POST", "rate-limit/set", set_rate_limit, RateLimit),
)

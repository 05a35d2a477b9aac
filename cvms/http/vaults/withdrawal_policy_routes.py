"""Routes for a vault's withdrawal policy: whitelist, minimum delay and rate limit.

The owner requests a change with a signature, or an administrator does on the owner's behalf. The
owner signs the transaction in either case, since on chain only the owner may change the policy.
"""

from __future__ import annotations

from collections.abc import Callable

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from cvms.chain.program import instructions
from cvms.errors import Conflict, FieldProblem, InvalidRequest, NoMultisig, VaultNotFound
from cvms.http.auth.credential import AdministratorRequest, Credential
from cvms.http.auth.signed_body import signed_request
from cvms.http.framework.admin_tokens import Administrator, Role
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.request import (
    Body,
    Nonce,
    Signers,
    SignInMessage,
    Uint32,
    WalletSignature,
    WholeNumber,
)
from cvms.http.framework.response import Reply, Response
from cvms.http.framework.routing import Auth, RouteGroup
from cvms.http.operations.execute import COSIGN, SIGNED_REFUSALS, execute_by_owner

REFUSALS = (*SIGNED_REFUSALS, VaultNotFound, Conflict)

ROUTES = RouteGroup(
    "administration",
    replies=COSIGN,
    refusals=REFUSALS,
    auth=Auth.WALLET_OR_ADMIN,
    role=Role.OPERATOR,
    idempotent=True,
)


class PolicyRequest(Body, frozen=True, kw_only=True):
    """`nonce` and `signature` come from the owner's wallet; an administrator omits them."""

    owner: Pubkey
    nonce: Nonce | None = None
    signature: WalletSignature | None = None
    message: SignInMessage | None = None

    def requester(self, administrator: Administrator | None, action: str) -> Credential:
        """Return the administrator's credential, or that of the wallet for this action's text.

        Raises InvalidRequest if there is neither an administrator nor a signature.
        """
        if administrator is not None:
            return AdministratorRequest(administrator)
        if self.nonce is None or self.signature is None:
            missing = [name for name in ("nonce", "signature") if getattr(self, name) is None]
            problems = [FieldProblem(name, "missing") for name in missing]
            raise InvalidRequest(
                "Sign the request with the owner's wallet, or send an administrator token.",
                problems,
            )
        return signed_request(self, action, self.nonce, self.signature, self.message)


class Loosening(PolicyRequest, frozen=True, kw_only=True):
    """A change that may loosen a guard.

    If one is in force, `signers` of the vault's multisig sign the transaction too, or the change
    has to be requested. No text names them.
    """

    signers: Signers | None = None


class AddedToWhitelist(Loosening, frozen=True, kw_only=True):
    address: Pubkey


class Whitelisted(PolicyRequest, frozen=True, kw_only=True):
    address: Pubkey


class MinDelay(Loosening, frozen=True, kw_only=True):
    seconds: WholeNumber


class SetRateLimit(Loosening, frozen=True, kw_only=True):
    window_seconds: Uint32
    max_amount: WholeNumber


@ROUTES.post("/api/admin/withdraw/whitelist/add", refusals=(*REFUSALS, NoMultisig))
async def add_to_whitelist(
    deps: Dependencies, body: AddedToWhitelist, administrator: Administrator | None
) -> Reply | Response:
    """Add a recipient to a vault's whitelist.

    Withdrawals may then go to the wallet `address` as well as to the owner.
    """
    build = instructions.add_withdraw_whitelist
    return await _execute(deps, "whitelist_add", body, administrator, build, address=body.address)


@ROUTES.delete("/api/admin/withdraw/whitelist/remove", idempotent=False)
async def remove_from_whitelist(
    deps: Dependencies, body: Whitelisted, administrator: Administrator | None
) -> Reply | Response:
    """Remove a recipient from a vault's whitelist."""
    build = instructions.remove_withdraw_whitelist
    return await _execute(
        deps, "whitelist_remove", body, administrator, build, address=body.address
    )


@ROUTES.post("/api/admin/withdraw/whitelist/remove", name="remove_whitelisted_by_post")
async def remove_from_whitelist_by_post(
    deps: Dependencies, body: Whitelisted, administrator: Administrator | None
) -> Reply | Response:
    """Remove a recipient from a vault's whitelist by POST.

    The same as DELETE, whose body some clients and proxies drop.
    """
    return await remove_from_whitelist(deps, body, administrator)


@ROUTES.post("/api/admin/withdraw/min-delay/set", refusals=(*REFUSALS, NoMultisig))
async def set_min_delay(
    deps: Dependencies, body: MinDelay, administrator: Administrator | None
) -> Reply | Response:
    """Set a vault's minimum withdrawal delay.

    A withdrawal must then be requested that many seconds before; 0 ends this.
    """
    build = instructions.set_withdraw_min_delay
    return await _execute(deps, "min_delay_set", body, administrator, build, seconds=body.seconds)


@ROUTES.post("/api/admin/withdraw/rate-limit/set", refusals=(*REFUSALS, NoMultisig))
async def set_rate_limit(
    deps: Dependencies, body: SetRateLimit, administrator: Administrator | None
) -> Reply | Response:
    """Set a vault's withdrawal rate limit.

    At most `max_amount` may then be withdrawn within `window_seconds`; 0 for either means no
    limit. A new window starts, except if a guard is in force that this does not loosen.
    """
    build = instructions.set_withdraw_rate_limit
    fields = {"window_seconds": body.window_seconds, "max_amount": body.max_amount}
    return await _execute(deps, "rate_limit_set", body, administrator, build, **fields)


async def _execute(
    deps: Dependencies,
    action: str,
    body: PolicyRequest,
    administrator: Administrator | None,
    build: Callable[..., Instruction],
    **fields: object,
) -> Reply | Response:
    """Execute an instruction with these arguments."""
    requester = body.requester(administrator, action)
    signers = (body.signers or ()) if isinstance(body, Loosening) else ()
    if signers:
        fields["extra_signers"] = signers
    instruction = build(deps.programs, owner=body.owner, **fields)
    return await execute_by_owner(
        deps, action, requester, instruction, owner=body.owner, signers=signers
    )

"""Routes for changes that loosen an owner's guards: request, wait, then apply or cancel.

Until the delay is over, the owner or any one signer of the multisig can cancel what a thief of the
owner's key has requested.
"""

from __future__ import annotations

import msgspec
from solders.instruction import Instruction
from solders.pubkey import Pubkey
from solders.sysvar import CLOCK

from cvms.chain.program import instructions
from cvms.chain.program.accounts import (
    GUARD_CHANGE_DISCRIMINATOR,
    VALID_SECONDS,
    GuardChangeRequest,
    Vault,
    decode_guard_change,
    read_guard_change,
    read_vault,
)
from cvms.chain.program.addresses import guard_change_address, vault_address
from cvms.chain.program.guard_changes import GuardChange
from cvms.chain.transactions.chain_clock import time_in
from cvms.chain.transactions.versioned import build_transaction
from cvms.chain.types import Commitment
from cvms.errors import Conflict, NotFound, VaultNotFound
from cvms.http.auth.signed_body import Signed
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.request import ChangeText, field_error, owner_in_path
from cvms.http.framework.response import Reply, Response
from cvms.http.framework.routing import Auth, RouteGroup
from cvms.http.operations.execute import (
    COSIGN,
    SIGNED_REFUSALS,
    execute_by_owner,
    execute_operation,
)
from cvms.http.operations.plans import TransactionPlan
from cvms.http.vaults.guards.change_text import read_change, write_change
from cvms.http.vaults.query_routes import OWNER

ROUTES = RouteGroup(
    "guards",
    replies=COSIGN,
    refusals=(*SIGNED_REFUSALS, Conflict, NotFound),
    auth=Auth.WALLET,
    sensitive=True,
    idempotent=True,
)


class Change(Signed, frozen=True, kw_only=True):
    change: ChangeText

    @property
    def guard_change(self) -> GuardChange:
        """The change that the text stands for. Raises InvalidRequest."""
        try:
            return read_change(self.change)
        except ValueError as error:
            raise field_error("The body", "change", str(error)) from None


class CancelledChange(Change, frozen=True, kw_only=True):
    """`signer` is the wallet that signs, by default the owner."""

    signer: Pubkey | None = None


class RequestedChange(msgspec.Struct, frozen=True, kw_only=True):
    """A requested change, which its owner may apply from `executable_at` to `expires_at`.

    Times are Unix seconds of the chain's clock. `executable` says whether it may be applied now,
    also by the delay that is in force by now.
    """

    change: str
    requested_at: int
    executable_at: int
    expires_at: int
    executable: bool


class RequestedChanges(msgspec.Struct, frozen=True, kw_only=True):
    """The changes that an owner has requested, and neither applied nor cancelled."""

    owner: str
    vault: str
    changes: list[RequestedChange]


@ROUTES.post(
    "/api/vault/guard-changes/request",
    refusals=(*SIGNED_REFUSALS, VaultNotFound, Conflict),
    name="request_guard_change",
)
async def request(deps: Dependencies, body: Change) -> Reply | Response:
    """Request a change that loosens a guard.

    While a multisig or a minimum delay is set, a change that loosens a guard waits for the delay,
    and for at least seven days if there is a multisig. The wait begins when the transaction lands:
    the list of requested changes then tells when it may be applied. The owner pays the rent of the
    request, and gets it back.
    """
    signed, change = body.request("guard_request"), body.guard_change
    instruction = instructions.request_guard_change(deps.programs, owner=body.owner, change=change)
    return await execute_by_owner(deps, "guard_request", signed, instruction, owner=body.owner)


@ROUTES.post(
    "/api/vault/guard-changes/apply",
    refusals=(*SIGNED_REFUSALS, VaultNotFound, Conflict, NotFound),
    name="apply_guard_change",
)
async def apply(deps: Dependencies, body: Change) -> Reply | Response:
    """Apply a requested change.

    For seven days from when it may be applied. 404 if the change is not requested.
    """
    signed, change = body.request("guard_apply"), body.guard_change
    instruction = instructions.apply_guard_change(deps.programs, owner=body.owner, change=change)
    return await execute_operation(
        deps,
        "guard_apply",
        owner=body.owner,
        credential=signed,
        plan=lambda: _plan(deps, body, instruction, signer=body.owner),
    )


@ROUTES.post("/api/vault/guard-changes/cancel", name="cancel_guard_change")
async def cancel(deps: Dependencies, body: CancelledChange) -> Reply | Response:
    """Cancel a requested change.

    The `signer` signs the request and the transaction: the owner, or one of the signers of the
    vault's multisig. The rent goes to the owner. 404 if the change is not requested.
    """
    signer = body.signer or body.owner
    signed = msgspec.structs.replace(body, signer=signer).request("guard_cancel")
    instruction = instructions.cancel_guard_change(
        deps.programs, authority=signer, owner=body.owner, change=body.guard_change
    )
    return await execute_operation(
        deps,
        "guard_cancel",
        owner=body.owner,
        credential=signed,
        plan=lambda: _plan(deps, body, instruction, signer=signer),
    )


@ROUTES.get(
    f"/api/vault/guard-changes/{OWNER}",
    replies={200: RequestedChanges},
    refusals=(),
    auth=Auth.NONE,
    idempotent=False,
    name="list_guard_changes",
)
async def list_changes(deps: Dependencies, owner: str) -> Reply:
    """List the requested changes of a vault's guards.

    Read from the chain, the first executable one first. An owner without a vault has none, except
    for those that a closed vault left behind; cancelling them gives their rent back.
    """
    key = owner_in_path(owner)
    vault = vault_address(deps.programs, key)
    _, found = await deps.rpc.get_program_accounts(
        deps.programs.vault,
        data_begins=GUARD_CHANGE_DISCRIMINATOR + bytes(vault),
        commitment=Commitment.CONFIRMED,
    )
    now = await deps.rpc.get_accounts([vault, CLOCK], commitment=Commitment.CONFIRMED)
    state, clock = read_vault(now.accounts[0], deps.programs), time_in(now.accounts[1])
    requests = [decode_guard_change(account.data) for _, account in found]
    changes = [_shown(each, state, clock) for each in requests]
    changes.sort(key=lambda each: (each.executable_at, each.change))
    return Reply(RequestedChanges(owner=str(key), vault=str(vault), changes=changes))


def _shown(request: GuardChangeRequest, vault: Vault | None, now: int) -> RequestedChange:
    expires_at = request.executable_at + VALID_SECONDS
    return RequestedChange(
        change=write_change(request.change),
        requested_at=request.requested_at,
        executable_at=request.executable_at,
        expires_at=expires_at,
        executable=vault is not None
        and request.executable_at <= now <= expires_at
        and now - request.requested_at >= vault.guard_wait
        and request.requested_at > vault.created_at,
    )


async def _plan(
    deps: Dependencies, body: Change, instruction: Instruction, *, signer: Pubkey
) -> TransactionPlan:
    """Plan what happens to a requested change. Raises NotFound if it is not requested."""
    vault = vault_address(deps.programs, body.owner)
    address = guard_change_address(deps.programs.vault, vault, body.guard_change)
    found = await deps.rpc.get_accounts([address], commitment=Commitment.CONFIRMED)
    if read_guard_change(found.accounts[0], deps.programs) is None:
        raise NotFound(f"{body.owner} has not requested the change {body.change}.")
    payer = deps.operator.payer_for(signer)
    blockhash = await deps.rpc.get_latest_blockhash(Commitment.CONFIRMED)
    return TransactionPlan(build_transaction(instruction, fee_payer=payer, blockhash=blockhash))

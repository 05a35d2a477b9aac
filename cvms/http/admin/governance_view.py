"""The route that shows who governs, and what governance has decided, as it is on chain."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

import msgspec
from solders.pubkey import Pubkey

from cvms.amounts import Amount
from cvms.chain.program.accounts import TransferLimits as LimitsAccount
from cvms.chain.program.accounts import read_transfer_limits
from cvms.chain.program.addresses import transfer_limits_address
from cvms.chain.types import Commitment
from cvms.errors import NotFound
from cvms.http.framework.admin_tokens import Administrator, Role
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.response import Reply
from cvms.http.framework.routing import Auth, RouteGroup
from cvms.http.operations import plans

ROUTES = RouteGroup("administration", auth=Auth.ADMIN, role=Role.VIEWER)


class PendingLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Higher limits that apply from `effective_at` on."""

    vault_daily: Amount
    total_daily: Amount
    effective_at: datetime


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What may be transferred between vaults in 24 hours: from one vault, and from all."""

    vault_daily: Amount
    total_daily: Amount
    transferred: Amount
    window_start: datetime
    pending: PendingLimits | None


class Governance(msgspec.Struct, frozen=True, kw_only=True):
    """The vault authority. `held_by`: `service`, a `wallet`, or a `program` such as a multisig.

    `transfer_limits` is null while governance has set none, so that transfers are unlimited.
    """

    governance: str
    held_by: Literal["service", "wallet", "program"]
    pending_governance: str | None
    authorized_programs: list[str]
    yield_programs: list[str]
    freeze: bool
    cpi_enforced: bool
    risk_level: int
    withdrawals_paused_until: datetime | None
    pause_allowed_at: datetime | None
    transfer_limits: Limits | None


@ROUTES.get("/api/admin/governance", replies={200: Governance}, refusals=(NotFound,))
async def get_governance(deps: Dependencies, administrator: Administrator) -> Reply:
    """Get the state of governance.

    Who holds it, and what it has decided, from the chain at `confirmed`. A pause that is over has
    a time in the past.
    """
    authority = await plans.vault_authority(deps)
    address = transfer_limits_address(deps.programs)
    found = await deps.rpc.get_accounts([address], commitment=Commitment.CONFIRMED)
    limits = read_transfer_limits(found.accounts[0], deps.programs)
    pending = authority.pending_governance
    return Reply(
        Governance(
            governance=str(authority.governance),
            held_by=_holder(deps, authority.governance),
            pending_governance=None if pending == Pubkey.default() else str(pending),
            authorized_programs=[str(each) for each in authority.authorized_programs],
            yield_programs=[str(each) for each in authority.yield_whitelist],
            freeze=authority.freeze,
            cpi_enforced=authority.cpi_enforced,
            risk_level=authority.risk_level,
            withdrawals_paused_until=_time(authority.withdrawals_paused_until),
            pause_allowed_at=_time(authority.pause_allowed_at),
            transfer_limits=None if limits is None else _limits(limits),
        )
    )


def _holder(deps: Dependencies, governance: Pubkey) -> Literal["service", "wallet", "program"]:
    if deps.operator.holds(governance):
        return "service"
    return "wallet" if governance.is_on_curve() else "program"


def _limits(limits: LimitsAccount) -> Limits:
    pending = None
    if limits.pending_at:
        pending = PendingLimits(
            vault_daily=limits.pending_vault_daily,
            total_daily=limits.pending_total_daily,
            effective_at=datetime.fromtimestamp(limits.pending_at, UTC),
        )
    return Limits(
        vault_daily=limits.vault_daily,
        total_daily=limits.total_daily,
        transferred=limits.transferred,
        window_start=datetime.fromtimestamp(limits.window_start, UTC),
        pending=pending,
    )


def _time(seconds: int) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None

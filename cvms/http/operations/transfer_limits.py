"""What administrators may transfer between vaults: the settings ADMIN_TRANSFER_…"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime

from solders.pubkey import Pubkey

from cvms.config.admin_settings import AdminSettings
from cvms.errors import TransferLimitReached, TransferNotAllowed
from cvms.http.framework.dependencies import Dependencies
from cvms.store.postgres.driver.connection import Connection
from cvms.store.submissions import transfer_limits
from cvms.store.submissions.transfer_limits import RecentTransfer


def check_transfer(settings: AdminSettings, *, to_owner: Pubkey, amount: int) -> None:
    """Raise TransferNotAllowed for what is never allowed."""
    destinations = settings.transfer_destinations
    if destinations and to_owner not in destinations:
        raise TransferNotAllowed(
            f"{to_owner} is not one of ADMIN_TRANSFER_DESTINATIONS, to whose vaults administrators "
            "may transfer."
        )
    for name, limit in (
        ("ADMIN_TRANSFER_LIMIT", settings.transfer_limit),
        ("ADMIN_TRANSFER_LIMIT_PER_DAY", settings.transfer_limit_per_day),
    ):
        if limit is not None and amount > limit:
            raise TransferNotAllowed(f"{name} is {limit} token units, less than {amount}.")


async def check_day(deps: Dependencies, conn: Connection, amount: int) -> None:
    """Raise TransferLimitReached if the day's transfers leave no room for this one.

    The transaction must record the transfer: until it ends, nobody else passes the check.
    """
    limit = deps.config.admin.transfer_limit_per_day
    if limit is None:
        return
    recent = await transfer_limits.lock_recent(conn)
    used = sum(each.amount for each in recent)
    if used + amount <= limit:
        return
    available_at = _available_at(recent, used + amount - limit)
    seconds = (available_at - datetime.fromtimestamp(deps.wall_clock(), UTC)).total_seconds()
    raise TransferLimitReached(
        f"ADMIN_TRANSFER_LIMIT_PER_DAY is {limit} token units, of which {used} were transferred "
        f"within 24 hours. {amount} are free again at {available_at.isoformat()}.",
        retry_after=max(1, math.ceil(seconds)),
        limit=limit,
        used=used,
        available_at=available_at,
    )


def _available_at(recent: Sequence[RecentTransfer], excess: int) -> datetime:
    """Return when the oldest transfers have freed the excess, which is not more than their sum."""
    freed = 0
    for each in recent:
        freed += each.amount
        if freed >= excess:
            return each.free_at
    raise AssertionError("an amount above the limit is refused before")

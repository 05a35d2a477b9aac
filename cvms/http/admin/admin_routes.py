"""What administrators look at, and what they ask the service to do with its own books."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import msgspec
from solders.pubkey import Pubkey

from cvms.chain.transactions.vault_builders import fetch_vault
from cvms.errors import Conflict, VaultNotFound
from cvms.http.framework.admin_tokens import Administrator, Role
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.request import Body, Limit, RowId
from cvms.http.framework.response import Reply
from cvms.http.framework.routing import Auth, Route
from cvms.nursery.channels.status_board import ComponentStatus
from cvms.store.messaging.leader_notifications import RECONCILE, notify_leader
from cvms.store.reconciliation import reconciliation_log
from cvms.store.security import audit_log

Action = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9_]{1,64}\Z")]
TAGS = ("administration",)


class AuditQuery(Body, frozen=True):
    owner: Pubkey | None = None
    action: Action | None = None
    cursor: RowId | None = None
    limit: Limit = 50


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """Who did what; `hash` chains it to the entry before, in hexadecimal."""

    id: int
    at: datetime
    actor: str
    action: str
    owner: str | None
    outcome: str
    details: dict[str, Any]
    hash: str


class AuditPage(msgspec.Struct, frozen=True, kw_only=True):
    """Entries, newest first; `next_cursor` is null on the last page."""

    entries: list[AuditEntry]
    next_cursor: int | None


class ReconciliationQuery(Body, frozen=True):
    limit: Limit = 50


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """One field of a vault that differed from the chain; `expected` is the chain's."""

    id: int
    vault: str
    owner: str
    field: str
    expected: int | None
    actual: int | None
    difference: int
    chain_slot: int
    row_slot: int | None
    healed: bool
    cause: str
    created_at: datetime


class Differences(msgspec.Struct, frozen=True):
    """The newest differences first."""

    differences: list[Difference]


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """A supervised task.

    `trouble` says why it is not well, if it fails again and again, or if its run has not come to
    anything within `expected_seconds`; null for one that is well or waits for an outage to end.
    """

    state: str
    restarts: int
    last_error: str | None
    last_success: datetime | None
    expected_seconds: float | None
    trouble: str | None


class Tasks(msgspec.Struct, frozen=True, kw_only=True):
    """Every supervised task by name; `parts` says how far the indexer is behind the chain."""

    tasks: Mapping[str, Task]
    parts: Mapping[str, ComponentStatus]


class Reconcile(Body, frozen=True):
    owner: Pubkey | None = None


class Asked(msgspec.Struct, frozen=True):
    """What was asked for is queued."""

    status: str = "queued"


class TokenAccount(Body, frozen=True):
    owner: Pubkey
    token_account: Pubkey


async def list_audit_entries(
    deps: Dependencies, query: AuditQuery, administrator: Administrator
) -> Reply:
    """The audit trail, newest first."""
    owner = None if query.owner is None else str(query.owner)
    async with deps.database.connection() as conn:
        rows = await audit_log.page(
            conn, limit=query.limit, owner=owner, action=query.action, before_id=query.cursor
        )
    entries = [AuditEntry(**asdict(row) | {"hash": row.hash.hex()}) for row in rows]
    full = len(rows) == query.limit
    return Reply(AuditPage(entries=entries, next_cursor=rows[-1].id if full else None))


async def list_differences(
    deps: Dependencies, query: ReconciliationQuery, administrator: Administrator
) -> Reply:
    """Where the books were found to differ from the chain."""
    async with deps.database.connection() as conn:
        rows = await reconciliation_log.recent(conn, query.limit)
    return Reply(Differences([Difference(**asdict(row)) for row in rows]))


async def list_tasks(deps: Dependencies, administrator: Administrator) -> Reply:
    """Every supervised task: state, restarts, last error, last success, and whether it is well."""
    troubles = deps.board.liveness_faults()
    shown = {
        name: Task(
            state=task.state,
            restarts=task.restarts,
            last_error=task.last_error,
            last_success=task.last_success,
            expected_seconds=task.heartbeat.expected,
            trouble=troubles[name].detail if name in troubles else None,
        )
        for name, task in deps.board.tasks.items()
    }
    return Reply(Tasks(tasks=shown, parts=deps.board.components))


async def reconcile(deps: Dependencies, body: Reconcile, administrator: Administrator) -> Reply:
    """Hold one vault against the chain now, or all of them."""
    owner = None if body.owner is None else str(body.owner)
    await _have_compared(deps, administrator, "reconcile", owner, {})
    return Reply(Asked(), 202)


async def set_token_account(
    deps: Dependencies, body: TokenAccount, administrator: Administrator
) -> Reply:
    """Refresh a vault from the chain; refused unless this is its token account there."""
    vault = await fetch_vault(deps.rpc, deps.programs, body.owner)
    if vault.token_account != body.token_account:
        raise Conflict(f"On chain the vault's token account is {vault.token_account}.")
    owner, details = str(body.owner), {"token_account": str(body.token_account)}
    await _have_compared(deps, administrator, "vault_token_account_set", owner, details)
    return Reply(Asked(), 202)


async def _have_compared(
    deps: Dependencies,
    administrator: Administrator,
    action: str,
    owner: str | None,
    details: dict[str, Any],
) -> None:
    """Write it down, and call whichever replica leads: the call comes with the commit."""
    actor = f"admin:{administrator.subject}"
    async with deps.database.transaction() as conn:
        await audit_log.record(conn, actor=actor, action=action, owner=owner, details=details)
        await notify_leader(conn, RECONCILE, owner or "")


ROUTES = (
    Route(
        method="GET",
        rule="/api/admin/audit",
        handler=list_audit_entries,
        query=AuditQuery,
        replies={200: AuditPage},
        auth=Auth.ADMIN,
        role=Role.VIEWER,
        tags=TAGS,
    ),
    Route(
        method="GET",
        rule="/api/admin/reconciliation",
        handler=list_differences,
        query=ReconciliationQuery,
        replies={200: Differences},
        auth=Auth.ADMIN,
        role=Role.VIEWER,
        tags=TAGS,
    ),
    Route(
        method="GET",
        rule="/api/admin/tasks",
        handler=list_tasks,
        replies={200: Tasks},
        auth=Auth.ADMIN,
        role=Role.VIEWER,
        tags=TAGS,
    ),
    Route(
        method="POST",
        rule="/api/admin/reconcile",
        handler=reconcile,
        body=Reconcile,
        replies={202: Asked},
        auth=Auth.ADMIN,
        role=Role.OPERATOR,
        tags=TAGS,
    ),
    Route(
        method="POST",
        rule="/api/admin/vault-token-account/set",
        handler=set_token_account,
        body=TokenAccount,
        replies={202: Asked},
        refusals=(VaultNotFound, Conflict),
        auth=Auth.ADMIN,
        role=Role.OPERATOR,
        tags=TAGS,
    ),
)

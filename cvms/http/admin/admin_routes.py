"""Routes of administrators: audit trail, supervised tasks and reconciliation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any

import msgspec
from solders.pubkey import Pubkey

from cvms.amounts import Amount
from cvms.chain.transactions.vault_builders import fetch_vault
from cvms.errors import Conflict, VaultNotFound
from cvms.http.framework.admin_tokens import Administrator, Role
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.request import Body, Limit, RowId
from cvms.http.framework.response import Reply
from cvms.http.framework.routing import Auth, RouteGroup
from cvms.http.framework.schemas import reply_of
from cvms.nursery.channels.status_board import ComponentStatus
from cvms.store.messaging.leader_notifications import RECONCILE, notify_leader
from cvms.store.reconciliation import reconciliation_log
from cvms.store.security import audit_log
from cvms.store.security.audit_log import AuditRow

Action = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9_]{1,64}\Z")]

ROUTES = RouteGroup("administration", auth=Auth.ADMIN)


class AuditQuery(Body, frozen=True):
    owner: Pubkey | None = None
    action: Action | None = None
    cursor: RowId | None = None
    limit: Limit = 50


class AuditEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One action. `hash`, in hexadecimal, covers the entry and the hash of the previous one."""

    id: int
    at: datetime
    actor: str
    action: str
    owner: str | None
    outcome: str
    details: dict[str, Any]
    hash: str


class AuditPage(msgspec.Struct, frozen=True, kw_only=True):
    """A page of entries, newest first. `next_cursor` is null on the last page."""

    entries: list[AuditEntry]
    next_cursor: int | None


class ReconciliationQuery(Body, frozen=True):
    limit: Limit = 50


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A field of a vault's row that differed from the chain; `expected` is the chain's value."""

    id: int
    vault: str
    owner: str
    field: str
    expected: Amount | None
    actual: Amount | None
    difference: Amount
    chain_slot: int
    row_slot: int | None
    healed: bool
    cause: str
    created_at: datetime


class Differences(msgspec.Struct, frozen=True):
    """Differences, newest first."""

    differences: list[Difference]


class Task(msgspec.Struct, frozen=True, kw_only=True):
    """A supervised task.

    `trouble` says why the task is unhealthy: it fails repeatedly, or has not succeeded within
    `expected_seconds`. It is null if the task is healthy or waits for an outage to end.
    """

    state: str
    restarts: int
    last_error: str | None
    last_success: datetime | None
    expected_seconds: float | None
    trouble: str | None


class Tasks(msgspec.Struct, frozen=True, kw_only=True):
    """The supervised tasks and the components of readiness, by name."""

    tasks: Mapping[str, Task]
    parts: Mapping[str, ComponentStatus]


class Reconcile(Body, frozen=True):
    owner: Pubkey | None = None


class Asked(msgspec.Struct, frozen=True):
    """The confirmation that a request is queued."""

    status: str = "queued"


class TokenAccount(Body, frozen=True):
    owner: Pubkey
    token_account: Pubkey


@ROUTES.get("/api/admin/audit", replies={200: AuditPage}, role=Role.VIEWER)
async def list_audit_entries(
    deps: Dependencies, query: AuditQuery, administrator: Administrator
) -> Reply:
    """List the entries of the audit trail.

    Returns a page, newest first, of one `owner` or one `action` if given. Pass its `next_cursor`
    as `cursor` to get the page after it.
    """
    owner = None if query.owner is None else str(query.owner)
    async with deps.database.connection() as conn:
        rows = await audit_log.page(
            conn, limit=query.limit, owner=owner, action=query.action, before_id=query.cursor
        )
    entries = [audit_entry(row) for row in rows]
    next_cursor = rows[-1].id if len(rows) == query.limit else None
    return Reply(AuditPage(entries=entries, next_cursor=next_cursor))


def audit_entry(row: AuditRow) -> AuditEntry:
    """Return an entry as administrators see it."""
    return AuditEntry(**asdict(row) | {"hash": row.hash.hex()})


@ROUTES.get("/api/admin/reconciliation", replies={200: Differences}, role=Role.VIEWER)
async def list_differences(
    deps: Dependencies, query: ReconciliationQuery, administrator: Administrator
) -> Reply:
    """List the reconciliation differences.

    Returns the newest differences between vaults' rows and the chain.
    """
    async with deps.database.connection() as conn:
        rows = await reconciliation_log.recent(conn, query.limit)
    return Reply(Differences([reply_of(row, Difference) for row in rows]))


@ROUTES.get("/api/admin/tasks", replies={200: Tasks}, role=Role.VIEWER)
async def list_tasks(deps: Dependencies, administrator: Administrator) -> Reply:
    """List the supervised tasks.

    Returns each task's state, restarts, last error and last success, and why it is unhealthy. All
    are those of the replica that answers.
    """
    faults = deps.board.liveness_faults()
    tasks = {
        name: Task(
            state=task.state,
            restarts=task.restarts,
            last_error=task.last_error,
            last_success=task.last_success,
            expected_seconds=task.heartbeat.expected,
            trouble=faults[name].detail if name in faults else None,
        )
        for name, task in deps.board.tasks.items()
    }
    return Reply(Tasks(tasks=tasks, parts=deps.board.components))


@ROUTES.post(
    "/api/admin/reconcile", replies={202: Asked}, role=Role.OPERATOR, name="start_reconciliation"
)
async def reconcile(deps: Dependencies, body: Reconcile, administrator: Administrator) -> Reply:
    """Start a reconciliation.

    Queues the comparison of the owner's vault with the chain, or of all vaults without an `owner`.
    202 is returned at once; `GET /api/admin/reconciliation` lists the differences.
    """
    await _request_reconciliation(deps, administrator, "reconcile", body.owner, {})
    return Reply(Asked(), 202)


@ROUTES.post(
    "/api/admin/vault-token-account/set",
    replies={202: Asked},
    refusals=(VaultNotFound, Conflict),
    role=Role.OPERATOR,
)
async def set_token_account(
    deps: Dependencies, body: TokenAccount, administrator: Administrator
) -> Reply:
    """Refresh a vault's row from the chain.

    Queues the comparison of the vault with the chain. 409 unless `token_account` is the vault's
    token account on chain.
    """
    vault = await fetch_vault(deps.rpc, deps.programs, body.owner)
    if vault.token_account != body.token_account:
        raise Conflict(
            f"The vault's token account on chain is {vault.token_account}, "
            f"not {body.token_account}."
        )
    action, details = "vault_token_account_set", {"token_account": str(body.token_account)}
    await _request_reconciliation(deps, administrator, action, body.owner, details)
    return Reply(Asked(), 202)


async def _request_reconciliation(
    deps: Dependencies,
    administrator: Administrator,
    action: str,
    owner: Pubkey | None,
    details: dict[str, Any],
) -> None:
    """Record the request, and notify the leader once this commits."""
    key, actor = str(owner) if owner else None, administrator.actor
    async with deps.database.transaction() as conn:
        await audit_log.record(conn, actor=actor, action=action, owner=key, details=details)
        await notify_leader(conn, RECONCILE, key or "")

"""Routes that export the audit trail, and that check its chain of hashes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated, ClassVar

import msgspec
import trio
from solders.pubkey import Pubkey

from cvms.http.admin.admin_routes import Action, audit_entry
from cvms.http.framework.admin_tokens import Administrator, Role
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.request import MAX_AMOUNT, Body, RowId, current_request
from cvms.http.framework.response import ByteStream, Reply, Response
from cvms.http.framework.routing import Auth, RouteGroup
from cvms.store.security import audit_log, audit_verification
from cvms.store.security.audit_verification import PartVerdict

MAX_ENTRIES = 100_000
"""Of an export. The next one goes on after its last entry."""
ENTRIES_AT_ONCE = 500
EXPORT_SECONDS = 120.0
"""For a whole export to be read. Each write has a deadline of its own."""
VERIFY_SECONDS = 8.0
"""A request has 15 seconds."""

EntryId = Annotated[int, msgspec.Meta(ge=0, le=MAX_AMOUNT)]

ROUTES = RouteGroup("administration", auth=Auth.ADMIN, role=Role.VIEWER)


class AuditExport(Body, frozen=True):
    max_limit: ClassVar[int] = MAX_ENTRIES

    owner: Pubkey | None = None
    action: Action | None = None
    cursor: RowId | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_AMOUNT)] = MAX_ENTRIES


class AuditCheck(Body, frozen=True):
    after: EntryId = 0


class AuditVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """What was found of the trail of `entries`, whose newest has the hash `head`.

    `equal` is true if every entry up to the newest follows from the one before it, false if one was
    changed or removed, which `fault` names, and null if the time was too short: then the next check
    goes on `after` the entry `verified_to`.
    """

    entries: int
    verified_to: int
    head: str
    equal: bool | None
    fault: str | None


@ROUTES.get("/api/admin/audit/export", replies={200: None})
async def export_audit_trail(
    deps: Dependencies, query: AuditExport, administrator: Administrator
) -> Response:
    """Get the audit trail as a file.

    NDJSON (`application/x-ndjson`): one entry in each line, newest first, as in `GET
    /api/admin/audit`, of one `owner` or one `action` if given. At most 100,000; pass the `id` of
    the last one as `cursor` to get those after it.
    """
    rest = _lines(deps, query)
    first = await anext(rest, None)
    stream = None if first is None else ByteStream(first, rest)
    headers = {
        "Content-Type": "application/x-ndjson",
        "Content-Disposition": 'attachment; filename="audit.ndjson"',
        "Cache-Control": "no-store",
    }
    return Response(b"", headers=headers, stream=stream)


async def _lines(deps: Dependencies, query: AuditExport) -> AsyncGenerator[bytes, None]:
    """Yield the entries in pieces, none of which is empty: that would end the response."""
    owner = None if query.owner is None else str(query.owner)
    with deps.limits.stream(current_request()):
        async with deps.database.snapshot() as conn:
            deadline = trio.current_time() + EXPORT_SECONDS
            left, before = query.limit, query.cursor
            while left:
                rows = await audit_log.page(
                    conn,
                    limit=min(left, ENTRIES_AT_ONCE),
                    owner=owner,
                    action=query.action,
                    before_id=before,
                )
                if not rows:
                    return
                yield b"".join(msgspec.json.encode(audit_entry(row)) + b"\n" for row in rows)
                if trio.current_time() > deadline:
                    raise trio.TooSlowError("the client reads too slowly")
                left, before = left - len(rows), rows[-1].id


@ROUTES.post("/api/admin/audit/verify", replies={200: AuditVerdict})
async def verify_audit_trail(
    deps: Dependencies, query: AuditCheck, administrator: Administrator
) -> Reply:
    """Check the audit trail.

    Checks that each entry's hash follows from the one before, for at most eight seconds, and that
    the stored signed head is in the trail. A short trail is checked as a whole; of a long one, pass
    `verified_to` as `after` to go on. Only `cvms audit verify` checks signatures, and compares the
    trail with the heads that were published elsewhere.
    """
    async with deps.database.transaction() as conn:
        await audit_log.record(
            conn,
            actor=administrator.actor,
            action="audit_verify",
            owner=None,
            details={"after": query.after},
        )
    with deps.limits.stream(current_request()):
        async with deps.database.snapshot() as conn:
            until = trio.current_time() + VERIFY_SECONDS
            found = await audit_verification.verify_after(conn, query.after, until=until)
    return Reply(_verdict(found))


def _verdict(found: PartVerdict) -> AuditVerdict:
    fault = _fault(found)
    return AuditVerdict(
        entries=found.head.id,
        verified_to=found.verified_to,
        head=found.head.hash.hex(),
        equal=False if fault else True if found.complete else None,
        fault=fault,
    )


def _fault(found: PartVerdict) -> str | None:
    if found.broken is not None:
        return f"entry {found.broken} of the audit trail was changed or removed"
    if found.contradicted is None:
        return None
    return (
        f"the signed head of entry {found.contradicted.id} is not that of the trail: entries were "
        "changed or removed together with the head that the database holds"
    )

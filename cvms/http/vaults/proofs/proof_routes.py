"""Proofs of reserves: the log, inclusion proofs, and files of reserves (docs/proofs.md)."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated, ClassVar
from uuid import UUID

import msgspec
import trio
from psycopg import IsolationLevel

from cvms.errors import Conflict, NotFound, ProofInvalid
from cvms.http.framework.admin_tokens import Administrator, Role
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.request import MAX_AMOUNT, Body, current_request, owner_in_path
from cvms.http.framework.response import ByteStream, Reply, Response
from cvms.http.framework.routing import Auth, RouteGroup
from cvms.proofs.inclusion import InclusionProof
from cvms.proofs.log_entry import SignedEntry
from cvms.proofs.stored_proofs import prove, signed_entry
from cvms.store.postgres.driver.connection import Connection
from cvms.store.proofs import entries, reserves
from cvms.store.proofs.entries import EntryRow
from cvms.store.security import audit_log

NDJSON = "application/x-ndjson"
MAX_PAGE = 100
LOG_PAGE = 500
STREAM_SECONDS = 600.0
"""For a whole file to be read. Each write has a deadline of its own."""
LATEST = "latest"

Limit = Annotated[int, msgspec.Meta(ge=1, le=MAX_AMOUNT)]

ROUTES = RouteGroup("proofs")
ADMIN_ROUTES = RouteGroup("administration", auth=Auth.ADMIN, role=Role.OPERATOR)


class ProofQuery(Body, frozen=True):
    """The entries with numbers below `before`; by default the newest."""

    max_limit: ClassVar[int] = MAX_PAGE

    limit: Limit = 20
    before: Annotated[int, msgspec.Meta(ge=1, le=MAX_AMOUNT)] | None = None


class Proofs(msgspec.Struct, frozen=True, kw_only=True):
    """Signed entries, newest first. `next_before` is null if there are no older ones."""

    entries: list[SignedEntry]
    next_before: int | None


class ProofRequested(msgspec.Struct, frozen=True):
    """The leader makes the entry within seconds, where anything final is newer than the last."""

    queued: bool = True


@ROUTES.get("/api/proofs", replies={200: Proofs})
async def list_proofs(deps: Dependencies, query: ProofQuery) -> Reply:
    """List the entries of the log of proofs.

    Each has the hash of the one before, and is signed with the key of `cvms audit key`.
    """
    async with deps.database.connection() as conn:
        rows = await entries.page(conn, before=query.before, limit=query.limit)
    more = bool(rows) and rows[-1].number > 1
    next_before = rows[-1].number if more else None
    return Reply(Proofs(entries=[signed_entry(row) for row in rows], next_before=next_before))


@ROUTES.get("/api/proofs/log", replies={200: None}, media_type=NDJSON)
async def get_proof_log(deps: Dependencies) -> Response:
    """Get the whole log of proofs.

    Returns every entry, oldest first, one a line. Keep copies: two that differ prove that the log
    was forked.
    """

    async def lines() -> AsyncGenerator[bytes, None]:
        number = 0
        while True:
            async with deps.database.connection() as conn:
                rows = await entries.after(conn, number, limit=LOG_PAGE)
            if not rows:
                return
            yield b"".join(msgspec.json.encode(signed_entry(row)) + b"\n" for row in rows)
            number = rows[-1].number

    return await _stream(deps, lines(), name="proofs")


@ROUTES.get("/api/proofs/<slot>", replies={200: SignedEntry}, refusals=(NotFound,))
async def get_proof(deps: Dependencies, slot: str) -> Reply:
    """Get the entry of a slot.

    `latest` stands for the slot of the newest entry.
    """
    async with deps.database.connection() as conn:
        return Reply(signed_entry(await _entry(conn, slot)))


@ROUTES.get(
    "/api/proofs/<slot>/<owner>",
    replies={200: InclusionProof},
    refusals=(NotFound, Conflict),
    name="get_inclusion_proof",
)
async def get_inclusion(deps: Dependencies, slot: str, owner: str) -> Reply:
    """Get the proof that a vault's balances are in an entry.

    Save it for `cvms verify`. 404 if the vault held nothing at the slot; 409 if balances of that
    slot were corrected later, so that the entry's tree cannot be made again.
    """
    key = str(owner_in_path(owner))
    async with deps.database.transaction(isolation=IsolationLevel.REPEATABLE_READ) as conn:
        row = await _entry(conn, slot)
        try:
            proof = await prove(conn, row, key)
        except ProofInvalid as error:
            raise Conflict(f"There is no proof from entry {row.number}: {error}.") from None
    if proof is None:
        raise NotFound(f"The vault of {key} held nothing at slot {row.slot}.")
    return Reply(proof)


@ROUTES.get(
    "/api/proofs/<slot>/reserves",
    replies={200: None},
    refusals=(NotFound,),
    media_type=NDJSON,
)
async def get_reserves(deps: Dependencies, slot: str) -> Response:
    """Get the file of reserves of an entry.

    Returns a line for each vault's token account and each yield pool. Only the files of the newest
    entries are kept.
    """
    async with deps.database.connection() as conn:
        row = await _entry(conn, slot)
        first = await reserves.part_of(conn, row.file, 0)
    count = signed_entry(row).read().reserves.accounts
    if first is None and count:
        raise NotFound(f"The file of reserves of slot {row.slot} is not kept any more.")
    parts = _parts(deps, row.file, first or b"", count)
    return await _stream(deps, parts, name=f"reserves-{row.slot}")


@ADMIN_ROUTES.post("/api/admin/proofs", replies={202: ProofRequested}, name="request_proof")
async def request_proof(deps: Dependencies, administrator: Administrator) -> Reply:
    """Request a proof of reserves now.

    The leader makes an entry without waiting for the next hour. 202 is returned at once; GET
    /api/proofs lists the entries.
    """
    async with deps.database.transaction() as conn:
        await entries.request(conn)
        await audit_log.record(
            conn, actor=administrator.actor, action="proof_requested", owner=None
        )
    return Reply(ProofRequested(), 202)


async def _parts(
    deps: Dependencies, file: UUID, first: bytes, count: int
) -> AsyncGenerator[bytes, None]:
    """Yield the parts of a file with so many lines. Raises NotFound if it is deleted meanwhile."""
    part, lines = 0, first
    while lines:
        yield lines
        count -= lines.count(b"\n")
        part += 1
        async with deps.database.connection() as conn:
            lines = await reserves.part_of(conn, file, part) or b""
    if count:
        raise NotFound(f"The last {count} lines of the file of reserves are not kept any more.")


async def _stream(deps: Dependencies, parts: AsyncGenerator[bytes, None], *, name: str) -> Response:
    async def bounded() -> AsyncGenerator[bytes, None]:
        with deps.limits.stream(current_request()):
            deadline = trio.current_time() + STREAM_SECONDS
            async for part in parts:
                yield part
                if trio.current_time() > deadline:
                    raise trio.TooSlowError("the client reads too slowly")

    headers = {
        "Content-Type": NDJSON,
        "Content-Disposition": f'attachment; filename="{name}.ndjson"',
    }
    rest = bounded()
    first = await anext(rest, b"")
    return Response(b"", headers=headers, stream=ByteStream(first, rest) if first else None)


async def _entry(conn: Connection, slot: str) -> EntryRow:
    """Return the entry of a slot in a path. Raises NotFound."""
    if slot == LATEST:
        row = await entries.newest(conn)
    else:
        row = await entries.at_slot(conn, int(slot)) if _is_slot(slot) else None
    if row is None:
        raise NotFound(f"There is no entry of slot {slot!r}. GET /api/proofs lists the entries.")
    return row


def _is_slot(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 19

"""Verification of the audit trail: its chain of hashes, and the heads that were published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

import trio
from psycopg.rows import class_row

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import query_for
from cvms.store.security import audit_heads
from cvms.store.security.audit_heads import Head, SignedHead
from cvms.store.security.audit_log import AuditRow, hash_of

# One snapshot of the trail and its heads, whatever is appended meanwhile.
ONE_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"

# Without the times that datetime cannot hold: their entries were changed, and count as missing.
TRAIL = query_for(
    AuditRow,
    """
    SELECT {columns}
    FROM audit_logs
    WHERE at >= TIMESTAMPTZ '0001-01-02'
      AND at < TIMESTAMPTZ '9999-12-31'
    ORDER BY id
    """,
)

AFTER = TRAIL.replace("ORDER BY id", "  AND id > %(after)s\n    ORDER BY id")

ROWS_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a verification found.

    `entries` is the number of entries whose hashes are right. `broken` is the id of the first entry
    that was changed or is missing, `contradicted` the oldest head whose entry the trail does not
    have; None if there is none. `stored` is the signed head that the database holds.
    """

    entries: int
    broken: int | None
    contradicted: Head | None
    stored: SignedHead | None


async def verify(conn: Connection, published: Sequence[Head] = ()) -> Verdict:
    """Check every entry, and that the trail has the stored head and those that were published."""
    async with conn.transaction():
        await conn.execute(ONE_SNAPSHOT)
        head = await audit_heads.current(conn)
        stored = await audit_heads.newest(conn)
        claims: list[Head] = [*published, *([] if stored is None else [stored])]
        unmatched = {(each.id, each.hash): each for each in sorted(claims, key=attrgetter("id"))}
        last, broken = Head(id=0, hash=bytes(32)), False
        async with conn.cursor("audit_trail", row_factory=class_row(AuditRow)) as trail:
            trail.itersize = ROWS_AT_ONCE
            await trail.execute(TRAIL)
            async for row in trail:
                if not _follows(row, last.hash):
                    broken = True
                    break
                last = Head(id=row.id, hash=row.hash)
                unmatched.pop((last.id, last.hash), None)
    return Verdict(
        entries=last.id,
        broken=last.id + 1 if broken or head != last else None,
        contradicted=next(iter(unmatched.values()), None),
        stored=stored,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PartVerdict:
    """What the verification of the entries after one of them found.

    `verified_to` is the last entry whose hash is right. `broken` is the first one that was changed
    or is missing, `contradicted` the stored head if its entry is another one; else None.
    """

    head: Head
    verified_to: int
    broken: int | None
    contradicted: Head | None

    @property
    def complete(self) -> bool:
        """True if every entry up to the head was looked at."""
        return self.broken is not None or self.verified_to >= self.head.id


async def verify_after(conn: Connection, after: int, *, until: float) -> PartVerdict:
    """Check the entries after `after`, whose own hash is taken as right, until a time of trio's.

    Call it in a transaction that reads one snapshot.
    """
    head = await audit_heads.current(conn)
    stored = await audit_heads.newest(conn)
    previous = await audit_heads.hash_of_entry(conn, after) if after else bytes(32)
    if previous is None:
        return PartVerdict(head=head, verified_to=0, broken=after, contradicted=None)
    last, in_time, broken, contradicted = Head(id=after, hash=previous), True, False, None
    async with conn.cursor("audit_part", row_factory=class_row(AuditRow)) as trail:
        trail.itersize = ROWS_AT_ONCE
        await trail.execute(AFTER, {"after": after})
        async for row in trail:
            if not _follows(row, last.hash):
                broken = True
                break
            last = Head(id=row.id, hash=row.hash)
            if stored is not None and stored.id == last.id and stored.hash != last.hash:
                contradicted = Head(id=stored.id, hash=stored.hash)
            if trio.current_time() >= until:
                in_time = False
                break
    if in_time and last != head:
        broken = True
    if not broken and stored is not None and stored.id > head.id:
        contradicted = Head(id=stored.id, hash=stored.hash)
    return PartVerdict(
        head=head,
        verified_to=last.id,
        broken=last.id + 1 if broken else None,
        contradicted=contradicted,
    )


def _follows(row: AuditRow, previous: bytes) -> bool:
    try:
        return row.hash == hash_of(row, previous)
    except ValueError:  # what no entry can hold: infinite numbers, lone surrogates
        return False

"""The statement of a vault: pages of JSON that add up each by itself, or the whole as CSV."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Iterator
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec.structs import astuple

from cvms.amounts import Amount
from cvms.errors import VaultNotFound
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.problems import unknown_vault
from cvms.http.framework.request import MAX_AMOUNT, Body, owner_in_path
from cvms.http.framework.response import Response, with_strong_etag
from cvms.http.framework.routing import RouteGroup
from cvms.http.vaults.indexed_reads import read_indexed
from cvms.http.vaults.statements.csv_stream import Cell, csv_lines, stream_csv
from cvms.http.vaults.statements.periods import CSV, Format, MomentText, parse_period, wants_csv
from cvms.proofs.stored_proofs import BalanceProof, prove_up_to
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import columns
from cvms.store.vaults import balance_history, statements, vaults
from cvms.store.vaults.history import Balances
from cvms.store.vaults.statements import Interval, Moment, Part, StatementLine

MAX_PAGE_LINES = 1000
PageLines = Annotated[
    int,
    msgspec.Meta(
        ge=1,
        le=MAX_AMOUNT,
        description=f"Lines of a page. More than {MAX_PAGE_LINES} get {MAX_PAGE_LINES}, and the "
        "header `X-Limit-Clamped` says so",
    ),
]
Status = Literal["complete", "more", "pending"]

CHUNK_LINES = 1000
BALANCES = columns(Balances)
HEADER = (
    *("slot", "time", "kind", "amount", "signature", "instruction", "event"),
    *(f"{name}_change" for name in BALANCES),
    *BALANCES,
)

ROUTES = RouteGroup("vaults", indexed=True)


class StatementQuery(Body, frozen=True):
    """A period from `from` to before `to`; by default all that is final."""

    max_limit: ClassVar[int] = MAX_PAGE_LINES

    since: MomentText | None = msgspec.field(default=None, name="from")
    until: MomentText | None = msgspec.field(default=None, name="to")
    limit: PageLines = 100
    format: Format | None = None
    proofs: Annotated[bool, msgspec.Meta(description="Add proofs of both balances; not in CSV")] = (
        False
    )


class BalancesAtSlot(Balances, frozen=True, kw_only=True):
    """The balances at the end of `slot`, null before the first slot."""

    slot: int | None


class StatementProofs(msgspec.Struct, frozen=True, kw_only=True):
    """What the log of proofs says of both balances; null before the first entry."""

    opening: BalanceProof | None
    closing: BalanceProof | None


class StatementFlow(msgspec.Struct, frozen=True, kw_only=True):
    """The lines of a kind: their number, their amounts, and what they change together."""

    kind: str
    count: int
    amount: Amount
    change: Balances


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """The lines of the slots from `from_slot` to before `to_slot`, oldest first.

    Each balance of `opening` and all changes of it make that of `closing`. The `status` is
    `complete` if this is all that was asked for; `more` if `next_from` is to be sent as `from` for
    what follows; `pending` if what follows `final_slot` is not final yet. Only then is that slot
    given: a complete statement stays the same. `proofs` are there if they were asked for.
    """

    owner: str
    from_slot: int
    to_slot: int
    status: Status
    final_slot: int | None
    opening: BalancesAtSlot
    closing: BalancesAtSlot
    flows: list[StatementFlow]
    lines: list[StatementLine]
    next_from: int | None
    proofs: StatementProofs | None = None


@ROUTES.get(
    "/api/vault/statement/<owner>",
    replies={200: Statement, 304: None},
    refusals=(VaultNotFound,),
    media_type=CSV,
)
async def get_statement(deps: Dependencies, owner: str, query: StatementQuery) -> Response:
    """Get a vault's statement.

    Returns the balances at the beginning and at the end of a period, and every movement between.
    `from` and `to` are slots, or times with their zone; `from` belongs to the period and `to` does
    not, so periods join. Only what is final counts.

    JSON comes in pages of at most `limit` lines (or of one slot, if that has more), each of which
    is a statement by itself; for the next page, send its `next_from` as `from`. With `format=csv`,
    or `Accept: text/csv`, the whole statement is one CSV file, read from one snapshot.
    """
    key = str(owner_in_path(owner))
    since, until = parse_period(query.since, query.until)
    if wants_csv(query.format):
        return await _as_csv(deps, key, since, until)
    return await _as_json(deps, key, since, until, query)


async def _as_json(
    deps: Dependencies,
    owner: str,
    since: Moment | None,
    until: Moment | None,
    query: StatementQuery,
) -> Response:
    async def read(conn: Connection) -> Statement:
        frontier = await statements.final_frontier(conn, str(deps.programs.vault))
        slots = await statements.interval(conn, frontier, since=since, until=until)
        part = await statements.first_part(conn, owner, slots, size=query.limit)
        await _require_known(conn, owner, part)
        proofs = await _proofs(conn, owner, part) if query.proofs else None
        return _statement(owner, slots, part, frontier.slot, proofs)

    return with_strong_etag(await read_indexed(deps, read, one_snapshot=True))


async def _as_csv(
    deps: Dependencies, owner: str, since: Moment | None, until: Moment | None
) -> Response:
    async def texts(conn: Connection) -> AsyncGenerator[str, None]:
        frontier = await statements.final_frontier(conn, str(deps.programs.vault))
        slots = await statements.interval(conn, frontier, since=since, until=until)
        last = await statements.first_part(conn, owner, slots, size=CHUNK_LINES)
        await _require_known(conn, owner, last)
        yield csv_lines([HEADER, _balance_row(last.first - 1, "opening", last.opening)])
        following: Part | None = last
        while following is not None:
            last = following
            if last.lines:
                yield csv_lines(map(_row, last.lines))
            following = await statements.next_part(conn, owner, slots, last, size=CHUNK_LINES)
        kind = "closing" if slots.complete else "closing_so_far"
        yield csv_lines([_balance_row(last.end - 1, kind, last.closing)])

    return await stream_csv(deps, texts, name=f"statement-{owner}")


async def _require_known(conn: Connection, owner: str, part: Part) -> None:
    """Raise VaultNotFound if the owner never had a vault."""
    if part.lines or part.opening != Balances():
        return
    first = await balance_history.first_slot(conn, owner)
    if first is None and await vaults.get(conn, owner) is None:
        raise unknown_vault(owner)


async def _proofs(conn: Connection, owner: str, part: Part) -> StatementProofs:
    return StatementProofs(
        opening=await prove_up_to(conn, part.first - 1, owner),
        closing=await prove_up_to(conn, part.end - 1, owner),
    )


def _statement(
    owner: str, slots: Interval, part: Part, final: int, proofs: StatementProofs | None
) -> Statement:
    more = part.end < slots.end
    pending = not more and not slots.complete
    return Statement(
        owner=owner,
        from_slot=part.first,
        to_slot=part.end,
        status="more" if more else "pending" if pending else "complete",
        final_slot=_slot(final) if pending else None,
        opening=BalancesAtSlot(*astuple(part.opening), slot=_slot(part.first - 1)),
        closing=BalancesAtSlot(*astuple(part.closing), slot=_slot(part.end - 1)),
        flows=list(_flows(part.lines)),
        lines=part.lines,
        next_from=part.end if more else None,
        proofs=proofs,
    )


def _flows(lines: Iterable[StatementLine]) -> Iterator[StatementFlow]:
    by_kind: dict[str, list[StatementLine]] = {}
    for line in lines:
        by_kind.setdefault(line.kind, []).append(line)
    for kind, of_kind in sorted(by_kind.items()):
        change = Balances()
        for line in of_kind:
            change = change.plus(line.change)
        yield StatementFlow(
            kind=kind,
            count=len(of_kind),
            amount=sum(line.amount for line in of_kind),
            change=change,
        )


def _row(line: StatementLine) -> Iterable[Cell]:
    return (
        line.slot,
        line.block_time,
        line.kind,
        line.amount,
        line.signature,
        line.instruction_index,
        line.ordinal,
        *astuple(line.change),
        *astuple(line.balances),
    )


def _balance_row(slot: int, kind: str, balances: Balances) -> Iterable[Cell]:
    return (_slot(slot), None, kind, *[None] * (4 + len(BALANCES)), *astuple(balances))


def _slot(slot: int) -> int | None:
    return None if slot < 0 else slot

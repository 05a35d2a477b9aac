"""The scratch schema of a full rebuild: how it differs from the live tables, and the replacement.

Both are schemas of one database, so that one statement sees both, and one transaction can copy what
differs from the scratch schema to the live one. Each table is compared without values that depend
on the moment (ids, times of recording, commitment), and has a unit in which rows are replaced.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from cvms.errors import ConfigurationError
from cvms.store.index.chain_events import EventRow
from cvms.store.index.vault_mints import VaultMint
from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import columns, fetch_value
from cvms.store.vaults.balance_history import BalancePoint
from cvms.store.vaults.history import HistoryRow
from cvms.store.vaults.vaults import VaultRow

SCHEMA = "cvms_rebuild"
# Next to the key of the migrations' lock.
REBUILD_LOCK = 0x63766D74

PAGE_ROWS = 100_000
"""Rows compared by one statement, which takes some seconds. All rows of an owner are one page."""

TRY_LOCK = "SELECT pg_try_advisory_lock(%(key)s)"

CREATE = sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(SCHEMA))
DROP = sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(SCHEMA))

NOTE = """
SELECT obj_description(oid, 'pg_namespace')
FROM pg_namespace
WHERE nspname = %(schema)s
"""


@dataclass(frozen=True, slots=True)
class Table:
    """Comparison and replacement of a table: expressions over its rows, called `line`.

    `columns` are copied, in the order `order`. `rows` is what is compared, by default the table of
    the schema {s}; it may depend on the slot %(slot)s. `unit` is by default `key`. Large tables are
    compared in pages, which are ranges of the indexed column `paged_by`.
    """

    name: LiteralString
    key: LiteralString
    columns: Sequence[str]
    unit: LiteralString = ""
    content: LiteralString = "to_jsonb(line)"
    rows: LiteralString = "{s}.{table}"
    where: LiteralString = "TRUE"
    order: LiteralString = "1"
    paged_by: LiteralString = ""


TABLES = (
    Table(
        "chain_events",
        key="concat_ws(' ', signature, instruction_index, ordinal)",
        content="to_jsonb(line) - 'recorded_at' - 'commitment'",
        columns=columns(EventRow),
        paged_by="signature",
    ),
    Table(
        "transactions",
        key="concat_ws(' ', signature, instruction_index, ordinal, owner, kind)",
        unit="concat_ws(' ', owner, slot)",
        content="""
            (to_jsonb(line) - 'id' - 'commitment') || jsonb_build_object(
                'place', row_number() OVER (PARTITION BY owner, slot ORDER BY id)
            )
        """,
        columns=columns(HistoryRow, without={"id"}),
        order="slot, id",  # ids follow the chain's order within a slot
        paged_by="owner",
    ),
    Table(
        "vaults",
        key="owner",
        content="to_jsonb(line) - 'slot' - 'updated_at' - 'settled_slot'",
        columns=columns(VaultRow, without={"updated_at"}),
        paged_by="owner",
    ),
    # Accounts are read at different moments, so only points with a change are compared.
    Table(
        "balance_history",
        key="concat_ws(' ', owner, slot)",
        unit="owner",
        content="to_jsonb(line) - 'moved'",
        rows="""(
            SELECT owner, slot, vault, total, available, locked, timelocked, yield_deposited,
                   (total, available, locked, timelocked, yield_deposited) IS DISTINCT FROM
                   (
                       lag(total, 1, 0::BIGINT) OVER before,
                       lag(available, 1, 0::BIGINT) OVER before,
                       lag(locked, 1, 0::BIGINT) OVER before,
                       lag(timelocked, 1, 0::BIGINT) OVER before,
                       lag(yield_deposited, 1, 0::BIGINT) OVER before
                   ) AS moved
            FROM {s}.{table}
            WINDOW before AS (PARTITION BY owner ORDER BY slot)
        )""",
        where="moved AND slot <= %(slot)s",
        columns=columns(BalancePoint),
        paged_by="owner",
    ),
    # Replaced after the history, whose replacement changes them too.
    Table(
        "history_sums",
        key="concat_ws(' ', owner, kind)",
        where="count <> 0",
        columns=["owner", "kind", "count", "amount"],
        paged_by="owner",
    ),
    Table("event_totals", key="kind", where="count <> 0", columns=["kind", "count", "amount"]),
    Table(
        "flows",
        key="concat_ws(' ', bucket, start, kind)",
        where="count <> 0",
        columns=["bucket", "start", "kind", "count", "amount"],
    ),
    Table("tvl_hours", key="hour::TEXT", columns=["hour", "tvl"]),
    Table(
        "account_offsets",
        key="owner",
        where="(deposited, withdrawn) <> (0, 0)",
        columns=["owner", "deposited", "withdrawn"],
        paged_by="owner",
    ),
    Table("vault_mints", key="vault", columns=columns(VaultMint), paged_by="vault"),
)

ROWS = """
SELECT {key} AS key, {unit} AS unit, {content} AS content
FROM {rows} AS line
WHERE {where}
  AND {page}
"""

CREATE_DIFFERING = """
CREATE TEMPORARY TABLE {name} (
    key TEXT NOT NULL,
    live_unit TEXT,
    built_unit TEXT,
    live JSONB,
    built JSONB
) ON COMMIT DROP
"""

# The schema was filled a moment ago, and plans need to know how much it has.
ANALYZE = "ANALYZE {built}.{table}"

LAST_OF_PAGE = """
SELECT least(
    (SELECT {paged_by} FROM {live}.{table} WHERE {page} ORDER BY 1 LIMIT 1 OFFSET %(rows)s),
    (SELECT {paged_by} FROM {built}.{table} WHERE {page} ORDER BY 1 LIMIT 1 OFFSET %(rows)s)
)
"""

DIFFERING = """
INSERT INTO {differing} (key, live_unit, built_unit, live, built)
SELECT coalesce(live.key, built.key) AS key, live.unit AS live_unit, built.unit AS built_unit,
       live.content AS live, built.content AS built
FROM ({live_rows}) AS live
FULL JOIN ({built_rows}) AS built
  ON built.key = live.key
WHERE live.content IS DISTINCT FROM built.content
"""

COUNT = "SELECT count(*) FROM {differing}"

FIRST = """
SELECT %(table)s AS table, key, live, built
FROM {differing}
ORDER BY key
LIMIT %(limit)s
"""

KEYS = "SELECT key FROM {differing} ORDER BY key LIMIT %(limit)s"

IGNORE = "DELETE FROM {differing} WHERE key = ANY(%(keys)s)"

DELETE = """
DELETE FROM {live}.{table}
WHERE {unit} IN (
    SELECT live_unit FROM {differing}
    UNION
    SELECT built_unit FROM {differing}
)
"""

INSERT = """
INSERT INTO {live}.{table} ({columns})
SELECT {columns}
FROM {built}.{table}
WHERE {unit} IN (
    SELECT live_unit FROM {differing}
    UNION
    SELECT built_unit FROM {differing}
)
ORDER BY {order}
"""


@dataclass(frozen=True, slots=True)
class RowDifference:
    """A row that differs, as it is live and as it was built; None where it does not exist."""

    table: str
    key: str
    live: dict[str, Any] | None
    built: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class _Page:
    """Rows with values of `paged_by` beyond `after`, up to `last`; None where there is no bound."""

    after: str | None
    last: str | None

    def condition(self, table: Table) -> sql.SQL:
        parts: LiteralString = "TRUE"
        if self.after is not None:
            parts += " AND " + table.paged_by + " > %(after)s"
        if self.last is not None:
            parts += " AND " + table.paged_by + " <= %(last)s"
        return sql.SQL(parts)


EVERYTHING = _Page(None, None)


async def live_schema(conn: Connection) -> str:
    """Return the name of the schema of the live tables."""
    return str(await fetch_value(conn, "SELECT current_schema()"))


async def try_lock(conn: Connection) -> bool:
    """Lock rebuilding until the session ends; return False if another session has the lock."""
    return bool(await fetch_value(conn, TRY_LOCK, {"key": REBUILD_LOCK}))


async def note(conn: Connection) -> str | None:
    """Return the note that `create` has stored with the scratch schema, None without a schema."""
    cursor = await conn.execute(NOTE, {"schema": SCHEMA})
    row = await cursor.fetchone()
    return None if row is None else (row[0] or "")


async def create(conn: Connection, text: str) -> None:
    """Create the scratch schema unless it exists, and store a note that says what it is for.

    Raises ConfigurationError if the role may not.
    """
    with _rights_needed():
        await conn.execute(CREATE)
        comment = sql.SQL("COMMENT ON SCHEMA {} IS {}")
        await conn.execute(comment.format(sql.Identifier(SCHEMA), sql.Literal(text)))


async def drop(conn: Connection) -> None:
    """Drop the scratch schema. Raises ConfigurationError if the role may not."""
    with _rights_needed():
        await conn.execute(DROP)


@contextmanager
def _rights_needed() -> Iterator[None]:
    try:
        yield
    except psycopg.errors.InsufficientPrivilege as error:
        raise ConfigurationError(
            f"the role of DATABASE_URL may not make the schema {SCHEMA}: run this command with "
            "the role that owns the tables, which may create schemas in the database"
        ) from error


class TableComparison:
    """The differences at one moment, in a transaction that begins with `compare`."""

    def __init__(
        self, conn: Connection, *, live: str, slot: int, report: Callable[[str, int], None]
    ) -> None:
        """Make a comparison that reports each table with the rows of it that it has compared."""
        self._conn = conn
        self._live = live
        self._slot = slot
        self._report = report

    async def compare(self) -> None:
        """Find the rows that differ, up to the slot. They are kept until the transaction ends."""
        for table in TABLES:
            await self._conn.execute(
                sql.SQL("DROP TABLE IF EXISTS pg_temp.{}").format(_name(table))
            )
            await self._run(CREATE_DIFFERING, table)
            await self._run(ANALYZE, table)
            page = await self._page_after(table, None)
            await self._compare_page(table, page)
            done = 0
            while page.last is not None:
                done += PAGE_ROWS
                self._report(table.name, done)
                page = await self._page_after(table, page.last)
                await self._compare_page(table, page)

    async def _page_after(self, table: Table, after: str | None) -> _Page:
        if not table.paged_by:
            return _Page(None, None)
        params = {"after": after, "rows": PAGE_ROWS - 1}
        cursor = await self._run(LAST_OF_PAGE, table, params, page=_Page(after, None))
        [last] = await cursor.fetchone()
        return _Page(after, last)

    async def _compare_page(self, table: Table, page: _Page) -> None:
        params = {"slot": self._slot, "after": page.after, "last": page.last}
        await self._run(DIFFERING, table, params, page=page)

    async def counts(self) -> dict[str, int]:
        """Return how many rows of each table differ."""
        counts = {}
        for table in TABLES:
            [counts[table.name]] = await (await self._run(COUNT, table)).fetchone()
        return counts

    async def first(self, limit: int) -> list[RowDifference]:
        """Return the first differences of each table."""
        differences: list[RowDifference] = []
        for table in TABLES:
            async with self._conn.cursor(row_factory=class_row(RowDifference)) as cursor:
                params = {"table": table.name, "limit": limit}
                await cursor.execute(self._filled(FIRST, table), params)
                differences += await cursor.fetchall()
        return differences

    async def keys(self, name: str, limit: int) -> list[str]:
        """Return the keys of a table's rows that differ, up to `limit`."""
        cursor = await self._run(KEYS, _table(name), {"limit": limit})
        return [key for (key,) in await cursor.fetchall()]

    async def set_aside(self, name: str, keys: list[str]) -> None:
        """Remove these rows of a table from the differences."""
        await self._run(IGNORE, _table(name), {"keys": keys})

    async def exchange(self) -> None:
        """Replace the live rows by the built ones, in every unit that differs."""
        for table in TABLES:
            await self._run(DELETE, table)
            await self._run(INSERT, table)

    async def _run(
        self,
        query: LiteralString,
        table: Table,
        params: dict[str, Any] | None = None,
        *,
        page: _Page = EVERYTHING,
    ) -> Any:
        return await self._conn.execute(self._filled(query, table, page), params)

    def _filled(self, query: LiteralString, table: Table, page: _Page = EVERYTHING) -> sql.Composed:
        live, built = sql.Identifier(self._live), sql.Identifier(SCHEMA)
        return sql.SQL(query).format(
            name=_name(table),
            differing=sql.SQL("pg_temp.{}").format(_name(table)),
            paged_by=sql.SQL(table.paged_by),
            page=page.condition(table),
            live=live,
            built=built,
            table=sql.Identifier(table.name),
            unit=sql.SQL(table.unit or table.key),
            columns=sql.SQL(", ").join(map(sql.Identifier, table.columns)),
            order=sql.SQL(table.order),
            live_rows=_rows(table, live, page),
            built_rows=_rows(table, built, page),
        )


def _rows(table: Table, schema: sql.Identifier, page: _Page) -> sql.Composed:
    return sql.SQL(ROWS).format(
        key=sql.SQL(table.key),
        unit=sql.SQL(table.unit or table.key),
        content=sql.SQL(table.content),
        rows=sql.SQL(table.rows).format(s=schema, table=sql.Identifier(table.name)),
        where=sql.SQL(table.where),
        page=page.condition(table),
    )


def _table(name: str) -> Table:
    return next(table for table in TABLES if table.name == name)


def _name(table: Table) -> sql.Identifier:
    return sql.Identifier(f"differing_{table.name}")

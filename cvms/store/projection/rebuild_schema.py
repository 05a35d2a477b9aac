"""The scratch schema of a full rebuild: how it differs from the live tables, and the replacement.

Both are schemas of one database, so that one statement sees both, and one transaction can copy what
differs from the scratch schema to the live one. Each table is compared without values that depend
on the moment (ids, times of recording, commitment), and has a unit in which rows are replaced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import sql
from psycopg.rows import class_row

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
    the schema {s}; it may depend on the slot %(slot)s. `unit` is by default `key`.
    """

    name: LiteralString
    key: LiteralString
    columns: Sequence[str]
    unit: LiteralString = ""
    content: LiteralString = "to_jsonb(line)"
    rows: LiteralString = "{s}.{table}"
    where: LiteralString = "TRUE"
    order: LiteralString = "1"


TABLES = (
    Table(
        "chain_events",
        key="concat_ws(' ', signature, instruction_index, ordinal)",
        content="to_jsonb(line) - 'recorded_at' - 'commitment'",
        columns=columns(EventRow),
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
    ),
    Table(
        "vaults",
        key="owner",
        content="to_jsonb(line) - 'slot' - 'updated_at' - 'settled_slot'",
        columns=columns(VaultRow, without={"updated_at"}),
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
    ),
    Table("vault_mints", key="vault", columns=columns(VaultMint)),
)

ROWS = """
SELECT {key} AS key, {unit} AS unit, {content} AS content
FROM {rows} AS line
WHERE {where}
"""

DIFFERING = """
CREATE TEMPORARY TABLE {differing} ON COMMIT DROP AS
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
    """Create the scratch schema unless it exists, and store a note that says what it is for."""
    await conn.execute(CREATE)
    comment = sql.SQL("COMMENT ON SCHEMA {} IS {}")
    await conn.execute(comment.format(sql.Identifier(SCHEMA), sql.Literal(text)))


async def drop(conn: Connection) -> None:
    """Drop the scratch schema."""
    await conn.execute(DROP)


class TableComparison:
    """The differences at one moment, in a transaction that begins with `compare`."""

    def __init__(self, conn: Connection, *, live: str, slot: int) -> None:
        self._conn = conn
        self._live = live
        self._slot = slot

    async def compare(self) -> None:
        """Find the rows that differ, up to the slot. They are kept until the transaction ends."""
        for table in TABLES:
            await self._conn.execute(
                sql.SQL("DROP TABLE IF EXISTS pg_temp.{}").format(_name(table))
            )
            await self._run(DIFFERING, table, {"slot": self._slot})

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
        self, query: LiteralString, table: Table, params: dict[str, Any] | None = None
    ) -> Any:
        return await self._conn.execute(self._filled(query, table), params)

    def _filled(self, query: LiteralString, table: Table) -> sql.Composed:
        live, built = sql.Identifier(self._live), sql.Identifier(SCHEMA)
        return sql.SQL(query).format(
            differing=sql.SQL("pg_temp.{}").format(_name(table))
            if query != DIFFERING
            else _name(table),
            live=live,
            built=built,
            table=sql.Identifier(table.name),
            unit=sql.SQL(table.unit or table.key),
            columns=sql.SQL(", ").join(map(sql.Identifier, table.columns)),
            order=sql.SQL(table.order),
            live_rows=_rows(table, live),
            built_rows=_rows(table, built),
        )


def _rows(table: Table, schema: sql.Identifier) -> sql.Composed:
    return sql.SQL(ROWS).format(
        key=sql.SQL(table.key),
        unit=sql.SQL(table.unit or table.key),
        content=sql.SQL(table.content),
        rows=sql.SQL(table.rows).format(s=schema, table=sql.Identifier(table.name)),
        where=sql.SQL(table.where),
    )


def _table(name: str) -> Table:
    return next(table for table in TABLES if table.name == name)


def _name(table: Table) -> sql.Identifier:
    return sql.Identifier(f"differing_{table.name}")

"""The progress of the index, how much of it is not final, and what last stopped the indexer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_one

READ = """
SELECT cursor.slot, cursor.signature, cursor.through, cursor.block_time, cursor.updated_at,
       (SELECT count(*) FROM chain_events WHERE commitment <> 'finalized') AS unfinalized_events,
       (
           SELECT count(DISTINCT signature) FROM chain_events WHERE commitment <> 'finalized'
       ) AS unfinalized_transactions,
       problem.problem, problem.at AS problem_at,
       (SELECT count(*) FROM backlog) AS backlog_left,
       (SELECT listed FROM backlog_head) AS backlog_listed,
       (SELECT complete FROM backlog_head) AS backlog_complete
FROM (VALUES (%(program)s)) AS wanted (program)
LEFT JOIN indexer_cursor AS cursor
  ON cursor.program = wanted.program
LEFT JOIN indexer_problems AS problem
  ON problem.program = wanted.program
"""

NOTE = """
INSERT INTO indexer_problems (program, problem)
VALUES (%(program)s, %(problem)s)
ON CONFLICT (program) DO UPDATE SET
    problem = EXCLUDED.problem,
    at = now()
"""


@dataclass(frozen=True, slots=True)
class IndexerProblem:
    """What last ended a run of the indexer, and when."""

    text: str
    at: datetime


@dataclass(frozen=True, slots=True)
class BackfillProgress:
    """A gap too long for memory: the transactions listed so far, and those not applied yet.

    `complete` means that all of them are listed.
    """

    left: int
    listed: int
    complete: bool


@dataclass(frozen=True, slots=True)
class IndexState:
    """The cursor (its fields are None before the first transaction) and what is not final.

    `through` is the slot up to which nothing is missing, `block_time` the newest seen.
    """

    slot: int | None
    signature: str | None
    through: int | None
    block_time: datetime | None
    updated_at: datetime | None
    unfinalized_events: int
    unfinalized_transactions: int
    last_error: IndexerProblem | None
    backlog: BackfillProgress | None


@dataclass(frozen=True, slots=True)
class _StatusRow:
    slot: int | None
    signature: str | None
    through: int | None
    block_time: datetime | None
    updated_at: datetime | None
    unfinalized_events: int
    unfinalized_transactions: int
    problem: str | None
    problem_at: datetime | None
    backlog_left: int
    backlog_listed: int | None
    backlog_complete: bool | None


async def read(conn: Connection, program: str) -> IndexState:
    """Return the state of the index of `program`."""
    row = await fetch_one(conn, _StatusRow, READ, {"program": program})
    assert row is not None
    last_error = None
    if row.problem is not None and row.problem_at is not None:
        last_error = IndexerProblem(row.problem, row.problem_at)
    backlog = None
    if row.backlog_listed is not None and row.backlog_complete is not None:
        backlog = BackfillProgress(row.backlog_left, row.backlog_listed, row.backlog_complete)
    return IndexState(
        slot=row.slot,
        signature=row.signature,
        through=row.through,
        block_time=row.block_time,
        updated_at=row.updated_at,
        unfinalized_events=row.unfinalized_events,
        unfinalized_transactions=row.unfinalized_transactions,
        last_error=last_error,
        backlog=backlog,
    )


async def note_problem(conn: Connection, program: str, problem: str) -> None:
    """Record what has just ended a run of the indexer."""
    await conn.execute(NOTE, {"program": program, "problem": problem})

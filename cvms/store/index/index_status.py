"""The progress of the index, how much of it is not final, and what last stopped the indexer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_exactly_one
from cvms.store.postgres.text import storable

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
    """Error that last ended a run of the indexer, and its time."""

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


async def read(conn: Connection, program: str) -> IndexState:
    """Return the state of the index of `program`."""
    return await fetch_exactly_one(conn, _state, READ, {"program": program})


async def note_problem(conn: Connection, program: str, problem: str) -> None:
    """Record what has just ended a run of the indexer."""
    await conn.execute(NOTE, {"program": program, "problem": storable(problem)})


def _state(
    *,
    problem: str | None,
    problem_at: datetime | None,
    backlog_left: int,
    backlog_listed: int | None,
    backlog_complete: bool | None,
    **columns: Any,
) -> IndexState:
    last_error = backlog = None
    if problem is not None and problem_at is not None:
        last_error = IndexerProblem(problem, problem_at)
    if backlog_listed is not None and backlog_complete is not None:
        backlog = BackfillProgress(backlog_left, backlog_listed, backlog_complete)
    return IndexState(last_error=last_error, backlog=backlog, **columns)

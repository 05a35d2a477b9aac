"""An outbox in partitions: a head row and a sequence for each, chosen by the owner.

Messages of one owner stay in one partition and so in their order; those of two owners have none. A
reader keeps a position for each partition and asks for what follows all of them in one statement.
"""

from __future__ import annotations

import time
from typing import Any

import psycopg

CREATE = """
CREATE TABLE part_head (part INTEGER PRIMARY KEY, position BIGINT NOT NULL)
    WITH (fillfactor = 10);
CREATE TABLE part_outbox (
    part INTEGER,
    position BIGINT,
    topic TEXT NOT NULL,
    slot BIGINT NOT NULL,
    commitment TEXT NOT NULL,
    data JSONB NOT NULL,
    created_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (part, position)
);
INSERT INTO part_head
SELECT part, 0
FROM generate_series(0, 63) AS part
"""
# `part` is a literal of the script, so that pgbench picks one at random.
APPEND = """
WITH head AS (
    UPDATE part_head
    SET position = position + %(messages)s
    WHERE part = {part}
    RETURNING position - %(messages)s AS base
)
INSERT INTO part_outbox (part, position, topic, slot, commitment, data)
SELECT {part}, base + place, 'deposit_event', 1, 'confirmed', %(data)s
FROM head, generate_series(1, %(messages)s) AS place
"""
READ = """
SELECT found.part, found.position, found.topic, found.slot, found.commitment, found.data
FROM unnest(%(parts)s::INTEGER[], %(positions)s::BIGINT[]) AS after (part, position)
CROSS JOIN LATERAL (
    SELECT *
    FROM part_outbox
    WHERE part = after.part
      AND position > after.position
    ORDER BY position
    LIMIT 1000
) AS found
"""


def read_all(conn: psycopg.Connection[Any], partitions: int) -> tuple[int, float]:
    """Read every partition from its start; return the rows and the seconds.

    Raises ValueError if a position is missing.
    """
    positions, begin = [0] * partitions, time.perf_counter()
    while True:
        values = {"parts": list(range(partitions)), "positions": positions}
        rows = conn.execute(READ, values).fetchall()
        if not rows:
            return sum(positions), time.perf_counter() - begin
        for part, position, *_ in rows:
            if position != positions[part] + 1:
                raise ValueError(f"partition {part} jumps to {position}")
            positions[part] = position

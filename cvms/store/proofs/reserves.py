"""Files of reserves, in compressed parts. Only those of the newest entries are kept."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from uuid import UUID

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_value

PUT = """
INSERT INTO proof_reserves (file, part, lines)
VALUES (%(file)s, %(part)s, %(lines)s)
"""

PART = """
SELECT lines
FROM proof_reserves
WHERE file = %(file)s
  AND part = %(part)s
"""

DROP = """
DELETE FROM proof_reserves
WHERE file = %(file)s
  AND NOT EXISTS (
      SELECT FROM proof_entries
      WHERE file = %(file)s
  )
"""

# A file without an entry may be one that is being written.
PRUNE = """
WITH kept AS (
    SELECT file
    FROM proof_entries
    ORDER BY number DESC
    LIMIT %(kept)s
)
DELETE FROM proof_reserves
WHERE file NOT IN (SELECT file FROM kept)
  AND (
      file IN (SELECT file FROM proof_entries)
      OR written_at < now() - interval '1 day'
  )
"""


async def put(conn: Connection, file: UUID, part: int, lines: Sequence[bytes]) -> None:
    """Store the next lines of a file."""
    compressed = zlib.compress(b"".join(lines), level=1)
    await conn.execute(PUT, {"file": file, "part": part, "lines": compressed})


async def part_of(conn: Connection, file: UUID, part: int) -> bytes | None:
    """Return a part of a file, counted from 0; None after the last, or if it is not kept."""
    lines: bytes | None = await fetch_value(conn, PART, {"file": file, "part": part})
    return None if lines is None else zlib.decompress(lines)


async def drop(conn: Connection, file: UUID) -> None:
    """Delete a file that no entry names."""
    await conn.execute(DROP, {"file": file})


async def prune(conn: Connection, *, kept: int) -> None:
    """Delete the files of all but the newest `kept` entries."""
    await conn.execute(PRUNE, {"kept": kept})

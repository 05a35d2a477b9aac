"""Encryption of a table's secrets again, with the first key."""

from __future__ import annotations

from collections.abc import Callable
from typing import LiteralString

from cvms.store.postgres.driver.connection import Connection
from cvms.store.security.encryption import SecretBox

SEALED_AFTER = """
SELECT {key}, secret
FROM {table}
WHERE {key} > %(after)s
ORDER BY {key}
LIMIT %(limit)s
"""

# Unless the secret was replaced meanwhile.
REPLACE = """
UPDATE {table}
SET secret = %(renewed)s
WHERE {key} = %(key)s
  AND secret = %(sealed)s
"""

ROWS_AT_ONCE = 500


async def reseal_table(
    conn: Connection,
    secret_box: SecretBox,
    *,
    table: LiteralString,
    key: LiteralString,
    about: Callable[[str], str],
) -> int:
    """Encrypt every secret with the first key; return how many were not.

    `about` returns the label of a key's secret. Safe to run beside the service, and to run again
    after an interruption.
    """
    page = SEALED_AFTER.format(table=table, key=key)
    replace = REPLACE.format(table=table, key=key)
    renewed, last = 0, ""
    while rows := await (
        await conn.execute(page, {"after": last, "limit": ROWS_AT_ONCE})
    ).fetchall():
        for name, sealed in rows:
            again = secret_box.reseal(sealed, about=about(name))
            if again is not None:
                params = {"key": name, "sealed": sealed, "renewed": again}
                renewed += (await conn.execute(replace, params)).rowcount
        last = rows[-1][0]
    return renewed

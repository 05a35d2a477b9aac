"""Where each signer wants to be told, and the sealed secret that signs what is sent there."""

from __future__ import annotations

from dataclasses import dataclass

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_all
from cvms.store.security.encryption import SecretBox

PUT = """
INSERT INTO signer_contacts (signer, url, secret)
VALUES (%(signer)s, %(url)s, %(secret)s)
ON CONFLICT (signer) DO UPDATE SET
    url = EXCLUDED.url,
    secret = EXCLUDED.secret,
    updated_at = now()
"""

SEALED_AFTER = """
SELECT signer, secret
FROM signer_contacts
WHERE signer > %(signer)s
ORDER BY signer
LIMIT %(limit)s
"""

# Not over a secret that was put there meanwhile.
REPLACE = """
UPDATE signer_contacts
SET secret = %(renewed)s
WHERE signer = %(signer)s
  AND secret = %(secret)s
"""

ROWS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class _Sealed:
    signer: str
    secret: bytes


async def put(conn: Connection, signer: str, url: str, secret: bytes) -> None:
    """Tell the signer there from now on, also what waits to be told; `secret` is sealed about
    `about(signer)`.
    """
    await conn.execute(PUT, {"signer": signer, "url": url, "secret": secret})


async def reseal(conn: Connection, sealer: SecretBox) -> int:
    """Put every secret under the sealer's first key; returns how many were not."""
    renewed, signer = 0, ""
    while rows := await fetch_all(
        conn, _Sealed, SEALED_AFTER, {"signer": signer, "limit": ROWS_AT_ONCE}
    ):
        for row in rows:
            anew = sealer.reseal(row.secret, about=about(row.signer))
            if anew is not None:
                params = {"signer": row.signer, "secret": row.secret, "renewed": anew}
                renewed += (await conn.execute(REPLACE, params)).rowcount
        signer = rows[-1].signer
    return renewed


def about(signer: str) -> str:
    """What a signer's secret is sealed with."""
    return f"signer_contact:{signer}"

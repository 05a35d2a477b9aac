"""The webhook of each signer, and the encrypted secret that signs its deliveries."""

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

# Unless the secret was replaced meanwhile.
REPLACE = """
UPDATE signer_contacts
SET secret = %(renewed)s
WHERE signer = %(signer)s
  AND secret = %(secret)s
"""

ROWS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class _SealedWebhook:
    signer: str
    secret: bytes


async def put(conn: Connection, signer: str, url: str, secret: bytes) -> None:
    """Set the signer's webhook, also for pending deliveries.

    `secret` is encrypted with the label `about(signer)`.
    """
    await conn.execute(PUT, {"signer": signer, "url": url, "secret": secret})


async def reseal(conn: Connection, secret_box: SecretBox) -> int:
    """Encrypt every secret with the first key; return how many were not."""
    renewed, signer = 0, ""
    while rows := await fetch_all(
        conn, _SealedWebhook, SEALED_AFTER, {"signer": signer, "limit": ROWS_AT_ONCE}
    ):
        for row in rows:
            sealed = secret_box.reseal(row.secret, about=about(row.signer))
            if sealed is not None:
                params = {"signer": row.signer, "secret": row.secret, "renewed": sealed}
                renewed += (await conn.execute(REPLACE, params)).rowcount
        signer = rows[-1].signer
    return renewed


def about(signer: str) -> str:
    """Return the label of a signer's secret."""
    return f"signer_contact:{signer}"

"""The webhook of each signer, and the encrypted secret that signs its deliveries."""

from __future__ import annotations

from cvms.store.postgres.driver.connection import Connection
from cvms.store.security.encryption import SecretBox
from cvms.store.security.reseal import reseal_table

PUT = """
INSERT INTO signer_contacts (signer, url, secret)
VALUES (%(signer)s, %(url)s, %(secret)s)
ON CONFLICT (signer) DO UPDATE SET
    url = EXCLUDED.url,
    secret = EXCLUDED.secret,
    updated_at = now()
"""


async def put(conn: Connection, signer: str, url: str, secret: bytes) -> None:
    """Set the signer's webhook, also for pending deliveries.

    `secret` is encrypted with the label `about(signer)`.
    """
    await conn.execute(PUT, {"signer": signer, "url": url, "secret": secret})


async def reseal(conn: Connection, secret_box: SecretBox) -> int:
    """Encrypt every secret with the first key; see `reseal_table`."""
    return await reseal_table(conn, secret_box, table="signer_contacts", key="signer", about=about)


def about(signer: str) -> str:
    """Return the label of a signer's secret."""
    return f"signer_contact:{signer}"

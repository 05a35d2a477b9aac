"""The secrets that sign an endpoint's messages, encrypted. During a rotation there are several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_all, fetch_value
from cvms.store.security.encryption import SecretBox
from cvms.store.security.reseal import reseal_table


@dataclass(frozen=True, slots=True)
class SealedSecret:
    """An encrypted secret; its id is part of its label."""

    id: str
    secret: bytes


ADD = """
INSERT INTO webhook_secrets (id, endpoint, secret)
VALUES (%(id)s, %(endpoint)s, %(secret)s)
"""

# Those that expire sooner anyway still do.
EXPIRE = """
UPDATE webhook_secrets
SET expires_at = clock_timestamp() + %(after)s
WHERE endpoint = %(endpoint)s
  AND (expires_at IS NULL OR expires_at > clock_timestamp() + %(after)s)
"""

VALID = """
SELECT id, secret
FROM webhook_secrets
WHERE endpoint = %(endpoint)s
  AND (expires_at IS NULL OR expires_at > clock_timestamp())
ORDER BY created_at DESC
"""

COUNT_VALID = """
SELECT count(*)
FROM webhook_secrets
WHERE endpoint = %(endpoint)s
  AND (expires_at IS NULL OR expires_at > clock_timestamp())
"""

PRUNE = """
DELETE FROM webhook_secrets
WHERE expires_at <= clock_timestamp()
"""


async def add(conn: Connection, secret_box: SecretBox, endpoint: str, secret: bytes) -> None:
    """Add a secret without an end. Raises EncryptionDisabled."""
    identity = str(uuid4())
    sealed = secret_box.seal(secret, about=about(identity))
    await conn.execute(ADD, {"id": identity, "endpoint": endpoint, "secret": sealed})


async def expire(conn: Connection, endpoint: str, after: timedelta) -> None:
    """Let the endpoint's present secrets sign for so long, and no longer."""
    await conn.execute(EXPIRE, {"endpoint": endpoint, "after": after})


async def valid(conn: Connection, endpoint: str) -> list[SealedSecret]:
    """Return the secrets that sign now, newest first."""
    return await fetch_all(conn, SealedSecret, VALID, {"endpoint": endpoint})


def opened(sealed: Sequence[SealedSecret], secret_box: SecretBox) -> list[bytes]:
    """Decrypt secrets. Raises DecryptionFailed or EncryptionDisabled."""
    return [secret_box.open(each.secret, about=about(each.id)) for each in sealed]


async def count_valid(conn: Connection, endpoint: str) -> int:
    """Return how many secrets sign now."""
    return int(await fetch_value(conn, COUNT_VALID, {"endpoint": endpoint}))


async def prune(conn: Connection) -> int:
    """Delete the secrets that have expired; return how many."""
    return (await conn.execute(PRUNE)).rowcount


async def reseal(conn: Connection, secret_box: SecretBox) -> int:
    """Encrypt every secret with the first key; see `reseal_table`."""
    return await reseal_table(conn, secret_box, table="webhook_secrets", key="id", about=about)


def about(secret: str) -> str:
    """Return the label of the secret with this id."""
    return f"webhook_secret:{secret}"

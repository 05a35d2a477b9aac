"""Signed heads of the audit trail: what the newest entry is, said by who holds the key.

Whoever can write to the database can cut off the newest entries, and set the head back. So the
service signs the head from time to time, with a key that the database does not hold, and publishes
it. The signed text, in UTF-8, consists of four lines without a final line break:

    cvms audit head
    {id of the entry, decimal}
    {hash of the entry, hexadecimal}
    {time of signing, ISO 8601 in UTC}
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from cvms.store.postgres.driver.connection import Connection
from cvms.store.postgres.row_mapping import fetch_exactly_one, fetch_one, fetch_value, query_for

LABEL = "cvms audit head"
KEY_BYTES = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """The newest entry of the trail at some time."""

    id: int
    hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedHead(Head):
    """A head with an Ed25519 signature (RFC 8032), and the public key that it is of."""

    signed_at: datetime
    key: bytes
    signature: bytes

    def is_signed_by(self, key: bytes) -> bool:
        """Return whether this key has signed exactly this head."""
        try:
            Ed25519PublicKey.from_public_bytes(key).verify(
                self.signature, head_text(self, self.signed_at)
            )
        except (InvalidSignature, ValueError):
            return False
        return self.key == key


class AuditKey:
    """The key that signs heads. It is derived from a secret, which it does not reveal."""

    def __init__(self, secret: bytes) -> None:
        seed = HKDF(SHA256(), KEY_BYTES, salt=None, info=LABEL.encode()).derive(secret)
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public = self._key.public_key().public_bytes_raw()

    def sign_text(self, text: bytes) -> bytes:
        """Return the signature of a text, whose first line says what it is."""
        return self._key.sign(text)

    def sign(self, head: Head, at: datetime) -> SignedHead:
        """Sign the head as the newest at the time `at`."""
        signature = self.sign_text(head_text(head, at))
        return SignedHead(
            id=head.id, hash=head.hash, signed_at=at, key=self.public, signature=signature
        )


CURRENT = query_for(
    Head,
    """
    SELECT {columns}
    FROM audit_head
    """,
)

NEWEST = query_for(
    SignedHead,
    """
    SELECT {columns}
    FROM audit_signed_head
    """,
)

# Of two leaders at the same time, the slower one must not set the head back.
STORE = query_for(
    SignedHead,
    """
    INSERT INTO audit_signed_head ({columns})
    VALUES ({values})
    ON CONFLICT (one) DO UPDATE SET
        {updates}
    WHERE audit_signed_head.id <= EXCLUDED.id
    """,
)

HASH = """
SELECT hash
FROM audit_logs
WHERE id = %(id)s
"""


async def current(conn: Connection) -> Head:
    """Return the head that the database holds."""
    return await fetch_exactly_one(conn, Head, CURRENT, {})


async def newest(conn: Connection) -> SignedHead | None:
    """Return the newest signed head that the database holds."""
    return await fetch_one(conn, SignedHead, NEWEST, {})


async def store(conn: Connection, head: SignedHead) -> None:
    """Store the head, unless a newer one is stored."""
    await conn.execute(STORE, asdict(head))


async def is_in_trail(conn: Connection, head: Head) -> bool:
    """Return whether the trail has the head's entry, with its hash."""
    return await hash_of_entry(conn, head.id) == head.hash


async def hash_of_entry(conn: Connection, entry: int) -> bytes | None:
    """Return the hash of an entry, None if the trail has no such entry."""
    found: bytes | None = await fetch_value(conn, HASH, {"id": entry})
    return found


def read_published(line: str) -> SignedHead | None:
    """Return the head in a line of the log in JSON, None if the line has none.

    Whatever collects the log may have put something before the JSON.
    """
    try:
        published = msgspec.json.decode(line[line.find("{") :], type=_Published)
        return SignedHead(
            id=published.id,
            hash=bytes.fromhex(published.hash),
            signed_at=published.signed_at,
            key=bytes.fromhex(published.key),
            signature=bytes.fromhex(published.signature),
        )
    except (msgspec.DecodeError, UnicodeError, ValueError):
        return None


class _Published(msgspec.Struct, frozen=True):
    event: Literal["audit_head_signed"]
    id: int
    hash: str
    signed_at: datetime
    key: str
    signature: str


def head_text(head: Head, at: datetime) -> bytes:
    """Return the text that is signed. No transaction begins as it does."""
    lines = (LABEL, str(head.id), head.hash.hex(), at.astimezone(UTC).isoformat())
    return "\n".join(lines).encode()

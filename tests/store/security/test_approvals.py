"""Approvals and their secret replies are deleted by age, and encrypted again with a new key."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID, uuid4

from cryptography.fernet import Fernet

from cvms.store.postgres.database import Database
from cvms.store.postgres.driver.connection import Connection
from cvms.store.security import approvals
from cvms.store.security.approvals import DecidedReply, about
from cvms.store.security.encryption import SecretBox

OLD, NEW = Fernet.generate_key(), Fernet.generate_key()


async def executed(conn: Connection, secret: bytes) -> UUID:
    """Add an approval whose reply has a secret."""
    row = await approvals.add(
        conn,
        id=uuid4(),
        action="webhook_register",
        summary="Register a webhook",
        request="{}",
        requested_by="carol",
        token_id=None,
        token_issued_at=0,
        lifetime=timedelta(hours=1),
    )
    sealed = SecretBox([OLD]).seal(secret, about=about(str(row.id)))
    reply = DecidedReply(201, "application/json", sealed, is_secret=True)
    await approvals.decide(conn, row.id, "executed", by="bob", reply=reply)
    return row.id


async def test_secret_replies_are_encrypted_with_the_first_key(database: Database) -> None:
    async with database.transaction() as conn:
        made = [await executed(conn, secret) for secret in (b"one", b"two")]
        both = SecretBox([NEW, OLD])
        assert await approvals.reseal(conn, both) == 2
        assert await approvals.reseal(conn, both) == 0
        for approval, secret in zip(made, (b"one", b"two"), strict=True):
            sealed = await approvals.secret_reply(conn, approval)
            assert sealed is not None
            assert SecretBox([NEW]).open(sealed, about=about(str(approval))) == secret
            row = await approvals.get(conn, approval)
            assert row is not None
            assert (row.state, row.reply, row.reply_status) == ("executed", None, 201)


async def test_secret_replies_are_deleted_before_their_approvals(database: Database) -> None:
    async with database.transaction() as conn:
        old, new = await executed(conn, b"old"), await executed(conn, b"new")
        await conn.execute(
            "UPDATE approval_secrets SET created_at = now() - INTERVAL '2 days' "
            "WHERE approval = %(id)s",
            {"id": str(old)},
        )
        assert await approvals.prune_secrets(conn, timedelta(days=1)) == 1
        assert await approvals.secret_reply(conn, old) is None
        assert await approvals.secret_reply(conn, new) is not None
        await conn.execute(
            "UPDATE approvals SET requested_at = now() - INTERVAL '91 days' WHERE id = %(id)s",
            {"id": old},
        )
        assert await approvals.prune(conn, timedelta(days=90)) == 1
        assert [row.id for row in await approvals.page(conn, limit=9)] == [new]

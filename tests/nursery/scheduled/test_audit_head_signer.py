"""Signing of the audit trail's head, and what the signer sees of a trail that was tampered with."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
import trio
from solders.keypair import Keypair
from structlog.testing import capture_logs

from cvms.metrics import Metrics
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.scheduled.audit_head_signer import AuditHeadSigner
from cvms.signing.audit_signer import audit_signers
from cvms.store.postgres.database import Database
from cvms.store.security import audit_heads, audit_log
from cvms.store.security.audit_heads import AuditKey, SignedHead, read_published
from cvms.store.security.audit_verification import verify
from tests.harness.localnet import Localnet
from tests.harness.resources import signers_of
from tests.harness.service import whole_service

HOLDER, OTHER_HOLDER = Keypair(), Keypair()
KEY, OTHER = AuditKey(HOLDER.secret()), AuditKey(OTHER_HOLDER.secret())

CUT_OFF = """
WITH removed AS (DELETE FROM audit_logs WHERE id > 2)
UPDATE audit_head
SET id = 2,
    hash = (SELECT hash FROM audit_logs WHERE id = 2)
"""


def signer(database: Database, holder: Keypair = HOLDER) -> AuditHeadSigner:
    return AuditHeadSigner(
        database=database,
        signers=audit_signers(signers_of(holder)),
        board=StatusBoard(),
        metrics=Metrics(),
    )


async def append(database: Database, count: int) -> None:
    async with database.transaction() as conn:
        for _ in range(count):
            await audit_log.record(conn, actor="carol", action="test", owner=None)


async def stored(database: Database) -> SignedHead | None:
    async with database.connection() as conn:
        return await audit_heads.newest(conn)


async def published(signing: AuditHeadSigner) -> list[SignedHead]:
    """Run once and return the heads that were logged, as `cvms audit verify` reads them."""
    with capture_logs() as logs:
        await signing.run_once()
    lines = map(json.dumps, logs)
    return [head for line in lines if (head := read_published(line)) is not None]


async def test_a_head_is_signed_stored_logged_and_counted_once_it_has_moved(
    database: Database,
) -> None:
    signing = signer(database)
    assert not await published(signing)
    assert await stored(database) is None
    await append(database, 3)
    [head] = await published(signing)
    assert (head.id, await stored(database)) == (3, head)
    assert head.is_signed_by(KEY.public)
    assert not head.is_signed_by(OTHER.public)
    assert signing.metrics.registry.get_sample_value("cvms_audit_head") == 3
    assert not await published(signing)
    await append(database, 1)
    [later] = await published(signing)
    assert (later.id, await stored(database)) == (4, later)


async def test_a_new_key_signs_the_same_head_again(database: Database) -> None:
    await append(database, 1)
    await published(signer(database))
    [head] = await published(signer(database, OTHER_HOLDER))
    assert await stored(database) == head
    assert head.is_signed_by(OTHER.public)


async def test_a_head_that_was_stored_but_not_logged_is_logged(database: Database) -> None:
    """A process can end between the two, or not learn that the transaction was committed."""
    signing = signer(database)
    for count in (1, 2):
        await append(database, 1)
        async with database.connection() as conn:
            unlogged = KEY.sign(await audit_heads.current(conn), datetime.now(UTC))
            await audit_heads.store(conn, unlogged)
        assert unlogged.id == count
        assert await published(signing) == [unlogged]
        assert not await published(signing)


async def test_no_older_head_replaces_a_newer_one(database: Database) -> None:
    await append(database, 2)
    [newer] = await published(signer(database))
    async with database.connection() as conn:
        older = KEY.sign(audit_heads.Head(id=1, hash=newer.hash), datetime.now(UTC))
        await audit_heads.store(conn, older)
    assert await stored(database) == newer


@pytest.mark.parametrize(
    "tampering",
    [
        CUT_OFF,
        "UPDATE audit_logs SET hash = decode(repeat('00', 32), 'hex') WHERE id = 4",
        "UPDATE audit_signed_head SET id = 3",
        "DELETE FROM audit_signed_head",
    ],
)
async def test_a_trail_that_contradicts_the_signed_head_is_not_signed_and_is_a_warning(
    database: Database, tampering: str
) -> None:
    await append(database, 4)
    signing = signer(database)
    assert await published(signing)
    async with database.connection() as conn:
        await conn.execute(tampering.encode())
    found = await stored(database)
    await append(database, 1)
    assert not await published(signing)
    assert set(signing.board.warnings) == {"audit_trail"}
    assert await stored(database) == found


async def test_the_leader_signs_with_the_key_of_the_operator(
    database_url: str, localnet: Localnet
) -> None:
    async with whole_service(database_url, **localnet.settings) as service:
        await append(service.database, 1)
        with trio.fail_after(20):
            while (head := await stored(service.database)) is None:
                await trio.lowlevel.checkpoint()
        assert head.is_signed_by(audit_signers(service.resources.signers).public[0])
        async with service.database.connection() as conn:
            verdict = await verify(conn)
        assert (verdict.broken, verdict.contradicted, verdict.stored) == (None, None, head)


async def test_setting_back_the_signed_head_too_is_seen_by_the_process_that_signed(
    database: Database,
) -> None:
    await append(database, 2)
    signing = signer(database)
    [early] = await published(signing)
    await append(database, 2)
    await published(signing)
    async with database.transaction() as conn:
        await conn.execute(CUT_OFF)
        await conn.execute("DELETE FROM audit_signed_head")
        await audit_heads.store(conn, early)
    assert not await published(signing)
    assert "entry 4" in signing.board.warnings["audit_trail"]
    # Another process cannot know: it signs, and what is published elsewhere shows the gap.
    fresh = signer(database)
    await published(fresh)
    assert not fresh.board.warnings

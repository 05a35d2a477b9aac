"""Heads of the audit trail are attested by the operator, wherever its key is."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from cvms.errors import SignerUnavailable
from cvms.metrics import Metrics
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.scheduled.audit_head_signer import AuditHeadSigner
from cvms.signing.audit_signer import audit_signers
from cvms.store.postgres.database import Database
from cvms.store.security import audit_heads, audit_log
from cvms.store.security.audit_heads import Head, head_text
from tests.harness.resources import signers_of
from tests.signing.faulty_signer import FaultySigner, set_of, signs_again

HEAD = Head(id=7, hash=bytes(32))
AT = datetime(2026, 11, 30, tzinfo=UTC)


async def test_a_key_in_a_file_has_the_derived_key_that_it_always_had() -> None:
    signers = audit_signers(signers_of(Keypair.from_seed(bytes(range(32)))))
    [public] = signers.public
    assert public.hex() == "19d299ba7bbaed6364fb53d1965c3eac45ba5ae19c09995811ed181ca95dcfdd"
    assert (await signers.sign(HEAD, AT)).is_signed_by(public)


async def test_a_key_that_cannot_be_read_signs_the_heads_itself() -> None:
    signer = FaultySigner()
    signers = audit_signers(set_of(signer))
    assert signers.public == [bytes(signer.address)]
    assert (await signers.sign(HEAD, AT)).is_signed_by(bytes(signer.address))


def test_a_head_is_no_transaction() -> None:
    """Its first two bytes are numbers of signers that no message can have."""
    required, read_only = head_text(HEAD, AT)[:2]
    assert required < 128 <= required + 128, "without the bit of a version"
    assert read_only > required


async def test_heads_are_signed_by_the_key_that_is_there_and_wait_if_none_is(
    database: Database,
) -> None:
    first, second = FaultySigner(fault="dead"), FaultySigner()
    held = set_of(first, second)
    signers = audit_signers(held)
    task = AuditHeadSigner(
        database=database, signers=signers, board=StatusBoard(), metrics=Metrics()
    )
    async with database.transaction() as conn:
        await audit_log.record(conn, actor="carol", action="test", owner=None)
    with pytest.raises(SignerUnavailable):
        await task.run_once()
    await task.run_once()
    assert await _key(database) == second.address
    second.fault = "dead"
    async with database.transaction() as conn:
        await audit_log.record(conn, actor="carol", action="test", owner=None)
    with pytest.raises(SignerUnavailable):
        await task.run_once()
    assert await _key(database) == second.address
    first.fault = second.fault = None
    await signs_again(held)
    await task.run_once()
    assert await _key(database) == first.address


async def _key(database: Database) -> Pubkey:
    async with database.connection() as conn:
        stored = await audit_heads.newest(conn)
    assert stored is not None
    assert stored.is_signed_by(stored.key)
    return Pubkey(stored.key)

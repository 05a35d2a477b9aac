"""Signed heads can be checked without this code, by what the documents say."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.signature import Signature

from cvms.store.security.audit_heads import AuditKey, Head, SignedHead, read_published

SECRET = bytes(range(32))
HEAD = Head(id=4711, hash=b"\x01" * 32)
AT = datetime(2027, 1, 31, 13, tzinfo=timezone(timedelta(hours=1)))


def published(head: SignedHead) -> str:
    fields = {
        "event": "audit_head_signed",
        "id": head.id,
        "hash": head.hash.hex(),
        "signed_at": head.signed_at.isoformat(),
        "key": head.key.hex(),
        "signature": head.signature.hex(),
    }
    return json.dumps(fields | {"level": "info"})


def test_the_key_is_hkdf_of_the_secret_with_the_label() -> None:
    extracted = hmac.digest(bytes(32), SECRET, hashlib.sha256)  # RFC 5869, 2.2
    seed = hmac.digest(extracted, b"cvms audit head\x01", hashlib.sha256)  # RFC 5869, 2.3
    assert AuditKey(SECRET).public == bytes(Keypair.from_seed(seed).pubkey())


def test_the_signature_is_of_the_text_in_the_docstring_of_the_module() -> None:
    signed = AuditKey(SECRET).sign(HEAD, AT)
    text = "\n".join(("cvms audit head", "4711", "01" * 32, "2027-01-31T12:00:00+00:00"))
    signature = Signature.from_bytes(signed.signature)
    assert signature.verify(Pubkey.from_bytes(signed.key), text.encode())


@pytest.mark.parametrize(
    "change",
    [
        {"id": 4710},
        {"hash": b"\x02" * 32},
        {"signed_at": AT + timedelta(microseconds=1)},
        {"key": AuditKey(b"o" * 32).public},
        {"key": b"short"},
        {"signature": bytes(64)},
        {"signature": b""},
    ],
    ids=str,
)
def test_a_changed_head_is_not_signed(change: dict[str, object]) -> None:
    signed = AuditKey(SECRET).sign(HEAD, AT)
    assert signed.is_signed_by(signed.key)
    changed = replace(signed, **change)  # type: ignore[arg-type]
    assert not changed.is_signed_by(signed.key)
    assert not changed.is_signed_by(changed.key)


@pytest.mark.parametrize("prefix", ["", "2027-01-31T12:00:00Z stderr F ", "cvms-0 | "])
def test_a_head_is_read_from_a_line_of_the_log(prefix: str) -> None:
    signed = AuditKey(SECRET).sign(HEAD, AT.astimezone(UTC))
    assert read_published(prefix + published(signed) + "\n") == signed


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("audit_head_signed", "audit_head"),
        ('"id"', '"ID"'),
        ("4711", '"x"'),
        ("01" * 32, "zz"),
        ("2027-", ""),
        ("}", ""),
        ("{", "\ud800"),
    ],
)
def test_other_lines_are_no_heads(old: str, new: str) -> None:
    line = published(AuditKey(SECRET).sign(HEAD, AT))
    assert old in line
    assert read_published(line.replace(old, new)) is None

"""V5, V6 and V9: what clients asked for had its effect at most once, and is written down."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC

from solders.message import to_bytes_versioned
from solders.transaction import VersionedTransaction

from tests.scenario.books import Books, Row
from tests.scenario.checks import Broken, same_map
from tests.scenario.truth import Landed, Truth


def asking(truth: Truth, books: Books) -> Iterator[Broken]:
    """Submissions, nonces, idempotency keys and the audit trail."""
    for row in books["submissions"]:
        if says := _fate(truth, row):
            yield Broken("V6", "submissions", f"{row['signature']} is {row['state']}, {says}")
    yield from _nonces(books)
    yield from _keys(books)
    yield from _trail(books)


def _fate(truth: Truth, row: Row) -> str | None:
    """What is wrong with a submission; None if it is what became of it."""
    known = truth.messages.get(bytes(row["message_hash"]))
    if known is not None and known != row["signature"]:
        return f"though its message is in a block as {known}"
    # A version 0 message is signed with its version before it.
    if hashlib.sha256(b"\x80" + bytes(row["message"])).digest() != bytes(row["message_hash"]):
        return "with a message that is not the one of its hash"
    if row["state"] == "built":
        return None if row["signature"] is None else "though it is signed"
    landed = truth.landed.get(row["signature"])
    return _lost(truth, row) if landed is None else _found(row, landed)


def _found(row: Row, landed: Landed) -> str | None:
    wanted = "finalized" if landed.err is None else "failed"
    if (row["state"], row["slot"]) == (wanted, landed.slot):
        return None
    return f"slot {row['slot']}, though it is in slot {landed.slot} with {landed.err}"


def _lost(truth: Truth, row: Row) -> str | None:
    if row["state"] != "expired":
        return "though no block has it"
    if truth.final_height <= row["last_valid_block_height"]:
        return f"though it could still land until height {row['last_valid_block_height']}"
    return None


def _nonces(books: Books) -> Iterator[Broken]:
    """Each request that a wallet has signed and that had an effect has used up one nonce."""
    used = Counter(row["owner"] for row in books["nonces"] if row["used_at"] is not None)
    asked = Counter(
        row["actor"]
        for row in books["audit_logs"]
        if row["actor"] == row["owner"] and row["action"] != "submit"
    )
    yield from same_map("V5", "nonces", used, asked)


def _keys(books: Books) -> Iterator[Broken]:
    """The answer that is kept for a key tells of something that was written with it."""
    signatures = {row["signature"] for row in books["submissions"]}
    messages = {bytes(row["message_hash"]) for row in books["submissions"]}
    for row in books["idempotency_keys"]:
        answer = json.loads(bytes(row["content"]))
        if "transaction" in answer:
            wire = base64.b64decode(answer["transaction"])
            message = to_bytes_versioned(VersionedTransaction.from_bytes(wire).message)
            known = hashlib.sha256(message).digest() in messages
        else:
            known = row["status"] >= 400 or answer.get("signature") in signatures
        if not known:
            says = f"{row['key']} of {row['owner']} answers with what was never done: {answer}"
            yield Broken("V5", "idempotency_keys", says)


def _trail(books: Books) -> Iterator[Broken]:
    """The hashes of the audit trail, computed by the recipe that is written down for auditors."""
    previous, last = bytes(32), 0
    for row in books["audit_logs"]:
        names = ("actor", "action", "owner", "outcome", "details", "id")
        entry = {name: row[name] for name in names}
        entry["at"] = row["at"].astimezone(UTC).isoformat()
        text = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        previous, last = hashlib.sha256(previous + text.encode()).digest(), last + 1
        if (row["id"], bytes(row["hash"])) != (last, previous):
            yield Broken("V9", "audit_logs", f"entry {last} is not as it was written: {entry}")
            return
    [head] = books["audit_head"]
    if (head["id"], bytes(head["hash"])) != (last, previous):
        yield Broken("V9", "audit_head", f"the trail should end with {head['id']}, not {last}")

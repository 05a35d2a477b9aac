"""V5, V6 and V9: requests of clients took effect at most once, and are recorded."""

from __future__ import annotations

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC

from solders.message import to_bytes_versioned
from solders.transaction import VersionedTransaction

from tests.scenario.checks import Violation, same_map
from tests.scenario.tables import Row, Tables
from tests.scenario.truth import Landed, Truth


def check_requests(truth: Truth, tables: Tables) -> Iterator[Violation]:
    """Check submissions, nonces, idempotency keys and the audit trail."""
    for row in tables["submissions"]:
        if error := _state_error(truth, row):
            yield Violation("V6", "submissions", f"{row['signature']} is {row['state']}, {error}")
    yield from _nonces(tables)
    yield from _idempotency_keys(tables)
    yield from _audit_trail(tables)


def _state_error(truth: Truth, row: Row) -> str | None:
    """Return what is wrong with a submission's state, None if it is correct."""
    known = truth.messages.get(bytes(row["message_hash"]))
    if known is not None and known != row["signature"]:
        return f"though its message is in a block as {known}"
    # The signed bytes of a version 0 message begin with its version.
    if hashlib.sha256(b"\x80" + bytes(row["message"])).digest() != bytes(row["message_hash"]):
        return "with a message that does not match its hash"
    if row["state"] == "built":
        return None if row["signature"] is None else "though it is signed"
    landed = truth.landed.get(row["signature"])
    return _absent_error(truth, row) if landed is None else _landed_error(row, landed)


def _landed_error(row: Row, landed: Landed) -> str | None:
    wanted = "finalized" if landed.err is None else "failed"
    if (row["state"], row["slot"]) == (wanted, landed.slot):
        return None
    return f"slot {row['slot']}, though it is in slot {landed.slot} with {landed.err}"


def _absent_error(truth: Truth, row: Row) -> str | None:
    if row["state"] != "expired":
        return "though no block has it"
    if truth.final_height <= row["last_valid_block_height"]:
        return f"though it could still land until height {row['last_valid_block_height']}"
    return None


def _nonces(tables: Tables) -> Iterator[Violation]:
    """Check that each request signed by a wallet that took effect has used one nonce."""
    used = Counter(row["owner"] for row in tables["nonces"] if row["used_at"] is not None)
    requests = Counter(
        row["actor"]
        for row in tables["audit_logs"]
        if row["actor"] == row["owner"] and row["action"] != "submit"
    )
    yield from same_map("V5", "nonces", used, requests)


def _idempotency_keys(tables: Tables) -> Iterator[Violation]:
    """Check that the reply stored for a key refers to something that was recorded."""
    signatures = {row["signature"] for row in tables["submissions"]}
    messages = {bytes(row["message_hash"]) for row in tables["submissions"]}
    for row in tables["idempotency_keys"]:
        reply = json.loads(bytes(row["content"]))
        if "transaction" in reply:
            wire = base64.b64decode(reply["transaction"])
            message = to_bytes_versioned(VersionedTransaction.from_bytes(wire).message)
            known = hashlib.sha256(message).digest() in messages
        else:
            known = row["status"] >= 400 or reply.get("signature") in signatures
        if not known:
            error = f"{row['key']} of {row['owner']} refers to what was never recorded: {reply}"
            yield Violation("V5", "idempotency_keys", error)


def _audit_trail(tables: Tables) -> Iterator[Violation]:
    """Check the hash chain of the audit trail, by the algorithm documented for auditors."""
    previous, last = bytes(32), 0
    for row in tables["audit_logs"]:
        names = ("actor", "action", "owner", "outcome", "details", "id")
        entry = {name: row[name] for name in names}
        entry["at"] = row["at"].astimezone(UTC).isoformat()
        text = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        previous, last = hashlib.sha256(previous + text.encode()).digest(), last + 1
        if (row["id"], bytes(row["hash"])) != (last, previous):
            yield Violation("V9", "audit_logs", f"entry {last} was changed: {entry}")
            return
    [head] = tables["audit_head"]
    if (head["id"], bytes(head["hash"])) != (last, previous):
        yield Violation("V9", "audit_head", f"the trail should end with {head['id']}, not {last}")

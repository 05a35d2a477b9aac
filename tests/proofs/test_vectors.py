"""The recorded examples of docs/proofs.md, with which other verifiers can be tested.

`CVMS_UPDATE_VECTORS=1 pytest tests/proofs/test_vectors.py` writes them anew.
"""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cvms.proofs.log_entry import SignedEntry
from cvms.proofs.verification import Given, Outcome, verify
from tests.proofs.publisher import ADDRESS, MINT, PROGRAM, Snapshot, made_up, vaults

VECTORS = Path(__file__).parents[2] / "docs" / "proofs" / "vectors.json"
ABOUT = (
    "Proofs for verifiers of docs/proofs.md. `failed` is the check that each fails, null for none. "
    "`logs` are copies of the log, `reserves` the file's text; null where none is given. Expect "
    "the `key`, the `program` and the `mint`."
)

replaced = msgspec.structs.replace


def vector(
    name: str,
    failed: str | None,
    proof: Any,
    *,
    logs: list[list[SignedEntry]] | None = None,
    reserves: list[bytes] | None = None,
) -> dict[str, Any]:
    return {
        "name": name,
        "failed": failed,
        "proof": msgspec.to_builtins(proof),
        "logs": msgspec.to_builtins(logs),
        "reserves": None if reserves is None else b"".join(reserves).decode(),
    }


def bent(snapshot: Snapshot, at: int, **changes: Any) -> Snapshot:
    """Return a snapshot of the same vaults, one line of whose file is changed."""
    lines = list(snapshot.lines)
    lines[at] = replaced(lines[at], **changes)
    return Snapshot(snapshot.vaults, lines=lines)


def made() -> list[dict[str, Any]]:
    """Return every example, always the same bytes."""
    one, two, five, many = (Snapshot(vaults(count)) for count in (1, 2, 5, 300))
    second = five.following()
    log = [five.signed(), second.signed()]
    fork = five.following(slot=second.slot + 1)
    proof = five.proof(2)
    first = proof.path[0]
    entry = five.signed()
    left_out = Snapshot(five.vaults[:4], lines=five.lines)
    twice = Snapshot(five.vaults, lines=[five.lines[0], *five.lines[:-2], five.lines[-1]])

    def path(**changes: Any) -> Any:
        return replaced(proof, path=[replaced(first, **changes), *proof.path[1:]])

    def text(old: str, new: str) -> Any:
        return replaced(proof, entry=replaced(entry, text=entry.text.replace(old, new)))

    return [
        vector("one vault", None, one.proof(0), logs=[[one.signed()]], reserves=one.file),
        vector("the left of two", None, two.proof(0)),
        vector("the right of two", None, two.proof(1)),
        *(vector(f"number {index} of five", None, five.proof(index)) for index in range(5)),
        *(
            vector(f"number {index} of 300", None, many.proof(index))
            for index in (0, 127, 256, 299)
        ),
        vector("with everything", None, second.proof(4), logs=[log, log[:1]], reserves=second.file),
        vector("another owner", "inclusion", replaced(proof, owner=five.vaults[0].owner)),
        vector("another salt", "inclusion", replaced(proof, salt="00" * 32)),
        vector("another index", "inclusion", replaced(proof, index=3)),
        vector("an index beyond the tree", "inclusion", replaced(proof, index=5)),
        vector("a longer path", "inclusion", replaced(proof, path=[*proof.path, first])),
        vector("a shorter path", "inclusion", replaced(proof, path=proof.path[:-1])),
        vector("a sibling with another sum", "inclusion", path(sums=["1", "1", "0", "0", "0"])),
        vector("a sibling with another hash", "inclusion", path(hash="11" * 32)),
        vector("a negative sum", "proof", path(sums=["-1", "0", "0", "0", "0"])),
        vector("a sum with a leading zero", "proof", path(sums=["01", "1", "0", "0", "0"])),
        vector("a sum beyond 64 bits", "overflow", path(sums=[str(2**64), "0", "0", "0", "0"])),
        vector("sums that overflow", "overflow", path(sums=[str(2**64 - 1), "0", "0", "0", "0"])),
        vector(
            "parts that are not the total",
            "balances",
            replaced(proof, balances=replaced(proof.balances, available="1")),
        ),
        vector("a field too many", "proof", {**msgspec.to_builtins(proof), "note": "x"}),
        vector("another text", "signature", text('"slot":1000', '"slot":1001')),
        vector("a text with a space", "entry", text('"slot":1000', '"slot": 1000')),
        vector("a name that is there twice", "entry", text('"slot":1000', '"slot":1,"slot":1000')),
        vector("a later version", "entry", text('"version":1', '"version":2')),
        vector("a time that is none", "entry", text("2026-12-01", "2026-13-01")),
        vector("another program", "deployment", five.proof(2, program=made_up("x"))),
        vector("a log without the entry", "log", second.proof(0), logs=[log[:1]]),
        vector("a log with a gap", "log", second.proof(0), logs=[[log[1], log[0]]]),
        vector("a forked log", "fork", second.proof(0), logs=[log, [log[0], fork.signed()]]),
        vector("a file that is cut", "reserves_file", five.proof(0), reserves=five.file[:-1]),
        vector(
            "an account that is there twice", "reserves_twice", twice.proof(0), reserves=twice.file
        ),
        vector("a vault left out", "left_out", left_out.proof(0), reserves=left_out.file),
        *(
            vector(name, failed, each.proof(0), reserves=each.file)
            for name, failed, each in (
                ("tokens that are missing", "not_covered", bent(five, 0, amount="0")),
                ("a stale reading", "reserves_stale", bent(five, 0, slot=999)),
                ("a pool that cannot pay", "pool_cannot_pay", bent(five, -1, amount="1")),
                ("another account", "reserves_twice", bent(five, 0, owner=made_up("x"))),
            )
        ),
    ]


def rendered() -> str:
    head = {"about": ABOUT, "key": ADDRESS, "program": PROGRAM, "mint": MINT}
    return json.dumps({**head, "vectors": made()}, indent=1) + "\n"


def test_the_recorded_vectors_are_those_of_this_code() -> None:
    if os.environ.get("CVMS_UPDATE_VECTORS"):
        VECTORS.write_text(rendered())
    assert VECTORS.read_text() == rendered()


@pytest.mark.parametrize(
    "recorded", json.loads(VECTORS.read_text())["vectors"], ids=lambda v: v["name"]
)
async def test_each_vector_fails_the_check_that_it_names(
    recorded: dict[str, Any], tmp_path: Path
) -> None:
    file = tmp_path / "reserves.ndjson"
    file.write_text(recorded["reserves"] or "")
    logs = msgspec.convert(recorded["logs"] or [], list[list[SignedEntry]])
    given = Given(
        proof=json.dumps(recorded["proof"]).encode(),
        key=ADDRESS,
        program=PROGRAM,
        mint=MINT,
        logs=logs,
        reserves=file if recorded["reserves"] else None,
        max_age=timedelta(hours=2),
        report=lambda _: None,
    )
    checks = [each async for each in verify(given)]
    failed = [each.name for each in checks if each.outcome is Outcome.FAILED]
    assert failed == ([] if recorded["failed"] is None else [recorded["failed"]])

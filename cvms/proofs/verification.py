"""`cvms verify`: every check of a proof, in order, each with its outcome."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path

from solders.pubkey import Pubkey

from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Programs
from cvms.errors import ProofInvalid, ProofNotChecked
from cvms.proofs.chain_evidence import ChainEvidence, Report
from cvms.proofs.inclusion import PROOF, InclusionProof
from cvms.proofs.log_entry import LogEntry, SignedEntry, decoded, u64, verify_log, verify_same_log
from cvms.proofs.reserve_lines import (
    VaultLine,
    bounded_lines,
    read_line,
    token_account_of,
    verify_file,
)


class Outcome(StrEnum):
    OK = "ok"
    FAILED = "failed"
    NOT_CHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Check:
    """A check by its name in docs/proofs.md, and what was seen."""

    name: str
    outcome: Outcome
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A proof, and all that it is checked against. What is None or empty is not checked.

    `logs` are copies of the log, oldest entry first: one for each time that somebody saved it.
    `reserves` is read twice, since it may be larger than memory.
    """

    proof: bytes
    key: str | None = None
    program: str | None = None
    mint: str | None = None
    logs: Sequence[Sequence[SignedEntry]] = ()
    reserves: Path | None = None
    rpc: RpcClient | None = None
    max_age: timedelta
    report: Report


async def verify(given: Given) -> AsyncIterator[Check]:
    """Yield the outcome of each check. Without a valid proof there is nothing else to check."""
    try:
        proof = decoded(given.proof, PROOF, check="proof")
        entry = proof.verify()
    except ProofInvalid as error:
        yield Check(error.check, Outcome.FAILED, str(error))
        return
    yield Check(
        "inclusion",
        Outcome.OK,
        f"{proof.owner} held {proof.balances.total} at slot {entry.slot}, by entry {entry.number}",
    )
    yield _check("deployment", lambda: _deployment(entry, given))
    yield _check("key", lambda: _key(proof.entry, given.key))
    yield _check("log", lambda: _logs(proof.entry, given.logs))
    reserves = _check("reserves_file", lambda: _reserves(entry, proof, given.reserves))
    yield reserves
    file = given.reserves if reserves.outcome is Outcome.OK else None
    async for each in _on_chain(entry, file, given):
        yield each


def _check(name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(name, Outcome.OK, look())
    except ProofInvalid as error:
        return Check(error.check, Outcome.FAILED, str(error))
    except ProofNotChecked as error:
        return Check(name, Outcome.NOT_CHECKED, str(error))


def _deployment(entry: LogEntry, given: Given) -> str:
    for name, wanted, found in (
        ("program", given.program, entry.program),
        ("mint", given.mint, entry.mint),
    ):
        if wanted is not None and wanted != found:
            raise ProofInvalid("deployment", f"the entry is of the {name} {found}, not {wanted}")
    said = f"program {entry.program}, mint {entry.mint}"
    if given.program is None or given.mint is None:
        raise ProofNotChecked(f"{said}: give --program and --mint")
    return said


def _key(entry: SignedEntry, wanted: str | None) -> str:
    if wanted is None:
        raise ProofNotChecked(f"signed by {entry.key}: give the published key with --key")
    if entry.key != wanted:
        raise ProofInvalid("key", f"the entry is signed by {entry.key}, not {wanted}")
    return f"signed by {entry.key}"


def _logs(entry: SignedEntry, logs: Sequence[Sequence[SignedEntry]]) -> str:
    if not logs:
        raise ProofNotChecked("give the log with --log or --service")
    for log in logs:
        verify_log(log)
        for other in logs:
            verify_same_log(log, other)
        verify_same_log(log, [entry])
    if not any(each.hash == entry.hash for log in logs for each in log):
        raise ProofInvalid("log", "the log does not have the proof's entry")
    return f"{max(map(len, logs))} entries, each with the hash of the one before"


def _reserves(entry: LogEntry, proof: InclusionProof, file: Path | None) -> str:
    if file is None:
        raise ProofNotChecked("give the file of reserves with --reserves or --service")
    derive, books = token_account_of(entry.program, entry.mint), None
    with file.open("rb") as data:
        for line in verify_file(entry, bounded_lines(data), token_account_of=derive):
            if isinstance(line, VaultLine) and line.owner == proof.owner:
                books = line.books
    if books != proof.balances.total:
        raise ProofInvalid("left_out", f"the vault of {proof.owner} has no line with its balance")
    reserves, owed = entry.reserves, entry.liabilities
    covered = u64(reserves.tokens) + u64(reserves.pools)
    shown = f"{covered} tokens cover the {owed.total} of {owed.vaults} vaults"
    unproven = u64(reserves.unproven)
    return f"{shown}, but for {unproven} lent to unknown programs" if unproven else shown


async def _on_chain(entry: LogEntry, file: Path | None, given: Given) -> AsyncIterator[Check]:
    if given.rpc is None:
        yield Check("chain", Outcome.NOT_CHECKED, "give any node of the chain with --rpc")
        return
    evidence = ChainEvidence(given.rpc, _programs(entry), entry)
    yield await _ask("chain", evidence.verify_block())
    yield await _ask("stale", evidence.verify_age(given.max_age))
    if file is None:
        yield Check("reserves", Outcome.NOT_CHECKED, "there is no valid file of reserves")
        return
    with file.open("rb") as data:
        yield await _ask(
            "reserves", evidence.verify_lines(map(read_line, bounded_lines(data)), given.report)
        )
    with file.open("rb") as data:
        lines = map(read_line, bounded_lines(data))
        owners = {each.owner for each in lines if isinstance(each, VaultLine)}
    yield await _ask("left_out", evidence.verify_all_listed(owners))


async def _ask(name: str, look: Awaitable[str]) -> Check:
    try:
        return Check(name, Outcome.OK, await look)
    except ProofInvalid as error:
        return Check(error.check, Outcome.FAILED, str(error))
    except ProofNotChecked as error:
        return Check(name, Outcome.NOT_CHECKED, str(error))


def _programs(entry: LogEntry) -> Programs:
    program, mint = Pubkey.from_string(entry.program), Pubkey.from_string(entry.mint)
    return Programs(vault=program, position_manager=program, mint=mint)

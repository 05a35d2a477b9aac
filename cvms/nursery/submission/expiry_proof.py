"""Proof that a submission which no node knows has expired, and did not land after all.

Absence is no proof. In turn: the index may have applied the transaction; the fee payer may have
signed the same message a second time, so that it landed under another signature; and the blocks in
question may not all be known. Only what is excluded by all of them has expired.
"""

from __future__ import annotations

import base64
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog
import trio
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from cvms.chain.rpc.absence_proof import proven_absent
from cvms.chain.rpc.call_params import MAX_TRANSACTION_VERSION, SIGNATURES_PER_CALL
from cvms.chain.rpc.chain_tips import Tips
from cvms.chain.rpc.responses import SignatureInfo, unexpected
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.rpc.transport.call_state import Call
from cvms.chain.types import BlockHeight, Commitment, Slot
from cvms.nursery.submission.outcome import Transition, unproven
from cvms.store.postgres.database import Database
from cvms.store.submissions import in_flight
from cvms.store.submissions.in_flight import InFlight
from cvms.store.submissions.submissions import State

log = structlog.get_logger(__name__)

FIRST_PAUSE_SECONDS = 1.0
MAX_PAUSE_SECONDS = 60.0
WINDOW_SLOTS = 300
"""Submissions that began within so many slots are proven with the same blocks."""
MAX_TWINS = 200
"""Transactions of a fee payer that are compared with its submission."""


@dataclass(slots=True)
class _Attempt:
    due: float
    pause: float


@dataclass(slots=True, eq=False)
class ExpiryProof:
    """Decides submissions that are absent. Attempts that prove nothing are repeated ever later.

    `operator` signs a message always in the same way, so what it pays for lands only once.
    """

    database: Database
    rpc: RpcClient
    operator: Pubkey
    _attempts: dict[str, _Attempt] = field(default_factory=dict, init=False)

    async def resolve(self, rows: Sequence[InFlight], tips: Tips) -> dict[str, Transition]:
        """Return the transitions of absent submissions, by signature.

        Raises RpcError and ChainUnavailable.
        """
        signatures = {row.signature for row in rows}
        self._attempts = {key: each for key, each in self._attempts.items() if key in signatures}
        due = [row for row in rows if self._is_due(row.signature)]
        if not due:
            return {}
        decided = await self._landed(due)
        rest = [row for row in due if row.signature not in decided]
        for window in _windows(rest):
            absent = await proven_absent(
                self.rpc,
                [row.signature for row in window],
                after=Slot(min(row.since_slot for row in window)),
                through=BlockHeight(max(row.last_valid_block_height for row in window)),
                tip=tips.finalized,
            )
            for row in window:
                proven = row.signature in absent
                decided[row.signature] = (
                    Transition(State.EXPIRED) if proven else self._unproven(row, tips)
                )
        return decided

    def _is_due(self, signature: str) -> bool:
        attempt = self._attempts.get(signature)
        return attempt is None or trio.current_time() >= attempt.due

    def _unproven(self, row: InFlight, tips: Tips) -> Transition:
        before = self._attempts.get(row.signature)
        pause = min(MAX_PAUSE_SECONDS, before.pause * 2) if before else FIRST_PAUSE_SECONDS
        self._attempts[row.signature] = _Attempt(trio.current_time() + pause, pause)
        if before is None:
            log.warning("expiry_unproven", signature=row.signature, since_slot=row.since_slot)
        return unproven(row, tips)

    async def _landed(self, rows: Sequence[InFlight]) -> dict[str, Transition]:
        """Return the transitions of those that landed, by signature."""
        async with self.database.connection() as conn:
            applied = await in_flight.applied(conn, [row.signature for row in rows])
            wires = await in_flight.wires(conn, [row.signature for row in rows])
        landed = {
            each.signature: Transition(State.FINALIZED, slot=each.slot)
            if each.final
            else Transition()
            for each in applied
        }
        for row in rows:
            if row.signature not in landed and row.signature in wires:
                twin = await self._twin(row, wires[row.signature])
                if twin is not None:
                    landed[row.signature] = twin
        return landed

    async def _twin(self, row: InFlight, wire: bytes) -> Transition | None:
        """Return the transition of a submission whose message landed under another signature."""
        message = VersionedTransaction.from_bytes(wire).message
        fee_payer = message.account_keys[0]
        if fee_payer == self.operator:
            return None
        candidates = await self._signed_by(fee_payer, row)
        messages = await _read_messages(self.rpc, [each.signature for each in candidates])
        for info in candidates:
            if messages.get(info.signature) == bytes(message):
                return Transition(
                    State.FINALIZED if info.err is None else State.FAILED,
                    slot=info.slot,
                    err=info.err,
                    landed_signature=info.signature,
                )
        return None

    async def _signed_by(self, fee_payer: Pubkey, row: InFlight) -> list[SignatureInfo]:
        """Return the fee payer's finalized transactions since the submission was built."""
        found: list[SignatureInfo] = []
        before: str | None = None
        while len(found) < MAX_TWINS:
            page = await self.rpc.get_signatures_for_address(
                fee_payer,
                commitment=Commitment.FINALIZED,
                limit=SIGNATURES_PER_CALL,
                before=before,
            )
            found += [each for each in page if each.slot > row.since_slot]
            if not page or page[-1].slot <= row.since_slot:
                break
            before = page[-1].signature
        return [each for each in found if each.signature != row.signature][-MAX_TWINS:]


def _windows(rows: Collection[InFlight]) -> Iterator[list[InFlight]]:
    """Yield the rows in groups that began within WINDOW_SLOTS."""
    window: list[InFlight] = []
    for row in sorted(rows, key=lambda row: row.since_slot):
        if window and row.since_slot > window[0].since_slot + WINDOW_SLOTS:
            yield window
            window = []
        window.append(row)
    if window:
        yield window


async def _read_messages(rpc: RpcClient, signatures: Sequence[str]) -> Mapping[str, bytes]:
    """Return the messages of transactions by signature, as far as a node has them."""
    options = {
        "commitment": Commitment.FINALIZED,
        "encoding": "base64",
        "maxSupportedTransactionVersion": MAX_TRANSACTION_VERSION,
    }
    answers = await rpc.batch(
        [
            Call("getTransaction", [each, options], partial(_message, each), may_lack=True)
            for each in signatures
        ]
    )
    return {
        signature: answer
        for signature, answer in zip(signatures, answers, strict=True)
        if isinstance(answer, bytes)
    }


def _message(signature: str, answer: Any) -> bytes | None:
    if answer is None:
        return None
    try:
        text, _ = answer["transaction"]
        return bytes(VersionedTransaction.from_bytes(base64.b64decode(text)).message)
    except (LookupError, TypeError, ValueError) as error:
        raise unexpected("getTransaction", f"{signature}: {error}") from None

"""Proof that a submission which no node knows has expired, and did not land after all.

Absence is no proof. In turn: the index may have applied the transaction; the blocks in question may
not all be known; and the fee payer may have signed the same message a second time, so that it
landed under another signature. Only what is excluded by all of them has expired.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import structlog
import trio
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from cvms.chain.rpc.evidence.absence_proof import MAX_SLOTS, proven_absent
from cvms.chain.rpc.evidence.chain_tips import Tips
from cvms.chain.rpc.evidence.landed_messages import read_landed
from cvms.chain.rpc.evidence.signature_pages import SignaturePages
from cvms.chain.rpc.responses import SignatureInfo
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import BlockHeight, Commitment, Slot
from cvms.errors import ChainUnavailable, GapNotClosed, RpcError
from cvms.nursery.submission.outcome import Transition, unproven
from cvms.store.index import cursor as cursors
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
MAX_PAGES = 10
"""Pages of a fee payer's transactions that are listed, back to when the submission was built."""


class _TwinPossible(Exception):
    """The message may have landed under another signature."""


@dataclass(slots=True)
class _Attempt:
    due: float
    pause: float


@dataclass(slots=True, eq=False)
class ExpiryProof:
    """Decides submissions that are absent. Attempts that prove nothing are repeated ever later.

    `is_deterministic` says which keys of the operator sign a message always in the same way, so
    that what they pay for lands only once.
    """

    database: Database
    rpc: RpcClient
    program: Pubkey
    is_deterministic: Callable[[Pubkey], bool]
    _attempts: dict[str, _Attempt] = field(default_factory=dict, init=False)

    async def resolve(self, rows: Sequence[InFlight], tips: Tips) -> dict[str, Transition]:
        """Return the transitions of absent submissions, by signature.

        What a node or provider refuses leaves it unproven. Raises DatabaseUnavailable.
        """
        signatures = {row.signature for row in rows}
        self._attempts = {key: each for key, each in self._attempts.items() if key in signatures}
        due = [row for row in rows if self._is_due(row.signature)]
        decided = {row.signature: unproven(row, tips) for row in rows if row not in due}
        if due:
            decided |= await self._applied(due)
        for window in _windows([row for row in due if row.signature not in decided]):
            try:
                decided |= await self._prove(window, tips)
            except (RpcError, ChainUnavailable) as error:
                undecided = [row for row in window if row.signature not in decided]
                decided |= {row.signature: self._unproven(row, tips, error) for row in undecided}
        return decided

    async def _prove(self, window: Sequence[InFlight], tips: Tips) -> dict[str, Transition]:
        absent = await proven_absent(
            self.rpc,
            [row.signature for row in window],
            after=Slot(min(row.since_slot for row in window)),
            through=BlockHeight(max(row.last_valid_block_height for row in window)),
            oldest=BlockHeight(min(row.last_valid_block_height for row in window)),
            tip=tips.finalized,
        )
        decided: dict[str, Transition] = {}
        for row in window:
            try:
                decided[row.signature] = (
                    await self._twin(row, tips) or Transition(State.EXPIRED)
                    if row.signature in absent
                    else self._unproven(row, tips)
                )
            except (RpcError, ChainUnavailable, _TwinPossible) as error:
                decided[row.signature] = self._unproven(row, tips, error)
        return decided

    def _is_due(self, signature: str) -> bool:
        attempt = self._attempts.get(signature)
        return attempt is None or trio.current_time() >= attempt.due

    def _unproven(self, row: InFlight, tips: Tips, reason: Exception | None = None) -> Transition:
        before = self._attempts.get(row.signature)
        pause = min(MAX_PAUSE_SECONDS, before.pause * 2) if before else FIRST_PAUSE_SECONDS
        self._attempts[row.signature] = _Attempt(trio.current_time() + pause, pause)
        if before is None:
            log.warning(
                "expiry_unproven",
                signature=row.signature,
                since_slot=row.since_slot,
                reason=str(reason or "the blocks are not all known"),
            )
        return unproven(row, tips)

    async def _applied(self, rows: Sequence[InFlight]) -> dict[str, Transition]:
        """Return the transitions of those that the index has applied, by signature."""
        async with self.database.connection() as conn:
            applied = await in_flight.applied(conn, [row.signature for row in rows])
        return {
            each.signature: Transition(State.FINALIZED, slot=each.slot)
            if each.final
            else Transition()
            for each in applied
        }

    async def _twin(self, row: InFlight, tips: Tips) -> Transition | None:
        """Return the transition of a submission whose message landed under another signature.

        Return None if it did not. Raises _TwinPossible if that cannot be known.
        """
        async with self.database.connection() as conn:
            wires = await in_flight.wires(conn, [row.signature])
            recorded = await in_flight.foreign(
                conn,
                owner=row.owner,
                after=row.since_slot,
                through=row.since_slot + MAX_SLOTS,
                limit=MAX_TWINS + 1,
            )
            indexed = (await cursors.frontier(conn, str(self.program))).slot
        message = VersionedTransaction.from_bytes(wires[row.signature]).message
        fee_payer = message.account_keys[0]
        if self.is_deterministic(fee_payer):
            return None
        if len(recorded) > MAX_TWINS:
            raise _TwinPossible(f"{row.owner} has too many transactions to compare")
        listed, complete = await self._signed_by(fee_payer, row, tips)
        if not complete and (indexed is None or indexed < tips.finalized.slot):
            raise _TwinPossible("neither the index nor a list shows that there is no other")
        candidates = [*listed, *(each for each in recorded if each not in listed)]
        found = await read_landed(self.rpc, candidates)
        for signature, landed in found.items():
            if landed.message == bytes(message):
                return Transition(
                    State.FINALIZED if landed.err is None else State.FAILED,
                    slot=landed.slot,
                    err=landed.err,
                    landed_signature=signature,
                )
        unread = [each for each in candidates if each not in found]
        if unread:
            raise _TwinPossible(f"no node gives {unread[0]}, which may be of the same message")
        return None

    async def _signed_by(
        self, fee_payer: Pubkey, row: InFlight, tips: Tips
    ) -> tuple[list[str], bool]:
        """Return the fee payer's finalized transactions in the time of the submission.

        Also return whether the list reaches back to before it. Raises _TwinPossible if there are
        too many.
        """
        found: list[SignatureInfo] = []
        complete = False
        get = partial(
            self.rpc.get_signatures_for_address,
            fee_payer,
            commitment=Commitment.FINALIZED,
            min_context_slot=tips.finalized.slot,
        )
        end, pages = row.since_slot + MAX_SLOTS, 0
        try:
            async for page in SignaturePages(get):
                found += [each for each in page if row.since_slot < each.slot <= end]
                pages += 1
                if page[-1].slot <= row.since_slot:
                    complete = True
                    break
                if len(found) > MAX_TWINS or pages == MAX_PAGES:
                    raise _TwinPossible(f"{fee_payer} has too many transactions to compare")
        except GapNotClosed as error:
            raise _TwinPossible(str(error)) from error
        return [each.signature for each in found if each.signature != row.signature], complete


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

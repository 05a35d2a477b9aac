"""Sending of transactions until they are confirmed: rebroadcast, and signed anew once expired."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import trio
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from cvms.bootstrap.steps import Prices
from cvms.chain.program.instructions.encoding import writable
from cvms.chain.program.program_errors import to_program_error
from cvms.chain.program.upgradeable_loader import LOADER
from cvms.chain.rpc.responses import LatestBlockhash, SignatureStatus
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.transactions.compute_budget import compute_unit_limit
from cvms.chain.transactions.priority_fees import PriorityFees
from cvms.chain.transactions.versioned import MAX_COMPUTE_UNITS, signature_of
from cvms.chain.types import BlockHeight, Commitment, Programs
from cvms.errors import ChainUnavailable, ProgramRefused, RpcError, StepFailed

IN_FLIGHT = 64
"""Transactions that are sent before one of them is confirmed."""
BLOCKHASH_SECONDS = 20.0
"""A blockhash is used that long for new transactions. It expires after 150 blocks, about 60 s."""
EXPIRY_MARGIN = 16
"""Blocks after the last valid one: the node that knows no transaction may be behind."""
NO_FUNDS = ("AccountNotFound", "InsufficientFundsForFee")
"""Errors of a payer without SOL. The system program logs a transfer's `insufficient lamports`."""
SIMULATIONS = 3
"""A node that is a little behind may not know an account yet that another has confirmed."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A transaction without blockhash and signatures. `signers` are those besides the payer."""

    what: str
    instructions: tuple[Instruction, ...]
    signers: tuple[Keypair, ...] = ()


@dataclass(slots=True, eq=False)
class _InFlight:
    draft: Draft
    wire: bytes
    last_valid: BlockHeight
    due: float


@dataclass(frozen=True, slots=True, eq=False)
class TransactionSender:
    """Sends transactions that `payer` pays. `max_price` is in micro-lamports a compute unit.

    A transaction is sent again until it is confirmed, and signed anew once it has expired. Without
    a confirmation for `patience` seconds sending fails.
    """

    rpc: RpcClient
    payer: Keypair
    fees: PriorityFees
    programs: Programs
    max_price: int
    poll_seconds: float = 0.4
    resend_seconds: float = 2.0
    patience: float = 180.0

    async def send(self, draft: Draft) -> None:
        """Send one transaction. Raises StepFailed if it fails, or is not confirmed in time."""
        await self.send_all([draft])

    async def send_all(
        self, drafts: Sequence[Draft], *, landed: Callable[[], None] = lambda: None
    ) -> None:
        """Send transactions of one kind, in any order, and call `landed` for each confirmed one.

        The first one is simulated. Raises StepFailed; see `send`.
        """
        if drafts:
            await _Sending(self, deque(drafts), landed, await self._units(drafts[0])).run()

    async def price(self, draft: Draft) -> int:
        """Return what the market pays for a compute unit on the accounts of the transaction."""
        instructions = list(draft.instructions)
        latest = await self.rpc.get_latest_blockhash()
        payer = self.payer.pubkey()
        message = MessageV0.try_compile(payer, instructions, [], latest.blockhash)
        return await self.fees.price(message, cap=self.max_price)

    async def prices(self, program: Pubkey) -> Prices:
        """Return what transactions that write a program's account would cost now."""
        sample = Instruction(LOADER, b"", [writable(program)])
        return Prices(await self.price(Draft("estimate", (sample,))))

    def sign(self, draft: Draft, blockhash: LatestBlockhash, *, units: int, price: int) -> bytes:
        """Return the signed bytes of the transaction."""
        budget = [set_compute_unit_limit(units)]
        budget += [set_compute_unit_price(price)] if price else []
        instructions = [*budget, *draft.instructions]
        payer = self.payer.pubkey()
        message = MessageV0.try_compile(payer, instructions, [], blockhash.blockhash)
        keys = {key.pubkey(): key for key in (self.payer, *draft.signers)}
        required = message.account_keys[: message.header.num_required_signatures]
        return bytes(VersionedTransaction(message, [keys[each] for each in required]))

    async def _units(self, draft: Draft) -> int:
        """Return a limit of compute units from a simulation. Raises StepFailed if that fails."""
        for attempt in range(SIMULATIONS):
            if attempt:
                await trio.sleep(self.poll_seconds)
            blockhash = await self.rpc.get_latest_blockhash()
            wire = self.sign(draft, blockhash, units=MAX_COMPUTE_UNITS, price=0)
            outcome = await self.rpc.simulate(wire, replace_recent_blockhash=True)
            if outcome.err is None:
                consumed = outcome.units_consumed
                return compute_unit_limit(consumed, default=200_000 * len(draft.instructions))
        raise self.failure(draft, outcome.err, outcome.logs)

    def failure(self, draft: Draft, err: object, logs: Sequence[str] = ()) -> StepFailed:
        """Return the error of a transaction that failed, with what the program logged last."""
        said = [line.removeprefix("Program log: ") for line in logs if "invoke [" not in line]
        said = [line for line in said if not line.startswith("Program ")][-2:]
        error = to_program_error(err, logs, self.programs)
        reason = error.name if isinstance(error, ProgramRefused) else ""
        if err in NO_FUNDS or any("insufficient lamports" in line for line in logs):
            said.append(
                f"send SOL to {self.payer.pubkey()}, which pays, and run the command again: it "
                "goes on from here"
            )
        return StepFailed(f"{draft.what}: {'; '.join([str(error), *said])}", reason=reason)


@dataclass(slots=True, eq=False)
class _Sending:
    sender: TransactionSender
    waiting: deque[Draft]
    landed: Callable[[], None]
    units: int
    flight: dict[str, _InFlight] = field(default_factory=dict)
    blockhash: LatestBlockhash | None = None
    blockhash_at: float = 0.0
    price: int = 0
    error: str = "no endpoint has reported it"

    async def run(self) -> None:
        progress_at = trio.current_time()
        while self.waiting or self.flight:
            try:
                await self._fill()
                await self._send_due()
                await trio.sleep(self.sender.poll_seconds)
                progressed = await self._poll()
            except (ChainUnavailable, RpcError) as error:
                progressed, self.error = False, str(error)
                await self._recover()
            now = trio.current_time()
            if progressed:
                progress_at = now
            elif now - progress_at > self.sender.patience:
                raise self._given_up()

    async def _recover(self) -> None:
        """Ask the endpoints whether they work again; only a probe uses one that was marked down."""
        await trio.sleep(self.sender.poll_seconds)
        try:
            await self.sender.rpc.probe()
        except (ChainUnavailable, RpcError) as error:
            self.error = str(error)

    async def _fill(self) -> None:
        now = trio.current_time()
        if self.waiting and (self.blockhash is None or now - self.blockhash_at > BLOCKHASH_SECONDS):
            self.blockhash = await self.sender.rpc.get_latest_blockhash()
            self.blockhash_at, self.price = now, await self.sender.price(self.waiting[0])
        while self.waiting and len(self.flight) < IN_FLIGHT:
            assert self.blockhash is not None
            draft = self.waiting.popleft()
            wire = self.sender.sign(draft, self.blockhash, units=self.units, price=self.price)
            last_valid = self.blockhash.last_valid_block_height
            signature = signature_of(VersionedTransaction.from_bytes(wire))
            self.flight[signature] = _InFlight(draft, wire, last_valid, due=now)

    async def _send_due(self) -> None:
        now = trio.current_time()
        async with trio.open_nursery() as nursery:
            for each in self.flight.values():
                if each.due <= now:
                    each.due = now + self.sender.resend_seconds
                    nursery.start_soon(self._send, each.wire)

    async def _send(self, wire: bytes) -> None:
        try:
            await self.sender.rpc.send_everywhere(wire)
        except (ChainUnavailable, RpcError) as error:
            self.error = str(error)  # it is sent again, for as long as others get through

    async def _poll(self) -> bool:
        """Take out of the flight what is confirmed or expired. Return whether any was confirmed."""
        height = await self.sender.rpc.get_block_height(Commitment.CONFIRMED)
        signatures = list(self.flight)
        statuses = await self.sender.rpc.get_signature_statuses(signatures)
        confirmed = 0
        for signature, status in zip(signatures, statuses, strict=True):
            each = self.flight[signature]
            if status is None:
                if height > each.last_valid + EXPIRY_MARGIN:
                    del self.flight[signature]
                    self.waiting.append(each.draft)
                    self.blockhash = None
            elif _is_confirmed(status):
                if status.err is not None:
                    raise self.sender.failure(each.draft, status.err)
                del self.flight[signature]
                self.landed()
                confirmed += 1
        return confirmed > 0

    def _given_up(self) -> StepFailed:
        drafts = [*(each.draft for each in self.flight.values()), *self.waiting]
        return StepFailed(
            f"{drafts[0].what}: nothing was confirmed for {self.sender.patience:g} seconds "
            f"({self.error}); run the command again, which goes on from here"
        )


def _is_confirmed(status: SignatureStatus) -> bool:
    return status.commitment is not Commitment.PROCESSED

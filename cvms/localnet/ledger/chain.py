"""The chain: it makes blocks, runs transactions in the newest one, and notifies observers."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Protocol

from solana.constants import BPF_LOADER_PROGRAM_ID
from solders.account import Account
from solders.hash import Hash
from solders.pubkey import Pubkey
from solders.sysvar import CLOCK
from solders.transaction import VersionedTransaction

from cvms.errors import CvmsError
from cvms.localnet.ledger.account_versions import VersionedAccounts
from cvms.localnet.ledger.clock import LocalnetClock
from cvms.localnet.ledger.recent_blocks import RecentBlocks, kept_blocks
from cvms.localnet.ledger.sqlite_ledger import Ledger
from cvms.localnet.ledger.transaction_records import read_balances, transaction_meta
from cvms.localnet.types import Block, Commitment, DroppedBlocks, Entry, Json, Timing
from cvms.localnet.vm.machine import (
    ExecutionResult,
    MachinePanicked,
    VirtualMachine,
    code_of,
)
from cvms.localnet.vm.message import AnyMessage, is_signed, load_keys, message_hash, writable_keys


class Observer(Protocol):
    """Is called for every event, in order, within the call that caused it. Must not block."""

    @property
    def behind(self) -> int:
        """Blocks by which it lags, and whose accounts it still reads."""
        ...

    def processed(self, entry: Entry) -> None: ...
    def slot_started(self) -> None: ...
    def forked(self, fork: DroppedBlocks) -> None: ...
    def overwritten(self, key: Pubkey) -> None: ...


class TransactionRefused(CvmsError):
    """The transaction is invalid, and had no effect. `err` is Solana's transaction error."""

    def __init__(self, err: Json) -> None:
        super().__init__(err)
        self.err = err


def nothing_lands_again(dropped: Sequence[Entry]) -> Iterable[Entry]:
    """Choose none of the dropped transactions."""
    return ()


class LocalnetChain:
    """One fork of blocks, its accounts at every commitment, and its history in the ledger."""

    def __init__(
        self, *, ledger: Ledger, vm: VirtualMachine, time: LocalnetClock, timing: Timing
    ) -> None:
        self.ledger = ledger
        self.vm = vm
        self.time = time
        self.timing = timing
        self.observers: list[Observer] = []
        self.accounts = VersionedAccounts(genesis=vm.account)
        self.transaction_count = ledger.entry_count()
        self.genesis_hash = _genesis_hash(ledger)
        if not (known := ledger.newest_blocks(kept_blocks(timing))):
            known = [Block(0, 0, 0, self.genesis_hash, int(time.now()))]
            ledger.add_block(known[0])
        self.blocks = RecentBlocks(known, timing=timing, reached=_reached(ledger))
        self._restore_accounts()
        self._delayed: list[tuple[int, VersionedTransaction]] = []
        self._next_index = len(ledger.entries_in(self.tip.slot))
        self._enter(self.tip)
        if self.tip.slot == 0:  # the genesis block is final from the start, and stays empty
            self.advance()

    @property
    def tip(self) -> Block:
        return self.blocks.tip

    def bank(self, commitment: Commitment) -> Block:
        """Return the newest block that has reached `commitment`."""
        return self.blocks.at(commitment)

    # --- time ----------------------------------------------------------------------------------

    def pause(self) -> None:
        """Stop the clock. No slot starts by itself until `resume`."""
        self.time.pause()

    def resume(self) -> None:
        self.time.resume()
        self._save_clock_offset()

    def advance(self, blocks: int = 1) -> Block:
        """Start the next slots at once, and return the new tip."""
        for _ in range(blocks):
            self.start_slot(self.tip.slot + 1)
        return self.tip

    def start_slot(self, slot: int) -> Block:
        """End the tip's block and start that of `slot`. Slots between them are skipped."""
        with self.ledger.atomically():
            block = self._begin(slot, parent=self.tip)
        self._notify_slot_started()
        return block

    def _begin(self, slot: int, *, parent: Block) -> Block:
        block = Block(
            slot=slot,
            parent_slot=parent.slot,
            height=parent.height + 1,
            blockhash=_blockhash(parent.blockhash, slot),
            time=max(int(self.time.now()), parent.time),
        )
        behind = max((observer.behind for observer in self.observers), default=0)
        oldest = self.blocks.at(Commitment.FINALIZED, behind=behind)
        self.ledger.add_block(block)
        self.blocks.append(block)
        self.blocks.retained = self.blocks.at(Commitment.FINALIZED, behind=behind).height
        unneeded = self.accounts.forget_before(oldest.slot)
        self.ledger.forget_accounts(list(unneeded))
        self._next_index = 0
        self._enter(block)
        return block

    def _enter(self, block: Block) -> None:
        self.vm.enter(block, self.blocks.slot_hashes())
        self.accounts.put(CLOCK, block.slot, self.vm.account(CLOCK))

    def _notify_slot_started(self) -> None:
        for observer in self.observers:
            observer.slot_started()
        self._land_delayed()

    # --- forks ---------------------------------------------------------------------------------

    def fork(
        self, blocks: int, again: Callable[[Sequence[Entry]], Iterable[Entry]] = nothing_lands_again
    ) -> Block:
        """Drop the newest blocks and their contents, and return the new fork's first block.

        Its slot is above the dropped ones, as if other leaders had skipped them. `again` gets
        the dropped transactions in the order of the chain, and returns those that run in the new
        block, in their order there (such as `reversed`). Invalid ones are left out. The change
        is on disk on return. Accounts set by cheat codes keep their value.

        Raises ValueError for less than one block, or for a final block.
        """
        height = self.tip.height - blocks
        if blocks < 1 or height < self.bank(Commitment.FINALIZED).height:
            raise ValueError(f"cannot drop {blocks} blocks: only blocks that are not final")
        [point] = self.blocks.after(height - 1, height)
        slot = self.tip.slot + 1
        dropped = [
            entry
            for b in self.blocks.after(height, self.tip.height)
            for entry in self.ledger.entries_in(b.slot)
        ]
        with self.ledger.atomically():
            fork = self._drop_after(point)
            block = self._begin(slot, parent=point)
        self.transaction_count -= len(dropped)
        for observer in self.observers:
            observer.forked(fork)
        self._notify_slot_started()
        for entry in again(dropped):
            self._land(VersionedTransaction.from_bytes(entry.wire))
        self.ledger.commit()
        return block

    def _drop_after(self, point: Block) -> DroppedBlocks:
        blocks = self.blocks.drop_after(point.height)
        fork = DroppedBlocks(
            point, [(block, self.accounts.written_in(block.slot)) for block in blocks]
        )
        self.ledger.drop_after(point.slot)
        self.ledger.set_setting("reached", json.dumps(self.blocks.reached).encode())
        restored = self.accounts.drop_after(point.slot)
        restored.pop(CLOCK, None)  # the next block sets it
        for key, program in self.accounts.owned_by(BPF_LOADER_PROGRAM_ID, point.slot):
            if program.executable and code_of(program) in restored:
                restored.setdefault(key, program)  # setting it loads the previous code
        self._set_accounts(restored)
        return fork

    # --- transactions --------------------------------------------------------------------------

    def process(self, transaction: VersionedTransaction, *, verified: bool = False) -> Entry:
        """Run a transaction in the tip's block. It is on disk once the ledger is `committed`.

        The signatures are verified, unless they have been, because that costs more than the run.

        Raises TransactionRefused for a bad signature, an unknown block hash, a repetition, a
        program that cannot run, or a fee that cannot be paid.
        """
        if not verified and not is_signed(transaction):
            raise TransactionRefused("SignatureFailure")
        self.check(transaction, bank=self.tip, tip=self.tip)
        keys = load_keys(transaction.message, self.accounts.latest)
        _check_programs(transaction.message, self.accounts.latest)
        accounts = {key: self.accounts.pin(key) for key in keys.all}
        before = read_balances(keys.all, self.accounts.latest)
        outcome = self.vm.execute(transaction)
        if outcome.err is not None and not self._fee_taken(keys.static[0], before.lamports[0]):
            raise TransactionRefused(outcome.err)
        written = [
            (key, account)
            for key in dict.fromkeys(writable_keys(transaction.message, keys))
            if (account := self.vm.account(key)) != accounts[key]
        ]
        for key, account in written:
            self.accounts.put(key, self.tip.slot, account)
        after = read_balances(keys.all, self.accounts.latest)
        message = transaction.message
        meta = transaction_meta(outcome, message, keys=keys, before=before, after=after)
        entry = self._entry(transaction, keys.all, meta)
        self._record(entry, written)
        for observer in self.observers:
            observer.processed(entry)
        return entry

    def process_later(self, transaction: VersionedTransaction, *, blocks: int) -> None:
        """Run a transaction `blocks` later, if it is valid then. A restart forgets it."""
        self._delayed.append((self.tip.slot + blocks, transaction))

    def _land_delayed(self) -> None:
        due = [transaction for slot, transaction in self._delayed if slot <= self.tip.slot]
        self._delayed = [(slot, each) for slot, each in self._delayed if slot > self.tip.slot]
        for transaction in due:
            self._land(transaction)

    def _land(self, transaction: VersionedTransaction) -> None:
        """Run a transaction for which no call waits. Drop it if it is invalid."""
        with suppress(TransactionRefused, MachinePanicked):
            self.process(transaction)

    def simulate(self, transaction: VersionedTransaction, *, at: Block) -> ExecutionResult:
        """Run a transaction on the accounts as of `at`, without effect.

        Raises TransactionRefused if a program it calls cannot run.
        """
        read = partial(self.accounts.at, slot=at.slot)
        keys = load_keys(transaction.message, read).all
        _check_programs(transaction.message, read)
        changed = [
            (key, then, now)
            for key in dict.fromkeys(keys)
            if (then := self.accounts.at(key, at.slot)) != (now := self.accounts.latest(key))
        ]
        for key, then, _ in changed:
            self.vm.set_account(key, then)
        try:
            return self.vm.simulate(transaction)
        finally:
            for key, _, now in changed:
                self.vm.set_account(key, now)

    def check(self, transaction: VersionedTransaction, *, bank: Block, tip: Block) -> None:
        """Check a transaction's block hash and uniqueness.

        Raises TransactionRefused if the block hash is not recent in `bank`, or a block up to
        `tip` holds the transaction.
        """
        message = transaction.message
        if not self.blocks.accepts(message.recent_blockhash, bank=bank):
            raise TransactionRefused("BlockhashNotFound")
        landed = self.ledger.message_slot(message_hash(message))
        if landed is not None and landed <= tip.slot:
            raise TransactionRefused("AlreadyProcessed")

    def _fee_taken(self, payer: Pubkey, lamports_before: int) -> bool:
        return self.vm.lamports(payer) < lamports_before

    def _entry(
        self, transaction: VersionedTransaction, keys: tuple[Pubkey, ...], meta: dict[str, Json]
    ) -> Entry:
        return Entry(
            slot=self.tip.slot,
            index=self._next_index,
            signature=str(transaction.signatures[0]),
            message_hash=message_hash(transaction.message),
            wire=bytes(transaction),
            keys=keys,
            meta=meta,
        )

    def _record(self, entry: Entry, written: Sequence[tuple[Pubkey, Account | None]]) -> None:
        with self.ledger.batched():
            self.ledger.add_entry(entry)
            self.ledger.put_accounts(entry.slot, written)
        self._next_index += 1
        self.transaction_count += 1

    # --- cheat codes ---------------------------------------------------------------------------

    def overwrite(self, key: Pubkey, account: Account | None) -> None:
        """Set an account at every commitment at once. It is on disk on return."""
        self.vm.set_account(key, account)
        self.accounts.overwrite(key, account)
        with self.ledger.atomically():
            self.ledger.drop_account(key)
            self.ledger.put_accounts(0, [(key, account)])
        for observer in self.observers:
            observer.overwritten(key)

    def move_time(self, timestamp: float) -> None:
        """Move to a later Unix time, and start a slot in which programs see it."""
        self.time.move_to(timestamp)
        self._save_clock_offset()
        self.advance()

    def skip_to(self, slot: int) -> None:
        """Start a later slot at the time it would have had. The slots between are skipped."""
        ahead = (slot - self.tip.slot) * self.timing.slot_seconds
        self.time.move_to(self.time.now() + ahead)
        self._save_clock_offset()
        self.start_slot(slot)

    def _save_clock_offset(self) -> None:
        self.ledger.set_setting("time_offset", repr(self.time.offset).encode())

    # --- start ---------------------------------------------------------------------------------

    def _restore_accounts(self) -> None:
        for key, slot, account in self.ledger.account_versions():
            self.accounts.pin(key)
            self.accounts.put(key, slot, account)
        keys = self.accounts.written_keys()
        self._set_accounts({key: self.accounts.latest(key) for key in keys})

    def _set_accounts(self, accounts: Mapping[Pubkey, Account | None]) -> None:
        # The code must exist before the program that points to it is loaded.
        for key, account in sorted(accounts.items(), key=_is_program):
            self.vm.set_account(key, account)


def _is_program(item: tuple[Pubkey, Account | None]) -> bool:
    account = item[1]
    return account is not None and account.executable


def _check_programs(message: AnyMessage, account: Callable[[Pubkey], Account | None]) -> None:
    """Check that top-level programs exist, because the machine runs removed ones from its cache.

    Raises TransactionRefused.
    """
    for instruction in message.instructions:
        program = account(message.account_keys[instruction.program_id_index])
        if program is None:
            raise TransactionRefused("ProgramAccountNotFound")
        if not program.executable:
            raise TransactionRefused("InvalidProgramForExecution")


def _reached(ledger: Ledger) -> dict[Commitment, int]:
    """Return `RecentBlocks.reached` as of the newest fork."""
    stored = json.loads(ledger.setting("reached", b"{}"))
    return {Commitment(level): height for level, height in stored.items()}


def _genesis_hash(ledger: Ledger) -> Hash:
    return Hash.from_bytes(ledger.setting("genesis_hash", os.urandom(32)))


def _blockhash(parent: Hash, slot: int) -> Hash:
    """Return the hash of a block. Forks differ in it, as no slot is in two of them."""
    return Hash.from_bytes(hashlib.sha256(bytes(parent) + slot.to_bytes(8, "little")).digest())

"""The chain: makes blocks, runs transactions in the newest one, and tells who watches."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

from solders.account import Account
from solders.hash import Hash
from solders.pubkey import Pubkey
from solders.sysvar import CLOCK
from solders.transaction import VersionedTransaction

from cvms.errors import CvmsError
from cvms.localnet.accounts import VersionedAccounts
from cvms.localnet.blocks import RecentBlocks, kept_blocks
from cvms.localnet.clock import ChainTime
from cvms.localnet.entries import read_balances, transaction_meta
from cvms.localnet.ledger import Ledger
from cvms.localnet.message import AnyMessage, is_signed, load_keys, message_hash, writable_keys
from cvms.localnet.types import Block, Commitment, Entry, Json, Timing
from cvms.localnet.vm import Outcome, VirtualMachine


class Observer(Protocol):
    """Told of everything, in order, before the call that caused it returns; must not block."""

    def received(self, signature: str) -> None: ...
    def processed(self, entry: Entry) -> None: ...
    def slot_started(self, block: Block, *, root: int) -> None: ...
    def reached(self, block: Block, commitment: Commitment) -> None: ...
    def overwritten(self, key: Pubkey) -> None: ...


class Refused(CvmsError):
    """The transaction cannot be in a block: it left no trace; `err` says why."""

    def __init__(self, err: Json) -> None:
        super().__init__(err)
        self.err = err


class Chain:
    """One fork of blocks, its accounts at every commitment, and its history in the ledger."""

    def __init__(
        self, *, ledger: Ledger, vm: VirtualMachine, time: ChainTime, timing: Timing
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
        self.blocks = RecentBlocks(known, timing=timing)
        self._restore_accounts()
        self._next_index = len(ledger.entries_in(self.tip.slot))
        self._enter(self.tip)
        if self.tip.slot == 0:  # the genesis block is final from the start and stays empty
            self.advance()

    @property
    def tip(self) -> Block:
        return self.blocks.tip

    def bank(self, commitment: Commitment) -> Block:
        """The newest block that has reached `commitment`."""
        return self.blocks.at(commitment)

    # --- time ----------------------------------------------------------------------------------

    def pause(self) -> None:
        """Hold the clock: no slot starts by itself until `resume`."""
        self.time.pause()

    def resume(self) -> None:
        self.time.resume()
        self._keep_offset()

    def advance(self, blocks: int = 1) -> Block:
        """Start the next slots at once; gives the new tip."""
        for _ in range(blocks):
            self.start_slot(self.tip.slot + 1)
        return self.tip

    def start_slot(self, slot: int) -> Block:
        """Close the block of the tip and start that of `slot`; slots between them are skipped."""
        parent = self.tip
        block = Block(
            slot=slot,
            parent_slot=parent.slot,
            height=parent.height + 1,
            blockhash=_blockhash(parent.blockhash, slot),
            time=max(int(self.time.now()), parent.time),
        )
        before = {level: self.bank(level) for level in REACHED_LATER}
        with self.ledger.atomically():
            self.ledger.add_block(block)
            self.blocks.append(block)
            unneeded = self.accounts.forget_before(before[Commitment.FINALIZED].slot)
            self.ledger.forget_accounts(list(unneeded))
        self._next_index = 0
        self._enter(block)
        self._tell_slot_started(block, before)
        return block

    def _enter(self, block: Block) -> None:
        self.vm.enter(block, self.blocks.slot_hashes())
        self.accounts.put(CLOCK, block.slot, self.vm.account(CLOCK))

    def _tell_slot_started(self, block: Block, before: dict[Commitment, Block]) -> None:
        for observer in self.observers:
            observer.slot_started(block, root=self.bank(Commitment.FINALIZED).slot)
        for level, last in before.items():
            for reached in self.blocks.after(last.height, self.bank(level).height):
                for observer in self.observers:
                    observer.reached(reached, level)

    # --- transactions --------------------------------------------------------------------------

    def process(self, transaction: VersionedTransaction) -> Entry:
        """Run it in the tip's block; on disk when this returns.

        Raises Refused when it cannot be in a block: unknown hash, repeated, unpaid fee.
        """
        if not is_signed(transaction):
            raise Refused("SignatureFailure")
        self.check(transaction, bank=self.tip)
        keys = load_keys(transaction.message, self.accounts.latest)
        _check_programs(transaction.message, self.accounts.latest)
        accounts = {key: self.accounts.pin(key) for key in keys.all}
        before = read_balances(keys.all, self.accounts.latest)
        outcome = self.vm.execute(transaction)
        if outcome.err is not None and not self._fee_taken(keys.static[0], before.lamports[0]):
            raise Refused(outcome.err)
        written = [
            (key, account)
            for key in dict.fromkeys(writable_keys(transaction.message, keys))
            if (account := self.vm.account(key)) != accounts[key]
        ]
        for key, account in written:
            self.accounts.put(key, self.tip.slot, account)
        after = read_balances(keys.all, self.accounts.latest)
        meta = transaction_meta(outcome, keys=keys, before=before, after=after)
        entry = self._entry(transaction, keys.all, meta)
        self._keep(entry, written)
        for observer in self.observers:
            observer.processed(entry)
        return entry

    def simulate(self, transaction: VersionedTransaction, *, at: Block) -> Outcome:
        """Run it on the accounts as of `at`, and keep nothing.

        Raises Refused when a program it names cannot run.
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

    def check(self, transaction: VersionedTransaction, *, bank: Block) -> None:
        """Raises Refused if the hash is not recent in `bank`, or the message is in a block."""
        message = transaction.message
        if not self.blocks.accepts(message.recent_blockhash, bank=bank):
            raise Refused("BlockhashNotFound")
        if self.ledger.has_message(message_hash(message)):
            raise Refused("AlreadyProcessed")

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

    def _keep(self, entry: Entry, written: Sequence[tuple[Pubkey, Account | None]]) -> None:
        with self.ledger.atomically():
            self.ledger.add_entry(entry)
            self.ledger.put_accounts(entry.slot, written)
        self._next_index += 1
        self.transaction_count += 1

    # --- cheats --------------------------------------------------------------------------------

    def overwrite(self, key: Pubkey, account: Account | None) -> None:
        """Set an account at every commitment at once; on disk when this returns."""
        self.vm.set_account(key, account)
        self.accounts.overwrite(key, account)
        with self.ledger.atomically():
            self.ledger.drop_account(key)
            self.ledger.put_accounts(0, [(key, account)])
        for observer in self.observers:
            observer.overwritten(key)

    def move_time(self, timestamp: float) -> None:
        """Go to a later Unix time, and start a slot in which programs see it."""
        self.time.move_to(timestamp)
        self._keep_offset()
        self.advance()

    def skip_to(self, slot: int) -> None:
        """Start a later slot, with the time it would have had; the slots between are skipped."""
        ahead = (slot - self.tip.slot) * self.timing.slot_seconds
        self.time.move_to(self.time.now() + ahead)
        self._keep_offset()
        self.start_slot(slot)

    def _keep_offset(self) -> None:
        self.ledger.set_setting("time_offset", repr(self.time.offset).encode())

    # --- start ---------------------------------------------------------------------------------

    def _restore_accounts(self) -> None:
        for key, slot, account in self.ledger.account_versions():
            self.accounts.put(key, slot, account)
        latest = [(key, self.accounts.latest(key)) for key in self.accounts.written_keys()]
        # a program's code must be there before the program that points to it is loaded
        for key, account in sorted(latest, key=lambda item: bool(item[1] and item[1].executable)):
            self.vm.set_account(key, account)


REACHED_LATER = (Commitment.CONFIRMED, Commitment.FINALIZED)


def _check_programs(message: AnyMessage, account: Callable[[Pubkey], Account | None]) -> None:
    """Programs run at the top must be there: the machine runs a removed one from its cache."""
    for instruction in message.instructions:
        program = account(message.account_keys[instruction.program_id_index])
        if program is None:
            raise Refused("ProgramAccountNotFound")
        if not program.executable:
            raise Refused("InvalidProgramForExecution")


def _genesis_hash(ledger: Ledger) -> Hash:
    return Hash.from_bytes(ledger.setting("genesis_hash", os.urandom(32)))


def _blockhash(parent: Hash, slot: int) -> Hash:
    return Hash.from_bytes(hashlib.sha256(bytes(parent) + slot.to_bytes(8, "little")).digest())

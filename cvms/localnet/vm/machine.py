"""LiteSVM, which runs one transaction at a time on the newest state and keeps no history."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from solders.account import Account
from solders.clock import Clock
from solders.epoch_schedule import EpochSchedule
from solders.hash import Hash
from solders.litesvm import LiteSVM
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction
from solders.transaction_metadata import (
    FailedTransactionMetadata,
    InnerInstruction,
    SimulatedTransactionInfo,
    TransactionMetadata,
)

from cvms.errors import CvmsError
from cvms.localnet.types import Block, Json
from cvms.localnet.vm.transaction_errors import error_json


@dataclass(frozen=True, slots=True)
class ExecutionResult:
    """The result of running a transaction. `err` is None on success."""

    err: Json
    meta: TransactionMetadata
    post_accounts: dict[Pubkey, Account]
    """Set only by a successful simulation."""

    @property
    def inner_instructions(self) -> list[list[InnerInstruction]]:
        return self.meta.inner_instructions()


class ProgramNotLoadable(CvmsError):
    """A program's code is missing, incomplete, or not an ELF file that the machine accepts."""


class MachinePanicked(CvmsError):
    """The machine panicked during a run. The run had no effect, and the machine can continue."""


@contextmanager
def _panics_as_errors() -> Iterator[None]:
    """Raise MachinePanicked for a Rust panic, whose BaseException class cannot be imported."""
    try:
        yield
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise MachinePanicked(str(error)) from error


def code_of(program: Account) -> Pubkey:
    """Return the account with the code of a program of the loader."""
    return Pubkey.from_bytes(bytes(program.data)[4:36])


class VirtualMachine:
    """The virtual machine without its checks of signatures, block hashes and repetitions.

    The chain makes these checks, because it knows the recent hashes and past transactions.
    """

    def __init__(self) -> None:
        self._svm = (
            LiteSVM().with_sigverify(False).with_blockhash_check(False).with_transaction_history(0)
        )
        self.epochs = EpochSchedule.without_warmup()
        self._svm.set_epoch_schedule(self.epochs)

    def account(self, key: Pubkey) -> Account | None:
        account = self._svm.get_account(key)
        return account if account is not None and account.lamports else None

    def lamports(self, key: Pubkey) -> int:
        return self._svm.get_balance(key) or 0

    def set_account(self, key: Pubkey, account: Account | None) -> None:
        """Write an account, or remove it if it is None.

        Raises ProgramNotLoadable, without effect, for a program whose code cannot run.
        """
        try:
            self._svm.set_account(key, account or Account(0, b"", Pubkey.default()))
        except Exception as error:
            if type(error).__name__ != "LiteSVMError":  # solders raises it and does not export it
                raise
            raise ProgramNotLoadable(str(error)) from error

    def rent_exempt(self, length: int) -> int:
        """Return the lamports that exempt an account with `length` bytes of data from rent."""
        return self._svm.minimum_balance_for_rent_exemption(length)

    def enter(self, block: Block, slot_hashes: Sequence[tuple[int, Hash]]) -> None:
        """Set the sysvars that programs see in `block`."""
        epoch = self.epochs.get_epoch(block.slot)
        clock = Clock(
            slot=block.slot,
            epoch_start_timestamp=block.time,
            epoch=epoch,
            leader_schedule_epoch=self.epochs.get_leader_schedule_epoch(block.slot),
            unix_timestamp=block.time,
        )
        self._svm.set_clock(clock)
        self._svm.set_slot_hashes(list(slot_hashes))

    def execute(self, transaction: VersionedTransaction) -> ExecutionResult:
        """Run a transaction and keep its effects: only the fee if it fails after payment."""
        with _panics_as_errors():
            result = self._svm.send_transaction(transaction)
        if isinstance(result, FailedTransactionMetadata):
            return ExecutionResult(error_json(result.err()), result.meta(), {})
        return ExecutionResult(None, result, {})

    def simulate(self, transaction: VersionedTransaction) -> ExecutionResult:
        """Run a transaction without effect."""
        with _panics_as_errors():
            result = self._svm.simulate_transaction(transaction)
        if isinstance(result, SimulatedTransactionInfo):
            return ExecutionResult(None, result.meta(), dict(result.post_accounts()))
        return ExecutionResult(error_json(result.err()), result.meta(), {})

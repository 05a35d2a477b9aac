"""Withdrawals while many programs are authorized, each of which must show a position summary."""

from collections.abc import Sequence
from dataclasses import dataclass

from solders.address_lookup_table_account import ID, AddressLookupTableAccount
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction
from solders.transaction_metadata import FailedTransactionMetadata

from tests.program.harness.compute_costs import MeasuredChain
from tests.program.harness.full_vault import DELAY
from tests.program.harness.ledger import Ledger, readonly, summary_address, vault_address, withdraw

PACKET = 1232
TABLE = Pubkey.from_string("AddressTab1e1111111111111111111111111111111")


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """A full vault whose requests and timelocks are all due, and a withdrawal that uses them up."""

    ledger: Ledger
    transaction: VersionedTransaction

    @property
    def size(self) -> int:
        return len(bytes(self.transaction))

    def locks(self) -> int:
        """The number of accounts that the transaction locks; a cluster allows 64 at present."""
        message = self.transaction.message
        assert isinstance(message, MessageV0)
        looked_up = [len(bytes(each.readonly_indexes)) for each in message.address_table_lookups]
        return len(message.account_keys) + sum(looked_up)

    def error(self) -> str | None:
        result = self.ledger.svm.send_transaction(self.transaction)
        return str(result.err()) if isinstance(result, FailedTransactionMetadata) else None

    def units(self) -> int:
        result = self.ledger.svm.send_transaction(self.transaction)
        assert not isinstance(result, FailedTransactionMetadata), result
        return result.compute_units_consumed()


def withdraw_with_programs(programs: int, *, created: bool, table: bool = False) -> Withdrawal:
    """Authorize `programs` programs, whose summaries are empty or (not `created`) do not exist.

    With `table`, an address lookup table names the summaries.
    """
    chain = MeasuredChain(entries=64, authorized=programs)
    ledger, owner = chain.ledger, chain.owner
    listed = ledger.authority()["authorized_programs"]
    vault = vault_address(owner.pubkey())
    if created:
        for program in listed[:-1]:  # all but the position manager, which comes last, are made up
            ledger.put_summary(owner.pubkey(), program=program)
    summaries = [summary_address(vault, program) for program in listed]
    pending = ledger.vault(owner.pubkey())["pending_withdrawals"]
    amount = sum(each["amount"] for each in pending)
    chain.later(DELAY)
    given = withdraw(owner.pubkey(), amount, remaining=[readonly(each) for each in summaries])
    tables = [put_table(ledger, summaries)] if table else []
    blockhash = ledger.svm.latest_blockhash()
    message = MessageV0.try_compile(owner.pubkey(), [given], tables, blockhash)
    return Withdrawal(ledger, VersionedTransaction(message, [owner]))


def put_table(ledger: Ledger, addresses: Sequence[Pubkey]) -> AddressLookupTableAccount:
    """Write an active lookup table, as if the lookup table program had created it long ago."""
    meta = (1).to_bytes(4, "little") + b"\xff" * 8 + bytes(8 + 1 + 33 + 2)
    ledger.put(TABLE, ID, meta + b"".join(map(bytes, addresses)))
    ledger.svm.warp_to_slot(9)
    return AddressLookupTableAccount(TABLE, addresses)

"""History of one vault, read from its own list of finalized transactions.

A node may have pruned old transactions or truncated logs. So a history is used only if it begins
with the opening of the vault and adds up to the vault's account, to the unit. What cancels out does
not show in that, so a stored transaction that a list lacks takes a proof of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from solders.pubkey import Pubkey
from solders.signature import Signature

from cvms.chain.program.accounts import Vault, read_vault
from cvms.chain.program.events.events import VaultClosedEvent
from cvms.chain.program.events.touched_vaults import OpenedVault
from cvms.chain.rpc.evidence.absence_proof import lacks_transaction
from cvms.chain.rpc.evidence.signature_pages import SignaturePages
from cvms.chain.rpc.responses import SignatureInfo, TransactionRecord
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Commitment, Programs, Slot
from cvms.errors import HistoryNotProven
from cvms.nursery.indexing.batch_reader import (
    ExecutedTransaction,
    executed_transaction,
    parse_logs,
)
from cvms.nursery.ledger.entries import (
    counted_by_account,
    event_vaults,
    history_row,
)
from cvms.nursery.ledger.mint_tracker import MintTracker
from cvms.nursery.ledger.running_balances import running_balances
from cvms.nursery.ledger.vault_rows import vault_row_at
from cvms.store.index.chain_events import EventRow
from cvms.store.reconciliation.vault_ledger import HELD
from cvms.store.vaults.balance_history import BalancePoint
from cvms.store.vaults.history import HistoryRow, Kind
from cvms.store.vaults.vaults import VaultRow

RECORDS_PER_CALL = 100
MAX_TRANSACTIONS = 50_000
"""Transactions of one vault that are read at once, which takes about half a minute."""
MAX_ABSENCE_PROOFS = 100
"""Transactions whose absence is proven at once. Each proof reads a block."""


@dataclass(slots=True)
class VaultHistory:
    """The history up to the end of slot `through`; `vault` is the account then.

    `listed` has the signatures of all its transactions, of failed ones too. The offsets belong in
    `account_offsets`: the amounts by which the lines exceed the account.
    """

    address: str
    owner: str
    through: Slot
    vault: Vault | None
    ours: bool = False
    opened: bool = False
    listed: frozenset[str] = frozenset()
    events: list[EventRow] = field(default_factory=list)
    lines: list[HistoryRow] = field(default_factory=list)
    deposited_offset: int = 0
    withdrawn_offset: int = 0

    @property
    def deposited(self) -> int:
        return sum(line.amount for line in self.lines if line.kind == Kind.DEPOSIT)

    @property
    def withdrawn(self) -> int:
        kinds = (Kind.WITHDRAW, Kind.EMERGENCY_WITHDRAW)
        return sum(line.amount for line in self.lines if line.kind in kinds)


async def read_proven_history(
    rpc: RpcClient, programs: Programs, *, address: Pubkey, owner: str
) -> VaultHistory:
    """Return the finalized history of the owner's vault, proven by its finalized account.

    Raises HistoryNotProven, and whatever `rpc` raises.
    """
    read = await rpc.get_accounts([address], commitment=Commitment.FINALIZED)
    history = VaultHistory(str(address), owner, read.slot, read_vault(read.accounts[0], programs))
    mints = MintTracker(str(programs.mint), [])
    infos = await _signatures(rpc, address, through=read.slot)
    history.listed = frozenset(info.signature for info in infos)
    for start in range(0, len(infos), RECORDS_PER_CALL):
        for record in await _records(rpc, infos[start : start + RECORDS_PER_CALL]):
            _apply(history, mints, _executed(record, programs, address))
    mint = mints.tracked.get(str(address))
    history.ours = mint is not None and mint.ours
    _prove(history, address, programs)
    return history


async def prove_absent(
    rpc: RpcClient, programs: Programs, history: VaultHistory, unlisted: Mapping[str, Slot]
) -> frozenset[str]:
    """Return these signatures once none is of a finalized transaction with an event of the vault.

    `unlisted` are the slots of stored transactions that the history does not list. Raises
    HistoryNotProven, and whatever `rpc` raises.
    """
    if len(unlisted) > MAX_ABSENCE_PROOFS:
        raise HistoryNotProven(
            f"the node's list lacks {len(unlisted)} stored transactions of the vault, more than "
            f"the {MAX_ABSENCE_PROOFS} whose absence is proven"
        )
    possible = [each for each in unlisted if _is_signature(each)]
    found = await rpc.get_transactions(possible, commitment=Commitment.FINALIZED)
    for signature, record in zip(possible, found, strict=True):
        if record is not None:
            present = record.err is None and _concerns(record, history, programs)
        else:
            present = not await _is_absent(rpc, signature, unlisted[signature], history.through)
        if present:
            raise HistoryNotProven(
                f"the node does not list {signature} of slot {unlisted[signature]}, and nothing "
                "proves that it is not on the chain"
            )
    return frozenset(unlisted)


async def _is_absent(rpc: RpcClient, signature: str, slot: Slot, through: Slot) -> bool:
    if slot > through:  # of a slot that was not indexed, so the indexer has not stored it
        return True
    lacked = await lacks_transaction(rpc, signature, slot, commitment=Commitment.FINALIZED)
    return lacked is True


def _concerns(record: TransactionRecord, history: VaultHistory, programs: Programs) -> bool:
    """Return whether a transaction has, or may have, an event of the vault."""
    logged = parse_logs(record, programs)
    named = {vault for each in logged.events for vault in event_vaults(each.event)}
    return logged.truncated or history.address in named


def _is_signature(text: str) -> bool:
    try:
        Signature.from_string(text)
    except ValueError:
        return False
    return True


async def _signatures(rpc: RpcClient, address: Pubkey, *, through: Slot) -> list[SignatureInfo]:
    """Return the vault's transactions up to the slot, oldest first."""
    newest_first: list[SignatureInfo] = []
    get = partial(
        rpc.get_signatures_for_address,
        address,
        commitment=Commitment.FINALIZED,
        min_context_slot=through,
    )
    async for page in SignaturePages(get):
        if len(newest_first) > MAX_TRANSACTIONS:
            raise HistoryNotProven(f"the vault has more than {MAX_TRANSACTIONS} transactions")
        newest_first += page
    return [info for info in reversed(newest_first) if info.slot <= through]


async def _records(rpc: RpcClient, infos: Sequence[SignatureInfo]) -> list[TransactionRecord]:
    wanted = [info.signature for info in infos if info.err is None]
    found = await rpc.get_transactions(wanted, commitment=Commitment.FINALIZED)
    for signature, record in zip(wanted, found, strict=True):
        if record is None:
            raise HistoryNotProven(f"the node has no transaction {signature}, though it lists it")
    return [record for record in found if record is not None]


def _executed(
    record: TransactionRecord, programs: Programs, address: Pubkey
) -> ExecutedTransaction:
    """Return what the transaction did; of the openings and closings, those of this vault only."""
    logged = parse_logs(record, programs)
    if logged.truncated:
        raise HistoryNotProven(f"the node truncated the logs of {record.signature}")
    executed = executed_transaction(record, logged.events, programs, Commitment.FINALIZED)
    lifecycle = tuple(step for step in executed.lifecycle if step.vault == address)
    return replace(executed, lifecycle=lifecycle)


def _apply(history: VaultHistory, mints: MintTracker, executed: ExecutedTransaction) -> None:
    """Add what a transaction did, as nursery/indexing/apply_batch.py does."""
    vault = history.address
    history.opened |= any(isinstance(step, OpenedVault) for step in executed.lifecycle)
    events = [recorded.event for recorded in executed.events]
    owners = mints.apply(executed.lifecycle, events, executed.signature)
    for recorded, owner_of in zip(executed.events, owners, strict=True):
        if vault not in event_vaults(recorded.event):
            continue
        if not history.opened:
            raise HistoryNotProven("the node's list of the vault's transactions has no beginning")
        history.events.append(recorded.row)
        owner_of_vault = {vault: owner_of[vault]} if vault in owner_of else {}
        entries = recorded.entries(owner_of_vault)
        history.lines += [history_row(recorded, entry) for entry in entries]
        if isinstance(recorded.event, VaultClosedEvent):
            history.deposited_offset = history.deposited
            history.withdrawn_offset = history.withdrawn
        elif not entries and (counted := counted_by_account(recorded.event)):
            history.deposited_offset -= counted[1]
            history.withdrawn_offset -= counted[2]


def _prove(history: VaultHistory, address: Pubkey, programs: Programs) -> None:
    """Check that the lines add up to the account, to the unit. Raises HistoryNotProven if not."""
    vault = history.vault
    counted = (vault.total_deposited, vault.total_withdrawn) if vault else (0, 0)
    sums = (
        history.deposited - history.deposited_offset,
        history.withdrawn - history.withdrawn_offset,
    )
    points = running_balances(history.lines)
    row = vault_row_at(address, vault, history.through, mint=str(programs.mint), before=None)
    if sums != counted or _held(points[-1] if points else None) != _held(row):
        raise HistoryNotProven(
            "the vault's transactions on the node do not add up to the vault's account"
        )


def _held(balances: BalancePoint | VaultRow | None) -> list[int]:
    return [getattr(balances, name) if balances else 0 for name in HELD]

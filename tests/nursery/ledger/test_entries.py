"""Ledger entries: every event has entries for its owners or is known to move nothing."""

from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime
from typing import Any, get_args

import pytest
from solders.pubkey import Pubkey

from cvms.chain.program.accounts import TimelockEntry, Vault
from cvms.chain.program.events.events import (
    CollateralTransferredEvent,
    Event,
    TransactionEvent,
    TransactionType,
    TransferEvent,
)
from cvms.chain.program.events.guard_events import (
    GuardChangeRequestedEvent,
    TimelockCancelledEvent,
)
from cvms.chain.program.guard_changes import (
    Multisig,
    TransferAllowance,
    WhitelistAddition,
    WithdrawMinDelay,
    guard_change_data,
    guard_change_of,
)
from cvms.chain.types import Slot
from cvms.nursery.ledger.entries import (
    LedgerEntry,
    event_data,
    event_vaults,
    ledger_entries,
    transfer_details,
)
from cvms.nursery.ledger.vault_rows import balances, closed_row, same_balances, vault_row
from cvms.store.messaging.topics import TOPIC_OF
from cvms.store.vaults.history import Kind

MOVING = {
    "DepositEvent": ("deposit", "deposit_event", "amount", "new_total_balance"),
    "WithdrawEvent": ("withdraw", "withdraw_event", "amount", "new_total_balance"),
    "EmergencyWithdrawEvent": (
        "emergency_withdraw",
        "withdraw_event",
        "amount",
        "new_total_balance",
    ),
    "LockEvent": ("lock", "lock_event", "amount", None),
    "UnlockEvent": ("unlock", "unlock_event", "amount", None),
    "CollateralReleasedEvent": ("unlock", "unlock_event", "amount", None),
    "TimelockScheduledEvent": ("timelock", "timelock_event", "amount", None),
    "TimelocksReleasedEvent": ("timelock_release", "timelock_event", "released_total", None),
    "YieldDepositEvent": ("yield_deposit", "yield_event", "amount", None),
    "YieldWithdrawEvent": ("yield_withdraw", "yield_event", "amount", None),
    "YieldCompoundEvent": ("yield_compound", "yield_event", "compounded_amount", None),
}


def made_up(kind: type[Any]) -> Any:
    """Return an instance whose keys and numbers are all different."""
    values: dict[str, Any] = {}
    for number, field in enumerate(fields(kind), start=1):
        annotation = str(field.type)
        if "Pubkey" in annotation:
            values[field.name] = () if "tuple" in annotation else Pubkey([number] * 32)
        elif "tuple" in annotation:
            values[field.name] = ()
        elif field.name == "transaction_type":
            values[field.name] = TransactionType.Withdrawal
        elif "GuardChange" in annotation:
            values[field.name] = WithdrawMinDelay(number)
        else:
            values[field.name] = b"" if "Bytes" in annotation else number
    return kind(**values)


@pytest.mark.parametrize("kind", [each for each in get_args(Event) if each is not TransferEvent])
def test_the_entries_of_each_event(kind: type[Any]) -> None:
    event = made_up(kind)
    owners = dict.fromkeys(event_vaults(event), "alice")
    expected = []
    if kind.__name__ in MOVING:
        name, topic, amount, balance = MOVING[kind.__name__]
        assert TOPIC_OF[name] == topic
        expected = [
            LedgerEntry(
                Kind(name),
                owner="alice",
                vault=str(event.vault),
                amount=getattr(event, amount),
                balance_after=getattr(event, balance) if balance else None,
            )
        ]
    assert ledger_entries(event, owners) == expected
    assert ledger_entries(event, {}) == [], "a vault that is not tracked"


def test_a_transfer_has_an_entry_for_each_side() -> None:
    event = made_up(TransferEvent)
    giver, taker = event_vaults(event)
    owners = {giver: "alice", taker: "bob"}
    assert ledger_entries(event, owners) == [
        LedgerEntry(Kind.TRANSFER_OUT, "alice", giver, 3, 4),
        LedgerEntry(Kind.TRANSFER_IN, "bob", taker, 3, 5),
    ]
    assert [each.owner for each in ledger_entries(event, {taker: "bob"})] == ["bob"]


def test_what_was_locked_of_a_transfer_is_unlocked_before_it() -> None:
    event: TransferEvent = made_up(TransferEvent)
    details = replace(
        made_up(CollateralTransferredEvent),
        from_vault=event.from_vault,
        to_vault=event.to_vault,
        amount=event.amount,
        from_locked=2,
    )
    giver, taker = event_vaults(event)
    owners = {giver: "alice", taker: "bob"}
    assert ledger_entries(event, owners, details=details) == [
        LedgerEntry(Kind.UNLOCK, "alice", giver, 2, None),
        LedgerEntry(Kind.TRANSFER_OUT, "alice", giver, 3, 4),
        LedgerEntry(Kind.TRANSFER_IN, "bob", taker, 3, 5),
    ]
    for from_locked in (0, None):
        nothing: Any = replace(details, from_locked=from_locked)
        assert ledger_entries(event, owners, details=nothing) == ledger_entries(event, owners)


def test_the_details_of_a_transfer_are_those_that_follow_it() -> None:
    event: TransferEvent = made_up(TransferEvent)
    other = replace(event, amount=99)
    details = replace(
        made_up(CollateralTransferredEvent),
        from_vault=event.from_vault,
        to_vault=event.to_vault,
        amount=event.amount,
    )
    record = made_up(TransactionEvent)
    assert transfer_details(event, [record, details, other]) == details
    assert transfer_details(event, [record, other, details]) is None
    assert transfer_details(other, [record, details]) is None
    assert transfer_details(event, []) is None
    assert transfer_details(record, [details]) is None


@pytest.mark.parametrize(
    ("new_unlock_time", "seconds", "moved"), [(1_000, 1_000, True), (1_001, 1_000, False)]
)
def test_a_cancelled_timelock_moves_its_amount_once_it_has_ended(
    new_unlock_time: int, seconds: int, moved: bool
) -> None:
    event = replace(made_up(TimelockCancelledEvent), new_unlock_time=new_unlock_time)
    vault = str(event.vault)
    time = datetime.fromtimestamp(seconds, UTC)
    line = LedgerEntry(Kind.TIMELOCK_RELEASE, "alice", vault, event.amount, None)
    entries = ledger_entries(event, {vault: "alice"}, block_time=time)
    assert entries == ([line] if moved else [])


def test_a_change_of_guards_is_json_that_says_its_kind() -> None:
    data = event_data(made_up(GuardChangeRequestedEvent))
    assert data["change"] == {"kind": "WithdrawMinDelay", "seconds": 4}
    key = Pubkey([9] * 32)
    for change in (Multisig((key,), 1), WhitelistAddition(key), TransferAllowance(2**64 - 1)):
        assert guard_change_of(guard_change_data(change)) == change
    assert guard_change_data(Multisig((key,), 1)) == {
        "kind": "Multisig",
        "signers": (str(key),),
        "threshold": 1,
    }


def test_an_events_data_are_json_with_names() -> None:
    assert event_data(made_up(TransactionEvent)) == {
        "vault": str(Pubkey([1] * 32)),
        "owner": str(Pubkey([2] * 32)),
        "transaction_type": "Withdrawal",
        "amount": 4,
        "timestamp": 5,
    }


def test_a_row_has_each_amount_of_the_account_in_its_own_column() -> None:
    vault: Vault = made_up(Vault)
    delegates = (Pubkey([7] * 32), Pubkey([8] * 32))
    locks = (TimelockEntry(amount=100, unlock_time=1), TimelockEntry(amount=20, unlock_time=2))
    vault = replace(vault, delegates=delegates, timelocks=locks)
    row = vault_row(Pubkey([9] * 32), vault, Slot(77))
    assert (row.owner, row.vault) == (str(vault.owner), str(Pubkey([9] * 32)))
    assert (row.token_account, row.mint) == (str(vault.token_account), str(vault.usdt_mint))
    assert (row.total, row.locked, row.available) == (4, 5, 6)
    assert (row.total_deposited, row.total_withdrawn, row.yield_deposited) == (7, 8, 9)
    assert row.timelocked == 120
    assert row.multisig_threshold == vault.multisig_threshold
    assert row.delegates == tuple(map(str, delegates))
    assert row.slot == 77
    assert row.state["timelocks"][0] == {"amount": 100, "unlock_time": 1}
    assert not {"_reserved", "yield_kept"} & row.state.keys()
    assert row.state["exit_at"] == vault.exit_at
    assert balances(row)["balance"] == 4


def test_the_row_of_a_closed_vault_has_no_balances_and_no_totals() -> None:
    before = vault_row(Pubkey([9] * 32), made_up(Vault), Slot(77))
    row = closed_row(before, Slot(80), mint=before.mint)
    assert (row.total, row.available, row.locked, row.yield_deposited) == (0, 0, 0, 0)
    assert (row.total_deposited, row.total_withdrawn, row.slot) == (0, 0, 80)
    assert not same_balances(row, before)
    assert same_balances(row, replace(row, slot=81))
    assert not same_balances(row, None)

"""What a vault's account means at a time: who may cancel a timelock, what has expired, exits."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from solders.pubkey import Pubkey

from cvms.chain.program.accounts import (
    VAULT_DISCRIMINATOR,
    PendingWithdrawalEntry,
    TimelockEntry,
    Vault,
    decode_vault,
)
from cvms.chain.types import Slot
from cvms.http.vaults.state_schemas import Exit, VaultState, vault_state
from cvms.nursery.ledger.vault_rows import vault_row

WEEK = 7 * 24 * 60 * 60
NOW = 1_800_000_000
EMPTY = decode_vault(VAULT_DISCRIMINATOR + bytes(600))


def state_of(at: int = NOW, **changes: Any) -> VaultState:
    vault: Vault = replace(EMPTY, **changes)
    row = vault_row(Pubkey.new_unique(), vault, Slot(1))
    return vault_state(row, datetime.fromtimestamp(at, UTC))


@pytest.mark.parametrize(
    ("due", "expired", "ready"),
    [
        (NOW + 1, False, 0),
        (NOW, False, 5),
        (NOW - WEEK, False, 5),
        (NOW - WEEK - 1, True, 0),
    ],
)
def test_a_request_counts_from_its_time_on_for_seven_days(
    due: int, expired: bool, ready: int
) -> None:
    state = state_of(pending_withdrawals=(PendingWithdrawalEntry(5, 0, due),))
    (request,) = state.pending_withdrawals
    assert (request.expired, request.expires_time, state.ready) == (expired, due + WEEK, ready)


def test_a_delegates_timelocks_are_marked_in_the_order_of_the_account() -> None:
    entries = tuple(TimelockEntry(amount, NOW) for amount in (1, 2, 3))
    state = state_of(timelocks=entries, delegate_timelocks=0b101)
    assert [each.by_delegate for each in state.timelocks] == [True, False, True]


@pytest.mark.parametrize(
    ("exit_at", "expected"),
    [
        (0, None),
        (NOW + 1, Exit(exit_time=NOW + 1, expires_time=NOW + 1 + WEEK, in_effect=False)),
        (NOW, Exit(exit_time=NOW, expires_time=NOW + WEEK, in_effect=True)),
        (NOW - WEEK, Exit(exit_time=NOW - WEEK, expires_time=NOW, in_effect=True)),
        (NOW - WEEK - 1, None),
    ],
)
def test_an_exit_is_in_effect_for_seven_days(exit_at: int, expected: Exit | None) -> None:
    assert state_of(exit_at=exit_at).exit == expected


def test_the_phase_changes_when_time_alone_changes_the_reply() -> None:
    pending = (PendingWithdrawalEntry(5, 0, NOW),)
    times = (NOW - 1, NOW, NOW + WEEK, NOW + WEEK + 1)
    phases = [state_of(at, pending_withdrawals=pending).phase for at in times]
    exits = [state_of(at, exit_at=NOW).phase for at in times]
    for each in (phases, exits):
        assert each[1] == each[2]
        assert len(set(each)) == 3


def test_the_allowance_is_the_accounts() -> None:
    assert state_of(transfer_allowance=2**64 - 1).transfer_allowance == 2**64 - 1


def test_rows_of_earlier_releases_have_none_of_it() -> None:
    row = vault_row(Pubkey.new_unique(), EMPTY, Slot(1))
    added = {"transfer_allowance", "exit_at", "delegate_timelocks"}
    kept = {name: value for name, value in row.state.items() if name not in added}
    state = vault_state(replace(row, state=kept), datetime.fromtimestamp(NOW, UTC))
    assert (state.transfer_allowance, state.exit) == (0, None)

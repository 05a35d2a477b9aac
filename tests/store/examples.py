"""Example rows, to be changed by keyword."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from cvms.store.index.chain_events import EventRow
from cvms.store.messaging.outbox import OutboxMessage
from cvms.store.postgres.driver.connection import Connection
from cvms.store.vaults import vaults
from cvms.store.vaults.history import HistoryRow
from cvms.store.vaults.vaults import VaultRow

BLOCK_TIME = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def vault_row(**changes: Any) -> VaultRow:
    row = VaultRow(
        owner="owner",
        vault="vault",
        token_account="token account",
        mint="mint",
        total=1000,
        available=400,
        locked=300,
        timelocked=200,
        yield_deposited=100,
        total_deposited=5000,
        total_withdrawn=4000,
        multisig_threshold=0,
        delegates=("delegate", "another"),
        state={"total_balance": 1000, "timelocks": [{"amount": 200, "unlock_time": 5}]},
        slot=100,
    )
    return replace(row, **changes)


async def store_vault(conn: Connection, row: VaultRow) -> bool:
    """Store a row without updating the aggregates; return False if the stored one is newer."""
    return bool(await vaults.upsert_all(conn, [row]))


def event_row(**changes: Any) -> EventRow:
    row = EventRow(
        signature="signature",
        instruction_index=0,
        ordinal=0,
        slot=100,
        block_time=BLOCK_TIME,
        name="DepositEvent",
        vault="vault",
        owner="owner",
        commitment="confirmed",
        data={"amount": 2**63 - 1},
    )
    return replace(row, **changes)


def history_row(**changes: Any) -> HistoryRow:
    given: dict[str, Any] = {
        "owner": "owner",
        "vault": "vault",
        "kind": "deposit",
        "amount": 1000,
        "balance_after": 1000,
        "slot": 100,
        "block_time": BLOCK_TIME,
        "signature": "signature",
        "instruction_index": 0,
        "ordinal": 0,
        "commitment": "confirmed",
    }
    return HistoryRow(**(given | changes))


def message(**changes: Any) -> OutboxMessage:
    given = OutboxMessage(
        topic="deposit_event",
        owner="owner",
        slot=100,
        signature="signature",
        commitment="confirmed",
        data={"amount": 1000},
    )
    return replace(given, **changes)

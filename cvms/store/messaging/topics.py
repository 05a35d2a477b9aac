"""Topics of the outbox, and which of them carries history rows of which kind."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from cvms.store.vaults.history import Kind


class Topic(StrEnum):
    """A topic, as clients name it when they subscribe."""

    DEPOSIT = "deposit_event"
    WITHDRAW = "withdraw_event"
    LOCK = "lock_event"
    UNLOCK = "unlock_event"
    TRANSFER = "transfer_event"
    TIMELOCK = "timelock_event"
    YIELD = "yield_event"
    BALANCE = "vault_balance_update"
    TRANSACTION = "transaction_update"
    TVL = "tvl_update"
    ANALYTICS = "analytics_update"
    ALERT = "security_alert"
    MULTISIG = "multisig_event"
    OPERATIONS = "operations"


ROW_WRITTEN = "vault_row_written"
"""Topic that no client can subscribe to: an owner's row was written without a change of balances.
Without an owner: any row may have been. Each process drops what it keeps of those rows.
"""

KINDS_OF: Mapping[Topic, tuple[Kind, ...]] = {
    Topic.DEPOSIT: (Kind.DEPOSIT,),
    Topic.WITHDRAW: (Kind.WITHDRAW, Kind.EMERGENCY_WITHDRAW),
    Topic.LOCK: (Kind.LOCK,),
    Topic.UNLOCK: (Kind.UNLOCK,),
    Topic.TRANSFER: (Kind.TRANSFER_IN, Kind.TRANSFER_OUT),
    Topic.TIMELOCK: (Kind.TIMELOCK, Kind.TIMELOCK_RELEASE),
    Topic.YIELD: (Kind.YIELD_DEPOSIT, Kind.YIELD_WITHDRAW, Kind.YIELD_COMPOUND),
}
TOPIC_OF: Mapping[str, Topic] = {kind: topic for topic, of in KINDS_OF.items() for kind in of}

CONFLATED = frozenset({Topic.BALANCE, Topic.TVL, Topic.ANALYTICS, Topic.OPERATIONS})
"""Topics of which a slow client needs only the newest event of each owner."""

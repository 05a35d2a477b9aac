"""What each topic's events carry as `data`, and what its snapshots show.

Fields may be added, so unknown ones are allowed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import msgspec

from cvms.http.framework.schemas import Alert, Balance, Movement, Tvl
from cvms.http.multisig.proposal_view import ProposalEvent
from cvms.nursery.channels.operations_overview import OperationsOverview
from cvms.store.analytics.overview import Overview
from cvms.store.messaging.topics import KINDS_OF, Topic


class MovementEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A movement in a vault, with the fields of the program's event beside these."""

    owner: str
    vault: str
    kind: str
    amount: int
    balance_after: int | None
    block_time: datetime | None


class TimelockNotice(msgspec.Struct, frozen=True, kw_only=True):
    """A timelock or a requested withdrawal that is due, or will be soon. It has no signature.

    `expires_at`, of a withdrawal, is when the request expires.
    """

    owner: str
    vault: str
    kind: Literal["due_soon", "available", "withdrawal_available"]
    amount: int
    due_at: int
    remaining_seconds: int
    expires_at: int | None = None


class BalanceUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """A vault's balances after a change, and what has changed. See docs/websocket.md."""

    owner: str
    vault: str
    balance: int
    available: int
    locked: int
    timelocked: int
    yield_deposited: int
    slot: int
    previous_balance: int
    delta: int
    timestamp: datetime


class TransactionUpdate(msgspec.Struct, frozen=True, kw_only=True):
    """The new state of a submitted transaction."""

    signature: str
    status: str
    kind: str
    owner: str
    amount: int | None
    slot: int | None
    error: Any
    landed_signature: str | None


class RecentMovements(msgspec.Struct, frozen=True, kw_only=True):
    """An owner's last movements of the topic, newest first."""

    transactions: list[Movement]


class Balances(msgspec.Struct, frozen=True, kw_only=True):
    """Vaults, and whether these are all."""

    vaults: list[Balance]
    complete: bool


class UnfinishedProposals(msgspec.Struct, frozen=True, kw_only=True):
    """The owner's proposals that are neither executed, nor expired, nor cancelled."""

    proposals: list[ProposalEvent]


class UnresolvedAlerts(msgspec.Struct, frozen=True, kw_only=True):
    """Alerts, and whether these are all."""

    alerts: list[Alert]
    complete: bool


@dataclass(frozen=True, slots=True)
class TopicSchema:
    """What a topic is about, and the types of its events' `data` and of its snapshots.

    A snapshot may also be null.
    """

    about: str
    data: tuple[type, ...]
    snapshot: tuple[type, ...] = ()


SCHEMAS: Mapping[Topic, TopicSchema] = {
    topic: TopicSchema(
        f"Movements of the kinds {', '.join(kinds)}",
        (MovementEvent, TimelockNotice) if topic is Topic.TIMELOCK else (MovementEvent,),
        (RecentMovements,),
    )
    for topic, kinds in KINDS_OF.items()
} | {
    Topic.BALANCE: TopicSchema(
        "The balances of a vault after a change", (BalanceUpdate,), (Balance, Balances)
    ),
    Topic.TRANSACTION: TopicSchema("State changes of submitted transactions", (TransactionUpdate,)),
    Topic.TVL: TopicSchema("The total value locked in all vaults", (Tvl,), (Tvl,)),
    Topic.ANALYTICS: TopicSchema("The overview of all vaults", (Overview,), (Overview,)),
    Topic.MULTISIG: TopicSchema(
        "Proposed withdrawals of vaults with several signers",
        (ProposalEvent,),
        (UnfinishedProposals,),
    ),
    Topic.ALERT: TopicSchema("Alerts that are raised or resolved", (Alert,), (UnresolvedAlerts,)),
    Topic.OPERATIONS: TopicSchema(
        "The state of the service, as the process that serves the WebSocket sees it",
        (OperationsOverview,),
        (OperationsOverview,),
    ),
}

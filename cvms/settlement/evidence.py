"""Evidence of what became of a submission, as administrators read it and the audit trail keeps it.

Ages are in seconds. What could not be asked is an `error`, and says nothing either way.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

from cvms.amounts import Amount

Outcome = Literal["finalized", "failed", "expired"]
"""What a quarantined submission can be settled as."""

Suggestion = Literal["finalized", "failed", "expired", "unknown"]

Unsettled = Literal["quarantined", "pending", "submitted", "confirmed"]
"""The states that are listed: quarantined, or in flight."""


class ListedSubmission(msgspec.Struct, frozen=True, kw_only=True):
    """A signed submission. `id` is the SHA-256 of its message, in hexadecimal.

    Its block can only be after `since_slot`, up to the height `last_valid_block_height`. The last
    one that it was seen in is `seen_slot`. `age` is in seconds since it was signed.
    """

    id: str
    signature: str
    landed_signature: str | None
    kind: str
    owner: str
    owners: list[str]
    state: str
    amount: Amount | None
    error: Any
    slot: int | None
    seen_slot: int | None
    since_slot: int
    last_valid_block_height: int
    sponsored_lamports: int | None
    created_at: datetime
    signed_at: datetime
    updated_at: datetime
    age: float


class SeenStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What an endpoint says of the transaction. `error` is the chain's, null if it succeeded."""

    commitment: str
    slot: int
    error: Any


class EndpointBlocks(msgspec.Struct, frozen=True, kw_only=True):
    """What an endpoint has of the blocks that could contain the transaction.

    `count` of them were read, of the slots `first_slot` to `last_slot`. If `complete`, these are
    all: each is the parent of the next. The block of `containing_slot` holds the transaction.
    """

    count: int
    first_slot: int | None
    last_slot: int | None
    complete: bool
    containing_slot: int | None


class EndpointEvidence(msgspec.Struct, frozen=True, kw_only=True):
    """What one RPC endpoint says, and what it could not be asked for which `error`.

    `slot` is the newest one that its status is true for; null if it has not answered. `first_slot`
    is the oldest block that it keeps; null if it does not say.
    """

    host: str
    error: str | None
    slot: int | None
    first_slot: int | None
    status: SeenStatus | None
    blocks: EndpointBlocks | None


class IndexedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event of the transaction that the index has applied."""

    name: str
    slot: int
    commitment: str


class OwnerMovement(msgspec.Struct, frozen=True, kw_only=True):
    """A movement in the owner's vault while the transaction could land.

    `same_message`: its transaction has the same message under another signature. Null if no
    endpoint has that transaction.
    """

    signature: str
    kind: str
    amount: Amount
    balance_after: Amount | None
    slot: int
    commitment: str
    same_message: bool | None


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """All that is known of a submission. The index is complete up to `indexed_through`."""

    submission: ListedSubmission
    endpoints: list[EndpointEvidence]
    indexed_through: int | None
    events: list[IndexedEvent]
    movements: list[OwnerMovement]


class Contradictions(msgspec.Struct, frozen=True, kw_only=True):
    """What speaks against each outcome."""

    finalized: list[str]
    failed: list[str]
    expired: list[str]

    def to(self, outcome: Outcome) -> list[str]:
        """Return what speaks against this outcome."""
        found: list[str] = getattr(self, outcome)
        return found


class Evidence(Findings, frozen=True, kw_only=True):
    """All that is known of a submission, and what it shows.

    The index is complete up to `indexed_through`. `suggested` is the outcome that the evidence
    shows.
    """

    suggested: Suggestion
    contradictions: Contradictions

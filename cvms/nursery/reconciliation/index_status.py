"""Status of the index, read from the database and the chain; no server has to run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from typing import Any

from cvms.chain.rpc.evidence.signature_pages import SignaturePages
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Commitment, Programs
from cvms.errors import ChainUnavailable, RpcError
from cvms.store.index import index_status
from cvms.store.index.index_status import IndexState
from cvms.store.postgres.database import Database

MAX_COUNTED = 10_000
"""Transactions behind the cursor that are counted, in ten requests."""


@dataclass(frozen=True, slots=True)
class ChainState:
    """State of the chain, as a node reports it.

    `waiting` counts the program's transactions after the cursor; it is None if the node does not
    list the cursor's. `waiting_more` is True if there may be more than were counted.
    """

    confirmed_slot: int
    finalized_slot: int
    waiting: int | None
    waiting_more: bool


@dataclass(frozen=True, slots=True)
class IndexStatus:
    """Output of `cvms index status`. If the chain does not answer, `chain_error` says why."""

    program: str
    index: IndexState
    chain: ChainState | None
    chain_error: str | None

    @property
    def lag_slots(self) -> int | None:
        """Slots between the head of the chain and the last slot that is completely indexed."""
        if self.chain is None or self.index.through is None:
            return None
        return max(0, self.chain.confirmed_slot - self.index.through)

    @property
    def following(self) -> bool:
        """True if a node answers and lists the cursor: then nothing is lost, however far behind."""
        return self.chain is not None and self.chain.waiting is not None

    def as_json(self) -> dict[str, Any]:
        """Return the status as JSON, with times in ISO 8601."""
        status = _plain(asdict(self))
        return {
            "program": self.program,
            **status.pop("index"),
            **status,
            "lag_slots": self.lag_slots,
            "following": self.following,
        }


async def read_status(database: Database, rpc: RpcClient, programs: Programs) -> IndexStatus:
    """Read the status from the database and the chain. Raises DatabaseUnavailable."""
    async with database.dedicated() as conn:
        index = await index_status.read(conn, str(programs.vault))
    try:
        confirmed = await rpc.get_slot(Commitment.CONFIRMED)
        waiting, more = await _waiting(rpc, programs, index.signature)
        finalized = await rpc.get_slot(Commitment.FINALIZED)
    except (ChainUnavailable, RpcError) as error:
        return IndexStatus(str(programs.vault), index, None, str(error))
    chain = ChainState(confirmed, finalized, waiting, more)
    return IndexStatus(str(programs.vault), index, chain, None)


async def _waiting(
    rpc: RpcClient, programs: Programs, signature: str | None
) -> tuple[int | None, bool]:
    """Count the program's transactions after `signature`; also return whether there may be more."""
    get = partial(rpc.get_signatures_for_address, programs.vault, commitment=Commitment.CONFIRMED)
    counted = 0
    async for page in SignaturePages(get):
        listed = [info.signature for info in page]
        if signature in listed:
            return counted + listed.index(signature), False
        counted += len(page)
        if counted >= MAX_COUNTED:
            return counted, True
    return (counted if signature is None else None), False


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return value.isoformat() if isinstance(value, datetime) else value

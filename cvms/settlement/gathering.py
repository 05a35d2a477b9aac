"""Gathers the evidence of a submission from each RPC endpoint and from the books."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import msgspec
import structlog
import trio
from solders.transaction import VersionedTransaction

from cvms.chain.rpc.evidence.absence_proof import MAX_SLOTS
from cvms.chain.rpc.evidence.block_window import BlockWindow, read_window
from cvms.chain.rpc.evidence.chain_tips import first_block, read_tips
from cvms.chain.rpc.evidence.landed_messages import LandedMessage, read_landed
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import BlockHeight, Programs, Slot
from cvms.errors import ChainUnavailable, NotFound, RpcError, one_line
from cvms.settlement import verdict
from cvms.settlement.evidence import (
    EndpointBlocks,
    EndpointEvidence,
    Evidence,
    Findings,
    IndexedEvent,
    ListedSubmission,
    OwnerMovement,
    SeenStatus,
)
from cvms.store.index import cursor as cursors
from cvms.store.postgres.database import Database
from cvms.store.postgres.text import storable_json
from cvms.store.submissions import in_flight, settlements
from cvms.store.submissions.settlements import Movement, SettlementRow
from cvms.store.submissions.submissions import State

log = structlog.get_logger(__name__)

MAX_MOVEMENTS = 50
HASH_DIGITS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceSources:
    """What is asked; what an endpoint has not said after `seconds` is left out."""

    database: Database
    rpc: RpcClient
    programs: Programs
    seconds: float


async def find(database: Database, key: str) -> SettlementRow:
    """Return the submission with this signature, or the hash of its message. Raises NotFound."""
    row = None
    if key.isascii() and key.isalnum():  # as base58 is, and hexadecimal
        async with database.connection() as conn:
            row = await settlements.find(conn, signature=key, message_hash=hash_in(key))
    if row is None:
        raise NotFound(f"There is no signed submission {key}.")
    return row


def hash_in(key: str) -> bytes | None:
    """Return the hash that the text is, None if it is none."""
    if len(key) != HASH_DIGITS:
        return None
    try:
        return bytes.fromhex(key)
    except ValueError:
        return None


def listed(row: SettlementRow) -> ListedSubmission:
    """Return the submission as it is shown."""
    names = [each for each in ListedSubmission.__struct_fields__ if each != "id"]
    shown = {name: getattr(row, name) for name in names}
    return ListedSubmission(id=row.message_hash.hex(), **shown)


async def gather(sources: EvidenceSources, row: SettlementRow) -> Evidence:
    """Return the evidence of a submission.

    Blocks are read only for one that is quarantined: of any other the outcome is decided, or will
    be. Raises DatabaseUnavailable.
    """
    asked = sources.rpc.each_endpoint()
    hosts = {each.only_host for each in asked}
    down = [each for each in sources.rpc.endpoints if each.host not in hosts]
    answers: list[EndpointEvidence | None] = [None] * len(asked)
    async with trio.open_nursery() as nursery:
        for place, endpoint in enumerate(asked):
            nursery.start_soon(_ask, sources, endpoint, row, answers, place)
    endpoints = [each for each in answers if each is not None]
    endpoints += [_silent(each.host, each.detail) for each in down]
    return verdict.judge(await _with_books(sources, row, endpoints))


async def _with_books(
    sources: EvidenceSources, row: SettlementRow, endpoints: list[EndpointEvidence]
) -> Findings:
    async with sources.database.connection() as conn:
        through = (await cursors.frontier(conn, str(sources.programs.vault))).slot
        events = await settlements.events(conn, row.signature)
        lines = await settlements.movements(
            conn,
            row.owner,
            after=row.since_slot,
            through=row.since_slot + MAX_SLOTS,
            limit=MAX_MOVEMENTS,
        )
        wires = await in_flight.wires(conn, [row.signature])
    message = bytes(VersionedTransaction.from_bytes(wires[row.signature]).message)
    landed = await _landed(sources, {each.signature for each in lines})
    return Findings(
        submission=listed(row),
        endpoints=endpoints,
        indexed_through=through,
        events=[
            IndexedEvent(name=each.name, slot=each.slot, commitment=each.commitment)
            for each in events
        ],
        movements=[
            _movement(each, landed.get(each.signature), message)
            for each in lines
            if each.signature != row.signature
        ],
    )


async def _ask(
    sources: EvidenceSources,
    endpoint: RpcClient,
    row: SettlementRow,
    answers: list[EndpointEvidence | None],
    place: int,
) -> None:
    """Put into its place what one endpoint says."""
    host = endpoint.only_host or ""
    answer, window = _silent(host), BlockWindow()
    problem: str | None = f"has not answered within {sources.seconds:g} seconds"
    with trio.move_on_after(sources.seconds):
        try:
            answer = await _status(endpoint, host, row.signature)
            if row.state is State.QUARANTINED:
                await _read_blocks(endpoint, row, window)
            problem = None
        except (RpcError, ChainUnavailable) as error:
            problem = one_line(error)
    blocks = EndpointBlocks(
        count=window.count,
        first_slot=window.first,
        last_slot=window.last,
        complete=window.complete,
        containing_slot=window.containing,
    )
    shown = blocks if row.state is State.QUARANTINED and answer.slot is not None else None
    answers[place] = msgspec.structs.replace(answer, error=problem, blocks=shown)


def _silent(host: str, error: str | None = None) -> EndpointEvidence:
    """Return what is known of an endpoint that has said nothing yet."""
    return EndpointEvidence(
        host=host, error=error, slot=None, first_slot=None, status=None, blocks=None
    )


async def _status(endpoint: RpcClient, host: str, signature: str) -> EndpointEvidence:
    at = await endpoint.statuses_at([signature])
    [status] = at.statuses
    seen = None
    if status is not None:
        seen = SeenStatus(
            commitment=str(status.commitment), slot=status.slot, error=storable_json(status.err)
        )
    oldest = await first_block(endpoint)
    return msgspec.structs.replace(_silent(host), slot=at.slot, first_slot=oldest, status=seen)


async def _read_blocks(endpoint: RpcClient, row: SettlementRow, window: BlockWindow) -> None:
    tips = await read_tips(endpoint)
    await read_window(
        endpoint,
        row.signature,
        window,
        after=Slot(row.since_slot),
        through=BlockHeight(row.last_valid_block_height),
        tip=tips.finalized,
    )


async def _landed(
    sources: EvidenceSources, signatures: Collection[str]
) -> Mapping[str, LandedMessage]:
    """Return those of the transactions that an endpoint gives; none if none answers."""
    with trio.move_on_after(sources.seconds):
        try:
            return await read_landed(sources.rpc, sorted(signatures)) if signatures else {}
        except (RpcError, ChainUnavailable) as error:
            log.warning("landed_messages_unavailable", reason=str(error))
    return {}


def _movement(line: Movement, landed: LandedMessage | None, message: bytes) -> OwnerMovement:
    return OwnerMovement(
        signature=line.signature,
        kind=line.kind,
        amount=line.amount,
        balance_after=line.balance_after,
        slot=line.slot,
        commitment=line.commitment,
        same_message=None if landed is None else landed.message == message,
    )

"""Proof that a transaction is not on the chain.

"Not found" is no proof: a node may have a hole in its ledger, and "skipped" says "skipped or
missing". Two things are: two endpoints that keep all blocks in question and both lack it; or the
blocks themselves. Blocks name their parents, so those of which each is the parent of the next leave
no room for another one.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import msgspec

from cvms.chain.rpc.call_params import MAX_TRANSACTION_VERSION, STATUSES_PER_CALL
from cvms.chain.rpc.evidence.chain_tips import Tip
from cvms.chain.rpc.responses import Count, read, unexpected
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.rpc.transport.call_state import Call
from cvms.chain.rpc.transport.endpoint_pool import Endpoint
from cvms.chain.types import BlockHeight, Commitment, Slot
from cvms.errors import MethodRefused, RpcError

BLOCKS_PER_CALL = 8
"""A block's signatures are about 150 kB on a busy chain."""
MAX_SKIPPED = 512
"""Slots after a skipped one in which the next block is looked for."""
STANDARD_PORTS = {"http": 80, "https": 443}
BLOCKHASH_BLOCKS = 150
"""Blocks for which a blockhash is valid."""
MAX_SLOTS = 2000
"""A blockhash is valid for 150 blocks, and few slots are skipped."""


@dataclass(frozen=True, slots=True)
class Block:
    """A block, its place in the chain, and the signatures of its transactions."""

    slot: Slot
    height: BlockHeight
    parent_slot: Slot
    blockhash: str
    previous_blockhash: str
    signatures: frozenset[str]

    def follows(self, parent: Block) -> bool:
        """Return whether `parent` is the block before this one."""
        return (self.parent_slot, self.previous_blockhash) == (parent.slot, parent.blockhash)


class _BlockResponse(msgspec.Struct, frozen=True, rename="camel"):
    blockhash: str
    previous_blockhash: str
    parent_slot: Count
    block_height: Count
    signatures: list[str]


async def lacks_transaction(
    rpc: RpcClient, signature: str, slot: Slot, *, commitment: Commitment
) -> bool | None:
    """Return whether the chain has no block of `slot`, or one without the transaction.

    Return None if no node proves either. Raises ChainUnavailable.
    """
    [block] = await read_blocks(rpc, [slot], commitment)
    if block is not None:
        return signature not in block.signatures
    later_slots = await list_slots(rpc, Slot(slot + 1), Slot(slot + MAX_SKIPPED), commitment)
    for later in later_slots[:BLOCKS_PER_CALL]:
        [block] = await read_blocks(rpc, [later], commitment)
        if block is not None:
            # Its ancestry has no block of this slot if its parent is of an earlier one.
            return True if block.parent_slot < slot else None
    return None


async def proven_absent(
    rpc: RpcClient,
    signatures: Collection[str],
    *,
    after: Slot,
    through: BlockHeight,
    oldest: BlockHeight | None = None,
    tip: Tip,
) -> frozenset[str]:
    """Return those signatures that are in no finalized block of those in question.

    These are the blocks of slots after `after`, up to the height `through`, without those that are
    too old for a blockhash that is valid up to `oldest`: the least of the transactions' last valid
    heights, by default `through`. `tip` is a finalized block beyond. Raises RpcError and
    ChainUnavailable.
    """
    absent = await _lacked_by_two(rpc, signatures, after=after, seen=tip.slot)
    rest = [each for each in signatures if each not in absent]
    if not rest:
        return absent
    valid = through if oldest is None else oldest
    after = await later_start(rpc, after, BlockHeight(valid - BLOCKHASH_BLOCKS), tip)
    return absent | await none_contains(rpc, rest, after=after, through=through)


async def later_start(rpc: RpcClient, after: Slot, oldest: BlockHeight, tip: Tip) -> Slot:
    """Return the slot of a block up to the height `oldest`, or `after` if that is as late."""
    distance = 2 * (tip.height - oldest)
    while tip.slot - distance > after:
        start = Slot(tip.slot - distance)
        slots = await list_slots(
            rpc, start, Slot(start + BLOCKS_PER_CALL - 1), Commitment.FINALIZED
        )
        for block in await read_blocks(rpc, slots[:1], Commitment.FINALIZED):
            if block is not None and block.height <= oldest:
                return block.slot
        distance *= 2
    return after


async def _lacked_by_two(
    rpc: RpcClient, signatures: Collection[str], *, after: Slot, seen: Slot
) -> frozenset[str]:
    """Return the signatures that two independent endpoints lack, and none has."""
    method = "getFirstAvailableBlock"
    keeping = {
        reply.endpoint
        for reply in await rpc.everywhere(method, [])
        if type(reply.answer) is int and reply.answer <= after
    }
    if len({_provider(each) for each in keeping}) < 2:
        return frozenset()
    absent: set[str] = set()
    asked = list(signatures)
    for start in range(0, len(asked), STATUSES_PER_CALL):
        chunk = asked[start : start + STATUSES_PER_CALL]
        lacking: dict[str, set[str]] = {each: set() for each in chunk}
        for endpoint, found in await rpc.statuses_by_endpoint(chunk):
            for signature, status in zip(chunk, found.statuses, strict=True):
                if status is not None:
                    lacking.pop(signature, None)
                elif signature in lacking and endpoint in keeping and found.slot >= seen:
                    lacking[signature].add(_provider(endpoint))
        absent |= {each for each, providers in lacking.items() if len(providers) >= 2}
    return frozenset(absent)


def _provider(endpoint: Endpoint) -> str:
    parts = urlsplit(endpoint.url)  # two URLs of one host are one provider
    return f"{parts.hostname}:{parts.port or STANDARD_PORTS.get(parts.scheme)}"


async def none_contains(
    rpc: RpcClient, signatures: Collection[str], *, after: Slot, through: BlockHeight
) -> frozenset[str]:
    """Return those signatures that no finalized block contains, of the blocks in question.

    These are the blocks of slots after `after`, up to the first one that is higher than `through`.
    Return no signatures if a block among them cannot be read. Raises ChainUnavailable.
    """
    absent = set(signatures)
    last: Block | None = None
    start, end = Slot(after + 1), after + MAX_SLOTS
    while absent and start <= end:
        slots = await list_slots(
            rpc, start, Slot(start + BLOCKS_PER_CALL - 1), Commitment.FINALIZED
        )
        for block in await read_blocks(rpc, slots, Commitment.FINALIZED):
            blocks = await linked_blocks(rpc, block, last, after)
            if not blocks:
                return frozenset()
            for each in blocks:
                if each.height > through:
                    return frozenset(absent)
                absent -= each.signatures
            last = blocks[-1]
        start = Slot(start + BLOCKS_PER_CALL)
    return frozenset()


async def linked_blocks(
    rpc: RpcClient, block: Block | None, last: Block | None, after: Slot
) -> list[Block]:
    """Return the blocks from the one after `last` (or after the slot `after`) to `block`.

    Those that were not listed are read by the slots that their children name. Return none if one
    cannot be read, or is of another chain.
    """
    blocks: list[Block] = []
    while block is not None:
        blocks.insert(0, block)
        if block.follows(last) if last is not None else block.parent_slot <= after:
            return blocks
        if block.parent_slot <= (last.slot if last is not None else after):
            return []
        [block] = await read_blocks(rpc, [block.parent_slot], Commitment.FINALIZED)
        if block is not None and not blocks[0].follows(block):
            return []
    return []


async def list_slots(rpc: RpcClient, first: Slot, last: Slot, commitment: Commitment) -> list[Slot]:
    """Return the slots of blocks that a node lists, which may not be all."""
    method = "getBlocks"
    try:
        listed = await rpc.call(
            method,
            [first, last, {"commitment": commitment}],
            parse=lambda answer: read(list[Count], answer, method),
        )
    except (RpcError, MethodRefused):
        return []
    return sorted(Slot(slot) for slot in listed if first <= slot <= last)


async def read_blocks(
    rpc: RpcClient, slots: Collection[Slot], commitment: Commitment
) -> list[Block | None]:
    """Return the blocks of these slots, None where no node has one, which is no evidence."""
    options = {
        "commitment": commitment,
        "transactionDetails": "signatures",
        "rewards": False,
        "maxSupportedTransactionVersion": MAX_TRANSACTION_VERSION,
    }
    calls = [Call("getBlock", [slot, options], _parser(slot), may_lack=True) for slot in slots]
    answers = await rpc.batch(calls)
    return [each if isinstance(each, Block) else None for each in answers]


def _parser(slot: Slot) -> Any:
    def parse(answer: Any) -> Block | None:
        if answer is None:
            return None
        got = read(_BlockResponse, answer, "getBlock")
        if got.parent_slot >= slot > 0:
            raise unexpected("getBlock", f"slot {got.parent_slot} as the parent of {slot}")
        return Block(
            slot=slot,
            height=BlockHeight(got.block_height),
            parent_slot=Slot(got.parent_slot),
            blockhash=got.blockhash,
            previous_blockhash=got.previous_blockhash,
            signatures=frozenset(got.signatures),
        )

    return parse

"""Methods about blocks."""

from __future__ import annotations

from cvms.localnet.node.node import Node
from cvms.localnet.rpc.call.params import Params
from cvms.localnet.rpc.call.rpc_errors import (
    block_cleaned_up,
    block_not_available,
    invalid_params,
    slot_skipped,
)
from cvms.localnet.rpc.call.view import open_view
from cvms.localnet.rpc.encoding.transaction_encoding import (
    TransactionFormat,
    read_transaction_format,
)
from cvms.localnet.rpc.methods.transaction_history import confirmed_view, require_confirmed
from cvms.localnet.rpc.methods.validators import block_rewards
from cvms.localnet.types import Block, Commitment, Entry, Json

MAX_BLOCK_RANGE = 500_000


def get_block(node: Node, params: Params) -> Json:
    slot, config = params.integer(0), params.options(1)
    view = confirmed_view(node, config)
    detail, show_rewards = (
        config.text("transactionDetails", "full"),
        config.flag("rewards", on=True),
    )
    shape = read_transaction_format(config, show_rewards=show_rewards)
    block = _find(node, slot, newest=view.block)
    parent, entries = node.block(block.parent_slot) or block, node.entries_in(slot)
    shown: dict[str, Json] = {
        "previousBlockhash": str(parent.blockhash),
        "blockhash": str(block.blockhash),
        "parentSlot": block.parent_slot,
        "blockTime": block.time,
        "blockHeight": block.height,
    }
    if show_rewards:
        shown["rewards"] = block_rewards(node, entries)
    return shown | _detail(entries, detail, shape)


def _find(node: Node, slot: int, *, newest: Block) -> Block:
    if slot > newest.slot:
        raise block_not_available(slot)
    if slot < node.first_slot:
        raise block_cleaned_up(slot, first=node.first_slot)
    if (block := node.block(slot)) is not None:
        return block
    # A node knows only of finalized slots that they were skipped.
    final = slot <= node.bank(Commitment.FINALIZED).slot
    raise slot_skipped(slot) if final else block_not_available(slot)


def _detail(entries: list[Entry], detail: str, shape: TransactionFormat) -> dict[str, Json]:
    match detail:
        case "full":
            return {"transactions": [shape.render(entry) for entry in entries]}
        case "accounts":
            return {"transactions": [shape.render_keys(entry) for entry in entries]}
        case "signatures":
            return {"signatures": [entry.signature for entry in entries]}
        case _:
            return {}


def get_blocks(node: Node, params: Params) -> Json:
    """Return the slots of `[start, end | config?, config?]`, both ends included."""
    first, wrapped = params.integer(0), params.options(1)
    config = params.options(2) if params.at(2) is not None else wrapped
    view = confirmed_view(node, config)
    end = wrapped.number("endSlot")
    last = min(first + MAX_BLOCK_RANGE if end is None else end, view.block.slot)
    if last - first > MAX_BLOCK_RANGE:
        raise invalid_params(f"Slot range too large; max {MAX_BLOCK_RANGE}")
    first = max(first, node.first_slot)
    return node.chain.ledger.block_slots(first, last, MAX_BLOCK_RANGE + 1)


def get_blocks_with_limit(node: Node, params: Params) -> Json:
    first, limit, config = params.integer(0), params.integer(1), params.options(2)
    require_confirmed(config)
    if limit > MAX_BLOCK_RANGE:
        raise invalid_params(f"Limit too large; max {MAX_BLOCK_RANGE}")
    view = open_view(node, config)
    first = max(first, node.first_slot)
    return node.chain.ledger.block_slots(first, view.block.slot, limit)


def get_block_time(node: Node, params: Params) -> Json:
    slot = params.integer(0)
    return _find(node, slot, newest=node.tip).time


def get_first_available_block(node: Node, params: Params) -> Json:
    return node.first_slot

"""Methods about blocks."""

from __future__ import annotations

from cvms.localnet.node.node import Node
from cvms.localnet.rpc.call.params import CallOptions, Params
from cvms.localnet.rpc.call.rpc_errors import (
    block_cleaned_up,
    block_not_available,
    invalid_params,
    slot_skipped,
)
from cvms.localnet.rpc.encoding.transaction_encoding import (
    TransactionFormat,
    read_transaction_format,
)
from cvms.localnet.rpc.methods.transaction_history import confirmed_view
from cvms.localnet.types import Block, Entry, Json

MAX_BLOCK_RANGE = 500_000

DETAILS = ("full", "accounts", "signatures", "none")


def get_block(node: Node, params: Params) -> Json:
    slot, given = params.integer(0), params.at(1)
    config = CallOptions({"encoding": given}) if isinstance(given, str) else params.options(1)
    view = confirmed_view(node, config)
    detail = config.text("transactionDetails", "full")
    if detail not in DETAILS:
        raise invalid_params(f"Invalid params: unknown variant `{detail}`.")
    shape = read_transaction_format(config)
    block = _find(node, slot, newest=view.block)
    parent = node.block(block.parent_slot) or block
    shown: dict[str, Json] = {
        "previousBlockhash": str(parent.blockhash),
        "blockhash": str(block.blockhash),
        "parentSlot": block.parent_slot,
        "blockTime": block.time,
        "blockHeight": block.height,
    }
    if config.fields.get("rewards") is not False:
        shown["rewards"] = []
    return shown | _detail(node.entries_in(slot), detail, shape)


def _find(node: Node, slot: int, *, newest: Block) -> Block:
    if slot > newest.slot:
        raise block_not_available(slot)
    if slot < node.first_slot:
        raise block_cleaned_up(slot, first=node.first_slot)
    block = node.block(slot)
    if block is None:
        raise slot_skipped(slot)
    return block


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
    """Return the slots of `[start, end?, config?]`, both ends included."""
    first = params.integer(0)
    has_end = isinstance(params.at(1), int)
    view = confirmed_view(node, params.options(2 if has_end or params.at(2) else 1))
    last = min(params.integer(1), view.block.slot) if has_end else view.block.slot
    if last - first > MAX_BLOCK_RANGE:
        raise invalid_params(f"Slot range too large; max {MAX_BLOCK_RANGE}")
    first = max(first, node.first_slot)
    return node.chain.ledger.block_slots(first, last, MAX_BLOCK_RANGE + 1)


def get_blocks_with_limit(node: Node, params: Params) -> Json:
    first, limit = params.integer(0), params.integer(1)
    view = confirmed_view(node, params.options(2))
    if limit > MAX_BLOCK_RANGE:
        raise invalid_params(f"Limit too large; max {MAX_BLOCK_RANGE}")
    first = max(first, node.first_slot)
    return node.chain.ledger.block_slots(first, view.block.slot, limit)


def get_block_time(node: Node, params: Params) -> Json:
    slot = params.integer(0)
    return _find(node, slot, newest=node.tip).time


def get_first_available_block(node: Node, params: Params) -> Json:
    return node.first_slot

"""Methods that read past transactions."""

from __future__ import annotations

from cvms.errors import RpcError
from cvms.localnet.ledger.recent_blocks import STATUS_AGE
from cvms.localnet.node.node import Node
from cvms.localnet.rpc.call.params import CallOptions, Params, read_signature
from cvms.localnet.rpc.call.rpc_errors import (
    INVALID_PARAMS,
    filter_transaction_not_found,
    invalid_params,
)
from cvms.localnet.rpc.call.view import View, open_view
from cvms.localnet.rpc.encoding.transaction_encoding import memo, read_transaction_format
from cvms.localnet.types import Commitment, Entry, Json

MAX_STATUSES = 256
MAX_SIGNATURES = 1000


def confirmed_view(node: Node, config: CallOptions) -> View:
    """Open a view for history, which needs at least `confirmed`. Raises RpcError below."""
    require_confirmed(config)
    return open_view(node, config)


def require_confirmed(config: CallOptions) -> None:
    if config.commitment() is Commitment.PROCESSED:
        raise RpcError(INVALID_PARAMS, "Method does not support commitment below `confirmed`")


def get_transaction(node: Node, params: Params) -> Json:
    signature, config = str(read_signature(params.text(0))), params.options(1)
    view = confirmed_view(node, config)
    entry = node.entry(signature)
    if entry is None or entry.slot > view.block.slot or node.fails_to_find(entry):
        return None
    return {
        "slot": entry.slot,
        "transactionIndex": entry.index,
        "blockTime": _block_time(node, entry.slot),
        **read_transaction_format(config).render(entry),
    }


def _block_time(node: Node, slot: int) -> int | None:
    block = node.block(slot)
    return None if block is None else block.time


def get_signature_statuses(node: Node, params: Params) -> Json:
    texts, config = params.list(0), params.options(1)
    if len(texts) > MAX_STATUSES:
        raise invalid_params(f"Too many inputs provided; max {MAX_STATUSES}")
    signatures = [str(read_signature(text)) for text in texts]
    view = View(node, node.tip)
    search = config.flag("searchTransactionHistory")
    return view.with_context([_status(node, signature, search=search) for signature in signatures])


def _status(node: Node, signature: str, *, search: bool) -> Json:
    """Return a status. Without `search`, a node knows only recent signatures."""
    entry = node.entry(signature)
    block = None if entry is None else node.block(entry.slot)
    if entry is None or block is None:
        return None
    depth = node.tip.height - block.height
    if depth > STATUS_AGE and not search:
        return None
    reached = node.reached(block)
    return {
        "slot": entry.slot,
        "confirmations": None if reached is Commitment.FINALIZED else depth,
        "err": entry.err,
        "status": entry.meta["status"],
        "confirmationStatus": reached,
    }


def get_signatures_for_address(node: Node, params: Params) -> Json:
    """Return signatures, newest first. Raises RpcError for an unknown `before` or `until`."""
    address, config = params.pubkey(0), params.options(1)
    cursors = [
        (name, str(read_signature(given)))
        for name in ("before", "until")
        if (given := config.fields.get(name)) is not None
    ]
    limit = config.number("limit")
    limit = MAX_SIGNATURES if limit is None else limit
    if not 1 <= limit <= MAX_SIGNATURES:
        raise invalid_params(f"Invalid limit; max {MAX_SIGNATURES}")
    view = confirmed_view(node, config)
    known: dict[str, tuple[int, int]] = {}
    for name, signature in cursors:
        position = node.position(signature)
        if position is not None and position[0] <= view.block.slot:
            known[name] = position
        elif node.faults.history.unknown_cursor == "error":
            raise filter_transaction_not_found(signature)
        elif node.faults.history.unknown_cursor == "empty":
            return []
    below, above = known.get("before", (view.block.slot + 1, 0)), known.get("until", (-1, 0))
    found = node.mentioning(address, below=below, above=above, limit=limit)
    blocks = {slot: _block_info(node, slot) for slot in {entry.slot for entry in found}}
    return [_signature_info(entry) | blocks[entry.slot] for entry in found]


def _signature_info(entry: Entry) -> dict[str, Json]:
    return {
        "signature": entry.signature,
        "slot": entry.slot,
        "err": entry.err,
        "memo": memo(entry),
        "transactionIndex": entry.index,
    }


def _block_info(node: Node, slot: int) -> dict[str, Json]:
    block = node.block(slot)
    assert block is not None
    return {"blockTime": block.time, "confirmationStatus": node.reached(block)}

"""Priority fees of recent transactions."""

from __future__ import annotations

from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from cvms.localnet.node.node import Node
from cvms.localnet.rpc.call.params import Params, read_pubkey
from cvms.localnet.rpc.call.rpc_errors import invalid_params
from cvms.localnet.types import Entry, Json
from cvms.localnet.vm.message import compute_unit_price, is_static_writable

MAX_ADDRESSES = 128
MAX_BLOCKS = 150


def get_recent_prioritization_fees(node: Node, params: Params) -> Json:
    """Return the lowest price of a transaction in each of the newest blocks that have one.

    With addresses, only transactions that wrote all of them count.
    """
    texts = params.list(0)
    if len(texts) > MAX_ADDRESSES:
        raise invalid_params(f"Too many inputs provided; max {MAX_ADDRESSES}")
    addresses = frozenset(read_pubkey(text) for text in texts)
    return [
        {"slot": slot, "prioritizationFee": _lowest(node.entries_in(slot), addresses)}
        for slot in node.chain.ledger.slots_of_entries(node.tip.slot, MAX_BLOCKS)
    ]


def _lowest(entries: list[Entry], addresses: frozenset[Pubkey]) -> int:
    prices = [
        compute_unit_price(VersionedTransaction.from_bytes(entry.wire).message)
        for entry in entries
        if addresses <= _written(entry)
    ]
    return min(prices, default=0)


def _written(entry: Entry) -> frozenset[Pubkey]:
    message = VersionedTransaction.from_bytes(entry.wire).message
    static = len(message.account_keys)
    loaded = static + len(entry.meta["loadedAddresses"]["writable"])
    return frozenset(
        key
        for index, key in enumerate(entry.keys)
        if (index < static and is_static_writable(message, index)) or static <= index < loaded
    )

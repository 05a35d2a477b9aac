"""Methods about the node and the chain's clock."""

from __future__ import annotations

from solders.hash import Hash

from cvms.errors import RpcError
from cvms.localnet.ledger.chain import LocalnetChain
from cvms.localnet.node.node import Node
from cvms.localnet.rpc.call.params import Params, read_key
from cvms.localnet.rpc.call.rpc_errors import NO_SNAPSHOT, node_behind
from cvms.localnet.rpc.call.view import API_VERSION, open_view
from cvms.localnet.rpc.methods.simulate_transaction import latest_blockhash
from cvms.localnet.types import Block, Json

HEALTHY_LAG = 128
"""Slots by which a healthy node may be behind (`--health-check-slot-distance`)."""

FEATURE_SET = 565236538
"""That of Agave 4.2.2. Clients expect a number here, and do not compare it."""


def get_health(node: Node, params: Params) -> Json:
    if (behind := node.faults.lag) > HEALTHY_LAG:
        raise node_behind(behind)
    return "ok"


def get_version(node: Node, params: Params) -> Json:
    return {"solana-core": API_VERSION, "feature-set": FEATURE_SET}


def get_genesis_hash(node: Node, params: Params) -> Json:
    return str(node.chain.genesis_hash)


def get_alpenglow_certificate(node: Node, params: Params) -> Json:
    return None  # the chain has not migrated to that consensus


def get_highest_snapshot_slot(node: Node, params: Params) -> Json:
    raise RpcError(NO_SNAPSHOT, "No snapshot")


def get_max_retransmit_slot(node: Node, params: Params) -> Json:
    return 0  # a single validator has nobody to retransmit to


def get_max_shred_insert_slot(node: Node, params: Params) -> Json:
    return node.tip.slot


def get_slot(node: Node, params: Params) -> Json:
    return open_view(node, params.options(0)).block.slot


def get_block_height(node: Node, params: Params) -> Json:
    return open_view(node, params.options(0)).block.height


def get_transaction_count(node: Node, params: Params) -> Json:
    block = open_view(node, params.options(0)).block
    return transaction_count(node.chain, block)


def get_epoch_info(node: Node, params: Params) -> Json:
    return epoch_info(node.chain, open_view(node, params.options(0)).block)


def transaction_count(chain: LocalnetChain, block: Block) -> int:
    """Return the number of transactions up to the end of `block`."""
    return chain.transaction_count - chain.ledger.entry_count(after=block.slot)


def epoch_info(chain: LocalnetChain, block: Block) -> Json:
    epoch, index = chain.vm.epochs.get_epoch_and_slot_index(block.slot)
    return {
        "absoluteSlot": block.slot,
        "blockHeight": block.height,
        "epoch": epoch,
        "slotIndex": index,
        "slotsInEpoch": chain.vm.epochs.get_slots_in_epoch(epoch),
        "transactionCount": transaction_count(chain, block),
    }


def get_epoch_schedule(node: Node, params: Params) -> Json:
    epochs = node.chain.vm.epochs
    return {
        "slotsPerEpoch": epochs.slots_per_epoch,
        "leaderScheduleSlotOffset": epochs.leader_schedule_slot_offset,
        "warmup": epochs.warmup,
        "firstNormalEpoch": epochs.first_normal_epoch,
        "firstNormalSlot": epochs.first_normal_slot,
    }


def get_latest_blockhash(node: Node, params: Params) -> Json:
    view = open_view(node, params.options(0))
    return view.with_context(latest_blockhash(view.block))


def is_blockhash_valid(node: Node, params: Params) -> Json:
    blockhash = read_key(Hash, params.text(0), error="{}")
    view = open_view(node, params.options(1))
    return view.with_context(node.chain.blocks.accepts(blockhash, bank=view.block))

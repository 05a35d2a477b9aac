"""Methods about validators: the local chain has one, which leads every slot."""

from __future__ import annotations

from collections.abc import Sequence

from solders.pubkey import Pubkey

from cvms.localnet.ledger.chain import LocalnetChain
from cvms.localnet.ledger.genesis import faucet_keypair
from cvms.localnet.ledger.recent_blocks import STATUS_AGE
from cvms.localnet.node.node import Node
from cvms.localnet.rpc.call.params import CallOptions, Params, read_pubkey
from cvms.localnet.rpc.call.rpc_errors import invalid_params
from cvms.localnet.rpc.call.serde import MAX_U64
from cvms.localnet.rpc.call.view import API_VERSION, open_view
from cvms.localnet.rpc.methods.node_info import FEATURE_SET
from cvms.localnet.types import Entry, Json

MAX_SLOT_LEADERS = 5_000
SIGNATURE_FEE = 5_000
STAKE = 999_999_997_717_120
"""Lamports that a test validator stakes at genesis."""

MAX_LOCKOUTS = 31
DELINQUENT_SLOTS = 128


def identity(chain: LocalnetChain) -> Pubkey:
    """Return the identity of the only validator: the ledger's only keypair."""
    return faucet_keypair(chain.ledger).pubkey()


def vote_account(chain: LocalnetChain) -> Pubkey:
    """Return the address of the validator's vote account, which does not exist as an account."""
    return Pubkey.create_with_seed(identity(chain), "vote", Pubkey.default())


def get_identity(node: Node, params: Params) -> Json:
    return {"identity": str(identity(node.chain))}


def get_cluster_nodes(node: Node, params: Params) -> Json:
    nowhere = "127.0.0.1:0"
    return [
        {
            "pubkey": str(identity(node.chain)),
            "gossip": nowhere,
            "tvu": nowhere,
            "tpu": None,
            "tpuQuic": nowhere,
            "tpuForwards": None,
            "tpuForwardsQuic": nowhere,
            "tpuVote": nowhere,
            "serveRepair": nowhere,
            "rpc": node.rpc_address,
            "pubsub": node.pubsub_address,
            "version": API_VERSION,
            "clientId": "Agave",
            "featureSet": FEATURE_SET,
            "shredVersion": int.from_bytes(bytes(node.chain.genesis_hash)[:2], "little"),
        }
    ]


def get_vote_accounts(node: Node, params: Params) -> Json:
    config = params.options(0)
    wanted = config.fields.get("votePubkey")
    if wanted is not None:
        wanted = read_pubkey(wanted)
    if wanted is not None and wanted != vote_account(node.chain):
        return {"current": [], "delinquent": []}
    block, distance = node.bank(config.commitment()), config.number("delinquentSlotDistance")
    distance = DELINQUENT_SLOTS if distance is None else distance
    voter = {
        "votePubkey": str(vote_account(node.chain)),
        "nodePubkey": str(identity(node.chain)),
        "activatedStake": STAKE,
        "commission": 0,
        "inflationRewardsCommissionBps": 0,
        "epochVoteAccount": True,
        "epochCredits": [[node.chain.vm.epochs.get_epoch(block.slot), block.height, 0]],
        "lastVote": block.parent_slot,
        "rootSlot": max(block.parent_slot - MAX_LOCKOUTS, 0),
    }
    late = block.slot >= distance and block.parent_slot <= block.slot - distance
    return {"current": [] if late else [voter], "delinquent": [voter] if late else []}


# --- leaders -----------------------------------------------------------------------------------


def get_slot_leader(node: Node, params: Params) -> Json:
    open_view(node, params.options(0))
    return str(identity(node.chain))


def get_slot_leaders(node: Node, params: Params) -> Json:
    start, limit = params.integer(0), params.integer(1)
    if limit > MAX_SLOT_LEADERS:
        raise invalid_params(f"Invalid limit; max {MAX_SLOT_LEADERS}")
    epochs, newest = node.chain.vm.epochs, _newest_scheduled_epoch(node)
    first = epochs.get_epoch(start)
    last = epochs.get_epoch(min(start + limit, MAX_U64) - 1) if limit else newest
    if last > newest:
        missing = max(first, newest + 1)
        raise invalid_params(
            f"Invalid slot range: leader schedule for epoch {missing} is unavailable"
        )
    return [str(identity(node.chain))] * limit


def get_leader_schedule(node: Node, params: Params) -> Json:
    """Return each leader's slots of an epoch, counted from its first, or null."""
    given = params.options(0)
    config = params.options(1) if "slot" in given.fields else given
    if params.at(0) is None:
        config = params.options(1)
    wanted = config.fields.get("identity")
    if wanted is not None:
        read_pubkey(wanted)
    slot = given.number("slot")
    slot = node.bank(config.commitment()).slot if slot is None else slot
    epochs, leader = node.chain.vm.epochs, str(identity(node.chain))
    epoch = epochs.get_epoch(slot)
    if epoch > _newest_scheduled_epoch(node):
        return None
    if wanted not in (None, leader):
        return {}
    return {leader: list(range(epochs.get_slots_in_epoch(epoch)))}


def _newest_scheduled_epoch(node: Node) -> int:
    return node.chain.vm.epochs.get_leader_schedule_epoch(node.tip.slot)


def get_block_production(node: Node, params: Params) -> Json:
    """Return how many of its slots the leader used, in a range of slots."""
    config = params.options(0)
    wanted = config.fields.get("identity")
    if wanted is not None:
        wanted = read_pubkey(wanted)
    view = open_view(node, config)
    epochs, newest = node.chain.vm.epochs, view.block.slot
    asked = config.object("range") or CallOptions({})
    first, last = asked.number("firstSlot"), asked.number("lastSlot")
    if first is None:
        first = epochs.get_first_slot_in_epoch(epochs.get_epoch(newest))
    last = newest if last is None else last
    if last < first:
        raise invalid_params(f"lastSlot, {last}, cannot be less than firstSlot, {first}")
    if last > newest:
        raise invalid_params(f"lastSlot, {last}, is too large; max {newest}")
    produced = len(node.chain.ledger.block_slots(first, last, last - first + 1))
    leader = identity(node.chain)
    led = {str(leader): [last - first + 1, produced]}
    return view.with_context(
        {
            "byIdentity": led if wanted in (None, leader) else {},
            "range": {"firstSlot": first, "lastSlot": last},
        }
    )


def get_block_commitment(node: Node, params: Params) -> Json:
    """Return the stake that voted for a block at each depth, null unless it is a recent one."""
    slot, tip = params.integer(0), node.tip
    block = node.block(slot) if slot <= tip.slot else None
    stakes = None
    if block is not None and tip.height - block.height <= STATUS_AGE:
        stakes = [0] * (MAX_LOCKOUTS + 1)
        stakes[min(tip.height - block.height, MAX_LOCKOUTS)] = STAKE
    return {"commitment": stakes, "totalStake": STAKE}


def block_rewards(node: Node, entries: Sequence[Entry]) -> Json:
    """Return a block's rewards: half of the signatures' fees, and the priority fees."""
    fees = [(entry.meta["fee"], SIGNATURE_FEE * entry.wire[0]) for entry in entries]
    lamports = sum(fee - min(base, fee) // 2 for fee, base in fees)
    if not lamports:
        return []
    leader = identity(node.chain)
    return [
        {
            "pubkey": str(leader),
            "lamports": lamports,
            "postBalance": node.chain.vm.lamports(leader),
            "rewardType": "Fee",
            "commission": None,
        }
    ]

"""Methods about the node and the chain's clock."""

from __future__ import annotations

from importlib.metadata import version

from solders.pubkey import Pubkey

from cvms.localnet.chain import Chain
from cvms.localnet.faucet import faucet_keypair
from cvms.localnet.rpc.params import Params, read_hash
from cvms.localnet.rpc.simulation import latest_blockhash
from cvms.localnet.rpc.view import API_VERSION, open_view
from cvms.localnet.types import Block, Json

FEATURE_SET = 3640012085
"""Some number is expected; no client compares it."""


def get_health(chain: Chain, params: Params) -> Json:
    return "ok"


def get_version(chain: Chain, params: Params) -> Json:
    return {
        "solana-core": API_VERSION,
        "feature-set": FEATURE_SET,
        "cvms-localnet": version("cvms"),
    }


def get_genesis_hash(chain: Chain, params: Params) -> Json:
    return str(chain.genesis_hash)


def get_identity(chain: Chain, params: Params) -> Json:
    return {"identity": str(_identity(chain))}


def get_slot_leader(chain: Chain, params: Params) -> Json:
    open_view(chain, params.config(0))
    return str(_identity(chain))


def _identity(chain: Chain) -> Pubkey:
    """The one node there is; it is named after the only keypair the ledger has."""
    return faucet_keypair(chain.ledger).pubkey()


def get_slot(chain: Chain, params: Params) -> Json:
    return open_view(chain, params.config(0)).block.slot


def get_block_height(chain: Chain, params: Params) -> Json:
    return open_view(chain, params.config(0)).block.height


def get_transaction_count(chain: Chain, params: Params) -> Json:
    open_view(chain, params.config(0))
    return chain.transaction_count


def get_epoch_info(chain: Chain, params: Params) -> Json:
    return epoch_info(chain, open_view(chain, params.config(0)).block)


def epoch_info(chain: Chain, block: Block) -> Json:
    epoch, index = chain.vm.epochs.get_epoch_and_slot_index(block.slot)
    return {
        "absoluteSlot": block.slot,
        "blockHeight": block.height,
        "epoch": epoch,
        "slotIndex": index,
        "slotsInEpoch": chain.vm.epochs.get_slots_in_epoch(epoch),
        "transactionCount": chain.transaction_count,
    }


def get_epoch_schedule(chain: Chain, params: Params) -> Json:
    epochs = chain.vm.epochs
    return {
        "slotsPerEpoch": epochs.slots_per_epoch,
        "leaderScheduleSlotOffset": epochs.leader_schedule_slot_offset,
        "warmup": epochs.warmup,
        "firstNormalEpoch": epochs.first_normal_epoch,
        "firstNormalSlot": epochs.first_normal_slot,
    }


def get_latest_blockhash(chain: Chain, params: Params) -> Json:
    view = open_view(chain, params.config(0))
    return view.answer(latest_blockhash(view.block))


def is_blockhash_valid(chain: Chain, params: Params) -> Json:
    blockhash = read_hash(params.required(0))
    view = open_view(chain, params.config(1))
    return view.answer(chain.blocks.accepts(blockhash, bank=view.block))

"""Methods that look transactions up."""

from __future__ import annotations

from cvms.errors import RpcError
from cvms.localnet.blocks import STATUS_AGE
from cvms.localnet.chain import Chain
from cvms.localnet.rpc.faults import INVALID_PARAMS, invalid_params
from cvms.localnet.rpc.params import Config, Params, read_signature
from cvms.localnet.rpc.transaction_encoding import read_transaction_format
from cvms.localnet.rpc.view import View, open_view
from cvms.localnet.types import Block, Commitment, Entry, Json

MAX_STATUSES = 256
MAX_SIGNATURES = 1000


def confirmed_view(chain: Chain, config: Config) -> View:
    """History exists from `confirmed` on."""
    view = open_view(chain, config)
    if config.commitment() is Commitment.PROCESSED:
        raise RpcError(INVALID_PARAMS, "Method does not support commitment below `confirmed`")
    return view


def get_transaction(chain: Chain, params: Params) -> Json:
    signature, given = str(read_signature(params.required(0))), params.at(1)
    # old clients send the encoding alone
    config = Config({"encoding": given}) if isinstance(given, str) else params.config(1)
    view = confirmed_view(chain, config)
    shape = read_transaction_format(config)
    entry = chain.ledger.entry(signature)
    if entry is None or entry.slot > view.block.slot:
        return None
    return {"slot": entry.slot, "blockTime": _block_time(chain, entry.slot)} | shape.render(entry)


def _block_time(chain: Chain, slot: int) -> int | None:
    block = chain.ledger.block(slot)
    return None if block is None else block.time


def get_signature_statuses(chain: Chain, params: Params) -> Json:
    texts, config = params.list(0), params.config(1)
    if len(texts) > MAX_STATUSES:
        raise invalid_params(f"Too many inputs provided; max {MAX_STATUSES}")
    signatures = [str(read_signature(text)) for text in texts]
    view = View(chain, chain.tip)
    search = config.flag("searchTransactionHistory")
    return view.answer([_status(chain, signature, search=search) for signature in signatures])


def _status(chain: Chain, signature: str, *, search: bool) -> Json:
    """A node forgets signatures that are not recent, unless it is asked to search."""
    entry = chain.ledger.entry(signature)
    block = None if entry is None else chain.ledger.block(entry.slot)
    if entry is None or block is None:
        return None
    depth = chain.tip.height - block.height
    if depth > STATUS_AGE and not search:
        return None
    reached = reached_commitment(chain, block)
    return {
        "slot": entry.slot,
        "confirmations": None if reached is Commitment.FINALIZED else depth,
        "err": entry.err,
        "status": entry.meta["status"],
        "confirmationStatus": reached,
    }


def reached_commitment(chain: Chain, block: Block) -> Commitment:
    """The strongest commitment a block of the ledger has reached."""
    for commitment in (Commitment.FINALIZED, Commitment.CONFIRMED):
        if block.height <= chain.bank(commitment).height:
            return commitment
    return Commitment.PROCESSED


def get_signatures_for_address(chain: Chain, params: Params) -> Json:
    """Newest first; an unknown `before` gives none, an unknown `until` stops nothing."""
    address, config = params.pubkey(0), params.config(1)
    limit = config.slot("limit")
    limit = MAX_SIGNATURES if limit is None else limit
    if not 1 <= limit <= MAX_SIGNATURES:
        raise invalid_params(f"Invalid limit; max {MAX_SIGNATURES}")
    view = confirmed_view(chain, config)
    below = (view.block.slot + 1, 0)
    if (before := config.fields.get("before")) is not None:
        position = chain.ledger.position(str(read_signature(before)))
        if position is None:
            return []
        below = min(below, position)
    above = (-1, 0)
    if (until := config.fields.get("until")) is not None:
        above = chain.ledger.position(str(read_signature(until))) or above
    found = chain.ledger.mentioning(address, below=below, above=above, limit=limit)
    return [_signature_info(chain, entry) for entry in found]


def _signature_info(chain: Chain, entry: Entry) -> Json:
    block = chain.ledger.block(entry.slot)
    assert block is not None
    return {
        "signature": entry.signature,
        "slot": entry.slot,
        "err": entry.err,
        "memo": None,
        "blockTime": block.time,
        "confirmationStatus": reached_commitment(chain, block),
    }

"""Methods that submit transactions, and `getFeeForMessage`."""

from __future__ import annotations

from contextlib import suppress

from solders.compute_budget import set_compute_unit_limit
from solders.hash import Hash
from solders.instruction import Instruction
from solders.message import Message
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from cvms.errors import RpcError
from cvms.localnet.ledger.chain import TransactionRefused
from cvms.localnet.ledger.genesis import faucet_keypair
from cvms.localnet.node.faults import ConnectionCut
from cvms.localnet.node.node import Node
from cvms.localnet.rpc.call.params import CallOptions, Params, read_key
from cvms.localnet.rpc.call.rpc_errors import INTERNAL_ERROR, preflight_failure
from cvms.localnet.rpc.call.view import View, open_view
from cvms.localnet.rpc.encoding.wire import read_message, read_transaction
from cvms.localnet.rpc.methods.node_info import get_health
from cvms.localnet.rpc.methods.simulate_transaction import (
    Simulation,
    load_sanitized_keys,
    simulate,
)
from cvms.localnet.types import Commitment, Json
from cvms.localnet.vm.message import is_signed
from cvms.localnet.vm.transaction_errors import error_text


def send_transaction(node: Node, params: Params) -> Json:
    """Return the signature once the transaction is in a block.

    As on a validator, an invalid transaction that was sent with `skipPreflight` is dropped
    without an error.
    """
    config = params.options(1)
    transaction = read_transaction(params.text(0), config.text("encoding", "base58"))
    skips = config.flag("skipPreflight")
    level = "processed" if skips else config.fields.get("preflightCommitment")
    view = open_view(node, CallOptions({**config.fields, "commitment": level}))
    load_sanitized_keys(view, transaction)
    if not skips:
        _preflight(view, transaction)
    return submit(node, transaction, verified=not skips)


def submit(node: Node, transaction: VersionedTransaction, *, verified: bool) -> str:
    """Run a transaction in the tip's block, drop it if it is invalid, and return its signature.

    Raises ConnectionCut if a fault loses the reply.
    """
    signature = str(transaction.signatures[0])
    faults, sends = node.faults, node.faults.sends
    if not faults.happens(sends.drop):
        if faults.happens(sends.late):
            node.chain.process_later(transaction, blocks=sends.late_blocks)
        else:
            with suppress(TransactionRefused):
                node.chain.process(transaction, verified=verified)
    if faults.happens(sends.lose_answer):
        raise ConnectionCut
    return signature


def _preflight(view: View, transaction: VersionedTransaction) -> None:
    """Raise RpcError if a transaction is not signed, the node is late, or its simulation fails."""
    if is_signed(transaction):
        get_health(view.node, Params([]))
        simulation = simulate(view, transaction)
    else:
        simulation = Simulation("SignatureFailure")
    if simulation.err is not None:
        raise preflight_failure(error_text(simulation.err), simulation.as_json(view.node))


def request_airdrop(node: Node, params: Params) -> Json:
    """Transfer lamports from the faucet. Each request makes another transaction."""
    recipient, lamports = params.pubkey(0), params.integer(1)
    if (blockhash := params.options(2).fields.get("recentBlockhash")) is not None:
        read_key(Hash, blockhash)
    chain = node.chain
    block = chain.bank(Commitment.PROCESSED)
    faucet = faucet_keypair(chain.ledger)
    for repeat in range(chain.transaction_count + 2):
        instructions = _airdrop(faucet.pubkey(), recipient, lamports, repeat)
        message = Message.new_with_blockhash(instructions, faucet.pubkey(), block.blockhash)
        transaction = VersionedTransaction(message, [faucet])
        try:
            entry = chain.process(transaction)
        except TransactionRefused as refused:
            if refused.err != "AlreadyProcessed":
                break
        else:
            if entry.err is None:
                return entry.signature
            break
    raise RpcError(INTERNAL_ERROR, "Internal error")


def _airdrop(faucet: Pubkey, recipient: Pubkey, lamports: int, repeat: int) -> list[Instruction]:
    """Return an airdrop's instructions. A compute limit makes a repeated airdrop's hash unique."""
    give = transfer(TransferParams(from_pubkey=faucet, to_pubkey=recipient, lamports=lamports))
    return [give] if repeat == 0 else [set_compute_unit_limit(1000 + repeat), give]


def get_fee_for_message(node: Node, params: Params) -> Json:
    """Return the fee of a message in lamports, or null if its block hash has expired."""
    message = read_message(params.text(0))
    view = open_view(node, params.options(1))
    if not node.chain.blocks.accepts(message.recent_blockhash, bank=view.block):
        return view.with_context(None)
    signatures = [Signature.default()] * message.header.num_required_signatures
    unsigned = VersionedTransaction.populate(message, signatures)
    try:
        return view.with_context(node.chain.simulate(unsigned, at=view.block).meta.fee())
    except TransactionRefused:
        return view.with_context(None)

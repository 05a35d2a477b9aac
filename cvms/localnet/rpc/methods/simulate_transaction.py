"""`simulateTransaction`, and the parts of it that the preflight of `sendTransaction` uses."""

from __future__ import annotations

from solders.account import Account
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from cvms.localnet.ledger.chain import TransactionRefused
from cvms.localnet.ledger.recent_blocks import MAX_HASH_AGE
from cvms.localnet.ledger.transaction_records import inner_instructions, return_data
from cvms.localnet.node.node import Node
from cvms.localnet.rpc.call.params import CallOptions, Params, read_pubkey
from cvms.localnet.rpc.call.rpc_errors import invalid_params, signature_verification_failure
from cvms.localnet.rpc.call.view import View, open_view
from cvms.localnet.rpc.encoding.account_encoding import read_format
from cvms.localnet.rpc.encoding.wire import read_transaction
from cvms.localnet.types import Block, Json
from cvms.localnet.vm.machine import ExecutionResult
from cvms.localnet.vm.message import is_signed


def simulate_transaction(node: Node, params: Params) -> Json:
    text, config = params.text(0), params.options(1)
    transaction = read_transaction(text, config.text("encoding", "base58"))
    replace, verify = config.flag("replaceRecentBlockhash"), config.flag("sigVerify")
    if replace and verify:
        raise invalid_params("sigVerify may not be used with replaceRecentBlockhash")
    view = open_view(node, config)
    if verify and not is_signed(transaction):
        raise signature_verification_failure()
    wanted = config.object("accounts")
    try:
        if not replace:
            node.chain.check(transaction, bank=view.block, tip=node.tip)
        outcome = node.chain.simulate(transaction, at=view.block)
    except TransactionRefused as refused:
        return view.with_context(refused_result(refused))
    result = outcome_result(node, outcome, inner=config.flag("innerInstructions"))
    if wanted is not None:
        result["accounts"] = _accounts_after(view, outcome, wanted, transaction)
    if replace:
        result["replacementBlockhash"] = latest_blockhash(view.block)
    return view.with_context(result)


def outcome_result(node: Node, outcome: ExecutionResult, *, inner: bool = False) -> dict[str, Json]:
    """Return the result of a simulation, which is also the data of a preflight failure."""
    inner = inner and not node.faults.history.no_inner_instructions
    groups = inner_instructions(outcome.inner_instructions) if inner else None
    return {
        "err": outcome.err,
        "logs": node.logs(outcome.meta.logs()),
        "accounts": None,
        "unitsConsumed": outcome.meta.compute_units_consumed(),
        "returnData": return_data(outcome.meta),
        "innerInstructions": groups,
        "replacementBlockhash": None,
    }


def refused_result(refusal: TransactionRefused) -> dict[str, Json]:
    return {
        "err": refusal.err,
        "logs": [],
        "accounts": None,
        "unitsConsumed": 0,
        "returnData": None,
        "innerInstructions": None,
        "replacementBlockhash": None,
    }


def latest_blockhash(block: Block) -> Json:
    """Return a block's hash, and the last block height at which a transaction with it can land."""
    return {
        "blockhash": str(block.blockhash),
        "lastValidBlockHeight": block.height + MAX_HASH_AGE,
    }


def _accounts_after(
    view: View, outcome: ExecutionResult, wanted: CallOptions, transaction: VersionedTransaction
) -> Json:
    addresses = wanted.items("addresses")
    shape = read_format(wanted, default="base64")
    if shape.encoding in ("binary", "base58"):
        raise invalid_params("base58 encoding not supported")
    if len(addresses) > len(transaction.message.account_keys):
        count = len(transaction.message.account_keys)
        raise invalid_params(f"Too many accounts provided; max {count}")
    if outcome.err is not None:
        return [None] * len(addresses)

    def after(key: Pubkey) -> Account | None:
        account = outcome.post_accounts.get(key) or view.account(key)
        return account if account is not None and account.lamports else None

    found = [after(read_pubkey(address)) for address in addresses]
    return [shape.render(view, account) if account else None for account in found]

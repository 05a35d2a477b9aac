"""`simulateTransaction`, and the parts of it that the preflight of `sendTransaction` uses."""

from __future__ import annotations

from dataclasses import dataclass

from solders.account import Account
from solders.address_lookup_table_account import ID as LOOKUP_TABLES
from solders.address_lookup_table_account import AddressLookupTable
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from cvms.localnet.ledger.chain import TransactionRefused
from cvms.localnet.ledger.recent_blocks import MAX_HASH_AGE
from cvms.localnet.ledger.transaction_records import (
    Balances,
    inner_instructions,
    read_balances,
    return_data,
)
from cvms.localnet.node.node import Node
from cvms.localnet.rpc.call.params import CallOptions, Params, read_pubkey
from cvms.localnet.rpc.call.rpc_errors import invalid_params
from cvms.localnet.rpc.call.view import View, open_view
from cvms.localnet.rpc.encoding.account_encoding import read_format
from cvms.localnet.rpc.encoding.transaction_encoding import parse_inner_instructions
from cvms.localnet.rpc.encoding.wire import read_transaction
from cvms.localnet.types import Block, Json
from cvms.localnet.vm.machine import ExecutionResult
from cvms.localnet.vm.message import LoadedKeys, compute_budget_error, is_signed, load_keys
from cvms.localnet.vm.transaction_errors import error_text

SIGNATURE_FEE = 5_000

FEES_ONLY = frozenset(
    {
        "InvalidProgramForExecution",
        "MaxLoadedAccountsDataSizeExceeded",
        "ProgramAccountNotFound",
    }
)
"""Errors of loading for which the fee is taken all the same."""


@dataclass(frozen=True, slots=True)
class Simulation:
    """The result of a simulation. Without an `outcome` the transaction was refused with `err`."""

    err: Json
    outcome: ExecutionResult | None = None
    loaded_bytes: int = 0
    refused_fee: int = 0
    """The fee of a transaction whose accounts cannot be loaded."""

    def as_json(self, node: Node) -> dict[str, Json]:
        """Return the data of a preflight failure. `simulateTransaction` tells more."""
        meta = None if self.outcome is None else self.outcome.meta
        return {
            "err": self.err,
            "logs": [] if meta is None else node.logs(meta.logs()),
            "accounts": None,
            "unitsConsumed": 0 if meta is None else meta.compute_units_consumed(),
            "loadedAccountsDataSize": 0 if self.fee is None else self.loaded_bytes,
            "returnData": None if meta is None else return_data(meta),
            "innerInstructions": None,
            "replacementBlockhash": None,
            "fee": self.fee,
            "preBalances": None,
            "postBalances": None,
            "preTokenBalances": None,
            "postTokenBalances": None,
            "loadedAddresses": None,
        }

    @property
    def fee(self) -> int | None:
        if isinstance(self.err, str) and self.err not in FEES_ONLY:
            return None
        return self.refused_fee if self.outcome is None else self.outcome.meta.fee()


def simulate(
    view: View, transaction: VersionedTransaction, *, check_blockhash: bool = True
) -> Simulation:
    try:
        if check_blockhash:
            view.chain.check(transaction, bank=view.block, tip=view.node.tip)
        outcome = view.chain.simulate(transaction, at=view.block)
    except TransactionRefused as refused:
        signers = transaction.message.header.num_required_signatures
        return Simulation(refused.err, refused_fee=SIGNATURE_FEE * signers)
    keys = load_keys(transaction.message, view.account)
    return Simulation(outcome.err, outcome, read_balances(keys.all, view.account).loaded_bytes)


def simulate_transaction(node: Node, params: Params) -> Json:
    config = params.options(1)
    transaction = read_transaction(params.text(0), config.text("encoding", "base58"))
    view = open_view(node, config)
    replace, verify = config.flag("replaceRecentBlockhash"), config.flag("sigVerify")
    if replace and verify:
        raise invalid_params("sigVerify may not be used with replaceRecentBlockhash")
    keys = load_sanitized_keys(view, transaction)
    if verify and not is_signed(transaction):
        simulation = Simulation("SignatureFailure")
        result = simulation.as_json(node)
    else:
        simulation = simulate(view, transaction, check_blockhash=not replace)
        result = simulation.as_json(node) | _balances(view, simulation, keys)
    if (wanted := config.object("accounts")) is not None:
        result["accounts"] = _accounts_after(view, simulation, wanted, len(keys.all))
    recorded = not node.faults.history.no_inner_instructions
    if config.flag("innerInstructions") and recorded and simulation.outcome is not None:
        groups = inner_instructions(simulation.outcome.inner_instructions)
        result["innerInstructions"] = parse_inner_instructions(keys.all, groups)
    if replace:
        result["replacementBlockhash"] = latest_blockhash(view.block)
    return view.with_context(result | {"loadedAddresses": keys.loaded_json()})


def load_sanitized_keys(view: View, transaction: VersionedTransaction) -> LoadedKeys:
    """Resolve a transaction's table lookups. Raises RpcError for a failed or a bad instruction."""
    message = transaction.message
    if (budget_error := compute_budget_error(message)) is not None:
        raise invalid_params(f"invalid transaction: {error_text(budget_error)}")
    for lookup in message.address_table_lookups if isinstance(message, MessageV0) else []:
        error = _lookup_error(
            view.account(lookup.account_key),
            bytes(lookup.writable_indexes) + bytes(lookup.readonly_indexes),
        )
        if error is not None:
            raise invalid_params(f"invalid transaction: {error_text(error)}")
    return load_keys(message, view.account)


def _lookup_error(table: Account | None, indexes: bytes) -> str | None:
    if table is None:
        return "AddressLookupTableNotFound"
    if table.owner != LOOKUP_TABLES:
        return "InvalidAddressLookupTableOwner"
    try:
        addresses = AddressLookupTable.deserialize(bytes(table.data)).addresses
    except ValueError:
        return "InvalidAddressLookupTableData"
    return "InvalidAddressLookupTableIndex" if max(indexes, default=-1) >= len(addresses) else None


def _balances(view: View, simulation: Simulation, keys: LoadedKeys) -> dict[str, Json]:
    """Return the balances before and after a simulation."""
    before = read_balances(keys.all, view.account)
    after = _balances_after(view, simulation, keys, before)
    return {
        "preBalances": before.lamports,
        "postBalances": after.lamports,
        "preTokenBalances": before.tokens_json(),
        "postTokenBalances": after.tokens_json(),
    }


def _balances_after(
    view: View, simulation: Simulation, keys: LoadedKeys, before: Balances
) -> Balances:
    if simulation.err is None and simulation.outcome is not None:
        changed = simulation.outcome.post_accounts
        return read_balances(keys.all, lambda key: changed.get(key) or view.account(key))
    paid = before.lamports[0] - (simulation.fee or 0)
    return Balances([paid, *before.lamports[1:]], before.tokens, before.loaded_bytes)


def latest_blockhash(block: Block) -> Json:
    """Return a block's hash, and the last block height at which a transaction with it can land."""
    return {
        "blockhash": str(block.blockhash),
        "lastValidBlockHeight": block.height + MAX_HASH_AGE,
    }


def _accounts_after(view: View, simulation: Simulation, wanted: CallOptions, count: int) -> Json:
    addresses = wanted.items("addresses")
    shape = read_format(wanted, default="base64")
    if shape.encoding in ("binary", "base58"):
        raise invalid_params("base58 encoding not supported")
    if len(addresses) > count:
        raise invalid_params(f"Too many accounts provided; max {count}")
    if simulation.err is not None or simulation.outcome is None:
        return [None] * len(addresses)
    changed = simulation.outcome.post_accounts

    def after(key: Pubkey) -> Account | None:
        account = changed.get(key) or view.account(key)
        return account if account is not None and account.lamports else None

    found = [(key := read_pubkey(address), after(key)) for address in addresses]
    return [shape.render(view, key, account) if account else None for key, account in found]

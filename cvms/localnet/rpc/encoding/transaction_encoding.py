"""Transactions as JSON, in each encoding and version."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from based58 import b58decode, b58encode
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction
from spl.memo.constants import MEMO_PROGRAM_ID

from cvms.localnet.rpc.call.params import CallOptions
from cvms.localnet.rpc.call.rpc_errors import unsupported_version
from cvms.localnet.rpc.encoding.account_encoding import encode_data
from cvms.localnet.rpc.encoding.parsed_instructions import parse_instruction
from cvms.localnet.types import Entry, Json
from cvms.localnet.vm.message import is_static_writable

BALANCE_NAMES = (
    "err",
    "status",
    "fee",
    "preBalances",
    "postBalances",
    "preTokenBalances",
    "postTokenBalances",
)

MEMO_PROGRAMS = frozenset(
    {
        Pubkey.from_string("Memo1UhkJRfHyvLMcVucJwxXeuD728EqVDDwQDxFMNo"),
        MEMO_PROGRAM_ID,
    }
)


@dataclass(frozen=True, slots=True)
class TransactionFormat:
    """The encoding that a call asks for. Without a `max_version` only legacy transactions."""

    encoding: str
    max_version: int | None
    show_rewards: bool = True

    def render(self, entry: Entry) -> dict[str, Json]:
        """Return `transaction`, `meta` and, if the call has a `max_version`, `version`."""
        transaction = VersionedTransaction.from_bytes(entry.wire)
        shown = {"transaction": self._transaction(entry, transaction), "meta": self._meta(entry)}
        return {**shown, **self._version(transaction)}

    def render_keys(self, entry: Entry) -> dict[str, Json]:
        """Return `getBlock`'s detail `accounts`: keys, signatures and balances."""
        transaction = VersionedTransaction.from_bytes(entry.wire)
        shown = {
            "signatures": [str(signature) for signature in transaction.signatures],
            "accountKeys": _parsed_keys(entry, transaction),
        }
        meta = {name: entry.meta[name] for name in BALANCE_NAMES}
        if self.show_rewards:
            meta["rewards"] = []
        return {"transaction": shown, "meta": meta, **self._version(transaction)}

    def _version(self, transaction: VersionedTransaction) -> dict[str, Json]:
        versioned = isinstance(transaction.message, MessageV0)
        if self.max_version is None:
            if versioned:
                raise unsupported_version(0)
            return {}
        return {"version": 0 if versioned else "legacy"}

    def _transaction(self, entry: Entry, transaction: VersionedTransaction) -> Json:
        if self.encoding not in ("json", "jsonParsed"):
            return _binary(entry.wire, self.encoding)
        message = (
            _parsed_message(entry, transaction)
            if self.encoding == "jsonParsed"
            else _raw_message(transaction)
        )
        return {"signatures": [str(s) for s in transaction.signatures], "message": message}

    def _meta(self, entry: Entry) -> Json:
        rewards: Json = [] if self.show_rewards else None
        if self.encoding != "jsonParsed":
            return {**entry.meta, "rewards": rewards}
        recorded = entry.meta["innerInstructions"]
        inner = None if recorded is None else parse_inner_instructions(entry.keys, recorded)
        meta = {**entry.meta, "innerInstructions": inner, "rewards": rewards}
        del meta["loadedAddresses"]  # the parsed keys include them
        return meta


def read_transaction_format(config: CallOptions, *, show_rewards: bool = True) -> TransactionFormat:
    version = config.number("maxSupportedTransactionVersion")
    return TransactionFormat(config.text("encoding", "json"), version, show_rewards)


def memo(entry: Entry) -> str | None:
    """Return the memos of a transaction, each after its length in bytes."""
    found = []
    for instruction in VersionedTransaction.from_bytes(entry.wire).message.instructions:
        if entry.keys[instruction.program_id_index] in MEMO_PROGRAMS:
            data = bytes(instruction.data)
            found.append(f"[{len(data)}] {_memo_text(data)}")
    return "; ".join(found) or None


def _memo_text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return "(unparseable)"


def _binary(wire: bytes, encoding: str) -> Json:
    if encoding == "base64":
        return encode_data(wire, encoding)
    text = b58encode(wire).decode()  # the limit of 128 bytes is not for transactions
    return text if encoding == "binary" else [text, encoding]


def _raw_message(transaction: VersionedTransaction) -> dict[str, Json]:
    message = transaction.message
    header = message.header
    shown: dict[str, Json] = {
        "header": {
            "numRequiredSignatures": header.num_required_signatures,
            "numReadonlySignedAccounts": header.num_readonly_signed_accounts,
            "numReadonlyUnsignedAccounts": header.num_readonly_unsigned_accounts,
        },
        "accountKeys": [str(key) for key in message.account_keys],
        "recentBlockhash": str(message.recent_blockhash),
        "instructions": _compiled(transaction),
    }
    return shown | _lookups(transaction)


def _compiled(transaction: VersionedTransaction) -> list[dict[str, Json]]:
    return [
        {
            "programIdIndex": instruction.program_id_index,
            "accounts": list(instruction.accounts),
            "data": b58encode(bytes(instruction.data)).decode(),
            "stackHeight": 1,
        }
        for instruction in transaction.message.instructions
    ]


def _lookups(transaction: VersionedTransaction) -> dict[str, Json]:
    if not isinstance(transaction.message, MessageV0):
        return {}
    lookups = [
        {
            "accountKey": str(lookup.account_key),
            "writableIndexes": list(lookup.writable_indexes),
            "readonlyIndexes": list(lookup.readonly_indexes),
        }
        for lookup in transaction.message.address_table_lookups
    ]
    return {"addressTableLookups": lookups}


def _parsed_message(entry: Entry, transaction: VersionedTransaction) -> dict[str, Json]:
    instructions = [_parsed(entry.keys, compiled) for compiled in _compiled(transaction)]
    shown: dict[str, Json] = {
        "accountKeys": _parsed_keys(entry, transaction),
        "recentBlockhash": str(transaction.message.recent_blockhash),
        "instructions": instructions,
    }
    return shown | _lookups(transaction)


def _parsed_keys(entry: Entry, transaction: VersionedTransaction) -> list[dict[str, Json]]:
    message = transaction.message
    static = len(message.account_keys)
    loaded_writable = len(entry.meta["loadedAddresses"]["writable"])
    return [
        {
            "pubkey": str(key),
            "writable": (
                is_static_writable(message, index)
                if index < static
                else index < static + loaded_writable
            ),
            "signer": index < message.header.num_required_signatures,
            "source": "transaction" if index < static else "lookupTable",
        }
        for index, key in enumerate(entry.keys)
    ]


def parse_inner_instructions(keys: Sequence[Pubkey], groups: Iterable[Json]) -> Json:
    """Parse the inner instructions of a transaction with these keys."""
    return [
        {
            "index": group["index"],
            "instructions": [_parsed(keys, each) for each in group["instructions"]],
        }
        for group in groups
    ]


def _parsed(keys: Sequence[Pubkey], compiled: dict[str, Json]) -> dict[str, Json]:
    program = keys[compiled["programIdIndex"]]
    accounts = [str(keys[index]) for index in compiled["accounts"]]
    data = compiled["data"]
    height = compiled["stackHeight"]
    if (parsed := parse_instruction(program, accounts, b58decode(data.encode()))) is not None:
        return {**parsed, "programId": str(program), "stackHeight": height}
    return {"programId": str(program), "accounts": accounts, "data": data, "stackHeight": height}

"""Transactions and blocks of transactions, decoded from the JSON text of a node's response.

A block holds everybody's transactions. So accounts stay texts until a transaction is asked for.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, TypeVar

import msgspec
from based58 import b58decode
from solders.pubkey import Pubkey

from cvms.chain.rpc.call_params import MAX_TRANSACTION_VERSION, at
from cvms.chain.rpc.responses import (
    Count,
    RawInstruction,
    TransactionRecord,
    block_time,
    unexpected,
)
from cvms.chain.rpc.transport.call_state import Call
from cvms.chain.types import Commitment, Lamports, Slot

T = TypeVar("T")

Index = Annotated[int, msgspec.Meta(ge=0, le=255)]
_BASE58_CHUNK = 128


class _InstructionResponse(msgspec.Struct, frozen=True, rename="camel", gc=False):
    program_id_index: Index
    accounts: list[Index]
    data: str


class _InnerResponse(msgspec.Struct, frozen=True, gc=False):
    index: Index
    instructions: list[_InstructionResponse]


class _LoadedResponse(msgspec.Struct, frozen=True, gc=False):
    writable: list[str] = []
    readonly: list[str] = []


class _MetaResponse(msgspec.Struct, frozen=True, rename="camel", gc=False):
    err: Any
    fee: Count
    log_messages: list[str] | None = None
    inner_instructions: list[_InnerResponse] | None = None
    loaded_addresses: _LoadedResponse | None = None


class _MessageResponse(msgspec.Struct, frozen=True, rename="camel", gc=False):
    account_keys: list[str]
    instructions: list[_InstructionResponse]


class _SignedResponse(msgspec.Struct, frozen=True, gc=False):
    signatures: Annotated[list[str], msgspec.Meta(min_length=1)]
    message: _MessageResponse


class TransactionResponse(msgspec.Struct, frozen=True, rename="camel", gc=False):
    """A result of getTransaction."""

    slot: Count
    transaction: _SignedResponse
    meta: _MetaResponse
    block_time: int | None = None


class _BlockTransaction(msgspec.Struct, frozen=True, gc=False):
    transaction: _SignedResponse
    meta: _MetaResponse | None = None


class _BlockResponse(msgspec.Struct, frozen=True, rename="camel", gc=False):
    parent_slot: Count
    transactions: list[_BlockTransaction]
    block_time: int | None = None


_TRANSACTION = msgspec.json.Decoder(TransactionResponse | None)
_BLOCK = msgspec.json.Decoder(_BlockResponse | None)


@dataclass(frozen=True, slots=True)
class Block:
    """A block with all of its transactions. `block_time` is in Unix seconds."""

    slot: Slot
    block_time: int | None
    transactions: list[_BlockTransaction]

    def records(
        self, program: Pubkey, wanted: Collection[str]
    ) -> tuple[dict[str, TransactionRecord], set[str]]:
        """Return the transactions of the block that are `wanted`, by signature.

        With them the signatures of the others that succeeded and executed `program`. Transactions
        without their outcome count as neither. Raises RpcError.
        """
        name = str(program)
        records: dict[str, TransactionRecord] = {}
        others: set[str] = set()
        for each in self.transactions:
            signature, meta = each.transaction.signatures[0], each.meta
            if meta is None:
                continue
            if signature in wanted:
                records[signature] = _record(
                    each.transaction, meta, self.slot, self.block_time, "getBlock"
                )
            elif meta.err is None and _executes(each.transaction, meta, name):
                others.add(signature)
        return records, others


def transaction_call(signature: str, commitment: Commitment) -> Call:
    """Return the call that reads a transaction: its TransactionRecord, None for null."""
    parse = partial(_transaction, signature)
    return Call("getTransaction", [signature, _options(commitment)], parse, True, raw=True)


def block_call(slot: Slot, commitment: Commitment) -> Call:
    """Return the call that reads a Block, None for null."""
    options = _options(commitment) | {"transactionDetails": "full", "rewards": False}
    return Call("getBlock", [slot, options], partial(_block, slot), True, raw=True)


def _options(commitment: Commitment) -> dict[str, Any]:
    return at(commitment, encoding="json", maxSupportedTransactionVersion=MAX_TRANSACTION_VERSION)


def _transaction(signature: str, text: msgspec.Raw) -> TransactionRecord | None:
    got = _decode(_TRANSACTION, text, "getTransaction")
    if got is None:
        return None
    found = transaction(got, "getTransaction")
    if found.signature != signature:
        raise unexpected("getTransaction", "another transaction")
    return found


def _block(slot: Slot, text: msgspec.Raw) -> Block | None:
    got = _decode(_BLOCK, text, "getBlock")
    if got is None:
        return None
    if got.parent_slot >= slot > 0:
        raise unexpected("getBlock", f"slot {got.parent_slot} as the parent of {slot}")
    return Block(slot, block_time(got.block_time), got.transactions)


def _decode(decoder: msgspec.json.Decoder[T], text: msgspec.Raw, method: str) -> T:
    try:
        return decoder.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise unexpected(method, str(error)) from None


def transaction(answer: TransactionResponse, method: str) -> TransactionRecord:
    """Return the transaction.

    Raises RpcError when an instruction refers to an account that is not listed, or when an address
    or data are not base58.
    """
    return _record(
        answer.transaction, answer.meta, Slot(answer.slot), block_time(answer.block_time), method
    )


def _record(
    signed: _SignedResponse, meta: _MetaResponse, slot: Slot, time: int | None, method: str
) -> TransactionRecord:
    inner = {each.index: each.instructions for each in meta.inner_instructions or ()}
    instructions = []
    try:
        keys = list(map(Pubkey.from_string, _keys(signed, meta)))
        for index, top in enumerate(signed.message.instructions):
            instructions.append(_instruction(top, keys, index, None))
            for inner_index, each in enumerate(inner.get(index, ())):
                instructions.append(_instruction(each, keys, index, inner_index))
    except (IndexError, ValueError) as error:
        raise unexpected(method, str(error)) from None
    return TransactionRecord(
        signature=signed.signatures[0],
        slot=slot,
        block_time=time,
        err=meta.err,
        logs=meta.log_messages,
        account_keys=keys,
        instructions=instructions,
        fee=Lamports(meta.fee),
    )


def _keys(signed: _SignedResponse, meta: _MetaResponse) -> list[str]:
    loaded = meta.loaded_addresses
    if loaded is None:
        return signed.message.account_keys
    return [*signed.message.account_keys, *loaded.writable, *loaded.readonly]


def _executes(signed: _SignedResponse, meta: _MetaResponse, program: str) -> bool:
    keys = _keys(signed, meta)
    if program not in keys:
        return False
    index = keys.index(program)
    inner = [each for some in meta.inner_instructions or () for each in some.instructions]
    return any(each.program_id_index == index for each in [*signed.message.instructions, *inner])


def _instruction(
    answer: _InstructionResponse, keys: list[Pubkey], index: int, inner_index: int | None
) -> RawInstruction:
    return RawInstruction(
        index,
        inner_index,
        keys[answer.program_id_index],
        tuple([keys[each] for each in answer.accounts]),
        _decode_base58(answer.data),
    )


def _decode_base58(text: str) -> bytes:
    """Decode instruction data. Raises ValueError when they are not base58.

    The library takes quadratic time: 50 ms for the 10,240 bytes that a program may pass to another.
    Decoded in chunks they take 7 ms.
    """
    if len(text) <= _BASE58_CHUNK:
        return b58decode(text.encode())
    significant = text.lstrip("1")
    number = 0
    for start in range(0, len(significant), _BASE58_CHUNK):
        chunk = significant[start : start + _BASE58_CHUNK].encode()
        number = number * 58 ** len(chunk) + int.from_bytes(b58decode(chunk), "big")
    zeros = len(text) - len(significant)
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")

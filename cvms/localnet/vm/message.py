"""What a transaction's message states: its keys, which are writable, and its price."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from solders.account import Account
from solders.address_lookup_table_account import AddressLookupTable
from solders.compute_budget import ID as COMPUTE_BUDGET
from solders.message import Message, MessageV0, MessageV1, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from cvms.localnet.types import Json

SET_COMPUTE_UNIT_PRICE = 3
COMPUTE_BUDGET_VALUES = {1: 4, 2: 4, SET_COMPUTE_UNIT_PRICE: 8, 4: 4}
"""The length of the value of each compute budget instruction."""

AnyMessage: TypeAlias = Message | MessageV0 | MessageV1


@dataclass(frozen=True, slots=True)
class LoadedKeys:
    """The keys of a transaction in the order its instructions index them."""

    static: tuple[Pubkey, ...]
    writable: tuple[Pubkey, ...]
    """Loaded from lookup tables, as are the read-only keys below."""
    readonly: tuple[Pubkey, ...]

    @property
    def all(self) -> tuple[Pubkey, ...]:
        return self.static + self.writable + self.readonly

    def loaded_json(self) -> Json:
        """Return the keys that tables contain as `loadedAddresses`."""
        return {
            "writable": [str(key) for key in self.writable],
            "readonly": [str(key) for key in self.readonly],
        }


def message_hash(message: AnyMessage) -> bytes:
    """Return the hash that identifies a transaction, independent of its signatures."""
    return hashlib.sha256(to_bytes_versioned(message)).digest()


def is_signed(transaction: VersionedTransaction) -> bool:
    """Return True if every required signature is present and valid."""
    required = transaction.message.header.num_required_signatures
    return len(transaction.signatures) == required and all(transaction.verify_with_results())


def load_keys(message: AnyMessage, account: Callable[[Pubkey], Account | None]) -> LoadedKeys:
    """Resolve table lookups. Failed ones are left out, and reported by the execution."""
    writable: list[Pubkey] = []
    readonly: list[Pubkey] = []
    lookups = message.address_table_lookups if isinstance(message, MessageV0) else []
    for lookup in lookups:
        addresses = _table(account(lookup.account_key))
        writable += [addresses[i] for i in lookup.writable_indexes if i < len(addresses)]
        readonly += [addresses[i] for i in lookup.readonly_indexes if i < len(addresses)]
    return LoadedKeys(tuple(message.account_keys), tuple(writable), tuple(readonly))


def _table(account: Account | None) -> list[Pubkey]:
    if account is None:
        return []
    try:
        return AddressLookupTable.deserialize(bytes(account.data)).addresses
    except ValueError:
        return []


def writable_keys(message: AnyMessage, keys: LoadedKeys) -> list[Pubkey]:
    """Return the keys that the transaction declares writable."""
    header, static = message.header, keys.static
    signers = header.num_required_signatures
    signing = static[: signers - header.num_readonly_signed_accounts]
    others = static[signers : len(static) - header.num_readonly_unsigned_accounts]
    return [*signing, *others, *keys.writable]


def is_static_writable(message: AnyMessage, index: int) -> bool:
    header = message.header
    signers = header.num_required_signatures
    if index < signers:
        return index < signers - header.num_readonly_signed_accounts
    return index < len(message.account_keys) - header.num_readonly_unsigned_accounts


def compute_budget_error(message: AnyMessage) -> Json:
    """Return the transaction error of a bad or repeated compute budget instruction, or None."""
    seen = set()
    for index, instruction in enumerate(message.instructions):
        if message.account_keys[instruction.program_id_index] != COMPUTE_BUDGET:
            continue
        data = bytes(instruction.data)
        kind = data[0] if data else 0
        if len(data) <= COMPUTE_BUDGET_VALUES.get(kind, len(data)):
            return {"InstructionError": [index, "InvalidInstructionData"]}
        if kind in seen:
            return {"DuplicateInstruction": index}
        seen.add(kind)
    return None


def compute_unit_price(message: AnyMessage) -> int:
    """Return the price of a compute unit in micro-lamports."""
    for instruction in message.instructions:
        data = bytes(instruction.data)
        program = message.account_keys[instruction.program_id_index]
        if program == COMPUTE_BUDGET and data[:1] == bytes([SET_COMPUTE_UNIT_PRICE]):
            return int.from_bytes(data[1:9], "little")
    return 0

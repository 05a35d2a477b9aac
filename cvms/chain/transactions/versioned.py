"""Transactions: building version 0, signing, co-signing, and their encoding for wallets."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.hash import Hash
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import CompileError, Message, MessageV0, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import SanitizeError, VersionedTransaction

from cvms.chain.rpc.responses import LatestBlockhash
from cvms.chain.types import BlockHeight, Slot
from cvms.errors import InvalidRequest

MAX_WIRE_BYTES = 1232  # IPv6's minimum MTU less headers: the network drops anything longer
MAX_COMPUTE_UNITS = 1_400_000  # of one transaction, on every cluster
DEFAULT_UNITS_PER_INSTRUCTION = 200_000

AnyMessage: TypeAlias = Message | MessageV0
"""A message as wallets sign them: legacy, or version 0."""


@dataclass(frozen=True, slots=True)
class BuiltTransaction:
    """An unsigned transaction: its main `instruction`, preceded by those of `setup`.

    `compute_unit_price` is in micro-lamports for each unit of `compute_unit_limit`. The transaction
    can be in blocks after `since_slot`, up to `last_valid_block_height`.
    """

    message: MessageV0
    last_valid_block_height: BlockHeight
    since_slot: Slot
    instruction: Instruction
    setup: tuple[Instruction, ...]
    fee_payer: Pubkey
    compute_unit_limit: int
    compute_unit_price: int

    @property
    def message_hash(self) -> bytes:
        """See the function `message_hash`."""
        return message_hash(self.message)

    @property
    def unsigned_wire(self) -> bytes:
        """The bytes for a wallet, in which every signature is zero."""
        return bytes(unsigned(self.message))

    @property
    def signers(self) -> tuple[Pubkey, ...]:
        """The required signers, the fee payer first."""
        return required_signers(self.message)


def build_transaction(
    instruction: Instruction,
    *,
    fee_payer: Pubkey,
    blockhash: LatestBlockhash,
    setup: Sequence[Instruction] = (),
    compute_unit_limit: int | None = None,
    compute_unit_price: int = 0,
) -> BuiltTransaction:
    """Build a transaction. Raises InvalidRequest when it is too large."""
    limit = compute_unit_limit or DEFAULT_UNITS_PER_INSTRUCTION * (1 + len(setup))
    limit = min(limit, MAX_COMPUTE_UNITS)
    budget = [set_compute_unit_limit(limit)]
    if compute_unit_price:
        budget.append(set_compute_unit_price(compute_unit_price))
    return BuiltTransaction(
        message=_compile(fee_payer, [*budget, *setup, instruction], blockhash.blockhash),
        last_valid_block_height=blockhash.last_valid_block_height,
        since_slot=blockhash.slot,
        instruction=instruction,
        setup=tuple(setup),
        fee_payer=fee_payer,
        compute_unit_limit=limit,
        compute_unit_price=compute_unit_price,
    )


def with_budget(
    built: BuiltTransaction, *, compute_unit_limit: int, compute_unit_price: int
) -> BuiltTransaction:
    """Return the transaction with another compute budget, and the same blockhash."""
    blockhash = LatestBlockhash(
        built.message.recent_blockhash, built.last_valid_block_height, built.since_slot
    )
    return build_transaction(
        built.instruction,
        fee_payer=built.fee_payer,
        blockhash=blockhash,
        setup=built.setup,
        compute_unit_limit=compute_unit_limit,
        compute_unit_price=compute_unit_price,
    )


def message_hash(message: AnyMessage) -> bytes:
    """Return the SHA-256 of the bytes to sign, which identifies a message before it is signed."""
    return hashlib.sha256(to_bytes_versioned(message)).digest()


def stored_message(message: bytes, hashed: bytes) -> AnyMessage:
    """Parse a message that is stored without its version, which its hash tells."""
    if hashlib.sha256(message).digest() == hashed:
        return Message.from_bytes(message)
    return MessageV0.from_bytes(message)


def required_signers(message: AnyMessage) -> tuple[Pubkey, ...]:
    """Return the accounts that must sign, the fee payer first."""
    return tuple(message.account_keys[: message.header.num_required_signatures])


def instructions_of(message: AnyMessage) -> list[Instruction]:
    """Return the instructions with the privileges that the message gives to their accounts.

    Raises InvalidRequest if accounts are in lookup tables, or twice in the message.
    """
    keys, header = message.account_keys, message.header
    if isinstance(message, MessageV0) and message.address_table_lookups:
        raise InvalidRequest("accounts in lookup tables are not accepted")
    if len(set(keys)) != len(keys):
        raise InvalidRequest("an account is in the message twice")
    signers = header.num_required_signatures
    signing = range(signers - header.num_readonly_signed_accounts)
    others = range(signers, len(keys) - header.num_readonly_unsigned_accounts)

    def meta(at: int) -> AccountMeta:
        return AccountMeta(keys[at], at < signers, at in signing or at in others)

    return [
        Instruction(
            keys[each.program_id_index], bytes(each.data), [meta(at) for at in bytes(each.accounts)]
        )
        for each in message.instructions
    ]


def parse_wire(wire: bytes) -> VersionedTransaction:
    """Parse a legacy or version 0 transaction from untrusted bytes.

    Raises InvalidRequest, nothing else.
    """
    if len(wire) > MAX_WIRE_BYTES:
        raise InvalidRequest(f"a transaction has at most {MAX_WIRE_BYTES} bytes")
    try:
        transaction = VersionedTransaction.from_bytes(wire)
        transaction.sanitize()
    except (ValueError, SanitizeError):
        raise InvalidRequest("the bytes are not a transaction") from None
    message_of(transaction)
    if bytes(transaction) != wire:
        raise InvalidRequest("bytes follow the transaction, or it is not in its shortest form")
    return transaction


def parse_base64(text: str) -> VersionedTransaction:
    """Parse a transaction from untrusted base64; as `parse_wire`."""
    if len(text) > MAX_WIRE_BYTES * 4 // 3 + 4:
        raise InvalidRequest(f"a transaction has at most {MAX_WIRE_BYTES} bytes")
    try:
        return parse_wire(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        raise InvalidRequest("the transaction is not base64") from None


def message_of(transaction: VersionedTransaction) -> AnyMessage:
    """Return the message of a transaction that this module made or parsed.

    Raises InvalidRequest unless it is legacy or of version 0.
    """
    message = transaction.message
    if not isinstance(message, Message | MessageV0):
        raise InvalidRequest("only legacy and version 0 transactions are accepted")
    return message


def verify_signatures(transaction: VersionedTransaction) -> frozenset[Pubkey]:
    """Return the required signers whose signatures are present and valid."""
    signers = required_signers(message_of(transaction))
    results = transaction.verify_with_results()
    return frozenset(signer for signer, valid in zip(signers, results, strict=True) if valid)


def missing_signers(transaction: VersionedTransaction) -> tuple[Pubkey, ...]:
    """Return the required signers whose signatures are absent or invalid."""
    valid = verify_signatures(transaction)
    return tuple(
        signer for signer in required_signers(message_of(transaction)) if signer not in valid
    )


def attach_signature(transaction: VersionedTransaction, keypair: Keypair) -> VersionedTransaction:
    """Return the transaction with the keypair's signature added.

    Raises ValueError when the keypair is not a required signer.
    """
    signature = keypair.sign_message(to_bytes_versioned(message_of(transaction)))
    return place_signature(transaction, keypair.pubkey(), signature)


def place_signature(
    transaction: VersionedTransaction, signer: Pubkey, signature: Signature
) -> VersionedTransaction:
    """Return the transaction with the signer's signature added.

    Raises ValueError when it is not a required signer.
    """
    message = message_of(transaction)
    signatures = list(transaction.signatures)
    signatures[required_signers(message).index(signer)] = signature
    return VersionedTransaction.populate(message, signatures)


def sign_as(message: AnyMessage, *keypairs: Keypair) -> VersionedTransaction:
    """Return a transaction signed by `keypairs`; the other signatures are zero."""
    transaction = unsigned(message)
    for keypair in keypairs:
        transaction = attach_signature(transaction, keypair)
    return transaction


def signature_of(transaction: VersionedTransaction) -> str:
    """Return the transaction's id: the fee payer's signature in base58."""
    return str(transaction.signatures[0])


def unsigned(message: AnyMessage) -> VersionedTransaction:
    """Return a transaction in which every signature is zero."""
    signatures = [Signature.default()] * message.header.num_required_signatures
    return VersionedTransaction.populate(message, signatures)


def _compile(payer: Pubkey, instructions: Sequence[Instruction], blockhash: Hash) -> MessageV0:
    try:
        message = MessageV0.try_compile(payer, instructions, [], blockhash)
    except CompileError as error:
        raise InvalidRequest(f"the transaction cannot be built: {error}") from None
    size = len(bytes(unsigned(message)))
    if size > MAX_WIRE_BYTES:
        raise InvalidRequest(f"the transaction needs {size} bytes; the limit is {MAX_WIRE_BYTES}")
    return message

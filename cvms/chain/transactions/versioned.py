"""Version 0 transactions: build, sign, co-sign, check, and carry them to and from a wallet."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import CompileError, MessageV0, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import SanitizeError, VersionedTransaction

from cvms.chain.rpc.responses import LatestBlockhash
from cvms.chain.types import BlockHeight, Slot
from cvms.errors import InvalidRequest

MAX_WIRE_BYTES = 1232  # IPv6's least MTU less headers: the network drops anything longer
MAX_COMPUTE_UNITS = 1_400_000  # a transaction's ceiling on every cluster
DEFAULT_UNITS_PER_INSTRUCTION = 200_000


@dataclass(frozen=True, slots=True)
class BuiltTransaction:
    """An unsigned transaction. `instruction` is the one that matters; `setup` goes before it.

    `compute_unit_price` is in micro-lamports for each unit of `compute_unit_limit`. It can be in
    blocks after `since_slot`, up to `last_valid_block_height`.
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
        return message_hash(self.message)

    @property
    def unsigned_wire(self) -> bytes:
        """The bytes a wallet is given: every signature is zero."""
        return bytes(unsigned(self.message))

    @property
    def signers(self) -> tuple[Pubkey, ...]:
        """Whose signatures it needs, the fee payer first."""
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
    """Compile a message. Raises InvalidRequest when it does not fit into a transaction."""
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
    """The same transaction, same block hash, with another compute budget."""
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


def message_hash(message: MessageV0) -> bytes:
    """SHA-256 of the bytes that signers sign: what identifies a message before it is signed."""
    return hashlib.sha256(to_bytes_versioned(message)).digest()


def required_signers(message: MessageV0) -> tuple[Pubkey, ...]:
    """The accounts that must sign, the fee payer first."""
    return tuple(message.account_keys[: message.header.num_required_signatures])


def parse_wire(wire: bytes) -> VersionedTransaction:
    """A version 0 transaction from untrusted bytes. Raises InvalidRequest, and nothing else."""
    if len(wire) > MAX_WIRE_BYTES:
        raise InvalidRequest(f"a transaction has at most {MAX_WIRE_BYTES} bytes")
    try:
        transaction = VersionedTransaction.from_bytes(wire)
        transaction.sanitize()
    except (ValueError, SanitizeError):
        raise InvalidRequest("these bytes are no transaction") from None
    if not isinstance(transaction.message, MessageV0):
        raise InvalidRequest("only version 0 transactions are accepted")
    if bytes(transaction) != wire:
        raise InvalidRequest("bytes follow the transaction, or it is not in its shortest form")
    return transaction


def parse_base64(text: str) -> VersionedTransaction:
    """As `parse_wire`, from the base64 that a client sends."""
    if len(text) > MAX_WIRE_BYTES * 4 // 3 + 4:
        raise InvalidRequest(f"a transaction has at most {MAX_WIRE_BYTES} bytes")
    try:
        return parse_wire(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        raise InvalidRequest("the transaction is not base64") from None


def message_of(transaction: VersionedTransaction) -> MessageV0:
    """The message of a transaction that `parse_wire` or this module made."""
    message = transaction.message
    if not isinstance(message, MessageV0):
        raise InvalidRequest("only version 0 transactions are accepted")
    return message


def verify_signatures(transaction: VersionedTransaction) -> frozenset[Pubkey]:
    """The required signers whose signature is there and valid."""
    signers = required_signers(message_of(transaction))
    results = transaction.verify_with_results()
    return frozenset(signer for signer, valid in zip(signers, results, strict=True) if valid)


def missing_signers(transaction: VersionedTransaction) -> tuple[Pubkey, ...]:
    """The required signers whose signature is not there, or not valid; empty when all signed."""
    valid = verify_signatures(transaction)
    return tuple(
        signer for signer in required_signers(message_of(transaction)) if signer not in valid
    )


def attach_signature(transaction: VersionedTransaction, keypair: Keypair) -> VersionedTransaction:
    """The transaction with the keypair's signature added; the others stay as they are.

    Raises ValueError when the message does not ask for this signer.
    """
    message = message_of(transaction)
    place = required_signers(message).index(keypair.pubkey())
    signatures = list(transaction.signatures)
    signatures[place] = keypair.sign_message(to_bytes_versioned(message))
    return VersionedTransaction.populate(message, signatures)


def sign_as(message: MessageV0, *keypairs: Keypair) -> VersionedTransaction:
    """The transaction signed by `keypairs`; signatures of other signers are left zero."""
    transaction = unsigned(message)
    for keypair in keypairs:
        transaction = attach_signature(transaction, keypair)
    return transaction


def signature_of(transaction: VersionedTransaction) -> str:
    """The transaction's id: its fee payer's signature, base58."""
    return str(transaction.signatures[0])


def unsigned(message: MessageV0) -> VersionedTransaction:
    """The transaction as nobody has signed it: every signature is zero."""
    signatures = [Signature.default()] * message.header.num_required_signatures
    return VersionedTransaction.populate(message, signatures)


def _compile(payer: Pubkey, instructions: Sequence[Instruction], blockhash: Hash) -> MessageV0:
    try:
        message = MessageV0.try_compile(payer, instructions, [], blockhash)
    except CompileError as error:
        raise InvalidRequest(f"the transaction cannot be built: {error}") from None
    size = len(bytes(unsigned(message)))
    if size > MAX_WIRE_BYTES:
        raise InvalidRequest(f"the transaction needs {size} bytes; {MAX_WIRE_BYTES} is the most")
    return message

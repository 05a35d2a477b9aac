"""Decoding of the transactions and messages that clients send."""

from __future__ import annotations

import base64
import binascii

from based58 import b58decode
from solders.errors import BincodeError
from solders.message import MessageV1, from_bytes_versioned
from solders.transaction import SanitizeError, VersionedTransaction

from cvms.localnet.rpc.call.rpc_errors import invalid_params
from cvms.localnet.vm.message import AnyMessage

MAX_BYTES = 1232
"""The size of a packet, which must hold the whole transaction."""

MAX_TEXT = {"base58": 1683, "base64": 1644}
"""The longest text that can encode MAX_BYTES."""


def read_transaction(text: str, encoding: str) -> VersionedTransaction:
    wire = _decode(text, encoding, "solana_transaction::versioned::VersionedTransaction")
    try:
        transaction = VersionedTransaction.from_bytes(wire)
    except (BincodeError, ValueError) as error:
        raise invalid_params(
            f"failed to deserialize solana_transaction::versioned::VersionedTransaction: {error}"
        ) from None
    if bytes(transaction) != wire:
        raise invalid_params(
            "failed to deserialize solana_transaction::versioned::VersionedTransaction: "
            "trailing bytes"
        )
    if isinstance(transaction.message, MessageV1):
        raise invalid_params("invalid transaction: Transaction version is unsupported")
    try:
        transaction.sanitize()
    except SanitizeError as error:
        raise invalid_params(f"invalid transaction: {error}") from None
    return transaction


def read_message(text: str) -> AnyMessage:
    wire = _decode(text, "base64", "solana_message::versions::VersionedMessage")
    try:
        return from_bytes_versioned(wire)
    except (BincodeError, ValueError) as error:
        raise invalid_params(
            f"failed to deserialize solana_message::versions::VersionedMessage: {error}"
        ) from None


def _decode(text: str, encoding: str, kind: str) -> bytes:
    if encoding not in MAX_TEXT:
        raise invalid_params(
            f"unsupported encoding: {encoding}. Supported encodings: base58, base64"
        )
    longest = MAX_TEXT[encoding]
    if len(text) > longest:
        raise invalid_params(
            f"{encoding} encoded {kind} too large: {len(text)} bytes "
            f"(max: encoded/raw {longest}/{MAX_BYTES})"
        )
    try:
        if encoding == "base58":
            wire = b58decode(text.encode())
        else:
            wire = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as error:
        raise invalid_params(f"invalid {encoding} encoding: {error}") from None
    if len(wire) > MAX_BYTES:
        raise invalid_params(
            f"decoded {kind} too large: {len(wire)} bytes (max: {MAX_BYTES} bytes)"
        )
    return wire

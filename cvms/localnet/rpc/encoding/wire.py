"""Decoding of the transactions and messages that clients send (`decode_and_deserialize`)."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from solders.errors import BincodeError
from solders.message import from_bytes_versioned
from solders.signature import Signature
from solders.transaction import SanitizeError, VersionedTransaction

from cvms.errors import CvmsError
from cvms.localnet.rpc.call.rpc_errors import invalid_params
from cvms.localnet.rpc.encoding.binary_text import NotDecodable, decode_base58, decode_base64
from cvms.localnet.vm.message import AnyMessage
from cvms.localnet.vm.transaction_errors import error_text

TRANSACTION = "solana_transaction::versioned::VersionedTransaction"
MESSAGE = "solana_message::versions::VersionedMessage"

MAX_BYTES = 1232
"""The size of a packet, which must hold the whole transaction."""

MAX_TEXT = {"base58": 1683, "base64": 1644}
"""The longest text that can encode MAX_BYTES."""

MAX_V1_BYTES, MAX_V1_TEXT, V1_PREFIX = 4096, 5464, "gQ"
"""The limits of base64 that begins as a transaction of version 1 does."""

VERSION_1_HEADER = 41
VERSIONED, VERSION_1 = 0x80, b"\x81"


def read_transaction(text: str, encoding: str) -> VersionedTransaction:
    """Return a transaction that can be run. Raises RpcError."""
    wire = _decode(text, encoding, TRANSACTION)
    try:
        transaction = _deserialize(wire)
    except (BincodeError, NotDeserializable, ValueError) as error:
        raise invalid_params(f"failed to deserialize {TRANSACTION}: {error}") from None
    try:
        transaction.sanitize()
    except SanitizeError:
        raise invalid_params(f"invalid transaction: {error_text('SanitizeFailure')}") from None
    return transaction


def _deserialize(wire: bytes) -> VersionedTransaction:
    if wire[:1] == VERSION_1:
        WireReader(wire).version_1()
        raise invalid_params(f"invalid transaction: {error_text('UnsupportedVersion')}")
    with suppress(BincodeError, ValueError):
        return VersionedTransaction.from_bytes(wire)
    reader = WireReader(wire)  # names what is wrong, or where the transaction ends
    reader.transaction()
    return VersionedTransaction.from_bytes(wire[: reader.position])


def read_message(text: str) -> AnyMessage:
    """Return a message. Raises RpcError."""
    wire = _decode(text, "base64", MESSAGE)
    try:
        reader = WireReader(wire)
        reader.message()
        message = from_bytes_versioned(wire[: reader.position])
    except (BincodeError, NotDeserializable, ValueError) as error:
        raise invalid_params(f"failed to deserialize {MESSAGE}: {error}") from None
    try:
        signatures = [Signature.default()] * message.header.num_required_signatures
        VersionedTransaction.populate(message, signatures).sanitize()
    except SanitizeError as error:
        raise invalid_params(f"invalid transaction message: {error}") from None
    return message


def _decode(text: str, encoding: str, kind: str) -> bytes:
    encoding = "base58" if encoding == "binary" else encoding
    if encoding not in MAX_TEXT:
        raise invalid_params(
            f"unsupported encoding: {encoding}. Supported encodings: base58, base64"
        )
    longest, raw = MAX_TEXT[encoding], MAX_BYTES
    if encoding == "base64" and text[:2] >= V1_PREFIX:
        longest, raw = MAX_V1_TEXT, MAX_V1_BYTES
    length = len(text.encode(errors="surrogatepass"))
    if length > longest:
        raise invalid_params(
            f"{encoding} encoded {kind} too large: {length} bytes "
            f"(max: encoded/raw {longest}/{raw})"
        )
    try:
        wire = decode_base58(text) if encoding == "base58" else decode_base64(text)
    except NotDecodable as error:
        raise invalid_params(f"invalid {encoding} encoding: {error}") from None
    if len(wire) > raw:
        raise invalid_params(f"decoded {kind} too large: {len(wire)} bytes (max: {raw} bytes)")
    return wire


LENGTH_OVERFLOW = "Sequence length would overflow length encoding scheme: u16::MAX"


class NotDeserializable(CvmsError):
    """Bytes are not a transaction or a message. The text is that of the Rust crate `wincode`."""


@dataclass(slots=True)
class WireReader:
    """Walks through the fields of a transaction. Bytes after its end are ignored, as by a node.

    Raises NotDeserializable where a validator does, because its words name the field's size.
    """

    wire: bytes
    position: int = 0

    def take(self, count: int) -> bytes:
        end = self.position + count
        if end > len(self.wire):
            raise NotDeserializable(f"Attempting to read {count} bytes")
        taken, self.position = self.wire[self.position : end], end
        return taken

    def length(self) -> int:
        """Read the length of an array, in up to three bytes of seven bits."""
        value = 0
        for index in range(3):
            byte = self.take(1)[0]
            if index and byte == 0:
                raise NotDeserializable("Invalid value: short u16: non-canonical encoding")
            if index == 2 and byte > 3:
                raise NotDeserializable(LENGTH_OVERFLOW)
            value |= (byte & 0x7F) << (7 * index)
            if byte < VERSIONED:
                break
        return value

    def version_1(self) -> None:
        """Read the beginning of a version that the chain does not support yet."""
        self.take(len(VERSION_1))
        self.take(VERSION_1_HEADER)

    def transaction(self) -> None:
        count = self.take(1)[0]
        if count & VERSIONED:
            raise NotDeserializable("Custom error: invalid transaction discriminator")
        self.take(64 * count)
        self.message()

    def message(self) -> None:
        first = self.take(1)[0]
        if first == VERSION_1[0]:
            self.position = 0
            self.version_1()
        if first & VERSIONED and (version := first & ~VERSIONED):
            raise NotDeserializable(f"Invalid tag encoding: {version}")
        self.take(3 if first & VERSIONED else 2)
        self.take(32 * self.length())
        self.take(32)
        for _ in range(self.length()):
            self.take(1)
            self.take(self.length())
            self.take(self.length())
        if first & VERSIONED:
            for _ in range(self.length()):
                self.take(32)
                self.take(self.length())
                self.take(self.length())

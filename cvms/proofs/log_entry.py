"""Entries of the public log: what was owed and held at one slot, signed, each with the hash of the
one before.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import Annotated, TypeVar

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from solders.pubkey import Pubkey

from cvms.errors import ProofInvalid

T = TypeVar("T")

VERSION = 1
LABEL = b"cvms proof of reserves\n"
NO_ENTRY = "00" * 32
"""What the first entry has in place of the hash of the one before."""
MAX_U64 = 2**64 - 1
MAX_TEXT = 4096

Hex32 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
Hex64 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{128}\Z")]
Base58 = Annotated[str, msgspec.Meta(pattern=r"^[1-9A-HJ-NP-Za-km-z]{32,44}\Z")]
Signature = Annotated[str, msgspec.Meta(pattern=r"^[1-9A-HJ-NP-Za-km-z]{64,88}\Z")]
Decimal = Annotated[str, msgspec.Meta(pattern=r"^(0|[1-9][0-9]{0,19})\Z")]
"""A u64 as a string, since a JSON number above 2^53 is not exact everywhere."""
Number = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
Time = Annotated[str, msgspec.Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ\Z")]


class Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A struct without other fields than its own."""


class Liabilities(Strict, frozen=True, kw_only=True):
    """What all vaults held at the slot: the root of their sum tree, and its sums."""

    root: Hex32
    vaults: Number
    total: Decimal
    available: Decimal
    locked: Decimal
    timelocked: Decimal
    yield_deposited: Decimal

    @property
    def sums(self) -> tuple[int, ...]:
        return tuple(
            map(
                u64,
                (self.total, self.available, self.locked, self.timelocked, self.yield_deposited),
            )
        )


class Reserves(Strict, frozen=True, kw_only=True):
    """What covered it. `hash` is that of the file with every account (`reserve_lines`).

    `tokens` are in the vaults' token accounts, `pools` in those of yield pools, `unproven` with
    yield programs whose accounts this service cannot read.
    """

    hash: Hex32
    accounts: Number
    tokens: Decimal
    pools: Decimal
    unproven: Decimal


class AuditHead(Strict, frozen=True, kw_only=True):
    """The newest entry of the audit trail when this one was made; `id` 0 if there was none."""

    id: Number
    hash: Hex32


class LogEntry(Strict, frozen=True, kw_only=True):
    version: Number
    number: Annotated[int, msgspec.Meta(ge=1, lt=2**53)]
    previous: Hex32
    time: Time
    genesis: Base58
    program: Base58
    mint: Base58
    slot: Number
    blockhash: Base58
    liabilities: Liabilities
    reserves: Reserves
    audit: AuditHead

    @property
    def text(self) -> str:
        """The entry as canonical JSON, which is what is hashed and signed."""
        return canonical(self)

    @property
    def made_at(self) -> datetime:
        return datetime.fromisoformat(self.time)


class SignedEntry(Strict, frozen=True, kw_only=True):
    """An entry's text with an Ed25519 signature (RFC 8032), as it is published.

    `memo` is the transaction that wrote its hash to the chain; null if none did.
    """

    text: str
    key: Base58
    signature: Hex64
    memo: Signature | None = None

    @property
    def hash(self) -> str:
        return sha256(self.text.encode()).hexdigest()

    def read(self) -> LogEntry:
        """Return the entry. Raises ProofInvalid unless its text is canonical and consistent."""
        if len(self.text) > MAX_TEXT:
            raise ProofInvalid("entry", f"the text has more than {MAX_TEXT} characters")
        entry = decoded(self.text, _ENTRY, check="entry")
        if entry.version != VERSION:
            raise ProofInvalid(
                "entry", f"version {entry.version} is not {VERSION}: use a newer cvms"
            )
        if entry.text != self.text:
            raise ProofInvalid("entry", "the text is not canonical JSON")
        check_addresses(entry.genesis, entry.program, entry.mint, entry.blockhash, check="entry")
        try:
            _ = entry.made_at
        except ValueError:
            raise ProofInvalid("entry", f"{entry.time} is no time") from None
        total, *parts = entry.liabilities.sums
        if total != sum(parts):
            raise ProofInvalid("balances", f"the sums {parts} are not the total {total}")
        return entry

    def verify_signature(self) -> None:
        """Raise ProofInvalid unless `key` has signed the text."""
        try:
            key = Ed25519PublicKey.from_public_bytes(bytes(Pubkey.from_string(self.key)))
            key.verify(bytes.fromhex(self.signature), signed_bytes(self.text))
        except (InvalidSignature, ValueError):
            raise ProofInvalid("signature", f"{self.key} has not signed this entry") from None


_ENTRY = msgspec.json.Decoder(LogEntry)
SIGNED = msgspec.json.Decoder(SignedEntry)


def signed_bytes(text: str) -> bytes:
    """Return what is signed. No transaction begins as it does."""
    return LABEL + text.encode()


def verify_log(entries: Sequence[SignedEntry]) -> None:
    """Raise ProofInvalid unless each entry follows the one before, from the first in the list.

    A log that begins with number 1 is whole.
    """
    before: SignedEntry | None = None
    for signed in entries:
        try:
            entry = signed.read()
            signed.verify_signature()
        except ProofInvalid as error:
            raise ProofInvalid("log", str(error)) from None
        if before is not None:
            verify_step(before, entry)
        elif entry.number == 1 and entry.previous != NO_ENTRY:
            raise ProofInvalid("log", "entry 1 follows another one")
        before = signed


def verify_step(before: SignedEntry, entry: LogEntry) -> None:
    """Raise ProofInvalid unless an entry follows the one before."""
    last = before.read()
    if entry.number != last.number + 1:
        raise ProofInvalid("log", f"entry {entry.number} does not follow entry {last.number}")
    if entry.previous != before.hash:
        raise ProofInvalid("log", f"entry {entry.number} does not have the hash of {last.number}")
    if entry.slot <= last.slot:
        raise ProofInvalid(
            "log",
            f"slot {entry.slot} of entry {entry.number} is not after "
            f"slot {last.slot} of entry {last.number}",
        )
    if (entry.genesis, entry.program, entry.mint) != (last.genesis, last.program, last.mint):
        raise ProofInvalid("log", f"entry {entry.number} is of another chain, program or mint")
    if entry.audit.id < last.audit.id:
        raise ProofInvalid("log", f"the audit trail of entry {entry.number} is shorter than before")
    if entry.audit.id == last.audit.id and entry.audit.hash != last.audit.hash:
        raise ProofInvalid("log", f"the audit trail of entry {entry.number} has another head")


def verify_same_log(one: Sequence[SignedEntry], other: Sequence[SignedEntry]) -> None:
    """Raise ProofInvalid if two copies of the log differ in a number or a slot that both have, or
    in the entry where one ends and the other begins.
    """
    by_number = {entry.number: (entry, signed) for signed in one for entry in [signed.read()]}
    by_slot = {entry.slot: signed for entry, signed in by_number.values()}
    for signed in other:
        entry = signed.read()
        _, same_number = by_number.get(entry.number, (None, signed))
        same_slot = by_slot.get(entry.slot, signed)
        if signed.hash != same_number.hash:
            raise ProofInvalid("fork", f"there are two entries {entry.number}: the log was forked")
        if signed.hash != same_slot.hash:
            raise ProofInvalid("fork", f"there are two entries for slot {entry.slot}")
        if entry.number - 1 in by_number and entry.previous != by_number[entry.number - 1][1].hash:
            reason = f"entry {entry.number} of one copy follows another entry {entry.number - 1}"
            raise ProofInvalid("fork", reason)
        if entry.number + 1 in by_number and by_number[entry.number + 1][0].previous != signed.hash:
            reason = f"entry {entry.number + 1} of one copy follows another entry {entry.number}"
            raise ProofInvalid("fork", reason)


def u64(text: str) -> int:
    """Return a Decimal's value. Raises ProofInvalid above 2^64 - 1."""
    if (value := int(text)) > MAX_U64:
        raise ProofInvalid("overflow", f"{text} exceeds 2^64 - 1")
    return value


def check_addresses(*texts: str, check: str) -> None:
    """Raise ProofInvalid, of this check, unless each is base58 of 32 bytes."""
    for text in texts:
        try:
            Pubkey.from_string(text)
        except ValueError:
            raise ProofInvalid(check, f"{text} is not base58 of 32 bytes") from None


def canonical(value: msgspec.Struct) -> str:
    """Return JSON without spaces, its names in the order of their characters."""
    return msgspec.json.encode(value, order="sorted").decode()


def decoded(data: bytes | str, decoder: msgspec.json.Decoder[T], *, check: str) -> T:
    """Return JSON decoded strictly. Raises ProofInvalid, of this check, for anything else."""
    try:
        return decoder.decode(data)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise ProofInvalid(check, str(error)) from None

"""Off-chain messages: what hardware wallets, and wallets that follow them, sign in place of a text.

The formats, each with the bytes that may contain the text:

    v0, short   ff "solana offchain" 00, format, length (u16), text
    v0          ff "solana offchain" 00, application domain (32 bytes), format, number of signers,
                signers, length (u16), text
    v1          ff "solana offchain" 01, number of signers, signers in ascending order, text

v0 is Anza's proposal "Off-chain message signing", v1 is sRFC 38. `solana sign-offchain-message` and
old Ledger applications sign the short form. No transaction begins with the byte ff.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from solders.pubkey import Pubkey

SIGNING_DOMAIN = b"\xffsolana offchain"
V0, V1 = SIGNING_DOMAIN + b"\0", SIGNING_DOMAIN + b"\1"
NO_APPLICATION = bytes(32)
ASCII, UTF8, LONG_UTF8 = range(3)
_SHORT_HEADER = len(V0) + 3


@dataclass(frozen=True, slots=True)
class OffchainMessage:
    """The text of an envelope, and the wallets that must sign it; the short form names none."""

    text: str
    signers: tuple[Pubkey, ...]


def parse(raw: bytes) -> OffchainMessage:
    """Return the only reading of the bytes. Raises ValueError if there is none.

    At most one of the forms of v0 fits: where the long form has its format, 0 to 2, the short form
    has text, which may not contain such a character.
    """
    if raw.startswith(V0):
        if int.from_bytes(raw[len(V0) + 1 : _SHORT_HEADER], "little") == len(raw) - _SHORT_HEADER:
            short = raw[_SHORT_HEADER:]
            if raw[len(V0)] <= LONG_UTF8 and _is_text(short):
                return OffchainMessage(_text(short, raw[len(V0)], newlines=False), ())
        return _parse_v0(raw)
    if raw.startswith(V1):
        signers, end = _signers(raw, len(V1))
        if any(bytes(one) >= bytes(following) for one, following in pairwise(signers)):
            raise ValueError("its signers are not in ascending order")
        return OffchainMessage(_text(raw[end:], LONG_UTF8, newlines=True), signers)
    raise ValueError("it does not begin as one of version 0 or 1")


def envelopes(text: str, signer: Pubkey) -> Iterator[bytes]:
    """Yield the off-chain messages of a text that can be known without seeing them.

    They have no application domain and no other signer.
    """
    encoded = text.encode()
    length = len(encoded).to_bytes(2, "little")
    one_signer = b"\1" + bytes(signer)
    for kind in (ASCII, UTF8):
        if kind == UTF8 or "\n" not in text:
            yield V0 + bytes([kind]) + length + encoded
        yield V0 + NO_APPLICATION + bytes([kind]) + one_signer + length + encoded
    yield V1 + one_signer + encoded


def _parse_v0(raw: bytes) -> OffchainMessage:
    start = len(V0) + len(NO_APPLICATION)
    signers, end = _signers(raw, start + 1)
    encoded = raw[end + 2 :]
    if len(raw) < end + 2 or int.from_bytes(raw[end : end + 2], "little") != len(encoded):
        raise ValueError("its length is not that of its text")
    return OffchainMessage(_text(encoded, raw[start], newlines=True), signers)


def _signers(raw: bytes, start: int) -> tuple[tuple[Pubkey, ...], int]:
    """Return the signers listed from `start` on, and where the list ends."""
    count = raw[start] if start < len(raw) else 0
    end = start + 1 + count * Pubkey.LENGTH
    if not count or end > len(raw):
        raise ValueError("its list of signers is empty or incomplete")
    keys = range(start + 1, end, Pubkey.LENGTH)
    return tuple(Pubkey(raw[key : key + Pubkey.LENGTH]) for key in keys), end


def _text(encoded: bytes, kind: int, *, newlines: bool) -> str:
    """Return the text. Ledger's long form allows lines in ASCII, which the proposal does not."""
    if kind > LONG_UTF8 or not _is_text(encoded):
        raise ValueError("its text is empty, not UTF-8, unprintable, or of an unknown format")
    text = encoded.decode()
    if kind == ASCII and not (text.isascii() and (newlines or "\n" not in text)):
        raise ValueError("its text is not the ASCII that its format says")
    return text


def _is_text(encoded: bytes) -> bool:
    try:
        text = encoded.decode()
    except UnicodeDecodeError:
        return False
    return bool(text) and all(each == "\n" or each.isprintable() for each in text)

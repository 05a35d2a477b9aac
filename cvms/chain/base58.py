"""Base58, as Solana's JSON writes instruction data. Keys and signatures have their own types."""

from __future__ import annotations

from cvms.errors import DecodeError

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_DIGITS = {character: value for value, character in enumerate(_ALPHABET)}
_LEAF = 32  # digits converted one by one; longer runs are split, so 10 KB take 1 ms, not 30


def encode(data: bytes) -> str:
    """Base58 of a few bytes (quadratic in their number)."""
    number, digits = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        digits = _ALPHABET[digit] + digits
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + digits


def decode(text: str) -> bytes:
    """The bytes that `text` stands for. Raises DecodeError on a character outside the alphabet."""
    significant = text.lstrip("1")
    zeros = len(text) - len(significant)
    try:
        number = _number(significant, {})
    except KeyError:
        raise DecodeError("not base58") from None
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")


def _number(digits: str, powers: dict[int, int]) -> int:
    if len(digits) <= _LEAF:
        number = 0
        for digit in digits:
            number = number * 58 + _DIGITS[digit]
        return number
    low = len(digits) // 2
    if low not in powers:
        powers[low] = 58**low
    return _number(digits[:-low], powers) * powers[low] + _number(digits[-low:], powers)

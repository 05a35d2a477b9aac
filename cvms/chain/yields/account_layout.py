"""Fields of an account at fixed offsets: the caller has checked the account's length."""

from __future__ import annotations

from fractions import Fraction

from solders.pubkey import Pubkey

from cvms.chain.yields.rates import Reason, Refused

WAD = 10**18


def unsigned(data: bytes, offset: int, size: int) -> int:
    return int.from_bytes(data[offset : offset + size], "little")


def signed(data: bytes, offset: int, size: int) -> int:
    return int.from_bytes(data[offset : offset + size], "little", signed=True)


def pubkey(data: bytes, offset: int) -> Pubkey:
    return Pubkey(data[offset : offset + 32])


def wads(data: bytes, offset: int) -> Fraction:
    """A u128 that counts parts of 10¹⁸."""
    return Fraction(unsigned(data, offset, 16), WAD)


def i80f48(data: bytes, offset: int, name: str) -> Fraction:
    """An i128 that counts parts of 2⁴⁸, where a negative one has no meaning: raises Refused."""
    value = Fraction(signed(data, offset, 16), 1 << 48)
    if value < 0:
        raise Refused(Reason.MALFORMED, f"{name} is negative: {float(value)}")
    return value

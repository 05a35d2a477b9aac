"""Fields of an account at fixed offsets. The caller must have checked the account's length."""

from __future__ import annotations

from fractions import Fraction

from solders.pubkey import Pubkey

from cvms.chain.yields.rates import RateRefused, Reason

WAD = 10**18


def unsigned(data: bytes, offset: int, size: int) -> int:
    return int.from_bytes(data[offset : offset + size], "little")


def signed(data: bytes, offset: int, size: int) -> int:
    return int.from_bytes(data[offset : offset + size], "little", signed=True)


def pubkey(data: bytes, offset: int) -> Pubkey:
    return Pubkey(data[offset : offset + 32])


def wads(data: bytes, offset: int) -> Fraction:
    """Return a u128 in units of 10⁻¹⁸."""
    return Fraction(unsigned(data, offset, 16), WAD)


def i80f48(data: bytes, offset: int, name: str) -> Fraction:
    """Return an i128 in units of 2⁻⁴⁸. Raises RateRefused when it is negative."""
    value = Fraction(signed(data, offset, 16), 1 << 48)
    if value < 0:
        raise RateRefused(Reason.MALFORMED, f"{name} is negative: {float(value)}")
    return value

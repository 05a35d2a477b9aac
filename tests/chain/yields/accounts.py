"""Accounts of the protocols, built byte by byte from their layouts."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from solders.keypair import Keypair
from solders.pubkey import Pubkey

from cvms.chain.types import Account, Lamports, Slot
from cvms.chain.yields.rates import ProtocolName, Reason, Refusal, SupplyRate
from cvms.chain.yields.sources import YieldSource, read_rate
from cvms.config.loader import load_programs

SOLEND = Pubkey.from_string("So1endDq2YkqhipRh3WViPa8hdiSpxWy6z3Z6tMCpAo")
MARGINFI = Pubkey.from_string("MFv2hWf31Z9kbCa1snEPYctwafyhdvnV7FZnsebVacA")
PROGRAMS = load_programs({})
OWNERS = {
    ProtocolName.YIELD_POOL: PROGRAMS.yield_pool,
    ProtocolName.SOLEND: SOLEND,
    ProtocolName.MARGINFI: MARGINFI,
}
MINT = Keypair.from_seed(bytes(range(32))).pubkey()
SLOT = Slot(453_700_000)

WAD = 10**18
U32_MAX = 2**32 - 1

Layout = Mapping[str, tuple[int, int]]  # a field's offset and size

RESERVE_LENGTH = 619
RESERVE: Layout = {
    "version": (0, 1),
    "last_update_slot": (1, 8),
    "stale": (9, 1),
    "mint": (42, 32),
    "available": (171, 8),
    "borrowed_wads": (179, 16),
    "optimal_utilization": (299, 1),
    "min_rate": (303, 1),
    "optimal_rate": (304, 1),
    "max_rate": (305, 1),
    "take_rate": (372, 1),
    "accumulated_fees_wads": (373, 16),
    "max_utilization": (470, 1),
    "super_max_rate": (471, 8),
    "max_liquidation_bonus": (479, 1),
}

BANK_LENGTH = 1864
BANK: Layout = {
    "discriminator": (0, 8),
    "mint": (8, 32),
    "asset_share_value": (80, 16),
    "liability_share_value": (96, 16),
    "liability_shares": (256, 16),
    "asset_shares": (272, 16),
    "last_update": (288, 8),
    "optimal_utilization": (368, 16),
    "plateau_rate": (384, 16),
    "max_rate": (400, 16),
    "insurance_fixed": (416, 16),
    "insurance_share": (432, 16),
    "group_fixed": (448, 16),
    "group_share": (464, 16),
    "zero_rate": (496, 4),
    "hundred_rate": (500, 4),
    "points": (504, 40),
    "curve_type": (544, 1),
    "state": (608, 1),
    "asset_tag": (785, 1),
}


def build(layout: Layout, length: int, fields: Mapping[str, int | bytes | Pubkey]) -> bytes:
    data = bytearray(length)
    for name, value in fields.items():
        offset, size = layout[name]
        if isinstance(value, int):
            raw = value.to_bytes(size, "little", signed=value < 0)
        else:
            raw = bytes(value)
        assert len(raw) == size
        data[offset : offset + size] = raw
    return bytes(data)


def reserve(**changes: Any) -> bytes:
    """Return Solend's main USDC reserve as of slot 453,613,244, with `changes` by field name."""
    fields: dict[str, Any] = {
        "version": 1,
        "last_update_slot": 453_613_244,
        "stale": 0,
        "mint": MINT,
        "available": 5_337_852_800_102,
        "borrowed_wads": 17_175_893_161_672 * WAD,
        "optimal_utilization": 92,
        "min_rate": 1,
        "optimal_rate": 3,
        "max_rate": 7,
        "take_rate": 20,
        "max_utilization": 95,
        "super_max_rate": 150,
        "max_liquidation_bonus": 5,
    }
    return build(RESERVE, RESERVE_LENGTH, fields | changes)


def lent(percent: int | str, **changes: Any) -> bytes:
    """Return a reserve with this share lent out."""
    borrowed = int(Fraction(percent) * 10**10)
    amounts = {"available": 10**12 - borrowed, "borrowed_wads": borrowed * WAD}
    return reserve(**(amounts | changes))


def i80f48(value: str | Fraction | int) -> int:
    return round(Fraction(value) * 2**48)


def share(value: str) -> int:
    """Return a utilization as a u32."""
    return round(Fraction(value) * U32_MAX)


def annual(value: str) -> int:
    """Return a rate as a u32, whose maximum is 1000 %."""
    return round(Fraction(value) / 10 * U32_MAX)


def points(*given: tuple[str, str]) -> bytes:
    """Return up to five points of utilization and rate; the rest are unused."""
    raw = b"".join(
        share(utilization).to_bytes(4, "little") + annual(rate).to_bytes(4, "little")
        for utilization, rate in given
    )
    return raw.ljust(40, b"\0")


def bank(utilization: str, **changes: Any) -> bytes:
    """Return marginfi's SOL bank with its curve of seven points, and this share lent out."""
    fields: dict[str, Any] = {
        "discriminator": bytes((142, 49, 166, 242, 50, 66, 97, 188)),
        "mint": MINT,
        "asset_share_value": i80f48(1),
        "liability_share_value": i80f48(1),
        "liability_shares": i80f48(Fraction(utilization) * 10**12),
        "asset_shares": i80f48(10**12),
        "last_update": 1_790_254_442,
        "group_fixed": i80f48("0.0001"),
        "zero_rate": 0,
        "hundred_rate": annual("0.2"),
        "points": points(("0.9", "0.05"), ("0.98", "0.07"), ("0.99", "0.1")),
        "curve_type": 1,
        "state": 1,
        "asset_tag": 1,
    }
    return build(BANK, BANK_LENGTH, fields | changes)


def legacy_bank(utilization: str, **changes: Any) -> bytes:
    """Return marginfi's USDT bank of 2024, with the curve of three points."""
    fields: dict[str, Any] = {
        "optimal_utilization": i80f48("0.8"),
        "plateau_rate": i80f48("0.2"),
        "max_rate": i80f48(4),
        "insurance_share": i80f48("0.05"),
        "group_fixed": i80f48("0.01"),
        "zero_rate": 0,
        "hundred_rate": 0,
        "points": points(),
        "curve_type": 0,
        "asset_tag": 0,
    }
    return bank(utilization, **(fields | changes))


def account(data: bytes, owner: Pubkey) -> Account:
    return Account(lamports=Lamports(1), owner=owner, data=data, executable=False)


def read(
    protocol: ProtocolName, data: bytes, *, owner: Pubkey | None = None, slot: Slot = SLOT
) -> SupplyRate | Refusal:
    """Return the rate of an account of these bytes, at a new address."""
    source = YieldSource(protocol, Keypair().pubkey())
    given = account(data, owner or OWNERS[protocol])
    result = read_rate(source, given, slot, programs=PROGRAMS)
    assert (result.protocol, result.address) == (protocol, source.address)
    assert result.source_slot == slot
    return result


def rate(protocol: ProtocolName, data: bytes) -> SupplyRate:
    result = read(protocol, data)
    assert isinstance(result, SupplyRate), result
    return result


def refusal(protocol: ProtocolName, data: bytes, *, owner: Pubkey | None = None) -> Refusal:
    result = read(protocol, data, owner=owner)
    assert isinstance(result, Refusal), result
    return result


def refused_for(protocol: ProtocolName, data: bytes) -> Reason:
    return refusal(protocol, data).reason


def percent(value: object, digits: int) -> str:
    """Return a fraction as a percentage with this many decimals."""
    return f"{value * 100:.{digits}f}"  # type: ignore[operator]

"""Specification: what the admin of a yield pool and those who fund its reserve do."""

from .earning import MINT, reserve_of
from .model import Events, World, require
from .names import GOVERNANCE

MAX_RATE_BPS = 10_000


def set_rate(world: World, *, signer: str, program: str, rate_bps: int) -> Events:
    """What was earned until now was earned at the old rate."""
    require(signer == GOVERNANCE, "Unauthorized")
    require(rate_bps <= MAX_RATE_BPS, "RateTooHigh")
    old, world.rates[program] = world.rates[program], rate_bps
    return [("RateSet", {"pool": program, "old_rate_bps": old, "new_rate_bps": rate_bps})]


def fund_reserve(world: World, *, funder: str, program: str, amount: int) -> Events:
    require(amount > 0, "InvalidAmount")
    world.move(funder, reserve_of(program), amount, MINT)
    return [("ReserveFunded", {"pool": program, "funder": funder, "amount": amount})]


def initialize(world: World) -> Events:
    """Do nothing: the vault program's interface has an instruction without an effect."""
    return []

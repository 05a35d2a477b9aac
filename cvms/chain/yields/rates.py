"""Supply rates: a protocol's exact terms, and the rounded rate that callers see."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from enum import StrEnum
from fractions import Fraction

from solders.pubkey import Pubkey

from cvms.chain.types import Amount, Slot
from cvms.errors import CvmsError

MAX_RATE = 100  # 10,000 % a year; curves in use end at a quarter of that
# At this APR an APY has 44 digits before the decimal point; compounding loses some ten after it.
_EXACT = Context(prec=80, rounding=ROUND_HALF_EVEN)
_PLACES = Decimal("1e-12")


class ProtocolName(StrEnum):
    """Name of a protocol in the setting."""

    YIELD_POOL = "yield_pool"
    SOLEND = "solend"
    MARGINFI = "marginfi"


class Reason(StrEnum):
    """Why an account has no rate."""

    NO_ACCOUNT = "no_account"
    WRONG_OWNER = "wrong_owner"
    WRONG_LENGTH = "wrong_length"
    WRONG_KIND = "wrong_kind"  # another account of the program, by discriminator or version
    MALFORMED = "malformed"  # a value that the program itself does not accept
    UNKNOWN_CURVE = "unknown_curve"
    NO_OWN_LOANS = "no_own_loans"  # deposits earn elsewhere, or nothing
    NOT_OPERATING = "not_operating"
    IMPLAUSIBLE = "implausible"


class RateRefused(CvmsError):
    """An account has no valid rate, for `reason`; `sources` turns it into a Refusal."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Convention:
    """Conversion of an APR to an APY: interest compounds `periods` times a year; 1 means never."""

    word: str
    sentence: str
    periods: int


@dataclass(frozen=True, slots=True)
class AtSlot:
    """The protocol last updated the account in this slot."""

    slot: Slot


@dataclass(frozen=True, slots=True)
class AtTime:
    """The protocol last updated the account at this time, in Unix seconds."""

    unix: int


@dataclass(frozen=True, slots=True)
class Terms:
    """Exact terms of one account. Rates are annual fractions of 1, amounts token units."""

    mint: Pubkey
    supply_apr: Fraction
    borrow_apr: Fraction | None
    utilization: Fraction | None
    supplied: Fraction
    borrowed: Fraction | None
    as_of: AtSlot | AtTime
    convention: Convention


@dataclass(frozen=True, slots=True)
class SupplyRate:
    """The rate for depositors, and its age.

    Rates and utilization are fractions of 1 (0.05 is 5 %), rounded to 12 decimals; amounts are in
    token units, rounded down. `borrow_apr`, `utilization` and `borrowed` are None for a protocol
    without borrowers. `source_slot` is the slot of the node's response, `as_of` the account's last
    update. Nobody used the account in between, so the rate is that of `as_of`.
    """

    protocol: ProtocolName
    address: Pubkey
    mint: Pubkey
    supply_apr: Decimal
    supply_apy: Decimal
    borrow_apr: Decimal | None
    utilization: Decimal | None
    supplied: Amount
    borrowed: Amount | None
    convention: Convention
    source_slot: Slot
    as_of: AtSlot | AtTime


@dataclass(frozen=True, slots=True)
class Refusal:
    """The account has no rate. `reason` is stable, `detail` a sentence with the value found."""

    protocol: ProtocolName
    address: Pubkey
    reason: Reason
    detail: str
    source_slot: Slot


def supply_rate(terms: Terms, *, protocol: ProtocolName, address: Pubkey, slot: Slot) -> SupplyRate:
    """Return the rounded rate. Raises RateRefused for implausible numbers."""
    _check_plausible("supply APR", terms.supply_apr)
    return SupplyRate(
        protocol=protocol,
        address=address,
        mint=terms.mint,
        supply_apr=_rounded(terms.supply_apr),
        supply_apy=_apy(terms.supply_apr, terms.convention.periods),
        borrow_apr=_optional("borrow APR", terms.borrow_apr),
        utilization=_optional("utilization", terms.utilization),
        supplied=Amount(int(terms.supplied)),
        borrowed=None if terms.borrowed is None else Amount(int(terms.borrowed)),
        convention=terms.convention,
        source_slot=slot,
        as_of=terms.as_of,
    )


def _check_plausible(name: str, value: Fraction) -> None:
    if value > MAX_RATE:
        raise RateRefused(Reason.IMPLAUSIBLE, f"a {name} of {float(value):.3g} is above {MAX_RATE}")


def _optional(name: str, value: Fraction | None) -> Decimal | None:
    if value is None:
        return None
    _check_plausible(name, value)
    return _rounded(value)


def _apy(apr: Fraction, periods: int) -> Decimal:
    with localcontext(_EXACT):
        growth = (1 + _decimal(apr) / periods) ** periods
        return (growth - 1).quantize(_PLACES)


def _rounded(value: Fraction) -> Decimal:
    with localcontext(_EXACT):
        return _decimal(value).quantize(_PLACES)


def _decimal(value: Fraction) -> Decimal:
    return Decimal(value.numerator) / value.denominator

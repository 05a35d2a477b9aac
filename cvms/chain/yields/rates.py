"""What a depositor earns: from a protocol's exact terms to the rate that callers see."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal, localcontext
from enum import StrEnum
from fractions import Fraction

from solders.pubkey import Pubkey

from cvms.chain.types import Amount, Slot
from cvms.errors import CvmsError

HIGHEST = 100  # a rate of 10,000 % a year: curves in use end at a quarter of that
# An APY at this APR has 44 digits before the point; compounding costs some ten behind it.
_EXACT = Context(prec=80, rounding=ROUND_HALF_EVEN)
_PLACES = Decimal("1e-12")


class ProtocolName(StrEnum):
    """How a setting names a protocol."""

    YIELD_POOL = "yield_pool"
    SOLEND = "solend"
    MARGINFI = "marginfi"


class Reason(StrEnum):
    """Why an account gives no rate."""

    NO_ACCOUNT = "no_account"
    WRONG_OWNER = "wrong_owner"
    WRONG_LENGTH = "wrong_length"
    WRONG_KIND = "wrong_kind"  # another account of the same program: discriminator or version
    MALFORMED = "malformed"  # a value that the program itself could not have worked with
    UNKNOWN_CURVE = "unknown_curve"
    NO_OWN_LOANS = "no_own_loans"  # what is deposited earns elsewhere, or nothing
    NOT_OPERATING = "not_operating"
    IMPLAUSIBLE = "implausible"


class Refused(CvmsError):
    """An account gives no rate, for this reason; `sources` makes it a Refusal."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Convention:
    """How an APR becomes an APY: `periods` is how often a year interest is added; 1 is never."""

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
    """What one account says, exactly. Rates are fractions of 1 a year, amounts token units."""

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
    """What a depositor earns, and when that was known.

    Rates and utilization are fractions of 1 (0.05 is 5 %), rounded to 12 decimals; amounts are in
    token units, rounded down. `borrow_apr`, `utilization` and `borrowed` are None where nobody
    borrows. `source_slot` is the slot at which a node answered, `as_of` the account's own last
    update: between them nobody used it, and the rate is that of `as_of`.
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
    """The account gives no rate: `reason` is stable, `detail` a sentence with the value found."""

    protocol: ProtocolName
    address: Pubkey
    reason: Reason
    detail: str
    source_slot: Slot


def supply_rate(terms: Terms, *, protocol: ProtocolName, address: Pubkey, slot: Slot) -> SupplyRate:
    """Round once, at the end. Raises Refused for numbers that nobody would believe."""
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
    if value > HIGHEST:
        raise Refused(Reason.IMPLAUSIBLE, f"a {name} of {float(value):.3g} is above {HIGHEST}")


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

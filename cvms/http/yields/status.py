"""What the configured protocols pay, the best of them, and what one vault earns.

The vault's balances are the indexer's; rates and positions are the chain's. A chain that is away
leaves the rates as they were last read, with their age, and the positions out.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec
import structlog
from solana.constants import SYSTEM_PROGRAM_ID
from solders.pubkey import Pubkey

from cvms.chain.program.addresses import vault_address
from cvms.chain.yields.positions import PoolPosition, read_positions
from cvms.chain.yields.rate_cache import RateCache, RateReading
from cvms.chain.yields.rates import AtSlot, AtTime, ProtocolName, Refusal, SupplyRate
from cvms.errors import ChainUnavailable, DecodeError, RpcError
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.request import Exact, owner_in_path
from cvms.http.framework.response import Reply
from cvms.http.operations.yield_plans import pools_of
from cvms.http.vaults.balance_routes import open_vault
from cvms.http.yields.rate_source import newest_reading
from cvms.store.vaults.vaults import VaultRow

DAY = 24 * 60 * 60
SLOTS_PER_DAY = 216_000  # of 0.4 s
LATE = 600.0  # seconds for which a reading still counts when none follows it

log = structlog.get_logger(__name__)


class YieldRate(msgspec.Struct, frozen=True, kw_only=True):
    """What a depositor earns: fractions of 1 a year, amounts in token units of `mint`.

    `convention` says how the APR becomes the APY. `updated_…` is when the protocol last touched
    its account, in slots or in time, whichever it counts in.
    """

    mint: str
    supply_apr: Exact
    supply_apy: Exact
    borrow_apr: Exact | None
    utilization: Exact | None
    supplied: int
    borrowed: int | None
    convention: str
    convention_meaning: str
    updated_slot: int | None
    updated_slots_ago: int | None
    updated_at: datetime | None
    updated_seconds_ago: int | None


class NoYieldRate(msgspec.Struct, frozen=True, kw_only=True):
    """Why there is no rate: a stable word, and a sentence with what was found."""

    reason: str
    detail: str


class YieldProtocol(msgspec.Struct, frozen=True, kw_only=True):
    """A configured source: a rate, or why it has none. A node answered at `source_slot`,
    `age_seconds` ago. Only `eligible` ones can be the best: of the vaults' mint, and up to date.
    """

    protocol: ProtocolName
    address: str
    source_slot: int | None
    age_seconds: int | None
    eligible: bool
    rate: YieldRate | None
    refusal: NoYieldRate | None


class BestYield(msgspec.Struct, frozen=True, kw_only=True):
    """The highest APY among those eligible: what a year adds to tokens that are left alone."""

    protocol: ProtocolName
    address: str
    supply_apy: Exact
    convention: str


class YieldPosition(msgspec.Struct, frozen=True, kw_only=True):
    """What the vault has in a pool: `accrued` is interest so far, `claimable` what of it the pool
    can pay.
    """

    pool: str
    principal: int
    accrued: int
    claimable: int


class YieldPositions(msgspec.Struct, frozen=True, kw_only=True):
    """The vault's positions in the configured pools, as of a slot, and their sums."""

    slot: int
    principal: int
    accrued: int
    claimable: int
    pools: list[YieldPosition]


class YieldStatus(msgspec.Struct, frozen=True, kw_only=True):
    """What can be earned and what one vault earns, in token units.

    The balances are the vault's own, at `slot`. `positions` is null when the chain does not tell.
    """

    owner: str
    vault: str
    slot: int
    as_of: datetime | None
    yield_deposited: int
    yield_accrued: int
    last_compounded_at: datetime | None
    active_yield_program: str | None
    positions: YieldPositions | None
    protocols: list[YieldProtocol]
    best: BestYield | None


async def get_yield_status(deps: Dependencies, owner: str) -> Reply:
    """What each yield protocol pays, the best of them, and what this vault earns.

    Rates are fractions of 1 a year. A protocol that cannot be read says why and hides no other.
    """
    key = owner_in_path(owner)
    async with deps.database.connection() as conn:
        row = await open_vault(conn, str(key))
    reading = await newest_reading(deps)
    protocols = _protocols(deps.yield_rates, reading, str(deps.programs.mint))
    positions = await _positions(deps, key)
    return Reply(_status(row, positions, protocols))


def _status(
    row: VaultRow, positions: YieldPositions | None, protocols: list[YieldProtocol]
) -> YieldStatus:
    state: dict[str, Any] = row.state
    program = state["active_yield_program"]
    return YieldStatus(
        owner=row.owner,
        vault=row.vault,
        slot=row.slot,
        as_of=row.updated_at,
        yield_deposited=row.yield_deposited,
        yield_accrued=state["yield_accrued_balance"],
        last_compounded_at=_time(state["last_compounded_at"] or None),
        active_yield_program=None if program == str(SYSTEM_PROGRAM_ID) else program,
        positions=positions,
        protocols=protocols,
        best=_best(protocols),
    )


# --- protocols -----------------------------------------------------------------------------------


def _protocols(rates: RateCache, reading: RateReading | None, mint: str) -> list[YieldProtocol]:
    if reading is None:
        absent = NoYieldRate(reason="chain_unavailable", detail="no node has answered yet")
        return [
            YieldProtocol(
                protocol=each.protocol,
                address=str(each.address),
                source_slot=None,
                age_seconds=None,
                eligible=False,
                rate=None,
                refusal=absent,
            )
            for each in rates.sources
        ]
    current = reading.age <= rates.max_age + LATE
    return [_protocol(each, reading, mint if current else None) for each in reading.outcomes]


def _protocol(
    outcome: SupplyRate | Refusal, reading: RateReading, eligible_mint: str | None
) -> YieldProtocol:
    rate = refusal = None
    if isinstance(outcome, SupplyRate):
        rate = _rate(outcome, reading)
    else:
        refusal = NoYieldRate(reason=outcome.reason, detail=outcome.detail)
    return YieldProtocol(
        protocol=outcome.protocol,
        address=str(outcome.address),
        source_slot=outcome.source_slot,
        age_seconds=int(reading.age),
        eligible=rate is not None and rate.mint == eligible_mint and _up_to_date(rate),
        rate=rate,
        refusal=refusal,
    )


def _rate(rate: SupplyRate, reading: RateReading) -> YieldRate:
    slot, seconds = _updated(rate.as_of)
    return YieldRate(
        mint=str(rate.mint),
        supply_apr=Exact(rate.supply_apr),
        supply_apy=Exact(rate.supply_apy),
        borrow_apr=_exact(rate.borrow_apr),
        utilization=_exact(rate.utilization),
        supplied=rate.supplied,
        borrowed=rate.borrowed,
        convention=rate.convention.word,
        convention_meaning=rate.convention.sentence,
        updated_slot=slot,
        updated_slots_ago=None if slot is None else rate.source_slot - slot,
        updated_at=_time(seconds),
        updated_seconds_ago=(
            None if seconds is None else reading.chain_time - seconds + int(reading.age)
        ),
    )


def _up_to_date(rate: YieldRate) -> bool:
    """Whether the rate is still what is paid: one that follows from a utilization grows old. One
    from the future is none either.
    """
    if rate.utilization is None:
        return True
    slots, seconds = rate.updated_slots_ago or 0, rate.updated_seconds_ago or 0
    return abs(slots) <= SLOTS_PER_DAY and abs(seconds) <= DAY


def _best(protocols: Sequence[YieldProtocol]) -> BestYield | None:
    """The highest; of equal ones the first that is configured."""
    eligible = [(each.rate, each) for each in protocols if each.rate and each.eligible]
    if not eligible:
        return None
    rate, best = max(eligible, key=lambda pair: pair[0].supply_apy)
    return BestYield(
        protocol=best.protocol,
        address=best.address,
        supply_apy=rate.supply_apy,
        convention=rate.convention,
    )


def _updated(as_of: AtSlot | AtTime) -> tuple[int | None, int | None]:
    return (as_of.slot, None) if isinstance(as_of, AtSlot) else (None, as_of.unix)


def _exact(value: Decimal | None) -> Exact | None:
    return None if value is None else Exact(value)


def _time(seconds: int | None) -> datetime | None:
    """None also for what no calendar has: a protocol's account may hold any number."""
    if seconds is None:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, OSError, ValueError):
        return None


# --- positions -----------------------------------------------------------------------------------


async def _positions(deps: Dependencies, owner: Pubkey) -> YieldPositions | None:
    try:
        slot, holdings = await read_positions(
            deps.rpc,
            deps.programs,
            pools=pools_of(deps),
            owner=vault_address(deps.programs, owner),
        )
    except (ChainUnavailable, RpcError, DecodeError) as error:
        log.warning("yield_positions_not_read", owner=str(owner), error=str(error))
        return None
    pools = [_position(each) for each in holdings if each.opened]
    return YieldPositions(
        slot=slot,
        principal=sum(each.principal for each in pools),
        accrued=sum(each.accrued for each in pools),
        claimable=sum(each.claimable for each in pools),
        pools=pools,
    )


def _position(position: PoolPosition) -> YieldPosition:
    return YieldPosition(
        pool=str(position.pool),
        principal=position.principal,
        accrued=position.interest,
        claimable=position.claimable,
    )

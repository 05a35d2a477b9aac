"""Yield status: the rates of the configured protocols, the best of them, and a vault's positions.

The vault's balances are as indexed; rates and positions are read from the chain. While the chain is
unavailable, the rates are those read last, with their age, and there are no positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

import msgspec
import structlog
from solana.constants import SYSTEM_PROGRAM_ID
from solders.pubkey import Pubkey

from cvms.amounts import Amount
from cvms.chain.program.addresses import vault_address
from cvms.chain.yields.positions import read_positions
from cvms.chain.yields.rate_cache import RateCache, RateReading
from cvms.chain.yields.rates import AtSlot, AtTime, ProtocolName, Refusal, SupplyRate
from cvms.errors import ChainUnavailable, DecodeError, RpcError, VaultNotFound
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.request import Exact, owner_in_path
from cvms.http.framework.response import Reply
from cvms.http.framework.routing import RouteGroup
from cvms.http.operations.yield_plans import pools_of
from cvms.http.vaults.balance_routes import open_vault
from cvms.http.vaults.indexed_reads import read_indexed
from cvms.http.vaults.yields.rate_source import newest_reading
from cvms.store.vaults.vaults import VaultRow

DAY = 24 * 60 * 60
SLOTS_PER_DAY = 216_000  # of 0.4 s
GRACE_SECONDS = 600.0  # for which a reading still counts after its maximum age

log = structlog.get_logger(__name__)

ROUTES = RouteGroup("yield")


class YieldRate(msgspec.Struct, frozen=True, kw_only=True):
    """Yield of a deposit: yearly rates as fractions of 1, amounts in units of the token `mint`.

    `convention` says how the APY follows from the APR. `updated_…` is when the protocol last
    updated its account, as a slot or as a time, depending on the protocol.
    """

    mint: str
    supply_apr: Exact
    supply_apy: Exact
    borrow_apr: Exact | None
    utilization: Exact | None
    supplied: Amount
    borrowed: Amount | None
    convention: str
    convention_meaning: str
    updated_slot: int | None
    updated_slots_ago: int | None
    updated_at: datetime | None
    updated_seconds_ago: int | None


class NoYieldRate(msgspec.Struct, frozen=True, kw_only=True):
    """Why there is no rate: a stable code, and a sentence with the cause."""

    reason: str
    detail: str


class YieldProtocol(msgspec.Struct, frozen=True, kw_only=True):
    """A configured source and its rate, or why it has none.

    A node answered at `source_slot`, `age_seconds` ago. Only an `eligible` source can be the best:
    it is for the vaults' mint, and up to date.
    """

    protocol: ProtocolName
    address: str
    source_slot: int | None
    age_seconds: int | None
    eligible: bool
    rate: YieldRate | None
    refusal: NoYieldRate | None


class BestYield(msgspec.Struct, frozen=True, kw_only=True):
    """The highest APY among the eligible sources: the growth of untouched tokens within a year."""

    protocol: ProtocolName
    address: str
    supply_apy: Exact
    convention: str


class YieldPosition(msgspec.Struct, frozen=True, kw_only=True):
    """The vault's position in a pool: `accrued` is the interest so far, `claimable` the part of it
    that the pool can pay now.
    """

    pool: str
    principal: Amount
    accrued: Amount
    claimable: Amount


class YieldPositions(msgspec.Struct, frozen=True, kw_only=True):
    """The vault's positions in the configured pools, as of a slot, and their sums."""

    slot: int
    principal: Amount
    accrued: Amount
    claimable: Amount
    pools: list[YieldPosition]


class YieldStatus(msgspec.Struct, frozen=True, kw_only=True):
    """The configured protocols and one vault's yield, amounts in token units.

    The balances are those of the vault's account at `slot`. `positions` is null if the chain does
    not answer.
    """

    owner: str
    vault: str
    slot: int
    as_of: datetime | None
    yield_deposited: Amount
    yield_accrued: Amount
    last_compounded_at: datetime | None
    active_yield_program: str | None
    positions: YieldPositions | None
    protocols: list[YieldProtocol]
    best: BestYield | None


@ROUTES.get(
    "/api/vault/yield-status/<owner>",
    replies={200: YieldStatus},
    refusals=(VaultNotFound,),
    indexed=True,
)
async def get_yield_status(deps: Dependencies, owner: str) -> Reply:
    """Get a vault's yield status.

    Returns the rate of each configured protocol, the best of them, and the vault's positions. Rates
    are fractions of 1 per year. A protocol that cannot be read has a `refusal` instead of a `rate`;
    the others are not affected.
    """
    key = owner_in_path(owner)
    row = await read_indexed(deps, partial(open_vault, owner=str(key)))
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
    current = reading.age <= rates.max_age + GRACE_SECONDS
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
    slot = rate.as_of.slot if isinstance(rate.as_of, AtSlot) else None
    seconds = rate.as_of.unix if isinstance(rate.as_of, AtTime) else None
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
    """Return whether the rate still holds.

    A rate that follows from a utilization holds for a day. One from the future does not hold.
    """
    if rate.utilization is None:
        return True
    slots, seconds = rate.updated_slots_ago or 0, rate.updated_seconds_ago or 0
    return abs(slots) <= SLOTS_PER_DAY and abs(seconds) <= DAY


def _best(protocols: Sequence[YieldProtocol]) -> BestYield | None:
    """Return the highest rate; among equal ones the first in the configuration."""
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


def _exact(value: Decimal | None) -> Exact | None:
    return None if value is None else Exact(value)


def _time(seconds: int | None) -> datetime | None:
    """Return the time; None if it is unknown or out of range: an account may hold any number."""
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
        log.warning("yield_positions_unavailable", owner=str(owner), error=str(error))
        return None
    pools = [
        YieldPosition(
            pool=str(each.pool),
            principal=each.principal,
            accrued=each.interest,
            claimable=each.claimable,
        )
        for each in holdings
        if each.opened
    ]
    return YieldPositions(
        slot=slot,
        principal=sum(each.principal for each in pools),
        accrued=sum(each.accrued for each in pools),
        claimable=sum(each.claimable for each in pools),
        pools=pools,
    )

"""Yield sources: the accounts to read rates from. An invalid account does not affect others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from solana.constants import SYSTEM_PROGRAM_ID
from solders.pubkey import Pubkey

from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Account, Commitment, Programs, Slot
from cvms.chain.yields import marginfi, reference_pool, solend
from cvms.chain.yields.rates import (
    Convention,
    ProtocolName,
    RateRefused,
    Reason,
    Refusal,
    SupplyRate,
    Terms,
    supply_rate,
)
from cvms.errors import ConfigurationError

SETTING = "YIELD_SOURCES"


@dataclass(frozen=True, slots=True)
class YieldSource:
    """An account of a protocol."""

    protocol: ProtocolName
    address: Pubkey


@dataclass(frozen=True, slots=True)
class Adapter:
    """Recognition of a protocol's account, by owner, length and first bytes, and its decoder."""

    program: Pubkey
    length: int
    marker: bytes
    terms: Callable[[bytes, Slot], Terms]
    convention: Convention


def adapter(protocol: ProtocolName, programs: Programs) -> Adapter:
    """Return the adapter of a protocol."""
    match protocol:
        case ProtocolName.YIELD_POOL:
            return Adapter(
                programs.yield_pool,
                reference_pool.LENGTH,
                reference_pool.MARKER,
                reference_pool.terms,
                reference_pool.CONVENTION,
            )
        case ProtocolName.SOLEND:
            return Adapter(
                solend.PROGRAM, solend.LENGTH, solend.MARKER, solend.terms, solend.CONVENTION
            )
        case ProtocolName.MARGINFI:
            return Adapter(
                marginfi.PROGRAM,
                marginfi.LENGTH,
                marginfi.MARKER,
                marginfi.terms,
                marginfi.CONVENTION,
            )


def parse_yield_sources(text: str) -> tuple[YieldSource, ...]:
    """Parse `protocol:address` pairs, separated by commas; an empty text has none.

    Raises ConfigurationError, which names the first invalid pair.
    """
    sources: list[YieldSource] = []
    for pair in filter(None, map(str.strip, text.split(","))):
        source = _source(pair)
        if source in sources:
            raise ConfigurationError(f"{SETTING} names {pair!r} twice; expected it once")
        sources.append(source)
    return tuple(sources)


def pools_among(sources: Sequence[YieldSource]) -> list[Pubkey]:
    """Return the sources that are pools for vaults, the preferred one first."""
    return [each.address for each in sources if each.protocol is ProtocolName.YIELD_POOL]


def _source(pair: str) -> YieldSource:
    name, _, address = pair.partition(":")
    if name not in list(ProtocolName):
        expected = ", ".join(ProtocolName)
        raise ConfigurationError(
            f"{SETTING} holds {pair!r}; expected protocol:address, with a protocol of {expected}"
        )
    try:
        return YieldSource(ProtocolName(name), Pubkey.from_string(address))
    except ValueError:
        raise ConfigurationError(
            f"{SETTING} holds {pair!r}; expected a base58 public key after the colon"
        ) from None


async def read_rates(
    rpc: RpcClient,
    sources: Sequence[YieldSource],
    *,
    programs: Programs,
    commitment: Commitment = Commitment.CONFIRMED,
) -> list[SupplyRate | Refusal]:
    """Return each source's rate, or why it has none, in the order of `sources`.

    Raises what `rpc` raises: without a response nothing is known of any source.
    """
    if not sources:
        return []
    found = await rpc.get_accounts([each.address for each in sources], commitment=commitment)
    rows = zip(sources, found.accounts, found.slots, strict=True)
    return [read_rate(*row, programs=programs) for row in rows]


def read_rate(
    source: YieldSource, account: Account | None, slot: Slot, *, programs: Programs
) -> SupplyRate | Refusal:
    """Return the rate of an account that a node returned at `slot`, or why it has none."""
    protocol, address = source.protocol, source.address
    handler = adapter(protocol, programs)
    try:
        data = _checked(handler, account)
        return supply_rate(handler.terms(data, slot), protocol=protocol, address=address, slot=slot)
    except RateRefused as refused:
        return Refusal(protocol, address, refused.reason, refused.detail, slot)


def _checked(expected: Adapter, account: Account | None) -> bytes:
    """Return the account's data. Raises RateRefused unless it is of the protocol."""
    # Anyone can send lamports to an address before its account exists.
    if account is None or (account.owner == SYSTEM_PROGRAM_ID and not account.data):
        raise RateRefused(Reason.NO_ACCOUNT, "there is no account at this address")
    if account.owner != expected.program:
        raise RateRefused(
            Reason.WRONG_OWNER, f"the account belongs to {account.owner}, not to {expected.program}"
        )
    if len(account.data) != expected.length:
        raise RateRefused(
            Reason.WRONG_LENGTH, f"the account has {len(account.data)} bytes, not {expected.length}"
        )
    if not account.data.startswith(expected.marker):
        begin = account.data[: len(expected.marker)].hex()
        raise RateRefused(
            Reason.WRONG_KIND, f"the account begins with {begin}, not with {expected.marker.hex()}"
        )
    return account.data

"""Which accounts to read rates from, and reading them: one bad account hides no other."""

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
    Reason,
    Refusal,
    Refused,
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
    """How to know a protocol's account, and how to read one of that owner, length and start."""

    program: Pubkey
    length: int
    marker: bytes
    terms: Callable[[bytes, Slot], Terms]
    convention: Convention


def adapter(protocol: ProtocolName, programs: Programs) -> Adapter:
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
    """`protocol:address` pairs, separated by commas; none in an empty text.

    Raises ConfigurationError naming the first pair that is wrong.
    """
    sources: list[YieldSource] = []
    for pair in filter(None, map(str.strip, text.split(","))):
        source = _source(pair)
        if source in sources:
            raise ConfigurationError(f"{SETTING} names {pair!r} twice; expected it once")
        sources.append(source)
    return tuple(sources)


def pools_among(sources: Sequence[YieldSource]) -> list[Pubkey]:
    """Those that are pools vaults can lend to, the preferred one first."""
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
            f"{SETTING} holds {pair!r}; expected a base58 public key behind the colon"
        ) from None


async def read_rates(
    rpc: RpcClient,
    sources: Sequence[YieldSource],
    *,
    programs: Programs,
    commitment: Commitment = Commitment.CONFIRMED,
) -> list[SupplyRate | Refusal]:
    """Each source's rate, or why it gives none, in the order of `sources`.

    One getMultipleAccounts for every 100. Raises what `rpc` raises: when no node answers, nothing
    is known of any.
    """
    if not sources:
        return []
    found = await rpc.get_accounts([each.address for each in sources], commitment=commitment)
    answers = zip(sources, found.accounts, found.slots, strict=True)
    return [read_rate(*answer, programs=programs) for answer in answers]


def read_rate(
    source: YieldSource, account: Account | None, slot: Slot, *, programs: Programs
) -> SupplyRate | Refusal:
    """The rate in an account as a node gave it at `slot`, or why it gives none; never raises."""
    protocol, address = source.protocol, source.address
    known = adapter(protocol, programs)
    try:
        data = _checked(known, account)
        return supply_rate(known.terms(data, slot), protocol=protocol, address=address, slot=slot)
    except Refused as refused:
        return Refusal(protocol, address, refused.reason, refused.detail, slot)


def _checked(known: Adapter, account: Account | None) -> bytes:
    """The data of an account that is the protocol's. Raises Refused when it is not."""
    # Anyone can send lamports to an address before its account is created: that is no account.
    if account is None or (account.owner == SYSTEM_PROGRAM_ID and not account.data):
        raise Refused(Reason.NO_ACCOUNT, "there is no account at this address")
    if account.owner != known.program:
        raise Refused(
            Reason.WRONG_OWNER, f"the account belongs to {account.owner}, not to {known.program}"
        )
    if len(account.data) != known.length:
        raise Refused(
            Reason.WRONG_LENGTH, f"the account has {len(account.data)} bytes, not {known.length}"
        )
    if not account.data.startswith(known.marker):
        begin = account.data[: len(known.marker)].hex()
        raise Refused(
            Reason.WRONG_KIND, f"the account begins with {begin}, not with {known.marker.hex()}"
        )
    return account.data

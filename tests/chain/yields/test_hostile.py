"""Whatever an account holds, reading it returns a plausible rate or a refusal."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from solders.pubkey import Pubkey

from cvms.chain.types import Slot
from cvms.chain.yields.rates import MAX_RATE, ProtocolName, Refusal, SupplyRate
from cvms.chain.yields.sources import YieldSource, adapter, read_rate
from tests.chain.made_up import PUBKEYS, unhurried
from tests.chain.yields import accounts
from tests.chain.yields.accounts import BANK, PROGRAMS, RESERVE, Layout, bank, legacy_bank, reserve

PROTOCOLS = st.sampled_from(ProtocolName)
SLOTS = st.integers(0, 2**64 - 1)


def outcome(protocol: ProtocolName, data: bytes, slot: int = 2**64 - 1) -> SupplyRate | Refusal:
    result = accounts.read(protocol, data, slot=Slot(slot))
    if isinstance(result, Refusal):
        assert result.detail
        return result
    assert 0 <= result.supply_apr <= MAX_RATE
    assert result.supply_apy >= result.supply_apr
    assert result.supplied >= 0
    return result


@st.composite
def disturbances(draw: st.DrawFn, valid: bytes, layout: Layout) -> bytes:
    """Return the account with some fields overwritten, often by extreme values."""
    data = bytearray(valid)
    for name in draw(st.lists(st.sampled_from(sorted(layout)), min_size=1, max_size=4)):
        offset, size = layout[name]
        extremes = st.sampled_from([b"\0" * size, b"\xff" * size, b"\xff" * (size - 1) + b"\x7f"])
        data[offset : offset + size] = draw(extremes | st.binary(min_size=size, max_size=size))
    return bytes(data)


@unhurried
@given(PROTOCOLS, st.binary(max_size=2_000), SLOTS)
def test_bytes_of_any_other_length_are_refused(
    protocol: ProtocolName, data: bytes, slot: int
) -> None:
    result = outcome(protocol, data, slot)
    assert isinstance(result, Refusal) or len(data) == adapter(protocol, PROGRAMS).length


@unhurried
@given(PROTOCOLS, st.data(), SLOTS)
def test_random_bytes_of_the_right_length_and_beginning_never_break_a_reader(
    protocol: ProtocolName, data: st.DataObject, slot: int
) -> None:
    known = adapter(protocol, PROGRAMS)
    rest = known.length - len(known.marker)
    outcome(protocol, known.marker + data.draw(st.binary(min_size=rest, max_size=rest)), slot)


@unhurried
@given(st.data())
def test_a_reserve_with_extreme_fields_never_breaks_the_reader(data: st.DataObject) -> None:
    outcome(ProtocolName.SOLEND, data.draw(disturbances(reserve(), RESERVE)))


@unhurried
@given(st.data(), st.sampled_from([bank("0.9"), legacy_bank("0.9")]))
def test_a_bank_with_extreme_fields_never_breaks_the_reader(
    data: st.DataObject, valid: bytes
) -> None:
    outcome(ProtocolName.MARGINFI, data.draw(disturbances(valid, BANK)))


@unhurried
@given(PROTOCOLS, PUBKEYS, st.binary(max_size=10))
def test_any_owner_is_refused_but_the_protocols_own(
    protocol: ProtocolName, owner: Pubkey, data: bytes
) -> None:
    source = YieldSource(protocol, accounts.MINT)
    result = read_rate(source, accounts.account(data, owner), Slot(1), programs=PROGRAMS)
    assert isinstance(result, Refusal)


@unhurried
@given(st.integers(0, 10**4), st.integers(0, 10**4))
def test_a_higher_utilization_never_lowers_the_rate(one: int, other: int) -> None:
    low, high = sorted((one, other))
    for build in (bank, legacy_bank):
        less, more = (
            accounts.rate(ProtocolName.MARGINFI, build(f"{each}/10000")) for each in (low, high)
        )
        assert less.supply_apr <= more.supply_apr

"""docs/yield.md agrees with the code on names that callers and settings use."""

from __future__ import annotations

import pytest

from cvms.chain.yields import marginfi, reference_pool, solend
from cvms.chain.yields.rates import Convention, ProtocolName, Reason
from cvms.chain.yields.sources import SETTING, adapter, parse_yield_sources
from tests.chain.yields.accounts import PROGRAMS
from tests.paths import DOCS

DOCUMENT = (DOCS / "yield.md").read_text()


def test_the_sample_setting_is_valid() -> None:
    [sample] = [line for line in DOCUMENT.splitlines() if line.strip().startswith(f"{SETTING}=")]
    sources = parse_yield_sources(sample.partition("=")[2])
    assert [each.protocol for each in sources] == [ProtocolName.SOLEND, ProtocolName.MARGINFI]


@pytest.mark.parametrize("protocol", ProtocolName)
def test_each_protocols_account_is_described(protocol: ProtocolName) -> None:
    known = adapter(protocol, PROGRAMS)
    [row] = [each for each in DOCUMENT.splitlines() if f"| {known.length} |" in each]
    assert row.startswith(f"| `{protocol}`")
    assert protocol is ProtocolName.YIELD_POOL or str(known.program) in row


@pytest.mark.parametrize(
    "convention", [reference_pool.CONVENTION, solend.CONVENTION, marginfi.CONVENTION]
)
def test_each_convention_is_described(convention: Convention) -> None:
    [row] = [each for each in DOCUMENT.splitlines() if each.startswith(f"| `{convention.word}` |")]
    assert convention.periods == 1 or f"{convention.periods:,}" in row


@pytest.mark.parametrize("reason", Reason)
def test_each_reason_is_described(reason: Reason) -> None:
    assert f"`{reason}`" in DOCUMENT.partition("### Reasons")[2]

"""Accounts of the real chain, from a folder, and the rates that they are known to have.

CVMS_REAL_ACCOUNTS names the folder; each file is one account as `solana account --output json`
writes it.
"""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from solders.pubkey import Pubkey

from cvms.chain.types import Slot
from cvms.chain.yields.rates import ProtocolName, SupplyRate
from cvms.chain.yields.sources import YieldSource, read_rate
from tests.chain.yields.accounts import PROGRAMS, account, percent

VARIABLE = "CVMS_REAL_ACCOUNTS"
AFTER_ALL = Slot(500_000_000)


@dataclass(frozen=True, slots=True)
class Row:
    """Expected values: amounts in whole tokens with their decimals, rates in percent."""

    decimals: int
    available: float
    borrowed: float
    utilization: str
    borrow_apr: str
    supply_apr: str
    supply_apy: str


ROWS = {
    "solend_USDC": Row(6, 5.338e6, 17.176e6, "76.291", "2.65849", "1.62255", "1.63578"),
    "solend_mSOL": Row(9, 1.326e6, 5_197, "0.390", "0.14638", "0.00057", "0.00057"),
    "marginfi_USDT": Row(6, 9.964e6, 35.992e6, "78.319", "21.55875", "15.33469", "16.57293"),
    "marginfi_PYUSD": Row(6, 38.0e6, 2.0e6, "5.001", "1.65639", "0.03126", "0.03127"),
    "marginfi_JitoSOL": Row(9, 918_575, 80_352, "8.044", "2.05575", "0.08088", "0.08091"),
    "marginfi_BONK": Row(5, 858.6e9, 10.2e9, "1.176", "1.50056", "0.00519", "0.00519"),
    "marginfi_SOL_7point": Row(9, 2_183, 89_297, "97.613", "6.91331", "6.73855", "6.97077"),
}


@pytest.fixture
def folder() -> Path:
    named = os.environ.get(VARIABLE)
    if not named:
        pytest.skip(f"{VARIABLE} names no folder of real accounts")
    return Path(named)


def rate(folder: Path, name: str) -> SupplyRate:
    dump = json.loads((folder / f"{name}.json").read_text())
    data = base64.b64decode(dump["account"]["data"][0])
    given = account(data, Pubkey.from_string(dump["account"]["owner"]))
    source = YieldSource(ProtocolName(name.partition("_")[0]), Pubkey.from_string(dump["pubkey"]))
    result = read_rate(source, given, AFTER_ALL, programs=PROGRAMS)
    assert isinstance(result, SupplyRate), result
    return result


@pytest.mark.parametrize("name", ROWS)
def test_a_real_account_gives_the_rates_that_it_is_known_for(folder: Path, name: str) -> None:
    read, known = rate(folder, name), ROWS[name]
    assert read.borrowed is not None
    unit = 10**known.decimals
    assert (read.supplied - read.borrowed) / unit == pytest.approx(known.available, rel=3e-4)
    assert read.borrowed / unit == pytest.approx(known.borrowed, rel=3e-3)
    assert percent(read.utilization, 3) == known.utilization
    assert percent(read.borrow_apr, 5) == known.borrow_apr
    assert percent(read.supply_apr, 5) == known.supply_apr
    assert percent(read.supply_apy, 5) == known.supply_apy


@pytest.mark.parametrize("name", ["marginfi_META", "marginfi_CORVUS_7point_ownerpatched"])
def test_a_real_bank_that_lends_next_to_nothing_pays_nothing(folder: Path, name: str) -> None:
    assert percent(rate(folder, name).supply_apy, 5) == "0.00000"


def test_the_program_itself_cached_the_same_rates_of_the_sol_bank(folder: Path) -> None:
    sol = rate(folder, "marginfi_SOL_7point")
    assert sol.borrow_apr is not None
    highest = 2**32 - 1  # stands for 1000 %
    assert int(sol.supply_apr * highest / 10) == 28_941_839
    assert int(sol.borrow_apr * highest / 10) == 29_692_449

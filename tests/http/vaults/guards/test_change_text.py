"""Each change of guards has one text, which says it."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Annotated, get_args, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st
from solders.pubkey import Pubkey

from cvms.chain.program.guard_changes import (
    GuardChange,
    Multisig,
    TransferAllowance,
    WhitelistAddition,
    WithdrawMinDelay,
    WithdrawRateLimit,
)
from cvms.http.framework.request import ChangeText
from cvms.http.vaults.guards.change_text import UNLIMITED, read_change, write_change

KEYS = st.binary(min_size=32, max_size=32).map(Pubkey)
CHANGES: st.SearchStrategy[GuardChange] = st.one_of(
    st.builds(WithdrawMinDelay, st.integers(0, 2**63 - 1)),
    st.builds(WithdrawRateLimit, st.integers(0, 2**32 - 1), st.integers(0, UNLIMITED)),
    st.builds(WhitelistAddition, KEYS),
    st.builds(TransferAllowance, st.integers(0, UNLIMITED) | st.just(UNLIMITED)),
    st.builds(Multisig, st.lists(KEYS, max_size=10).map(tuple), st.integers(0, 10)),
)
A, B = Pubkey([1] * 32), Pubkey([2] * 32)


@given(change=CHANGES)
def test_a_change_is_read_as_it_was_written(change: GuardChange) -> None:
    text = write_change(change)
    assert read_change(text) == change
    assert get_origin(ChangeText) is Annotated
    assert re.fullmatch(get_args(ChangeText)[1].pattern, text)
    assert ":" not in text  # which separates the fields of what the wallet signs


@given(
    text=st.one_of(
        st.text(),
        st.from_regex(r"(min_delay|rate_limit|whitelist|transfer_allowance|multisig)=[^:]*"),
        st.builds(
            lambda text, extra: text + extra, CHANGES.map(write_change), st.text("0, /=+A\n")
        ),
    )
)
def test_no_two_texts_are_the_same_change(text: str) -> None:
    with suppress(ValueError):
        assert write_change(read_change(text)) == text


@pytest.mark.parametrize(
    ("text", "change"),
    [
        ("min_delay=0", WithdrawMinDelay(0)),
        ("rate_limit=3600/1000000", WithdrawRateLimit(3600, 1_000_000)),
        (f"whitelist={A}", WhitelistAddition(A)),
        ("transfer_allowance=7", TransferAllowance(7)),
        ("transfer_allowance=unlimited", TransferAllowance(2**64 - 1)),
        ("multisig=0", Multisig((), 0)),
        (f"multisig=2/{A},{B}", Multisig((A, B), 2)),
    ],
)
def test_texts(text: str, change: GuardChange) -> None:
    assert read_change(text) == change
    assert write_change(change) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "min_delay",
        "min_delay=",
        "min_delay=-1",
        "min_delay=01",
        "min_delay=1/2",
        "min_delay=9223372036854775808",
        "min_delay=\u0661",
        "rate_limit=5",
        "rate_limit=4294967296/1",
        "rate_limit=1/18446744073709551616",
        "whitelist=" + "1" * 45,
        "transfer_allowance=18446744073709551615",
        "transfer_allowance=Unlimited",
        "multisig=2/",
        f"multisig=11/{A}",
        f"multisig=1/{A},",
        "multisig=1/" + ",".join([str(A)] * 11),
        "freeze=1",
    ],
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="Expected"):
        read_change(text)

"""Base58, against the library that encodes signatures."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from solders.signature import Signature

from cvms.chain import base58
from cvms.errors import DecodeError
from tests.chain.made_up import unhurried


@unhurried
@given(st.binary(min_size=64, max_size=64))
def test_it_agrees_with_the_library_that_writes_signatures(data: bytes) -> None:
    assert base58.encode(data) == str(Signature(data))
    assert base58.decode(str(Signature(data))) == data


@unhurried
@given(st.binary(max_size=300))
def test_what_is_encoded_decodes_to_itself(data: bytes) -> None:
    assert base58.decode(base58.encode(data)) == data


@pytest.mark.parametrize("text", ["0", "abcO", "Il", "a b", "é"])
def test_other_characters_are_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        base58.decode(text)

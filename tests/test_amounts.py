"""The types of replies say which fields become strings for those who ask for it."""

from __future__ import annotations

import msgspec

from cvms.amounts import Amount, amounts_to_strings


class Inner(msgspec.Struct):
    amount: Amount = msgspec.field(name="sum")
    slot: int


class Outer(msgspec.Struct):
    amounts: list[Amount]
    by_name: dict[str, Amount | None]
    inner: Inner | None
    each: list[Inner]
    left_out: Amount | msgspec.UnsetType = msgspec.UNSET


class Without(msgspec.Struct):
    slot: int
    names: list[str]


def test_amounts_become_strings_wherever_they_are() -> None:
    rewrite = amounts_to_strings(Outer)
    assert rewrite is not None
    assert rewrite(
        {
            "amounts": [2**63 - 1, 0],
            "by_name": {"a": -5, "b": None},
            "inner": None,
            "each": [{"sum": 7, "slot": 8}],
        }
    ) == {
        "amounts": ["9223372036854775807", "0"],
        "by_name": {"a": "-5", "b": None},
        "inner": None,
        "each": [{"sum": "7", "slot": 8}],
    }


def test_a_type_without_amounts_needs_no_rewriting() -> None:
    assert amounts_to_strings(Without) is None
    assert amounts_to_strings(None) is None
    assert amounts_to_strings(dict[str, object]) is None

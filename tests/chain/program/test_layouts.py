"""Encodings of events and accounts, compared with an independent reader of the IDL."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from solana.constants import SYSTEM_PROGRAM_ID
from solders.pubkey import Pubkey
from spl.token.constants import TOKEN_PROGRAM_ID

from cvms.chain import borsh
from cvms.chain.program.accounts import (
    GUARD_CHANGE_DISCRIMINATOR,
    POSITION_SUMMARY_DISCRIMINATOR,
    TRANSFER_LIMITS_DISCRIMINATOR,
    VAULT_AUTHORITY_DISCRIMINATOR,
    VAULT_DISCRIMINATOR,
    GuardChangeRequest,
    PositionSummary,
    TransferLimits,
    Vault,
    VaultAuthority,
    decode_guard_change,
    decode_position_summary,
    decode_token_account,
    decode_transfer_limits,
    decode_vault,
    decode_vault_authority,
    read_token_account,
    read_vault,
)
from cvms.chain.program.events.events import (
    DepositEvent,
    Event,
    FreezeFlagSetEvent,
    TransactionEvent,
    TransactionType,
    decode_event,
)
from cvms.chain.program.events.guard_events import GuardChangeAppliedEvent
from cvms.chain.program.guard_changes import GuardChange, WithdrawMinDelay
from cvms.chain.types import Account, Lamports, Programs
from cvms.errors import DecodeError
from tests.chain.made_up import encode_event, structures, to_json, unhurried
from tests.chain.program.idl_borsh import fields_of, idl, read_struct

VAULT_IDL = idl("collateral_vault")
EVENTS: tuple[type[Event], ...] = get_args(Event)


class Layout(NamedTuple):
    kind: type
    name: str
    program: dict[str, Any]
    discriminator: bytes
    decode: Callable[[bytes], object]


ACCOUNTS = [
    Layout(Vault, "CollateralVault", VAULT_IDL, VAULT_DISCRIMINATOR, decode_vault),
    Layout(
        VaultAuthority,
        "VaultAuthority",
        VAULT_IDL,
        VAULT_AUTHORITY_DISCRIMINATOR,
        decode_vault_authority,
    ),
    Layout(
        TransferLimits,
        "TransferLimits",
        VAULT_IDL,
        TRANSFER_LIMITS_DISCRIMINATOR,
        decode_transfer_limits,
    ),
    Layout(
        GuardChangeRequest,
        "GuardChangeRequest",
        VAULT_IDL,
        GUARD_CHANGE_DISCRIMINATOR,
        decode_guard_change,
    ),
    Layout(
        PositionSummary,
        "PositionSummaryAccount",
        idl("position_manager"),
        POSITION_SUMMARY_DISCRIMINATOR,
        decode_position_summary,
    ),
]
DECODERS = [decode_event, decode_token_account, *(layout.decode for layout in ACCOUNTS)]


def without_reserved(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if not name.startswith("_")}


def test_there_is_a_class_for_every_event_of_the_idl_and_no_other() -> None:
    assert [kind.__name__ for kind in EVENTS] == [event["name"] for event in VAULT_IDL["events"]]


def test_transaction_types_are_the_idls() -> None:
    [found] = [each for each in VAULT_IDL["types"] if each["name"] == "TransactionType"]
    assert [kind.name for kind in TransactionType] == [
        variant["name"] for variant in found["type"]["variants"]
    ]


def test_changes_of_guards_are_the_idls() -> None:
    [found] = [each for each in VAULT_IDL["types"] if each["name"] == "GuardChange"]
    assert [
        (kind.__name__, [field.name for field in dataclasses.fields(kind)])
        for kind in get_args(GuardChange)
    ] == [
        (variant["name"], [field["name"] for field in variant["fields"]])
        for variant in found["type"]["variants"]
    ]


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_an_event_has_the_idls_fields_in_its_order(kind: type[Event]) -> None:
    named = [field["name"] for field in fields_of(VAULT_IDL, kind.__name__)]
    assert [field.name for field in dataclasses.fields(kind)] == named


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
@unhurried
@given(data=st.data())
def test_an_event_reads_as_the_idl_says(kind: type[Event], data: st.DataObject) -> None:
    event = data.draw(structures(kind))
    wire = encode_event(event)
    [entry] = [each for each in VAULT_IDL["events"] if each["name"] == kind.__name__]
    assert wire[:8] == bytes(entry["discriminator"])
    values, left = read_struct(VAULT_IDL, kind.__name__, wire[8:])
    assert left == b""
    assert decode_event(wire) == event
    assert to_json(event) == values


@pytest.mark.parametrize("layout", ACCOUNTS, ids=lambda layout: layout.name)
@unhurried
@given(data=st.data(), padding=st.binary(max_size=64))
def test_an_account_reads_as_the_idl_says(
    layout: Layout, data: st.DataObject, padding: bytes
) -> None:
    [entry] = [each for each in layout.program["accounts"] if each["name"] == layout.name]
    assert layout.discriminator == bytes(entry["discriminator"])
    account = data.draw(structures(layout.kind))
    wire = layout.discriminator + borsh.encode(account)
    values, left = read_struct(layout.program, layout.name, wire[8:])
    assert left == b""
    assert layout.decode(wire + padding) == account
    assert to_json(account) == without_reserved(values)


@unhurried
@given(vault=structures(Vault))
def test_what_is_timelocked_is_the_sum_of_the_entries(vault: Vault) -> None:
    assert vault.timelocked == sum(entry.amount for entry in vault.timelocks)


@pytest.mark.parametrize("decode", DECODERS, ids=lambda decode: decode.__name__)
@unhurried
@given(
    data=st.binary(max_size=400),
    start=st.sampled_from([b"", *(layout.discriminator for layout in ACCOUNTS)]),
)
def test_hostile_bytes_raise_nothing_but_decode_error(
    decode: Any, data: bytes, start: bytes
) -> None:
    try:
        decode(start + data)
    except DecodeError:
        return


@unhurried
@given(data=st.data(), kind=st.sampled_from(EVENTS))
def test_an_event_cut_short_or_with_bytes_after_it_is_refused(
    data: st.DataObject, kind: type[Event]
) -> None:
    wire = encode_event(data.draw(structures(kind)))
    cut = data.draw(st.integers(8, len(wire) - 1))
    with pytest.raises(DecodeError):
        decode_event(wire[:cut])
    with pytest.raises(DecodeError):
        decode_event(wire + b"\0")


@unhurried
@given(vault=structures(Vault), data=st.data())
def test_a_vault_cut_short_is_refused(vault: Vault, data: st.DataObject) -> None:
    wire = VAULT_DISCRIMINATOR + borsh.encode(vault)
    with pytest.raises(DecodeError):
        decode_vault(wire[: data.draw(st.integers(0, len(wire) - 1))])


def test_a_vector_that_claims_four_billion_entries_is_refused_before_memory_is_taken() -> None:
    key, number = bytes(32), bytes(8)
    fixed = key * 3 + number * 8 + key + number + b"\0\0"
    with pytest.raises(DecodeError, match="bytes expected"):
        decode_vault(VAULT_DISCRIMINATOR + fixed + b"\xff\xff\xff\xff" + bytes(1000))


def test_an_unknown_event_is_none_and_a_number_out_of_range_is_no_event() -> None:
    assert decode_event(b"whatever it may be") is None
    with pytest.raises(ValueError, match="range"):
        encode_event(DepositEvent(Pubkey.default(), Pubkey.default(), 2**64, 0, 0))


def test_a_boolean_or_a_variant_that_does_not_exist_is_refused() -> None:
    flag = encode_event(FreezeFlagSetEvent(freeze=True))
    with pytest.raises(DecodeError, match="boolean"):
        decode_event(flag[:-1] + b"\2")
    record = TransactionEvent(Pubkey.default(), Pubkey.default(), TransactionType.Lock, 1, 1)
    wire = bytearray(encode_event(record))
    wire[8 + 64] = len(TransactionType)
    with pytest.raises(DecodeError, match="TransactionType"):
        decode_event(bytes(wire))
    applied = GuardChangeAppliedEvent(Pubkey.default(), Pubkey.default(), WithdrawMinDelay(1))
    wire = bytearray(encode_event(applied))
    wire[8 + 64] = len(get_args(GuardChange))
    with pytest.raises(DecodeError, match="variant 5"):
        decode_event(bytes(wire))


def token_account_data(owner: Pubkey, mint: Pubkey, amount: int, state: int) -> bytes:
    head = bytes(mint) + bytes(owner) + amount.to_bytes(8, "little") + bytes(36)
    return head + bytes([state]) + bytes(165 - len(head) - 1)


def test_a_token_account_counts_once_it_is_initialized(programs: Programs) -> None:
    owner = Pubkey.new_unique()
    open_account = decode_token_account(token_account_data(owner, programs.mint, 7, 1))
    assert (open_account.owner, open_account.mint, open_account.amount) == (
        owner,
        programs.mint,
        7,
    )
    with pytest.raises(DecodeError):
        decode_token_account(token_account_data(owner, programs.mint, 7, 0))


def test_lamports_sent_to_an_address_make_no_account_and_another_owner_is_refused(
    programs: Programs,
) -> None:
    funded = Account(Lamports(1), SYSTEM_PROGRAM_ID, b"", executable=False)
    forged = Account(
        Lamports(1), TOKEN_PROGRAM_ID, VAULT_DISCRIMINATOR + bytes(400), executable=False
    )
    assert read_vault(None, programs) is None
    assert read_vault(funded, programs) is None
    assert read_token_account(funded) is None
    with pytest.raises(DecodeError, match="belongs to"):
        read_vault(forged, programs)

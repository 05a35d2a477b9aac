"""Responses are validated before they are used."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cvms.chain.rpc.transport.jsonrpc import MalformedResponse, decode_batch, decode_response
from cvms.errors import RpcError
from tests.chain.made_up import unhurried

json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["id", "result", "error", "code", "x"]), inner)
    ),
    max_leaves=8,
)


def test_a_result_may_be_null_but_not_missing() -> None:
    assert decode_response(b'{"jsonrpc":"2.0","id":1,"result":null}', 1) is None
    with pytest.raises(MalformedResponse):
        decode_response(b'{"jsonrpc":"2.0","id":1}', 1)


def test_another_id_is_refused_except_in_an_error_that_could_not_know_it() -> None:
    with pytest.raises(MalformedResponse):
        decode_response(b'{"id":2,"result":1}', 1)
    with pytest.raises(MalformedResponse):
        decode_response(b'{"id":2,"error":{"code":1,"message":"m"}}', 1)
    got = decode_response(b'{"id":null,"error":{"code":-32700,"message":"Parse error"}}', 1)
    assert isinstance(got, RpcError)
    assert got.code == -32700


def test_an_error_keeps_code_message_and_data() -> None:
    body = {"id": 1, "error": {"code": -32002, "message": "no", "data": {"err": 1}}}
    got = decode_response(json.dumps(body).encode(), 1)
    assert isinstance(got, RpcError)
    assert (got.code, got.message, got.data) == (-32002, "no", {"err": 1})


def test_a_batch_is_matched_by_id_in_any_order() -> None:
    body = (
        b'[{"id":3,"result":"c"},{"id":1,"result":"a"},{"id":2,"error":{"code":5,"message":"b"}}]'
    )
    first, second, third = decode_batch(body, [1, 2, 3])
    assert (first, third) == ("a", "c")
    assert isinstance(second, RpcError)


@pytest.mark.parametrize(
    "body",
    [
        b'[{"id":1,"result":1}]',
        b'[{"id":1,"result":1},{"id":3,"result":1}]',
        b'[{"id":1,"result":1},{"id":2,"result":1},{"id":2,"result":1}]',
        b'[{"id":1,"result":1},{"id":2}]',
        b'[{"id":null,"result":1}]',
        b'[{"id":1,"result":1},{"id":null,"error":{"code":1,"message":"m"}}]',
        b'{"id":1,"result":1}',
        b"[1, 2]",
        b"null",
        b"",
    ],
)
def test_a_batch_with_missing_doubled_or_foreign_answers_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedResponse):
        decode_batch(body, [1, 2])


@pytest.mark.parametrize(
    "body",
    [
        b' {"id":null,"error":{"code":-32600,"message":"too many"}}',
        b' [{"id":null,"error":{"code":-32600,"message":"too many"}}]',
    ],
)
def test_one_error_for_a_whole_batch_is_each_calls_error(body: bytes) -> None:
    got = decode_batch(body, [1, 2])
    assert [each.code for each in got if isinstance(each, RpcError)] == [-32600, -32600]


@pytest.mark.parametrize("deep", [b"[" * 100_000, b'{"result":' * 100_000])
def test_depth_without_end_is_refused(deep: bytes) -> None:
    with pytest.raises(MalformedResponse):
        decode_response(deep, 1)
    with pytest.raises(MalformedResponse):
        decode_batch(deep, [1])


@unhurried
@given(st.binary(max_size=50) | json_values.map(lambda value: json.dumps(value).encode()))
def test_odd_bodies_raise_nothing_but_malformed_response(body: bytes) -> None:
    for attempt in (lambda: decode_response(body, 1), lambda: decode_batch(body, [1, 2])):
        try:
            attempt()
        except MalformedResponse:
            continue

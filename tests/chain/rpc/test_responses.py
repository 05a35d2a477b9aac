"""Responses of a wrong shape raise RpcError, whatever they are."""

from __future__ import annotations

import copy
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
import trio
from based58 import b58encode
from hypothesis import given
from hypothesis import strategies as st
from solders.pubkey import Pubkey

from cvms.chain.rpc import responses, transaction_responses
from cvms.chain.rpc.responses import UNEXPECTED_SHAPE
from cvms.chain.rpc.rpc_client import RpcClient, open_rpc
from cvms.chain.types import Commitment
from cvms.errors import RpcError
from tests.chain.made_up import unhurried
from tests.chain.rpc.scripted_node import Reply, ScriptedNode, result

KEYS = [Pubkey.new_unique() for _ in range(5)]
GOOD: dict[str, Any] = {
    "slot": 9,
    "blockTime": None,
    "version": 0,
    "transaction": {
        "signatures": ["sig"],
        "message": {
            "accountKeys": [str(key) for key in KEYS[:3]],
            "header": {"numRequiredSignatures": 1},
            "instructions": [
                {"programIdIndex": 2, "accounts": [0, 3], "data": b58encode(b"outer").decode()},
                {"programIdIndex": 1, "accounts": [], "data": ""},
            ],
        },
    },
    "meta": {
        "err": None,
        "fee": 5000,
        "logMessages": None,
        "loadedAddresses": {"writable": [str(KEYS[3])], "readonly": [str(KEYS[4])]},
        "innerInstructions": [
            {
                "index": 0,
                "instructions": [
                    {"programIdIndex": 4, "accounts": [3], "data": b58encode(b"inner").decode()}
                ],
            }
        ],
    },
}


@asynccontextmanager
async def node_giving(value: Any) -> AsyncIterator[RpcClient]:
    async def script(request: Any) -> Reply:
        if isinstance(request, list):
            return Reply(
                json.dumps([{"id": each["id"], "result": value} for each in request]).encode()
            )
        return result(request, value)

    node = ScriptedNode(script)
    async with trio.open_nursery() as nursery:
        await nursery.start(node.serve)
        with trio.fail_after(10):
            async with open_rpc([node.url]) as rpc:
                yield rpc
        nursery.cancel_scope.cancel()


CALLS: list[Callable[[RpcClient], Awaitable[Any]]] = [
    lambda rpc: rpc.get_slot(Commitment.CONFIRMED),
    lambda rpc: rpc.get_block_height(Commitment.CONFIRMED),
    lambda rpc: rpc.get_latest_blockhash(),
    lambda rpc: rpc.get_balance(KEYS[0]),
    lambda rpc: rpc.get_accounts(KEYS, commitment=Commitment.CONFIRMED),
    lambda rpc: rpc.get_signatures_for_address(KEYS[0], commitment=Commitment.CONFIRMED, limit=1),
    lambda rpc: rpc.get_transactions(["s"], commitment=Commitment.CONFIRMED),
    lambda rpc: rpc.get_signature_statuses(["s"]),
    lambda rpc: rpc.send_transaction(b""),
    lambda rpc: rpc.simulate(b""),
    lambda rpc: rpc.get_recent_prioritization_fees([KEYS[0]]),
    lambda rpc: rpc.get_program_accounts(
        KEYS[0], data_begins=b"12345678", commitment=Commitment.CONFIRMED
    ),
    lambda rpc: rpc.probe(),
]


@pytest.mark.parametrize("odd", [{"context": {}}, {"value": []}, [None], True, -1.5], ids=repr)
async def test_every_call_names_a_wrong_shape(odd: Any) -> None:
    async with node_giving(odd) as rpc:
        for call in CALLS:
            with pytest.raises(RpcError) as caught:
                await call(rpc)
            assert caught.value.code == UNEXPECTED_SHAPE


async def test_too_few_accounts_or_statuses_are_no_answer() -> None:
    async with node_giving({"context": {"slot": 1}, "value": [None]}) as rpc:
        with pytest.raises(RpcError, match="1 accounts for 5"):
            await rpc.get_accounts(KEYS, commitment=Commitment.CONFIRMED)
        with pytest.raises(RpcError, match="1 statuses for 2"):
            await rpc.get_signature_statuses(["a", "b"])


async def test_another_transaction_than_the_one_asked_for_is_no_answer() -> None:
    async with node_giving(GOOD) as rpc:
        [record] = await rpc.get_transactions(["sig"], commitment=Commitment.CONFIRMED)
        assert record is not None
        with pytest.raises(RpcError, match="another transaction"):
            await rpc.get_transactions(["other"], commitment=Commitment.CONFIRMED)


def transaction(answer: Any) -> responses.TransactionRecord:
    return transaction_responses.transaction(
        responses.read(transaction_responses.TransactionResponse, answer, "get"), "get"
    )


def test_instructions_are_listed_with_their_inner_ones_and_loaded_accounts() -> None:
    record = transaction(GOOD)
    assert record.account_keys == KEYS
    seen = [(i.index, i.inner_index, i.program_id, i.accounts, i.data) for i in record.instructions]
    assert seen == [
        (0, None, KEYS[2], (KEYS[0], KEYS[3]), b"outer"),
        (0, 0, KEYS[4], (KEYS[3],), b"inner"),
        (1, None, KEYS[1], (), b""),
    ]
    assert record.top_level_programs == [KEYS[2], KEYS[1]]


@unhurried
@given(st.binary(max_size=600))
def test_instruction_data_of_any_length_are_decoded(data: bytes) -> None:
    answer = copy.deepcopy(GOOD)
    answer["transaction"]["message"]["instructions"][0]["data"] = b58encode(data).decode()
    assert transaction(answer).instructions[0].data == data


@pytest.mark.parametrize("text", ["0", "abcO", "Il", "a b", "é", "2" * 300 + "0"])
def test_instruction_data_that_are_not_base58_are_refused(text: str) -> None:
    answer = copy.deepcopy(GOOD)
    answer["transaction"]["message"]["instructions"][0]["data"] = text
    with pytest.raises(RpcError):
        transaction(answer)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of everything inside a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, each in inside:
        found.append((*path, key))
        if isinstance(each, dict | list):
            found += places(each, (*path, key))
    return found


@unhurried
@given(
    place=st.sampled_from(places(GOOD)),
    odd=st.sampled_from([None, -1, 255, 300, 1.5, "0", "", [], {}, [[]], True, 2**70]),
)
def test_a_transaction_with_anything_odd_in_it_is_read_or_refused(
    place: tuple[Any, ...], odd: Any
) -> None:
    answer = copy.deepcopy(GOOD)
    inner = answer
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = odd
    with suppress(RpcError):
        transaction(answer)


@pytest.mark.parametrize(
    ("status", "confirmations", "expected"),
    [
        ("confirmed", 3, Commitment.CONFIRMED),
        (None, None, Commitment.FINALIZED),
        (None, 3, Commitment.PROCESSED),
    ],
)
def test_a_status_without_a_commitment_is_read_from_its_confirmations(
    status: str | None, confirmations: int | None, expected: Commitment
) -> None:
    raw = {"slot": 1, "confirmations": confirmations, "confirmationStatus": status, "err": None}
    read = responses.status(responses.read(responses.StatusResponse, raw, "get"))
    assert read.commitment == expected

"""What a node says that no node should proves nothing, and ends nothing."""

from __future__ import annotations

import base64
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from solders.pubkey import Pubkey
from solders.sysvar import CLOCK

from cvms.chain.rpc.rpc_client import open_rpc
from cvms.proofs.verification import Given, Outcome, verify
from tests.chain.rpc.scripted_node import Reply, nodes, result
from tests.proofs.publisher import GENESIS, Snapshot, made_up, vaults

SNAPSHOT = Snapshot(vaults(3))
SIGNATURE = "5" * 88
LATER = {"signature": SIGNATURE, "slot": 2_000, "err": None, "memo": None, "blockTime": None}
UP_TO_THEN = {**LATER, "slot": 900}


CLOCK_ACCOUNT = {
    "lamports": 1,
    "owner": str(Pubkey.default()),
    "executable": False,
    "data": [base64.b64encode(bytes(40)).decode(), "base64"],
}
SLOT = {"slot": 3_000}


def told(method: str, params: list[Any]) -> Any:
    """Return what a node says whose accounts have all moved since."""
    if method == "getMultipleAccounts":
        values = [CLOCK_ACCOUNT if each == str(CLOCK) else None for each in params[0]]
        return {"context": SLOT, "value": values}
    answers: dict[str, Any] = {
        "getGenesisHash": GENESIS,
        "getBlock": {"blockhash": made_up("block 1000")},
        "getBlockTime": 0,
        "getSignaturesForAddress": [LATER, UP_TO_THEN],
        "getProgramAccounts": {"context": SLOT, "value": []},
    }
    return answers.get(method)


def transaction(index: int, amount: str) -> dict[str, Any]:
    balance = {"accountIndex": index, "uiTokenAmount": {"amount": amount}}
    meta = {"preTokenBalances": [balance], "postTokenBalances": [balance]}
    return {"transaction": {"message": {"accountKeys": [SNAPSHOT.lines[0].account]}}, "meta": meta}


async def outcomes(odd: dict[str, Any], folder: Path) -> dict[str, Outcome]:
    """Return the outcome of each check, with a node that gives these answers."""

    async def script(request: Any) -> Reply:
        method = request["method"]
        answer = odd[method] if method in odd else told(method, request["params"])
        return result(request, answer)

    reserves = folder / "reserves"
    reserves.write_bytes(b"".join(SNAPSHOT.file))
    async with nodes(script) as [node], open_rpc([node.url]) as rpc:
        given = Given(
            proof=msgspec.json.encode(SNAPSHOT.proof(0)),
            reserves=reserves,
            rpc=rpc,
            max_age=timedelta(hours=2),
            report=lambda _: None,
        )
        return {each.name: each.outcome async for each in verify(given)}


@pytest.mark.parametrize("odd", [7, {"a": 1}, [], "x", [[]], -(10**18)])
@pytest.mark.parametrize(
    ("method", "check"),
    [
        ("getBlock", "chain"),
        ("getBlockTime", "stale"),
        ("getTransaction", "reserves"),
    ],
)
async def test_an_answer_of_another_shape_proves_nothing(
    method: str, check: str, odd: Any, tmp_path: Path
) -> None:
    found = await outcomes({method: odd}, tmp_path)
    number = method == "getBlockTime" and isinstance(odd, int)
    expected = Outcome.NOT_CHECKED
    if number:  # any number is a time
        expected = Outcome.FAILED if odd < 0 else Outcome.OK
    assert found[check] is expected


@pytest.mark.parametrize(
    "odd", [transaction(0, "x"), transaction(0, "9" * 5_000), transaction(9, "1")]
)
async def test_a_transaction_with_odd_balances_proves_nothing(odd: Any, tmp_path: Path) -> None:
    found = await outcomes({"getTransaction": odd}, tmp_path)
    assert found["reserves"] is not Outcome.OK


async def test_a_genesis_that_is_none_is_no_other_chain(tmp_path: Path) -> None:
    found = await outcomes({"getGenesisHash": None}, tmp_path)
    assert found["chain"] is Outcome.NOT_CHECKED


async def test_a_node_that_does_not_reach_back_contradicts_nothing(tmp_path: Path) -> None:
    """It knows only what named the account since, and so not what it held before."""
    answers = {"getSignaturesForAddress": [LATER], "getFirstAvailableBlock": 1_500}
    assert (await outcomes(answers, tmp_path))["reserves"] is Outcome.NOT_CHECKED
    whole = {**answers, "getFirstAvailableBlock": 0}
    assert (await outcomes(whole, tmp_path))["reserves"] is Outcome.FAILED

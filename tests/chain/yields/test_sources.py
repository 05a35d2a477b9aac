"""Rates of many accounts at once, from a real node, and the setting that lists them."""

from __future__ import annotations

import base64
import itertools
from typing import Any

import pytest
import trio
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from cvms.chain.rpc.rpc_client import RpcClient, open_rpc
from cvms.chain.yields.rates import ProtocolName, Reason, Refusal, SupplyRate
from cvms.chain.yields.sources import YieldSource, parse_yield_sources, read_rates
from cvms.errors import ChainUnavailable, ConfigurationError
from tests.chain.rpc.scripted_node import Reply, ScriptedNode, result
from tests.chain.yields.accounts import MARGINFI, PROGRAMS, SOLEND, bank, reserve
from tests.harness.localnet import Localnet

USDC = Pubkey.from_string("BgxfHJDzm44T7XG68MYKx7YisTjZu73tVovyZSjJMpmw")
SOL = Pubkey.from_string("CCKtUs6Cgwo4aaQUmBPmyoApH2gUDErxNZCAntD6LYGh")


def source(protocol: ProtocolName) -> YieldSource:
    return YieldSource(protocol, Keypair().pubkey())


async def put(rpc: RpcClient, address: Pubkey, owner: Pubkey, data: bytes) -> None:
    update = {"lamports": 10**9, "owner": str(owner), "data": data.hex()}
    await rpc.call("surfnet_setAccount", [str(address), update])


async def test_one_bad_account_never_hides_the_others(localnet: Localnet) -> None:
    good, paused = source(ProtocolName.SOLEND), source(ProtocolName.MARGINFI)
    swapped, missing = source(ProtocolName.SOLEND), source(ProtocolName.MARGINFI)
    lending, pool = source(ProtocolName.MARGINFI), source(ProtocolName.YIELD_POOL)
    async with open_rpc([localnet.rpc_url]) as rpc:
        await put(rpc, good.address, SOLEND, reserve(last_update_slot=1))
        await put(rpc, paused.address, MARGINFI, bank("0.9", state=0))
        await put(rpc, swapped.address, MARGINFI, bank("0.9"))
        await put(rpc, lending.address, MARGINFI, bank("0.9"))
        await put(rpc, pool.address, Pubkey.default(), b"")
        sources = [good, paused, swapped, missing, lending, pool]
        results = await read_rates(rpc, sources, programs=localnet.programs)

    assert [each.address for each in results] == [each.address for each in sources]
    assert [each.reason if isinstance(each, Refusal) else None for each in results] == [
        None,
        Reason.NOT_OPERATING,
        Reason.WRONG_OWNER,
        Reason.NO_ACCOUNT,
        None,
        Reason.NO_ACCOUNT,
    ]
    rates = [each for each in results if isinstance(each, SupplyRate)]
    assert [f"{each.supply_apr:.4f}" for each in rates] == ["0.0162", "0.0450"]
    assert {each.source_slot for each in results} == {results[0].source_slot}
    assert results[0].source_slot > 0


async def test_no_sources_need_no_node() -> None:
    async with open_rpc(["http://127.0.0.1:1"]) as rpc:
        assert await read_rates(rpc, [], programs=PROGRAMS) == []
        with pytest.raises(ChainUnavailable):
            await read_rates(rpc, [source(ProtocolName.SOLEND)], programs=PROGRAMS)


async def test_a_hundred_accounts_go_into_a_call_and_each_has_its_own_slot(
    nursery: trio.Nursery,
) -> None:
    given = {
        "lamports": 1,
        "owner": str(SOLEND),
        "data": [base64.b64encode(reserve()).decode(), "base64"],
        "executable": False,
        "rentEpoch": 0,
    }
    slots = itertools.count(500_000_001)

    async def answer(request: Any) -> Reply:
        value = [given for _ in request["params"][0]]
        return result(request, {"context": {"slot": next(slots)}, "value": value})

    node = ScriptedNode(answer)
    await nursery.start(node.serve)
    sources = [source(ProtocolName.SOLEND) for _ in range(150)]
    async with open_rpc([node.url]) as rpc:
        results = await read_rates(rpc, sources, programs=PROGRAMS)
    nursery.cancel_scope.cancel()

    assert [len(each["params"][0]) for each in node.requests] == [100, 50]
    assert [each.source_slot for each in results] == [500_000_001] * 100 + [500_000_002] * 50
    assert all(isinstance(each, SupplyRate) for each in results)


def test_the_setting_lists_protocols_and_their_accounts() -> None:
    assert parse_yield_sources(f" solend:{USDC},\n marginfi:{SOL} , ") == (
        YieldSource(ProtocolName.SOLEND, USDC),
        YieldSource(ProtocolName.MARGINFI, SOL),
    )


@pytest.mark.parametrize("text", ["", "  ", ","])
def test_an_empty_setting_lists_none(text: str) -> None:
    assert parse_yield_sources(text) == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"solnd:{USDC}", "'solnd:.*protocol of yield_pool, solend, marginfi"),
        (f"{USDC}", "expected protocol:address"),
        ("solend:", "'solend:'; expected a base58 public key"),
        ("solend:0OIl", "'solend:0OIl'; expected a base58 public key"),
        (f"solend:{USDC},solend:{USDC}", "twice"),
        (f"solend:{USDC} marginfi:{SOL}", "expected a base58 public key"),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_expected(text: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=f"YIELD_SOURCES.*{message}"):
        parse_yield_sources(text)

"""Endpoints that are away, of another chain, or do not offer what the service needs."""

from __future__ import annotations

from dataclasses import dataclass

import psycopg
import trio

from cvms.chain.program.cluster_features import (
    FEATURE_PROGRAM,
    LIFT_CPI_CALLER_RESTRICTION,
    REQUIRED_FEATURES,
)
from tests.checks.chains import set_account, start_chain
from tests.checks.conftest import Setup
from tests.harness.localnet import Localnet
from tests.provider_proxy.call_faults import ErrorAnswer
from tests.provider_proxy.fault import Answer, Call, CallFault
from tests.provider_proxy.provider import provider
from tests.provider_proxy.request_faults import HttpRefusal


@dataclass(slots=True, kw_only=True, eq=False)
class Replaced(CallFault):
    """The result is this one, whatever the node has."""

    result: int

    def change(self, call: Call, answer: Answer) -> Answer:
        return {**answer, "result": self.result}


ACTIVE = (bytes([1]) + bytes(8)).hex()
NOWHERE = "127.0.0.1:1"


async def test_an_endpoint_that_is_away_is_named(deployed: Setup, localnet: Localnet) -> None:
    deployed.set(SOLANA_RPC_URL=f"{localnet.rpc_url},http://{NOWHERE}/secret")
    checked = await deployed.check("--only", "endpoints")
    assert (checked.status, checked.failures) == (1, {"rpc_reachable"})
    assert checked.line("rpc_reachable", NOWHERE).level == "failure"
    assert checked.line("rpc_methods").seen == "all that are needed"


async def test_a_pubsub_endpoint_that_is_away_is_named(deployed: Setup) -> None:
    deployed.set(SOLANA_WS_URL=f"ws://{NOWHERE}/secret")
    checked = await deployed.check("--only", "endpoints")
    assert (checked.status, checked.failures) == (1, {"pubsub_reachable"})
    assert checked.line("pubsub_reachable").subject == NOWHERE


async def test_an_endpoint_of_another_chain_is_named(
    deployed: Setup, localnet: Localnet, nursery: trio.Nursery, database_url: str
) -> None:
    other = await start_chain(nursery, programs=False)
    urls = f"{localnet.rpc_url},{other.rpc_url}"
    deployed.set(SOLANA_RPC_URL=urls)
    checked = await deployed.check("--only", "chain")
    assert (checked.status, checked.failures) == (1, {"chain_genesis"})
    line = checked.line("chain_genesis")
    assert line.subject == other.rpc_url.removeprefix("http://")
    here, there = (str(each.running.chain.genesis_hash) for each in (localnet, other))
    assert here in line.seen
    assert there in line.seen
    # The database decides which of them is the other one.
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute("INSERT INTO chain_genesis (hash) VALUES (%s)", [there])
    line = (await deployed.check("--only", "chain")).line("chain_genesis")
    assert line.subject == localnet.rpc_url.removeprefix("http://")
    deployed.set(SOLANA_RPC_URL=localnet.rpc_url)
    checked = await deployed.check("--only", "chain")
    assert checked.status == 1
    assert checked.line("chain_genesis").seen == (
        f"SOLANA_RPC_URL leads to the chain with genesis {here}, and DATABASE_URL to the books of "
        f"the chain with genesis {there}"
    )


async def test_features_of_the_cluster(deployed: Setup, localnet: Localnet) -> None:
    lifted = LIFT_CPI_CALLER_RESTRICTION.address
    await set_account(localnet, lifted, owner=str(FEATURE_PROGRAM), data=ACTIVE)
    checked = await deployed.check("--only", "endpoints")
    levels = [each.level for each in checked.lines_of("cluster_features")]
    assert (levels, checked.status) == (["ok", "warning"], 0)
    required = REQUIRED_FEATURES[0].address
    await set_account(localnet, required, owner=str(FEATURE_PROGRAM), data=bytes(9).hex())
    checked = await deployed.check("--only", "endpoints")
    assert (checked.status, checked.failures) == (1, {"cluster_features"})


async def test_a_method_that_is_not_served_is_named(deployed: Setup, localnet: Localnet) -> None:
    missing = ErrorAnswer(methods={"getProgramAccounts"}, code=-32601, message="Method not found")
    async with provider(localnet.rpc_url, localnet.ws_url, missing) as served:
        deployed.set(SOLANA_RPC_URL=served.url)
        checked = await deployed.check("--only", "endpoints")
    assert (checked.status, checked.failures) == (1, {"rpc_methods"})
    assert "does not serve getProgramAccounts: " in checked.line("rpc_methods").seen


async def test_a_rate_limit_that_is_met_is_a_warning(deployed: Setup, localnet: Localnet) -> None:
    limit = HttpRefusal(methods={"getBalance"}, status=429, times=1)
    async with provider(localnet.rpc_url, localnet.ws_url, limit) as served:
        deployed.set(SOLANA_RPC_URL=served.url)
        checked = await deployed.check("--only", "endpoints")
    assert (checked.status, checked.line("rpc_limits").level) == (0, "warning")


async def test_a_history_that_begins_late_is_a_warning(deployed: Setup, localnet: Localnet) -> None:
    pruned = Replaced(methods={"getFirstAvailableBlock"}, result=70)
    async with provider(localnet.rpc_url, localnet.ws_url, pruned) as served:
        deployed.set(SOLANA_RPC_URL=served.url)
        checked = await deployed.check("--only", "endpoints")
    line = checked.line("rpc_history")
    assert (line.level, line.seen) == ("warning", "from block 70 on")


async def test_an_endpoint_that_lags_is_a_warning(deployed: Setup, localnet: Localnet) -> None:
    behind = Replaced(methods={"getSlot"}, result=3)
    localnet.running.chain.advance(100)
    async with provider(localnet.rpc_url, localnet.ws_url, behind) as served:
        deployed.set(SOLANA_RPC_URL=f"{localnet.rpc_url},{served.url}")
        checked = await deployed.check("--only", "endpoints")
    line = checked.line("rpc_lag")
    assert (line.level, line.subject) == ("warning", served.url.removeprefix("http://"))


async def test_nothing_is_said_of_a_deployment_by_an_endpoint_of_another_chain(
    deployed: Setup, localnet: Localnet, nursery: trio.Nursery, database_url: str
) -> None:
    other = await start_chain(nursery, programs=False)
    here = str(localnet.running.chain.genesis_hash)
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute("INSERT INTO chain_genesis (hash) VALUES (%s)", [here])
    deployed.set(SOLANA_RPC_URL=f"{other.rpc_url},{localnet.rpc_url}")
    assert (await deployed.check()).failures == {"chain_genesis"}
    deployed.set(SOLANA_RPC_URL=other.rpc_url)
    checked = await deployed.check()
    assert checked.failures == {"chain_genesis"}
    skipped = {each.check: each.seen for each in checked.lines if each.level == "skipped"}
    assert skipped == {
        "programs": "no endpoint of this chain",
        "authority": "the programs could not be read",
        "mint": "the programs could not be read",
        "operator_balance": "no endpoint of this chain",
    }


async def test_a_chain_that_is_away_is_one_failure(deployed: Setup) -> None:
    deployed.set(SOLANA_RPC_URL=f"http://{NOWHERE}")
    checked = await deployed.check("--only", "operator")
    assert checked.status == 1, "what was skipped is not in order"
    assert [(each.check, each.level) for each in checked.lines] == [
        ("operator_key", "ok"),
        ("operator_balance", "skipped"),
    ]

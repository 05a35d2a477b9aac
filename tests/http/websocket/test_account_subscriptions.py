"""A client receives a watched account and then its changes, from one subscription on chain."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import trio
from solders.account import Account
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from trio_websocket import WebSocketConnection

from cvms.chain.pubsub.account_subscription import DATA_BYTES
from cvms.http.websocket.client_session import WebSocketLimits
from tests.harness.localnet import Localnet
from tests.harness.service import Json, Served, frame, running, subscribe
from tests.websockets import opened as connected

SYSTEM = "11111111111111111111111111111111"


async def test_two_clients_of_one_account_share_one_subscription(
    system: Served, localnet: Localnet
) -> None:
    key = Keypair().pubkey()
    async with opened(system) as first, opened(system) as second:
        set_account(localnet, key, lamports=5)
        assert (await watch(first, key))["snapshot"]["lamports"] == 5
        shown = (await watch(second, key))["snapshot"]
        assert (shown["owner"], shown["data"], shown["truncated"]) == (SYSTEM, "", False)
        assert at_the_node(localnet) == 1
        set_account(localnet, key, lamports=6)
        for socket in (first, second):
            told = await frame(socket)
            assert (told["type"], told["pubkey"], told["lamports"]) == ("account", str(key), 6)
            assert told["slot"] >= shown["slot"]
        await ask(first, unsubscribe=key)
        assert await frame(first) == {"type": "unsubscribed", "pubkey": str(key)}
        set_account(localnet, key, lamports=7)
        assert (await frame(second))["lamports"] == 7
        await ask(first, op="ping")
        assert (await frame(first))["type"] == "pong"
        assert at_the_node(localnet) == 1
    await until(lambda: at_the_node(localnet) == 0)
    assert "cvms_watched_accounts 0.0" in (await system.get("/metrics")).text


async def test_a_lost_connection_is_reported_and_changes_during_it_are_sent(
    system: Served, localnet: Localnet
) -> None:
    key = Keypair().pubkey()
    node = localnet.running
    async with opened(system) as socket:
        set_account(localnet, key, lamports=1)
        before = (await watch(socket, key))["snapshot"]
        node.faults.refuse_pubsub = True
        node.cut_pubsub()
        told = await frame(socket)
        assert (told["type"], told["pubkey"], told["code"]) == (
            "stale",
            str(key),
            "chain_unavailable",
        )
        other = Keypair().pubkey()
        assert (await watch(socket, other))["type"] == "stale"  # as long as the chain is away
        set_account(localnet, key, lamports=2)
        node.faults.refuse_pubsub = False
        both = {each["pubkey"]: each for each in [await frame(socket), await frame(socket)]}
        again, first = both[str(key)], both[str(other)]
        assert (again["type"], again["lamports"]) == ("account", 2)
        assert again["slot"] >= before["slot"]
        assert (first["type"], first["snapshot"]["lamports"]) == ("subscribed", 0)
        set_account(localnet, other, lamports=3)
        assert (await frame(socket))["lamports"] == 3


async def test_an_account_is_corrected_after_a_fork(system: Served, localnet: Localnet) -> None:
    key, chain = Keypair().pubkey(), localnet.running.chain
    async with opened(system) as socket:
        assert (await watch(socket, key))["snapshot"]["lamports"] == 0
        await system.rpc.call("surfnet_pauseClock", [])
        await system.rpc.call("requestAirdrop", [str(key), 10**9])
        chain.advance(2)
        before = await frame(socket)
        assert before["lamports"] == 10**9
        chain.fork(3)
        chain.advance(2)
        after = await frame(socket)
        assert (after["type"], after["lamports"]) == ("account", 0)
        assert after["slot"] > before["slot"]


async def test_the_data_of_a_large_account_is_truncated(system: Served, localnet: Localnet) -> None:
    key = Keypair().pubkey()
    data = bytes(range(256)) * 256
    set_account(localnet, key, lamports=10**9, data=data)
    async with opened(system) as socket:
        shown = (await watch(socket, key))["snapshot"]
        assert base64.b64decode(shown["data"]) == data[:DATA_BYTES]
        assert shown["truncated"]
        set_account(localnet, key, lamports=10**9, data=data[:DATA_BYTES])
        told = await frame(socket)
        assert base64.b64decode(told["data"]) == data[:DATA_BYTES]
        assert not told["truncated"]


async def test_an_account_counts_as_a_subscription_and_excludes_other_fields(
    database_url: str,
) -> None:
    key, other = Keypair().pubkey(), Keypair().pubkey()
    limits = WebSocketLimits(subscriptions=2)
    async with running(database_url, limits=limits) as service, opened(service) as socket:
        await subscribe(socket, "deposit_event")
        service.accounts.lost()  # as when the chain cannot be reached
        assert (await watch(socket, key))["type"] == "stale"
        assert (await watch(socket, key))["type"] == "stale"  # the same one again
        assert (await watch(socket, other))["code"] == "invalid_request"
        assert (await subscribe(socket, "lock_event"))["code"] == "invalid_request"
        for wrong in (
            {"subscribe": str(key), "unsubscribe": str(key)},
            {"subscribe": str(key), "topic": "deposit_event"},
            {"subscribe": str(key), "since": 1},
            {"subscribe": "me"},
            {"unsubscribe": str(key), "op": "ping"},
        ):
            await socket.send_message(json.dumps(wrong))
            assert (await frame(socket))["code"] == "invalid_request", wrong
        assert len(service.accounts) == 1
    await until(lambda: len(service.accounts) == 0)


# --- what the tests are made of ----------------------------------------------------------------


@asynccontextmanager
async def opened(service: Served) -> AsyncIterator[WebSocketConnection]:
    async with connected(service.url.replace("http", "ws") + "/ws") as socket:
        assert (await frame(socket))["type"] == "connected"
        yield socket


async def ask(socket: WebSocketConnection, **fields: object) -> None:
    await socket.send_message(json.dumps({name: str(each) for name, each in fields.items()}))


async def watch(socket: WebSocketConnection, key: Pubkey) -> Json:
    """Subscribe to an account and return the next frame."""
    await ask(socket, subscribe=key)
    return await frame(socket)


def set_account(localnet: Localnet, key: Pubkey, *, lamports: int, data: bytes = b"") -> None:
    localnet.running.chain.overwrite(key, Account(lamports, data, Pubkey.default()))


def at_the_node(localnet: Localnet) -> int:
    """Return how many subscriptions to accounts the chain's node has."""
    held = localnet.running.hub._subscribed.values()
    return sum(each.subscription.name == "account" for each in held)


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(20):
        while not condition():  # noqa: ASYNC110 - the chain has no event for it
            await trio.sleep(0.01)

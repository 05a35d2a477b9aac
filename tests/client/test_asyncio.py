"""The client on asyncio: a wallet's requests, and a stream whose connection breaks."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest
import trio

from cvms.client import Event, Problem, ServiceUnavailable, Snapshot, Topic, Wallet, open_client
from tests.client.gate import Gate, gated
from tests.harness.service import Served, Service, event
from tests.http.wallets import USDT, funded

TOPIC = "deposit_event"


async def test_a_deposit_and_its_event_on_asyncio(system: Served) -> None:
    """The stream's connection breaks before the deposit, and the event still arrives."""
    wallet = Wallet(await funded(system))

    async def trade(gate: Gate, url: str) -> tuple[int, list[int]]:
        topic = Topic(TOPIC, owner=wallet.address)
        async with open_client(url, wallet=wallet) as client, client.stream(topic) as events:
            assert isinstance(await anext(events), Snapshot)
            await client.finish(await client.open_vault())
            trio.from_thread.run_sync(gate.cut)
            for amount in (30 * USDT, 12 * USDT):
                await client.finish(await client.deposit(amount))
            received = [await anext(events), await anext(events)]
            with pytest.raises(Problem, match="InsufficientFunds"):
                await client.withdraw(43 * USDT)
            return (await client.balance()).balance, [
                each.data["amount"] for each in received if isinstance(each, Event)
            ]

    async with gated(int(system.url.rpartition(":")[2])) as (gate, url):
        with trio.fail_after(60):
            balance, amounts = await trio.to_thread.run_sync(asyncio.run, trade(gate, url))
        assert gate.connections >= 2
    assert (balance, amounts) == (42 * USDT, [30 * USDT, 12 * USDT])


async def test_missed_events_are_delivered_once_on_asyncio(service: Service) -> None:
    async def listen(gate: Gate, url: str) -> list[int]:
        received: list[int] = []
        async with open_client(url) as client, client.stream(Topic(TOPIC)) as events:
            await anext(events)
            for number in range(3):
                trio.from_thread.run_sync(gate.cut)
                missed = (event(TOPIC, 2 * number), event(TOPIC, 2 * number + 1))
                trio.from_thread.run(partial(service.publish, *missed))
                received += [(await anext(events)).seq, (await anext(events)).seq]
        return received

    async with gated(service.port) as (gate, url):
        with trio.fail_after(30):
            received = await trio.to_thread.run_sync(asyncio.run, listen(gate, url))
    assert received == [1, 2, 3, 4, 5, 6]


async def test_cancellation_and_errors_are_those_of_asyncio(service: Service) -> None:
    async def give_up() -> str:
        async with open_client("http://127.0.0.1:1", patience=0.3) as nobody:
            with pytest.raises(ServiceUnavailable):
                await nobody.tvl()
        async with open_client(service.url) as client, client.stream(Topic(TOPIC)) as events:
            await anext(events)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await anext(events)

        async def listen() -> None:
            async with open_client(service.url) as client, client.stream(Topic(TOPIC)) as events:
                async for _ in events:
                    ready.set()

        ready = asyncio.Event()
        listening = asyncio.create_task(listen())
        await ready.wait()
        listening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await listening
        with pytest.raises(ZeroDivisionError):
            await fail()
        return "done"

    async def fail() -> None:
        async with open_client(service.url) as client, client.stream(Topic(TOPIC)) as events:
            await anext(events)
            raise ZeroDivisionError

    with trio.fail_after(10):
        assert await trio.to_thread.run_sync(asyncio.run, give_up()) == "done"

"""The service's log subscription at a provider with each fault of PubSub."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest
import trio

from cvms.chain.program import instructions
from cvms.chain.pubsub.log_subscription import LogNotice, LogsSubscribed, watch_logs
from cvms.chain.rpc.rpc_client import open_rpc
from cvms.chain.transactions.versioned import build_transaction, sign_as
from cvms.chain.types import Commitment
from tests.harness.localnet import Localnet
from tests.provider_proxy import provider
from tests.provider_proxy.fault import Fault
from tests.provider_proxy.pubsub_faults import (
    Chatter,
    EarlyNotifications,
    NoWebSocket,
    OtherIds,
    RefusedSubscription,
    Unanswered,
    UnreadableLogs,
)
from tests.websockets import opened

FAULTS: dict[str, tuple[Fault, ...]] = {
    "none": (),
    "other ids": (OtherIds(),),
    "early notifications": (EarlyNotifications(),),
    "chatter": (Chatter(),),
    "slots refused": (RefusedSubscription(),),
    "slots refused by null": (RefusedSubscription(names_request="null"),),
    "slots unanswered": (Unanswered(methods="slotSubscribe"),),
    "refused once": (RefusedSubscription(methods="logsSubscribe", names_request="id", times=1),),
    "no WebSocket": (NoWebSocket(times=2),),
    "all of it": (NoWebSocket(times=1), Chatter(), OtherIds(), EarlyNotifications()),
}


@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS.keys())
async def test_the_subscription_works_in_spite_of_it(
    localnet: Localnet, nursery: trio.Nursery, faults: tuple[Fault, ...]
) -> None:
    send, notices = trio.open_memory_channel[Any](100)
    async with provider(localnet.rpc_url, localnet.ws_url, *faults) as proxy:
        watch = partial(watch_logs, commitment=Commitment.CONFIRMED, notices=send)
        nursery.start_soon(watch, [proxy.ws_url], localnet.programs.vault)
        with trio.fail_after(10):
            while await notices.receive() != LogsSubscribed():
                continue
            signature = await transact(localnet)
            while True:
                notice = await notices.receive()
                if isinstance(notice, LogNotice) and notice.signature == signature:
                    break
        assert all(fault.struck for fault in faults)
        nursery.cancel_scope.cancel()


async def test_unreadable_logs_still_wake_the_reader(
    localnet: Localnet, nursery: trio.Nursery
) -> None:
    send, notices = trio.open_memory_channel[Any](100)
    async with provider(localnet.rpc_url, localnet.ws_url, UnreadableLogs()) as proxy:
        watch = partial(watch_logs, commitment=Commitment.CONFIRMED, notices=send)
        nursery.start_soon(watch, [proxy.ws_url], localnet.programs.vault)
        with trio.fail_after(10):
            assert await notices.receive() == LogsSubscribed()
            await transact(localnet)
            assert await notices.receive() == LogsSubscribed()
        nursery.cancel_scope.cancel()


async def test_what_a_client_hears(localnet: Localnet) -> None:
    localnet.running.chain.pause()
    async with (
        provider(localnet.rpc_url, localnet.ws_url, OtherIds(), Chatter()) as proxy,
        opened(f"{proxy.ws_url}/") as socket,
    ):
        with trio.fail_after(10):
            call = {"jsonrpc": "2.0", "id": 4, "method": "slotSubscribe", "params": []}
            await socket.send_message(json.dumps(call))
            heard = [await socket.get_message() for _ in range(2)]
            answer = json.loads(heard[1])
            assert (answer["id"], answer["result"][:2]) == (4, "0x")
            localnet.running.chain.advance()
            heard = [await socket.get_message() for _ in range(2)]
            assert json.loads(heard[1])["params"]["subscription"] == answer["result"]


async def transact(localnet: Localnet) -> str:
    """Send a transaction that mentions the program, and return its signature."""
    operator = localnet.operator.pubkey()
    async with open_rpc([localnet.rpc_url]) as rpc:
        built = build_transaction(
            instructions.initialize_vault(localnet.programs, operator),
            fee_payer=operator,
            blockhash=await rpc.get_latest_blockhash(Commitment.CONFIRMED),
        )
        signed = sign_as(built.message, localnet.operator)
        return await rpc.send_transaction(bytes(signed))

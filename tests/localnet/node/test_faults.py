"""Faults of one node of several: of calls, sends, notifications and connections."""

from __future__ import annotations

import json
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import httpx
import pytest
import trio
import trio_websocket
from solders.keypair import Keypair

from cvms import localnet
from cvms.errors import RpcError
from cvms.localnet.node.faults import Cut, Fail, Garble, Hang, RpcFault, Slow, TooManyRequests
from tests.localnet.local_node import BASE64, PROCESSED, SOL, Node, PubSub, wire

CALL = {"jsonrpc": "2.0", "id": 1, "method": "getSlot", "params": []}


@pytest.fixture
async def other(node: Node, nursery: trio.Nursery) -> AsyncIterator[Node]:
    """A second node of the same chain."""
    running: localnet.Running = await nursery.start(
        partial(localnet.serve_node, node.running.chain, faults=localnet.NodeFaults(seed=7))
    )
    async with httpx.AsyncClient() as http:
        yield Node(running, http)


async def connect(url: str) -> trio.SocketStream:
    """Open a plain TCP connection: client libraries do not close broken ones cleanly."""
    return await trio.open_tcp_stream("127.0.0.1", int(url.rsplit(":", 1)[1]))


async def answered(stream: trio.SocketStream) -> bool:
    """Return whether a call gets a reply before the connection ends."""
    received = b""
    with suppress(trio.BrokenResourceError), trio.fail_after(5):
        await stream.send_all(request(CALL))
        while not received.endswith(b"}\n"):
            if not (data := await stream.receive_some()):
                break
            received += data
    return received.startswith(b"HTTP/1.1 200") and received.endswith(b"}\n")


async def upgraded(url: str) -> int:
    """Return the HTTP status of a PubSub handshake."""
    async with await connect(url) as stream:
        await stream.send_all(
            b"GET / HTTP/1.1\r\nHost: node\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        with trio.fail_after(5):
            return int((await stream.receive_some()).split(b" ")[1])


def request(call: dict[str, Any]) -> bytes:
    body = json.dumps(call).encode()
    return b"POST / HTTP/1.1\r\nHost: node\r\nContent-Length: %d\r\n\r\n" % len(body) + body


async def test_nodes_share_a_chain_and_have_separate_faults(node: Node, other: Node) -> None:
    assert node.running.rpc_url != other.running.rpc_url
    payer, payee = await node.wallet(), Keypair().pubkey()
    await other.pay(payer, payee, SOL)
    assert await node.balance(payee) == await other.balance(payee) == SOL
    other.running.faults.rpc.append(Fail(code=-32005, message="Node is behind by 42 slots"))
    with pytest.raises(RpcError, match="behind by 42"):
        await other.call("getSlot")
    await node.call("getSlot")
    other.running.faults.clear()
    await other.call("getSlot")


async def test_a_stopped_node_no_longer_observes_the_chain(node: Node) -> None:
    async with trio.open_nursery() as nursery:
        await nursery.start(partial(localnet.serve_node, node.running.chain))
        assert len(node.running.chain.observers) == 2
        nursery.cancel_scope.cancel()
    assert len(node.running.chain.observers) == 1
    node.advance()


async def test_only_the_named_methods_fail_and_only_so_many_times(node: Node) -> None:
    fail = Fail(methods={"getBalance"}, times=2, code=-32603, message="oops", data={"a": 1})
    node.running.faults.rpc.append(fail)
    key = str(Keypair().pubkey())
    replies = [await node.reply("getBalance", key) for _ in range(3)]
    error = {"code": -32603, "message": "oops", "data": {"a": 1}}
    assert [reply.get("error") for reply in replies] == [error, error, None]
    assert "result" in await node.reply("getSlot")


async def test_in_a_batch_each_call_fails_by_itself(node: Node) -> None:
    node.running.faults.rpc.append(Fail(methods={"getSlot"}))
    batch = [CALL, CALL | {"id": 2, "method": "getBlockHeight"}]
    replies = (await node.http.post(node.running.rpc_url, json=batch)).json()
    assert [("error" in reply, "result" in reply) for reply in replies] == [
        (True, False),
        (False, True),
    ]


async def test_a_seed_gives_the_same_faults_again(node: Node, other: Node) -> None:
    async def failures(at: Node) -> list[bool]:
        return ["error" in await at.reply("getSlot") for _ in range(40)]

    faults = localnet.NodeFaults(seed=7)
    faults.rpc.append(Fail(probability=0.3))
    expected = [faults.strike(Fail, ("getSlot",)) is not None for _ in range(40)]
    other.running.faults.rpc.append(Fail(probability=0.3))
    assert await failures(other) == expected
    assert 5 <= sum(expected) <= 20


@pytest.mark.parametrize(("seconds", "header"), [(3, "3"), (None, None)])
async def test_too_many_requests_has_retry_after(
    node: Node, seconds: int | None, header: str | None
) -> None:
    node.running.faults.rpc.append(TooManyRequests(methods={"getSlot"}, retry_after=seconds))
    response = await node.http.post(node.running.rpc_url, json=CALL)
    assert response.status_code == 429
    assert response.headers.get("retry-after") == header
    await node.call("getBlockHeight")  # another method on the same connection


@pytest.mark.parametrize("all_faults", [False, True])
async def test_a_hanging_call_is_answered_once_the_fault_is_lifted(
    node: Node, all_faults: bool
) -> None:
    hang = Hang(methods={"getSlot"})
    node.running.faults.rpc.append(hang)
    slots: list[int] = []

    async def ask() -> None:
        slots.append(await node.call("getSlot", PROCESSED))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await node.call("getBlockHeight")  # other calls are answered meanwhile
        assert slots == []
        tip = node.advance()
        if all_faults:
            node.running.faults.clear()
        else:
            hang.lift()
    assert slots == [tip]
    await node.call("getSlot")


async def test_a_hanging_call_is_dropped_when_its_client_disconnects(node: Node) -> None:
    payer, payee = await node.wallet(), Keypair().pubkey()
    transaction = await node.transfer(payer, payee, SOL)
    hang = Hang(methods={"sendTransaction"}, times=1)
    node.running.faults.rpc.append(hang)
    send = CALL | {"method": "sendTransaction", "params": [wire(transaction), BASE64]}
    async with await connect(node.running.rpc_url) as stream:
        await stream.send_all(request(send))
        await struck(hang)
        await stream.send_eof()
        with trio.fail_after(5):
            assert await stream.receive_some() == b""
    node.running.faults.clear()
    assert await node.balance(payee) == 0
    await node.send(transaction)
    assert await node.balance(payee) == SOL


async def struck(fault: RpcFault) -> None:
    """Wait until a fault with `times=1` has occurred."""
    with trio.fail_after(5):
        while fault.times:
            await trio.lowlevel.checkpoint()


async def test_a_reset_connection_of_a_hanging_call_does_not_affect_others(node: Node) -> None:
    hang = Hang(methods="getSlot", times=1)
    node.running.faults.rpc.append(hang)
    stream = await connect(node.running.rpc_url)
    await stream.send_all(request(CALL))
    await struck(hang)
    linger = struct.pack("ii", 1, 0)  # closing sends a reset
    stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_LINGER, linger)
    await trio.aclose_forcefully(stream)
    await node.call("getHealth")
    hang.lift()
    await node.call("getSlot")


async def test_a_slow_call_is_delayed(node: Node) -> None:
    node.running.faults.rpc.append(Slow(methods={"getSlot"}, seconds=0.2))
    start = trio.current_time()
    await node.call("getSlot")
    assert trio.current_time() - start >= 0.2


async def test_a_cut_call_gets_no_reply_and_is_not_run(node: Node) -> None:
    payer, payee = await node.wallet(), Keypair().pubkey()
    node.running.faults.rpc.append(Cut(methods={"sendTransaction"}, times=1))
    with pytest.raises(httpx.RemoteProtocolError):
        await node.pay(payer, payee, SOL)
    assert await node.balance(payee) == 0


async def test_a_garbled_reply_is_not_json(node: Node) -> None:
    node.running.faults.rpc.append(Garble(methods="getSlot", times=1))
    with pytest.raises(json.JSONDecodeError):
        await node.call("getSlot")
    node.running.faults.rpc.append(Garble(times=1, body=b"<html>Bad gateway</html>"))
    response = await node.http.post(node.running.rpc_url, json=CALL)
    assert response.text == "<html>Bad gateway</html>"


async def test_a_node_that_refuses_closes_new_and_open_connections(node: Node) -> None:
    async with await connect(node.running.rpc_url) as kept:
        assert await answered(kept)
        node.running.faults.refuse = True
        async with await connect(node.running.rpc_url) as fresh:
            for stream in (kept, fresh):
                assert not await answered(stream)
    node.running.faults.refuse = False
    async with await connect(node.running.rpc_url) as stream:
        assert await answered(stream)


async def test_an_invalid_request_is_answered_whatever_the_faults(node: Node) -> None:
    node.running.faults.rpc += [Cut(), Hang(), TooManyRequests(), Garble(), Fail()]
    for body in (b"{", b"7", b'{"method": 5}', b"[[]]"):
        response = await node.http.post(node.running.rpc_url, content=body)
        assert response.json(), body


# --- sends -------------------------------------------------------------------------------------


async def test_a_dropped_send_is_answered_and_never_lands(node: Node) -> None:
    payer, payee = await node.wallet(), Keypair().pubkey()
    node.running.faults.sends.drop = 1.0
    transaction = await node.transfer(payer, payee, SOL)
    assert await node.send(transaction) == str(transaction.signatures[0])
    node.finalize()
    assert await node.balance(payee) == 0
    node.running.faults.clear()
    await node.send(transaction)
    assert await node.balance(payee) == SOL


async def test_a_late_send_lands_the_given_number_of_blocks_later(node: Node) -> None:
    payer, payee = await node.wallet(), Keypair().pubkey()
    sends = node.running.faults.sends
    sends.late, sends.late_blocks = 1.0, 3
    signature = await node.pay(payer, payee, SOL)
    tip = node.advance(2)
    assert await node.balance(payee) == 0
    assert (await node.call("getSignatureStatuses", [signature]))["value"] == [None]
    node.advance()
    status = (await node.call("getSignatureStatuses", [signature]))["value"][0]
    assert status["slot"] == tip + 1
    assert await node.balance(payee) == SOL


async def test_a_late_send_whose_hash_has_expired_by_then_never_lands(node: Node) -> None:
    payer, payee = await node.wallet(), Keypair().pubkey()
    sends = node.running.faults.sends
    sends.late, sends.late_blocks = 1.0, 151
    await node.pay(payer, payee, SOL)
    node.advance(152)
    assert await node.balance(payee) == 0


async def test_a_late_send_that_is_sent_again_lands_once(node: Node) -> None:
    payer, payee = await node.wallet(), Keypair().pubkey()
    transaction = await node.transfer(payer, payee, SOL)
    node.running.faults.sends.late = 1.0
    for _ in range(3):
        await node.send(transaction, skipPreflight=True)
    node.running.faults.clear()
    await node.send(transaction, skipPreflight=True)
    node.advance(5)
    assert await node.balance(payee) == SOL


async def test_a_send_whose_reply_is_lost_still_lands(node: Node) -> None:
    payer, payee = await node.wallet(), Keypair().pubkey()
    transaction = await node.transfer(payer, payee, SOL)
    node.running.faults.sends.lose_answer = 1.0
    with pytest.raises(httpx.RemoteProtocolError):
        await node.send(transaction)
    assert await node.balance(payee) == SOL


# --- notifications -----------------------------------------------------------------------------


async def notified_slots(node: Node, blocks: int, *, wait_for: int) -> list[int]:
    """Start `blocks`, and return the slots that a subscription notifies, relative to the first."""
    async with node.pubsub() as pubsub:
        await pubsub.call("slotSubscribe")
        first = node.advance(blocks) - blocks + 1
        slots = [(await pubsub.next())["params"]["result"]["slot"] for _ in range(wait_for)]
        assert await pubsub.quiet()
    return [slot - first for slot in slots]


async def test_notifications_are_dropped_while_the_fault_is_on(node: Node) -> None:
    node.running.faults.notifications.drop = 1.0
    assert await notified_slots(node, 5, wait_for=0) == []
    node.running.faults.clear()
    assert await notified_slots(node, 2, wait_for=2) == [0, 1]


async def test_a_share_of_notifications_is_dropped(node: Node) -> None:
    node.running.faults.notifications.drop = 0.5
    async with node.pubsub() as pubsub:
        await pubsub.call("slotSubscribe")
        node.advance(100)
        assert not await pubsub.quiet()
        assert 30 <= len(pubsub.early) <= 70


async def test_notifications_are_duplicated(node: Node) -> None:
    node.running.faults.notifications.duplicate = 1.0
    assert await notified_slots(node, 3, wait_for=6) == [0, 0, 1, 1, 2, 2]


async def test_notifications_are_swapped_with_the_next(node: Node) -> None:
    node.running.faults.notifications.swap = 1.0
    assert await notified_slots(node, 6, wait_for=6) == [1, 0, 3, 2, 5, 4]


async def test_a_withheld_notification_follows_the_next_one_after_the_fault(node: Node) -> None:
    node.running.faults.notifications.swap = 1.0
    async with node.pubsub() as pubsub:
        await pubsub.call("slotSubscribe")
        tip = node.advance()
        assert await pubsub.quiet()
        node.running.faults.clear()
        node.advance()
        slots = [(await pubsub.next())["params"]["result"]["slot"] for _ in range(2)]
        assert slots == [tip + 1, tip]


async def test_notifications_come_late_and_in_order(node: Node) -> None:
    node.running.faults.notifications.delay = 0.2
    start = trio.current_time()
    async with node.pubsub() as pubsub:
        await pubsub.call("slotSubscribe")
        tip = node.advance(3)
        slots = [(await pubsub.next())["params"]["result"]["slot"] for _ in range(3)]
        assert trio.current_time() - start >= 0.2
        assert slots == [tip - 2, tip - 1, tip]


async def test_only_notifications_of_the_named_kinds_are_affected(node: Node) -> None:
    payer = await node.wallet()
    notifications = node.running.faults.notifications
    notifications.drop, notifications.kinds = 1.0, {"logs"}
    async with node.pubsub() as pubsub:
        await pubsub.call("logsSubscribe", "all", PROCESSED)
        await pubsub.call("slotSubscribe")
        await node.pay(payer, Keypair().pubkey(), SOL)
        node.advance()
        assert (await pubsub.next())["method"] == "slotNotification"
        assert await pubsub.quiet()


async def test_connections_are_cut_and_new_ones_refused(node: Node, other: Node) -> None:
    async with other.pubsub() as untouched, bare_pubsub(node.running.ws_url) as pubsub:
        for each in (untouched, pubsub):
            await each.call("slotSubscribe")
        node.running.faults.refuse_pubsub = True
        node.running.cut_pubsub()
        with pytest.raises(trio_websocket.ConnectionClosed), trio.fail_after(5):
            await pubsub.socket.get_message()
        assert await upgraded(node.running.ws_url) == 503
        assert await upgraded(node.running.rpc_url) == 503
        node.advance()
        await untouched.next()
    node.running.faults.clear()
    assert await notified_slots(node, 1, wait_for=1) == [0]


@asynccontextmanager
async def bare_pubsub(url: str) -> AsyncIterator[PubSub]:
    async with await connect(url) as stream, trio.open_nursery() as nursery:
        host = url.removeprefix("ws://")
        yield PubSub(await trio_websocket.wrap_client_stream(nursery, stream, host, "/"))
        nursery.cancel_scope.cancel()


async def test_a_subscribe_call_may_fail_too(node: Node) -> None:
    node.running.faults.rpc.append(Fail(methods={"logsSubscribe"}, times=1, message="busy"))
    async with node.pubsub() as pubsub:
        with pytest.raises(RpcError, match="busy"):
            await pubsub.call("logsSubscribe", "all")
        await pubsub.call("logsSubscribe", "all")

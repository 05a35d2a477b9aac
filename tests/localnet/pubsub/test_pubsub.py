"""Subscriptions: which notifications they send, when, and in which order."""

from __future__ import annotations

import json

import pytest
import trio
import trio_websocket
from based58 import b58decode
from solders.keypair import Keypair

from cvms.errors import RpcError
from cvms.localnet.pubsub import client_connection
from cvms.localnet.pubsub.subscription_hub import SubscriptionHub
from tests.localnet.local_node import BASE64, CONFIRMED, PROCESSED, SOL, Node


async def test_slots_and_roots_are_notified_as_they_start(node: Node) -> None:
    async with node.pubsub() as pubsub:
        slots = await pubsub.call("slotSubscribe")
        roots = await pubsub.call("rootSubscribe")
        assert slots != roots
        tip = node.advance(5)
        received = [await pubsub.next() for _ in range(5 + 2)]
        shown = [f["params"]["result"] for f in received if f["method"] == "slotNotification"]
        assert shown[-1] == {"slot": tip, "parent": tip - 1, "root": tip - 4}
        rooted = [f["params"]["result"] for f in received if f["method"] == "rootNotification"]
        assert rooted == [tip - 5, tip - 4]
        assert received[0]["params"]["subscription"] == slots


async def test_logs_come_when_their_slot_is_confirmed_in_the_order_of_the_block(
    node: Node,
) -> None:
    payer, payee = await node.wallet(), Keypair().pubkey()
    async with node.pubsub() as pubsub:
        await pubsub.call("logsSubscribe", "all", CONFIRMED)
        sent = [await node.pay(payer, payee, SOL + n) for n in range(3)]
        assert await pubsub.quiet()
        slot = node.advance() - 1
        received = [(await pubsub.next())["params"]["result"] for _ in range(3)]
        assert [result["value"]["signature"] for result in received] == sent
        assert {result["context"]["slot"] for result in received} == {slot}
        assert received[0]["value"]["err"] is None
        assert received[0]["value"]["logs"][0].endswith("invoke [1]")


async def test_logs_of_failed_transactions_have_their_error(node: Node) -> None:
    payer = await node.wallet(1)
    async with node.pubsub() as pubsub:
        await pubsub.call("logsSubscribe", "allWithVotes", PROCESSED)
        await node.pay(payer, Keypair().pubkey(), 50 * SOL)
        value = (await pubsub.next())["params"]["result"]["value"]
        assert value["err"] == {"InstructionError": [0, {"Custom": 1}]}


async def test_logs_of_one_address_leave_out_the_others(node: Node) -> None:
    payer, wanted, other = await node.wallet(), Keypair().pubkey(), Keypair().pubkey()
    async with node.pubsub() as pubsub:
        await pubsub.call("logsSubscribe", {"mentions": [str(wanted)]}, PROCESSED)
        await node.pay(payer, other, SOL)
        signature = await node.pay(payer, wanted, SOL)
        received = (await pubsub.next())["params"]["result"]["value"]
        assert received["signature"] == signature
        for mentions in ([], [str(wanted), str(other)]):
            with pytest.raises(RpcError, match="Only 1 address supported"):
                await pubsub.call("logsSubscribe", {"mentions": mentions})


async def test_subscriptions_are_finalized_by_default(node: Node) -> None:
    payer = await node.wallet()
    async with node.pubsub() as pubsub:
        await pubsub.call("logsSubscribe", "all")
        signature = await node.pay(payer, Keypair().pubkey(), SOL)
        node.advance(3)
        assert await pubsub.quiet()
        node.advance()
        assert (await pubsub.next())["params"]["result"]["value"]["signature"] == signature


async def test_a_signature_is_notified_once_and_its_subscription_ends(node: Node) -> None:
    payer = await node.wallet()
    transaction = await node.transfer(payer, Keypair().pubkey(), SOL)
    signature = str(transaction.signatures[0])
    async with node.pubsub() as pubsub:
        config = CONFIRMED | {"enableReceivedNotification": True}
        identifier = await pubsub.call("signatureSubscribe", signature, config)
        await node.send(transaction)
        node.advance()
        received = await pubsub.next()
        assert received["method"] == "signatureNotification"
        assert received["params"] == {
            "result": {
                "context": {"slot": node.running.chain.tip.slot - 1},
                "value": {"err": None},
            },
            "subscription": identifier,
        }
        with pytest.raises(RpcError, match="Invalid subscription id"):
            await pubsub.call("signatureUnsubscribe", identifier)
        node.finalize()
        assert await pubsub.quiet()


async def test_a_signature_that_landed_before_the_subscription_is_notified_at_once(
    node: Node,
) -> None:
    payer = await node.wallet(1)
    signature = await node.pay(payer, Keypair().pubkey(), 5 * SOL)
    node.advance()
    async with node.pubsub() as pubsub:
        await pubsub.call("signatureSubscribe", signature, CONFIRMED)
        value = (await pubsub.next())["params"]["result"]["value"]
        assert value == {"err": {"InstructionError": [0, {"Custom": 1}]}}
        await pubsub.call("signatureSubscribe", signature)  # finalized: not yet
        assert await pubsub.quiet()
        node.finalize()
        assert (await pubsub.next())["params"]["result"]["value"] == value


async def test_a_reply_does_not_wait_for_a_notification_that_is_delayed(node: Node) -> None:
    payer = await node.wallet()
    signature = await node.pay(payer, Keypair().pubkey(), SOL)
    node.running.faults.notifications.delay = 3600
    async with node.pubsub() as pubsub:
        with trio.fail_after(10):
            await pubsub.call("signatureSubscribe", signature, PROCESSED)


async def test_an_account_is_notified_once_for_each_block_that_changed_it(node: Node) -> None:
    payer, payee = await node.wallet(), Keypair().pubkey()
    async with node.pubsub() as pubsub:
        await pubsub.call("accountSubscribe", str(payee), BASE64 | CONFIRMED)
        await node.pay(payer, payee, SOL)
        await node.pay(payer, payee, 2 * SOL)
        assert await pubsub.quiet()
        slot = node.advance() - 1
        received = (await pubsub.next())["params"]["result"]
        assert received["context"]["slot"] == slot
        assert received["value"]["lamports"] == 3 * SOL
        assert received["value"]["data"] == ["", "base64"]
        node.advance(3)
        assert await pubsub.quiet()


async def test_a_closed_account_is_notified_as_empty(node: Node) -> None:
    payer = await node.wallet(1)
    async with node.pubsub() as pubsub:
        await pubsub.call("accountSubscribe", str(payer.pubkey()), BASE64 | PROCESSED)
        await node.pay(payer, Keypair().pubkey(), SOL - 5000)
        assert (await pubsub.next())["params"]["result"]["value"]["lamports"] == 0


async def test_accounts_of_a_program_are_notified_if_they_match_the_filters(node: Node) -> None:
    owner, mint = Keypair().pubkey(), await node.mint()
    program = "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA"
    by_owner = {"memcmp": {"offset": 32, "bytes": str(owner)}}
    filters = {"filters": [{"dataSize": 165}, by_owner], "encoding": "jsonParsed"}
    async with node.pubsub() as pubsub:
        await pubsub.call("programSubscribe", program, filters | CONFIRMED)
        await node.call(
            "surfnet_setTokenAccount", str(Keypair().pubkey()), str(mint), {"amount": 1}
        )
        await node.call("surfnet_setTokenAccount", str(owner), str(mint), {"amount": 5})
        received = (await pubsub.next())["params"]["result"]["value"]
        assert received["account"]["data"]["parsed"]["info"]["tokenAmount"]["amount"] == "5"
        assert received["account"]["data"]["parsed"]["info"]["owner"] == str(owner)
        assert await pubsub.quiet()


async def test_large_data_in_base58_says_so_instead_of_ending_the_subscription(
    node: Node,
) -> None:
    key = Keypair().pubkey()
    async with node.pubsub() as pubsub:
        await pubsub.call("accountSubscribe", str(key), {"encoding": "base58"} | PROCESSED)
        await node.call("surfnet_setAccount", str(key), {"lamports": 1, "data": "00" * 200})
        value = (await pubsub.next())["params"]["result"]["value"]
        assert value["data"] == "error: data too large for bs58 encoding"
        await node.call("surfnet_setAccount", str(key), {"data": "ff"})
        value = (await pubsub.next())["params"]["result"]["value"]
        assert b58decode(value["data"][0].encode()) == b"\xff"


async def test_after_an_unsubscribe_no_notification_follows(node: Node) -> None:
    async with node.pubsub() as pubsub, node.pubsub() as other:
        mine = await pubsub.call("slotSubscribe")
        with pytest.raises(RpcError, match="Invalid subscription id"):
            await other.call("slotUnsubscribe", mine)  # another client's subscription
        assert await pubsub.call("slotUnsubscribe", mine) is True
        node.advance()
        assert await pubsub.quiet()


async def test_the_rpc_port_takes_websockets_too(node: Node) -> None:
    url = node.running.rpc_url.replace("http", "ws")
    async with node.pubsub(url) as pubsub:
        await pubsub.call("slotSubscribe")
        node.advance()
        assert (await pubsub.next())["method"] == "slotNotification"


async def test_invalid_calls_get_errors_and_the_connection_stays_open(node: Node) -> None:
    async with node.pubsub() as pubsub:
        for method, words in (
            ("voteSubscribe", "Method not found"),
            ("slotUnsubscribe", "a tuple of size 1"),
        ):
            with pytest.raises(RpcError, match=words):
                await pubsub.call(method)
        for frame, code in (("{", -32700), ("7", -32700), (b"\xff", -32700)):
            await pubsub.socket.send_message(frame)
            reply = json.loads(await pubsub.socket.get_message())
            assert reply["error"]["code"] == code
        assert isinstance(await pubsub.call("slotSubscribe"), int)


async def test_a_client_that_does_not_read_is_closed_and_others_get_every_notification(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_connection, "QUEUE_FRAMES", 50)
    lazy_socket = await trio.open_tcp_stream("127.0.0.1", _port(node.running.ws_url))
    lazy_socket.setsockopt(1, 8, 4096)  # SOL_SOCKET, SO_RCVBUF: a small receive buffer
    async with trio.open_nursery() as nursery, lazy_socket, node.pubsub() as keen:
        lazy = await trio_websocket.wrap_client_stream(
            nursery, lazy_socket, _host(node.running.ws_url), "/"
        )
        for _ in range(40):
            await lazy.send_message(_subscribe())
        with trio.fail_after(5):
            for _ in range(40):
                await lazy.get_message()
        await keen.call("slotSubscribe")
        hub = hub_of(node)
        received = 0
        with trio.fail_after(10):
            while hub.subscriptions > 1:
                node.advance()
                received += 1
                assert (await keen.next())["method"] == "slotNotification"
        node.advance()
        assert (await keen.next())["method"] == "slotNotification"
        assert received > 1
        nursery.cancel_scope.cancel()


async def test_a_disconnected_clients_subscriptions_are_removed(node: Node) -> None:
    async with node.pubsub() as watcher:
        async with node.pubsub() as pubsub:
            await pubsub.call("slotSubscribe")
        stream = await trio.open_tcp_stream("127.0.0.1", _port(node.running.ws_url))
        await stream.send_all(b"not a handshake\r\n\r\n")
        await trio.aclose_forcefully(stream)
        await watcher.call("slotSubscribe")
        node.advance()
        assert (await watcher.next())["method"] == "slotNotification"
        with trio.fail_after(5):
            while hub_of(node).subscriptions > 1:
                await trio.lowlevel.checkpoint()


async def test_no_notification_is_lost_or_repeated_under_load(node: Node) -> None:
    payer, payee = await node.wallet(100), Keypair().pubkey()
    sent: list[str] = []
    async with node.pubsub() as pubsub:
        await pubsub.call("logsSubscribe", {"mentions": [str(payee)]}, CONFIRMED)
        for n in range(300):
            sent.append(await node.pay(payer, payee, SOL // 10 + n))
            node.advance(n % 3 == 0)
        node.advance()
        received = [(await pubsub.next())["params"]["result"]["value"]["signature"] for _ in sent]
        assert received == sent
        assert await pubsub.quiet()


def hub_of(node: Node) -> SubscriptionHub:
    (hub,) = node.running.chain.observers
    assert isinstance(hub, SubscriptionHub)
    return hub


def _subscribe() -> str:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "slotSubscribe"})


def _port(url: str) -> int:
    return int(url.rsplit(":", 1)[1])


def _host(url: str) -> str:
    return url.removeprefix("ws://")

"""The local chain's PubSub answers and notifies as the recorded validator's."""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import partial
from typing import Any

import httpx
import trio
import trio_websocket
from solders.hash import Hash
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from cvms import localnet
from tests.conformance.likeness import differences, differences_of_replies
from tests.conformance.recording import pubsub_log
from tests.localnet.local_node import BASE64, SOL, wire

RECIPIENT = "5Z6Ay5NEcbg3xhopc522sBCRXQujkTiuDRnHGfQdcnSf"
PAYER = "J2xccRtuG43drESLYznHhLhQkLTdfepcKYbiQ9BsJVaf"
SIGNATURE = (
    "4mURrq6xScVztDVjVRZN3GzPYrZaDTVtXSLMUtBz9UNFm6EywJFuzxd6rGMekf4gdnpNP7Rc5tKcscuXMUm2rvGr"
)

Json = Any


def recorded_replies() -> list[Json]:
    """Return the replies in the recording, in order: a call's, a batch's, or a parse error."""
    heard = [each["heard"] for each in pubsub_log() if "heard" in each]
    return [frame for frame in heard if isinstance(frame, list) or "method" not in frame]


def by_kind(frames: Iterable[Json]) -> dict[str, list[Json]]:
    """Return what notifications tell, by the stage of a slot or the kind of the subscription."""
    told: dict[str, list[Json]] = {}
    for frame in frames:
        if isinstance(frame, dict) and "method" in frame:
            result = frame["params"]["result"]
            stage = result["type"] if frame["method"] == "slotsUpdatesNotification" else ""
            told.setdefault(f"{frame['method']} {stage}".strip(), []).append(result)
    return told


async def test_recorded_messages_are_answered_alike(nursery: trio.Nursery) -> None:
    running: localnet.Running = await nursery.start(partial(localnet.serve, port=0, ledger=None))
    running.chain.pause()
    payer, recipient = Keypair(), Keypair().pubkey()
    async with (
        httpx.AsyncClient() as http,
        trio_websocket.open_websocket_url(running.ws_url) as socket,
    ):

        async def call(method: str, *params: Json) -> Json:
            asked = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
            return (await http.post(running.rpc_url, json=asked)).json()["result"]

        await call("requestAirdrop", str(payer.pubkey()), 5 * SOL)
        running.chain.advance(40)
        latest = (await call("getLatestBlockhash"))["value"]["blockhash"]
        pay = TransferParams(from_pubkey=payer.pubkey(), to_pubkey=recipient, lamports=SOL)
        message = MessageV0.try_compile(
            payer.pubkey(), [transfer(pay)], [], Hash.from_string(latest)
        )
        signed = VersionedTransaction(message, [payer])
        names = {
            RECIPIENT: str(recipient),
            PAYER: str(payer.pubkey()),
            SIGNATURE: str(signed.signatures[0]),
        }
        for each in pubsub_log():
            if "sent" in each:
                text = each["sent"]
                for theirs, ours in names.items():
                    text = text.replace(theirs, ours)
                await socket.send_message(text)
        await socket.send_message(json.dumps({"jsonrpc": "2.0", "id": "last", "method": "x"}))
        heard: list[Json] = []
        with trio.fail_after(5):
            while not heard or heard[-1].get("id") != "last":
                heard.append(json.loads(await socket.get_message()))
                if isinstance(heard[-1], list):
                    heard[-1] = {"batch": heard[-1]}
        replies = [frame for frame in heard[:-1] if "method" not in frame]
        expected = recorded_replies()
        assert len(replies) == len(expected)
        unlike = [
            differences_of_replies(one, other.get("batch", other))
            if isinstance(one, dict)
            else differences(one, other["batch"])
            for one, other in zip(expected, replies, strict=True)
        ]
        assert [each for each in unlike if each] == []
        roots = {each["result"] for each in replies if each.get("id") in (19, "s")}
        assert len(roots) == 1  # an equal subscription is the same

        await call("sendTransaction", wire(signed), BASE64 | {"skipPreflight": True})
        running.chain.advance(40)
        await socket.send_message(json.dumps({"jsonrpc": "2.0", "id": "end", "method": "x"}))
        told: list[Json] = []
        with trio.fail_after(5):
            while not told or told[-1].get("id") != "end":
                told.append(json.loads(await socket.get_message()))
    expected_kinds = by_kind(each["heard"] for each in pubsub_log() if "heard" in each)
    notified = by_kind(told)
    different = {
        name: differences(results, notified.get(name, []))
        for name, results in expected_kinds.items()
    }
    assert {name: found for name, found in different.items() if found} == {}

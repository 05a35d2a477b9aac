"""The Python client, and the service, are what the recorded vectors say.

The tests of the other client libraries read the same files. After a change that is meant, write
them anew: `CVMS_RECORD_VECTORS=1 pytest tests/clients/test_vectors.py`.
"""

from __future__ import annotations

import base64
import inspect
import json
import re
from contextlib import suppress
from dataclasses import replace
from typing import Any

import httpx
import pytest
import trio
import trio_websocket
from solders.hash import Hash
from solders.keypair import Keypair
from solders.message import Message, MessageV0, to_bytes_versioned
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from cvms.client import Client, Problem, Topic, Wallet, open_client
from cvms.client.stream_cursors import StreamCursors
from cvms.http.auth.signed_texts import TEXT_OF_ACTION
from tests.clients.vectors import Json, equals_recorded, read, read_frame, replay
from tests.harness.service import Service, event
from tests.paths import DOCS

SEED = bytes(range(32))
KEYPAIR = Keypair.from_seed(SEED)
WALLET = str(KEYPAIR.pubkey())
OTHER = str(Pubkey(bytes([7] * 32)))
NONCE = "n" * 48
PAGE = DOCS / "websocket.md"
TOPIC, BALANCE = "deposit_event", "vault_balance_update"


# --- streams -------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", read("stream_cases.json"), ids=lambda vector: vector["name"])
def test_a_case_of_a_stream(vector: Json) -> None:
    assert replay(vector) == vector


async def receive(service: Service, cursors: StreamCursors, count: int) -> Json:
    """Subscribe on a new connection, and return what was exchanged, up to `count` frames."""
    url = service.url.replace("http", "ws", 1) + "/ws"
    requests = cursors.requests()
    frames = []
    with trio.fail_after(10):
        async with trio_websocket.open_websocket_url(url) as socket:
            await socket.get_message()
            for request in requests:
                await socket.send_message(request)
            for _ in range(count):
                frames.append(read_frame(cursors, str(await socket.get_message())))
    return {"requests": [json.loads(each) for each in requests], "frames": frames}


async def test_a_stream_is_as_recorded(service: Service) -> None:
    """Missed events are replayed, a fork retracts one, and a gap that is too long is a reset."""

    async def publish(*numbers: int, kind: Any = "event") -> None:
        for number in numbers:
            message = event(TOPIC, number, (WALLET, OTHER)[number % 2])
            await service.publish(replace(message, type=kind))

    topics: list[Json] = [{"name": TOPIC}, {"name": BALANCE, "owner": WALLET}]
    cursors = StreamCursors(Topic(**topic) for topic in topics)
    connections = [await receive(service, cursors, 2)]
    await publish(1, 2, 3)
    connections.append(await receive(service, cursors, 5))
    await publish(2, kind="retracted")
    connections.append(await receive(service, cursors, 3))
    await publish(4, 5, 6)
    async with service.database.connection() as conn:
        await conn.execute("DELETE FROM outbox WHERE seq < 6")
    connections.append(await receive(service, cursors, 3))
    assert equals_recorded(
        "stream_recorded.json",
        {"name": "as the service sends it", "topics": topics, "connections": connections},
    )


def test_the_movements_that_the_page_keeps_are_as_recorded() -> None:
    """The function of docs/websocket.md, which says what to do on `reset` and `retracted`."""
    [code] = re.findall(r"```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {}
    exec(compile(code, str(PAGE), "exec"), names)
    vector = read("movements.json")
    cursors = StreamCursors([Topic(TOPIC, owner=WALLET)])
    known: list[Any] = []
    for connection in vector["connections"]:
        cursors.requests()
        for step in connection:
            if (message := cursors.read(step["frame"])) is not None:
                known = names["apply"](known, message)
            step["state"] = [list(each) for each in known]
    assert equals_recorded("movements.json", vector)


# --- requests ------------------------------------------------------------------------------------


async def test_each_method_sends_the_recorded_request() -> None:
    found = [
        {"method": name, **arguments, "requests": await _requests(name, arguments)}
        for name, arguments in _calls()
    ]
    assert equals_recorded("requests.json", {"seed": SEED.hex(), "nonce": NONCE, "calls": found})


OTHER_METHODS = {"finish", "movements", "nonce", "request", "settled", "signed"}


def _calls() -> list[tuple[str, Json]]:
    """Return arguments for every method that sends one request of its own.

    A method with optional keywords is called with and without them.
    """
    calls = []
    for name, method in inspect.getmembers(Client, inspect.iscoroutinefunction):
        if name.startswith("_") or name in OTHER_METHODS:
            continue
        parameters = inspect.signature(method).parameters.values()
        arguments = [
            _argument(each.name)
            for each in parameters
            if each.kind is each.POSITIONAL_OR_KEYWORD and each.name != "self"
        ]
        keywords = [each for each in parameters if each.kind is each.KEYWORD_ONLY]
        required = [each for each in keywords if each.default is each.empty]
        for named in [keywords] if required == keywords else [keywords, required]:
            options = {each.name: _argument(each.name) for each in named}
            calls.append((name, {"arguments": arguments, "options": options}))
    return calls


def _argument(name: str) -> Any:
    known: Json = {
        "auto_compound": True,
        "code": "123456",
        "cursor": "next page",
        "kind": "deposit",
        "limit": 7,
        "proposal_id": "0190a5f0-0000-7000-8000-000000000000",
        "signature": str(Signature(bytes([9] * 64))),
        "sort": "slot",
        "threshold": 2,
        "transaction": "AAAA",
        "url": "https://hooks.example.com/a?b=c",
        "duration_seconds": 60,
        "endpoint": "0190a5f0-0000-7000-8000-000000000001",
        "overlap_seconds": 60,
        "topics": ["deposit_event", "withdraw_event"],
        "webhook_id": "0190a5f0-0000-7000-8000-000000000002",
        "since": 5,
        "until": 9,
        "seconds": 0,
        "window_seconds": 3600,
        "change": "min_delay=0",
        "allowance": "unlimited",
        "signers": [OTHER],
        "executable_at": 12,
        "unlock_time": 12,
        "slot": 12,
    }
    if name in {"amount", "min_amount", "max_amount", "min_balance"}:
        return 2**53 + 1
    return known.get(name, OTHER)


def _text(request: Json) -> str | None:
    """Return the text that the service asks for in its reply to a request for a nonce."""
    if "action" not in request["body"]:
        return None
    text = TEXT_OF_ACTION[request["body"]["action"]]
    return text.write({"owner": WALLET, text.signer: WALLET, **request["body"]["fields"]}, NONCE)


async def _requests(name: str, call: Json) -> list[Json]:
    """Call a method, and return what it asks a service that refuses everything but nonces."""
    requests: list[Json] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        key = request.headers.get("idempotency-key")
        assert key is None or re.fullmatch(r"[\w-]{24}", key)
        requests.append(
            {
                "method": request.method,
                "path": request.url.path,
                "query": dict(request.url.params),
                "body": json.loads(request.content) if request.content else None,
                "code": request.headers.get("x-2fa-code"),
                "has_key": key is not None,
            }
        )
        if requests[-1]["path"] == "/api/auth/nonce":
            requests[-1]["message"] = _text(requests[-1])
        if request.url.path == "/api/auth/nonce":
            expires = "2027-01-31T12:00:00Z"
            issued = {"nonce": NONCE, "expires_at": expires, "message": requests[-1]["message"]}
            return httpx.Response(200, json=issued)
        return httpx.Response(404, json={"code": "vault_not_found", "detail": "none"})

    transport = httpx.MockTransport(answer)
    async with (
        httpx.AsyncClient(transport=transport) as http,
        open_client("http://cvms.example", wallet=Wallet(KEYPAIR), http=http) as client,
    ):
        with suppress(Problem):  # as answered above
            await getattr(client, name)(*call["arguments"], **call["options"])
    return requests


# --- transactions --------------------------------------------------------------------------------


def test_a_transaction_is_signed_as_recorded() -> None:
    payer, blockhash = Pubkey(bytes([3] * 32)), Hash(bytes([5] * 32))
    amount = transfer(
        TransferParams(from_pubkey=KEYPAIR.pubkey(), to_pubkey=Pubkey(bytes([7] * 32)), lamports=1)
    )
    messages = (
        MessageV0.try_compile(payer, [amount], [], blockhash),
        MessageV0.try_compile(KEYPAIR.pubkey(), [amount], [], blockhash),
        Message.new_with_blockhash([amount], payer, blockhash),
    )
    found = []
    for message in messages:
        signers = message.header.num_required_signatures
        unsigned = VersionedTransaction.populate(message, [Signature.default()] * signers)
        signed = Wallet(KEYPAIR).cosign(_base64(unsigned))
        found.append({"unsigned": _base64(unsigned), "signed": signed})
        signatures = VersionedTransaction.from_bytes(base64.b64decode(signed)).signatures
        assert any(
            each.verify(KEYPAIR.pubkey(), to_bytes_versioned(message)) for each in signatures
        )
    foreign = MessageV0.try_compile(payer, [], [], blockhash)
    refused = VersionedTransaction.populate(foreign, [Signature.default()])
    with pytest.raises(ValueError, match="does not need the signature"):
        Wallet(KEYPAIR).cosign(_base64(refused))
    assert equals_recorded(
        "transactions.json",
        {"seed": SEED.hex(), "address": WALLET, "signed": found, "refused": _base64(refused)},
    )


def _base64(transaction: VersionedTransaction) -> str:
    return base64.b64encode(bytes(transaction)).decode()

"""NUL and lone surrogates are refused or harmless, wherever a client can put them."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
import trio_websocket
from cryptography.fernet import Fernet
from solders.keypair import Keypair

from cvms.http.framework.admin_tokens import Role, mint
from tests.harness.localnet import Localnet
from tests.harness.service import Json, Service, frame, running
from tests.websockets import opened

SECRET = b"s" * 32
OWNER = str(Keypair().pubkey())
# As JSON, long enough for the fields that have a least length.
ODD = [f'"{odd}{"a" * 86}"' for odd in (r"\u0000", r"\ud800", r"\udc00")]
ODD_IN_URL = ("%00", "a%00b", "%ED%A0%80", "%FF", "%F0%9F%92%A9")
ODD_IN_HEADER = (b"a\xffb", b"\xed\xa0\x80", "\N{PILE OF POO}".encode(), b"%00")
FREE_TEXT = "/api/admin/logs?text="
"""Searched for as it is, in memory."""
HEADERS = (
    "Authorization",
    "Idempotency-Key",
    "X-2FA-CODE",
    "If-None-Match",
    "X-Forwarded-For",
    "X-Min-Slot",
)
# Values that are good in most of the fields with these names; in the others, an owner is.
GOOD: Json = {
    "nonce": "n" * 32,
    "signature": "1" * 88,
    "message": None,
    "reason": "a test",
    "code": "123456",
    "url": "https://hooks.example/",
    "proposal_id": "00000000-0000-0000-0000-000000000000",
    **dict.fromkeys(("amount", "threshold", "duration_seconds", "seconds", "risk_level"), 1),
}


@pytest.fixture
async def office(database_url: str, localnet: Localnet) -> AsyncIterator[Service]:
    """The front end on a real chain, with administrators and second factors."""
    keys = (Fernet.generate_key(),)
    async with running(
        database_url, admin_jwt_secret=SECRET, data_encryption_keys=keys, **localnet.settings
    ) as service:
        yield service


def bearer() -> dict[str, str]:
    return {"Authorization": f"Bearer {mint(SECRET, subject='c', role=Role.ADMIN, seconds=600)}"}


async def operations(service: Service) -> list[tuple[str, str, list[str], list[str]]]:
    """Return method, path, and the fields of query and body of each operation."""
    document = (await service.get("/openapi.json")).json()
    return [
        (
            method,
            path,
            [each["name"] for each in operation.get("parameters", []) if each["in"] == "query"],
            list(_fields(document, operation)),
        )
        for path, item in document["paths"].items()
        for method, operation in item.items()
    ]


def _fields(document: Json, operation: Json) -> Iterator[str]:
    if "requestBody" in operation:
        [content] = operation["requestBody"]["content"].values()
        name = content["schema"]["$ref"].rpartition("/")[2]
        yield from document["components"]["schemas"][name]["properties"]


async def test_no_body_with_such_a_text_is_a_500(office: Service) -> None:
    tried = 0
    for method, path, _, fields in await operations(office):
        url = office.url + re.sub(r"{\w+}", OWNER, path)
        body = {name: GOOD.get(name, OWNER) for name in fields}
        for name in fields:
            for odd in ODD:
                text = json.dumps(body | {name: "ODD"}).replace('"ODD"', odd)
                headers = {"Content-Type": "application/json"} | bearer()
                reply = await office.http.request(method, url, content=text, headers=headers)
                assert reply.status_code in range(400, 500), (path, text, reply.text)
                tried += 1
    assert tried > 100


async def test_no_path_or_query_with_such_a_text_is_a_500(office: Service) -> None:
    tried = 0
    for method, path, query, _ in await operations(office):
        for odd in ODD_IN_URL:
            paths = [re.sub(r"{\w+}", odd, path)] if "{" in path else []
            filled = re.sub(r"{\w+}", OWNER, path)
            for target in [*paths, *(f"{filled}?{name}={odd}" for name in query)]:
                reply = await office.http.request(method, office.url + target, headers=bearer())
                allowed = (200,) if target.startswith(FREE_TEXT) else range(400, 500)
                assert reply.status_code in allowed, (target, reply.text)
                tried += 1
    assert tried > 100


async def test_no_header_with_such_a_text_is_a_500(office: Service) -> None:
    requests: list[tuple[str, str, Any]] = [
        ("POST", "/api/vault/initialize", {"user_pubkey": OWNER}),
        ("POST", "/api/vault/withdraw", {name: GOOD.get(name, OWNER) for name in SIGNED}),
        ("GET", "/api/vaults", None),
        ("GET", "/api/admin/audit", None),
    ]
    for method, path, body in requests:
        for name in HEADERS:
            for odd in ODD_IN_HEADER:
                headers = {name.encode(): odd}
                url = office.url + path
                reply = await office.http.request(method, url, json=body, headers=headers)
                assert reply.status_code < 500, (path, name, odd, reply.text)


SIGNED = ("owner", "amount", "nonce", "signature")


@pytest.mark.parametrize("field", ["op", "topic", "owner", "token", "subscribe"])
async def test_no_frame_with_such_a_text_ends_the_connection(office: Service, field: str) -> None:
    good = {"topic": "security_alert", "token": bearer()["Authorization"].split()[1]}
    async with opened(office.url.replace("http", "ws") + "/ws") as socket:
        for odd in ODD:
            await socket.send_message(json.dumps(good | {field: "ODD"}).replace('"ODD"', odd))
            assert (await answered(socket))["type"] == "error"


async def answered(socket: trio_websocket.WebSocketConnection) -> Json:
    while (reply := await frame(socket))["type"] not in {"error", "subscribed"}:
        pass
    return reply

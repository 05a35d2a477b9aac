"""Replies carry their amounts as strings for whoever asks, in the query or in `Accept`."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
import trio
from solders.keypair import Keypair

from tests.harness.processes import HANG_SECONDS
from tests.harness.service import Json, Served, Service
from tests.http.multisig.signers import PROPOSE, proposal_body, shared_vault
from tests.http.wallets import USDT, deposit, funded, initialize, land

AS_STRINGS = {"Accept": "application/json; amounts=string"}
LONG_WAY = {"TE": "trailers"}


async def ask(service: Served, path: str, **headers: str) -> httpx.Response:
    return await service.http.get(service.url + path, headers=headers)


def resolved(document: Json, schema: Json) -> Json:
    """Return the schema that this one refers to, or itself."""
    for each in [schema, *schema.get("anyOf", ())]:
        if "$ref" in each:
            found: Json = document["components"]["schemas"][each["$ref"].rpartition("/")[2]]
            return found
    return schema


def as_strings(document: Json, schema: Json, value: Any) -> Any:
    """Return the value as the document says that it is with strings for amounts."""
    schema = resolved(document, schema)
    if schema.get("x-amount") and value is not None:
        return str(value)
    if isinstance(value, dict):
        fields = schema.get("properties", {})
        return {name: as_strings(document, fields.get(name, {}), value[name]) for name in value}
    if isinstance(value, list):
        return [as_strings(document, schema.get("items", {}), each) for each in value]
    return value


async def test_every_read_carries_the_amounts_of_the_document_as_strings(system: Served) -> None:
    wallet = await funded(system)
    await land(system, wallet, await initialize(system, wallet))
    signature = await land(system, wallet, await deposit(system, wallet, 70 * USDT))
    await until_final(system, wallet)
    document = (await system.get("/openapi.json")).json()
    values = {"{owner}": str(wallet.pubkey()), "{signature}": signature}
    with_amounts = []
    for path, item in document["paths"].items():
        notes = item.get("get", {}).get("description", "")
        if "Amounts are strings if asked for" not in notes or re.search("admin|proposal", path):
            continue
        filled = path
        for name, value in values.items():
            filled = filled.replace(name, value)
        plain = await ask(system, filled)
        assert plain.status_code == 200, plain.text
        schema = item["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        expected = without_clock(as_strings(document, schema, plain.json()))
        assert expected != without_clock(plain.json()) or "yield-policy" in path
        for asked in (
            await ask(system, filled, **AS_STRINGS),
            await ask(system, filled, **AS_STRINGS, **LONG_WAY),
            await ask(system, f"{filled}?amounts=string"),
        ):
            assert without_clock(asked.json()) == expected, path
            assert "Accept" in asked.headers["Vary"]
        assert "Accept" in plain.headers["Vary"]
        with_amounts.append(path)
    assert len(with_amounts) >= 16


async def test_a_file_stays_as_it_is(system: Served) -> None:
    wallet = await funded(system)
    await land(system, wallet, await initialize(system, wallet))
    await land(system, wallet, await deposit(system, wallet, 70 * USDT))
    path = f"/api/vault/statement/{wallet.pubkey()}?format=csv"
    plain, asked = await ask(system, path), await ask(system, f"{path}&amounts=string")
    assert plain.status_code == asked.status_code == 200
    assert asked.headers["Content-Type"] == plain.headers["Content-Type"]
    assert asked.text.splitlines()[0] == plain.text.splitlines()[0]


async def until_final(system: Served, wallet: Keypair) -> None:
    """Wait until the deposit is in the owner's statement, which has only what is final."""
    with trio.fail_after(HANG_SECONDS):
        path = f"/api/vault/statement/{wallet.pubkey()}"
        while not (await ask(system, path)).json()["lines"]:  # noqa: ASYNC110
            await trio.sleep(0.02)


def without_clock(value: Any) -> Any:
    """Leave out what differs from one reply to the next."""
    changing = {"now", "cached", "slot", "as_of", "remaining_seconds", "age_seconds", "status"}
    changing |= {"updated_slots_ago", "updated_seconds_ago", "updated_at", "source_slot", "rate"}
    changing |= {"updated_slot", "commitment"}
    if isinstance(value, dict):
        return {name: without_clock(each) for name, each in value.items() if name not in changing}
    return [without_clock(each) for each in value] if isinstance(value, list) else value


async def test_a_replayed_reply_has_the_form_that_the_repetition_asks_for(front: Service) -> None:
    shared = await shared_vault(front)
    body = await proposal_body(front, shared)
    key = {"Idempotency-Key": "one"}
    first = await front.http.post(front.url + PROPOSE, json=body, headers=key | AS_STRINGS)
    again = await front.http.post(front.url + PROPOSE, json=body, headers=key)
    once_more = await front.http.post(front.url + PROPOSE, json=body, headers=key | AS_STRINGS)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert first.json() == once_more.json() == again.json() | {"amount": str(40 * USDT)}
    assert again.json()["amount"] == 40 * USDT


@pytest.mark.parametrize(
    ("accept", "is_string"),
    [
        ("application/json;amounts=string", True),
        ("text/html, Application/JSON; Amounts=string; q=0.5, */*;q=0.1", True),
        ('application/json; amounts="string", application/json', True),
        ("application/json; amounts=string;q=0.2, application/json;q=0.9", False),
        ("application/json; amounts=string;q=0", False),
        ("application/json; amounts=string;q=high", False),
        ("application/json; amounts=number", False),
        ("text/plain; amounts=string", False),
        ("application/json", False),
        ("amounts", False),
    ],
)
async def test_accept_is_read_as_http_says(service: Service, accept: str, is_string: bool) -> None:
    for headers in ({}, LONG_WAY):
        reply = await ask(service, "/api/vault/tvl", Accept=accept, **headers)
        assert reply.json()["total"] == ("0" if is_string else 0)


async def test_the_query_wins_and_knows_two_values(service: Service) -> None:
    path = "/api/vault/tvl?amounts="
    assert (await ask(service, f"{path}number", **AS_STRINGS)).json()["total"] == 0
    assert (await ask(service, f"{path}string")).json()["total"] == "0"
    for wrong in ("", "text", "string&amounts=string"):
        reply = await ask(service, path + wrong)
        assert (reply.status_code, reply.json()["errors"][0]["path"]) == (400, "amounts")


@pytest.mark.parametrize("path", ["/health", "/api/idl/collateral_vault", "/asyncapi.json"])
async def test_a_reply_without_amounts_has_one_form(service: Service, path: str) -> None:
    """So one validator too, whatever is asked for; but another value is refused there as well."""
    plain = await service.get(path)
    asked = await ask(service, path, **AS_STRINGS)
    assert (asked.status_code, asked.content) == (200, plain.content)
    assert asked.headers.get("etag") == plain.headers.get("etag")
    refused = await service.get(f"{path}?amounts=text")
    assert (refused.status_code, refused.json()["code"]) == (400, "invalid_request")

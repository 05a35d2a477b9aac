"""The OpenAPI document describes every route, and its page loads nothing from other hosts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from solders.pubkey import Pubkey

from cvms.http.framework.problems import TITLES
from tests.harness.service import Service
from tests.http.service_info.browser import browsing

# The verbs that summaries may begin with.
VERBS = {
    "Accept",
    "Acknowledge",
    "Add",
    "Apply",
    "Approve",
    "Authorize",
    "Cancel",
    "Check",
    "Close",
    "Compound",
    "Create",
    "Deposit",
    "Disable",
    "Enable",
    "Freeze",
    "Get",
    "Issue",
    "List",
    "Open",
    "Pause",
    "Propose",
    "Refresh",
    "Register",
    "Reject",
    "Release",
    "Remove",
    "Request",
    "Revoke",
    "Schedule",
    "Send",
    "Set",
    "Settle",
    "Silence",
    "Start",
    "Submit",
    "Sweep",
    "Transfer",
    "Withdraw",
}


async def test_the_document_names_every_route_of_the_application(service: Service) -> None:
    document = (await service.get("/openapi.json")).json()
    assert document["openapi"] == "3.1.0"
    served = {
        (re.sub(r"<(?:[^:>]*:)?(\w+)>", r"{\1}", rule.rule), method)
        for rule in service.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if not rule.websocket
        and not rule.rule.startswith(("/openapi.json", "/docs", "/console", "/vault/", "/verify"))
        and rule.rule != "/"
    }
    documented = {
        (path, method.upper()) for path, item in document["paths"].items() for method in item
    }
    assert documented == served
    operations = [each for item in document["paths"].values() for each in item.values()]
    assert all(each["summary"] for each in operations)
    tags = {tag["name"] for tag in document["tags"]}
    assert {tag for each in operations for tag in each["tags"]} == tags
    assert len({each["operationId"] for each in operations}) == len(operations)


async def test_each_summary_is_one_short_imperative_sentence(service: Service) -> None:
    document = (await service.get("/openapi.json")).json()
    summaries = [each["summary"] for item in document["paths"].values() for each in item.values()]
    assert {name: count for name, count in Counter(summaries).items() if count > 1} == {}
    assert [each for each in summaries if each.split()[0] not in VERBS] == []
    assert [each for each in summaries if not re.fullmatch(r"[\w' -]{1,60}", each)] == []
    assert {each.split()[0] for each in summaries} == VERBS, "a verb that no summary uses"


def test_each_problem_has_a_title_of_its_own_in_sentence_case() -> None:
    assert {name: count for name, count in Counter(TITLES.values()).items() if count > 1} == {}
    words = re.compile(r"[A-Z][a-z]+(?:[ -][a-z]+)*")
    assert {code: title for code, title in TITLES.items() if not words.fullmatch(title)} == {}


async def test_a_route_describes_its_input_and_its_problems(service: Service) -> None:
    document = (await service.get("/openapi.json")).json()
    withdraw = document["paths"]["/api/vault/withdraw"]["post"]
    schema = withdraw["requestBody"]["content"]["application/json"]["schema"]
    body = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    assert body["required"] == ["owner", "nonce", "signature", "amount"]
    assert body["additionalProperties"] is False
    problem = withdraw["responses"]["409"]
    schema = problem["content"]["application/problem+json"]["schema"]
    assert schema == {"$ref": "#/components/schemas/Problem"}
    assert "nonce_used" in problem["x-codes"]
    assert {"200", "202", "400", "401", "404", "422", "503", "504"} <= withdraw["responses"].keys()
    assert {each["name"] for each in withdraw["parameters"]} == {"Idempotency-Key", "X-2FA-CODE"}


async def test_reads_of_what_is_indexed_take_a_slot_and_tell_one(service: Service) -> None:
    document = (await service.get("/openapi.json")).json()
    takes = {
        path
        for path, operations in document["paths"].items()
        for operation in operations.values()
        if "X-Min-Slot" in {each["name"] for each in operation["parameters"]}
    }
    assert len(takes) == 15
    assert all(path.startswith(("/api/vault", "/api/analytics")) for path in takes)
    tvl = document["paths"]["/api/vault/tvl"]["get"]["responses"]
    assert "X-Slot" in tvl["200"]["headers"]
    assert tvl["422"]["x-codes"] == ["slot_not_indexed"]
    transaction = document["paths"]["/api/transactions/{signature}"]["get"]
    assert "headers" not in transaction["responses"]["200"]


async def test_every_schema_is_one_that_generators_of_clients_know(service: Service) -> None:
    text = (await service.get("/openapi.json")).text
    assert r"\Z" not in text  # ECMA-262 knows no \Z
    integers, nullable = 0, 0
    for schema in schemas_in(msgspec.json.decode(text)):
        if "integer" in schema.get("type", ()):
            integers += 1
            assert schema["format"] in {"int32", "int64"}, schema
            assert schema["format"] == "int64" or schema["maximum"] < 2**31
        if "anyOf" in schema:
            nullable += 1
            assert [each.keys() for each in schema["anyOf"]] == [{"$ref"}, {"type"}], schema
        assert not {"oneOf", "allOf"} & schema.keys(), schema
        assert "enum" not in schema or schema["type"] == "string", schema
    assert integers > 100
    assert nullable >= 5


def schemas_in(value: Any) -> Iterator[dict[str, Any]]:
    """Yield each object of the document, schemas among them."""
    if isinstance(value, dict):
        yield value
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from schemas_in(each)


async def test_each_operation_has_a_name_for_a_method_its_security_and_its_errors(
    service: Service,
) -> None:
    document = (await service.get("/openapi.json")).json()
    assert document["servers"][0]["url"] == "/"
    operations = [each for item in document["paths"].values() for each in item.values()]
    for each in operations:
        assert re.fullmatch("[a-z]+([A-Z][a-z]+){0,4}", each["operationId"]), each["operationId"]
        assert {"405", "500", "504"} <= each["responses"].keys()
    names = list(document["components"]["schemas"])
    assert [name for name in names if not re.fullmatch("([A-Z][a-z]+){1,3}", name)] == []
    # Go's client makes a function NewX for each type X.
    assert {f"New{name}" for name in names} & set(names) == set()
    security = {each["operationId"]: each["security"] for each in operations}
    assert security["withdraw"] == []
    assert security["listAlerts"] == [{"admin": []}]
    assert security["setMinDelay"] == [{"admin": []}, {}]


async def test_each_field_of_a_reply_that_is_always_there_is_required(service: Service) -> None:
    document = (await service.get("/openapi.json")).json()
    schemas = document["components"]["schemas"]
    assert set(schemas["Submitted"]["required"]) == {"mode", "signature", "status"}
    assert "cached" not in schemas["Balance"]["required"]
    assert schemas["Balance"]["properties"]["as_of"] == {
        "type": ["string", "null"],
        "format": "date-time",
    }


async def test_null_counts_as_a_field_left_out(service: Service) -> None:
    """The document says only that the field is optional."""
    body = {"owner": str(Pubkey.default()), "nonce": "n" * 16, "signature": "s" * 64, "amount": 1}
    for each in (body, body | {"message": None, "recipient": None}):
        reply = await service.post("/api/vault/withdraw", each)
        assert reply.json()["code"] == "invalid_signature"


async def test_every_reference_of_the_document_has_a_target(service: Service) -> None:
    reply = await service.get("/openapi.json")
    schemas = reply.json()["components"]["schemas"]
    references = set(re.findall(r'"\$ref":"#/components/schemas/([^"]+)"', reply.text))
    assert references
    assert references <= schemas.keys()


async def test_no_component_is_named_after_a_module(service: Service) -> None:
    document = (await service.get("/openapi.json")).json()
    assert [name for name in document["components"]["schemas"] if "." in name] == []


async def test_the_root_leads_to_the_page(service: Service) -> None:
    reply = await service.get("/")
    assert (reply.status_code, reply.headers["Location"]) == (302, "docs")
    followed = await service.http.get(service.url, follow_redirects=True)
    assert (followed.status_code, followed.url.path) == (200, "/docs")


@pytest.mark.slow(seconds=18)
async def test_the_page_fits_a_telephone_and_asks_no_other_host(
    service: Service, tmp_path: Path
) -> None:
    """With an operation opened and about to be tried, which is the widest that it gets."""
    document = (await service.get("/openapi.json")).json()
    withdraw = document["paths"]["/api/vault/withdraw"]["post"]
    url = f"{service.url}/docs#/{withdraw['tags'][0]}/{withdraw['operationId']}"
    async with browsing(tmp_path, url, width=390) as tab:
        await tab.appear(".opblock.is-open .try-out__btn")
        await tab.evaluate("document.querySelector('.opblock.is-open .try-out__btn').click()")
        await tab.appear(".opblock.is-open textarea")
        wide = await tab.evaluate(WIDE_ELEMENTS)
        assert await tab.evaluate("document.documentElement.scrollWidth") == 390, "\n".join(wide)
        hosts = {urlsplit(each).netloc for each in tab.requested if not each.startswith("data:")}
        assert hosts == {urlsplit(service.url).netloc}


# What extends beyond the page, for the message of the failure.
WIDE_ELEMENTS = """[...document.querySelectorAll("body *")]
  .filter((each) => each.getBoundingClientRect().right > 390)
  .map((each) => `${each.tagName}.${each.className} ${each.getBoundingClientRect().right}`)"""


async def test_the_page_loads_nothing_from_other_hosts(service: Service) -> None:
    page = await service.get("/docs")
    assert page.status_code == 200
    assert "unsafe-eval" not in page.headers["Content-Security-Policy"]
    links = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert links
    for link in links:
        assert not link.startswith(("http:", "https:", "//"))
        assert (await service.get(f"/{link}")).status_code == 200
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]


@pytest.mark.parametrize("name", ["..%2f__init__.py", "index.css", "swagger-ui.js"])
async def test_only_the_pages_own_files_are_served(service: Service, name: str) -> None:
    assert (await service.get(f"/docs/{name}")).status_code == 404

"""An ordinary request takes the short way, and gets what it would get through Quart."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass

import pytest
import trio
import trio.testing
from cryptography.fernet import Fernet
from quart.wrappers import Request as QuartRequest
from solders.pubkey import Pubkey

from cvms.chain.program.addresses import vault_address
from cvms.chain.types import Slot
from cvms.config.settings import Rates
from cvms.errors import DatabaseUnavailable
from cvms.http.framework.admin_tokens import Role, mint
from cvms.http.framework.edge import Edge
from cvms.http.framework.request import Request
from cvms.http.framework.response import Response
from cvms.http.server import http_connection
from cvms.nursery.ledger.vault_fetch import fetch_vaults
from cvms.nursery.ledger.vault_rows import vault_row
from cvms.store.redis.rate_limiter import Rate
from tests.harness.localnet import Localnet
from tests.harness.service import Service, running
from tests.http.server.raw_requests import HEALTH, answers, ask, connected
from tests.http.wallets import USDT, with_vault
from tests.store.examples import store_vault

SECRET = b"s" * 32
# Te changes nothing in an answer, but is not ordinary.
LONG_WAY = b"TE: trailers\r\n"

# What differs between the answers to equal requests.
CHANGES = re.compile(
    rb"(?<=x-request-id: )[0-9a-f]+|(?<=urn:cvms:request:)[0-9a-f]+|(?<=request id )[0-9a-f]+"
    rb"|(?<=\ndate: )[^\r]+|(?<=remaining: )\d+|(?<=reset: )\d+|(?<=\"nonce\":\")[0-9a-f]+"
    rb"|\d{4}-\d\d-\d\dT[\d:.]+|(?<=slot\":)\d+|(?<=slots_ago\":)\d+|(?<=seconds\":)\d+"
)


@dataclass
class Counted:
    """The front end, a vault's owner, and how many requests went through Quart."""

    service: Service
    owner: str
    by_quart: int = 0


@pytest.fixture
async def counted(
    database_url: str, localnet: Localnet, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Counted]:
    many = Rate(100_000, 60.0)
    async with running(
        database_url,
        **localnet.settings,
        admin_jwt_secret=SECRET,
        data_encryption_keys=(Fernet.generate_key(),),
        cors_origins=("https://exchange.example",),
        rates=Rates(address=many, sensitive=many, owner=many, everybody=many),
    ) as service:
        wallet = await with_vault(service, amount=10 * USDT)
        await store(service, wallet.pubkey())
        found = Counted(service, str(wallet.pubkey()))
        through_quart = service.app.handle_request

        async def handle_request(request: QuartRequest) -> object:
            found.by_quart += 1
            return await through_quart(request)

        monkeypatch.setattr(service.app, "handle_request", handle_request)
        yield found


async def store(service: Service, owner: Pubkey) -> None:
    """Write down an owner's vault, as the indexer does."""
    programs = service.config.programs
    address = vault_address(programs, owner)
    [read] = await fetch_vaults(service.rpc, programs, {address: ""}, at_least=Slot(0))
    assert read.vault is not None
    async with service.database.connection() as conn:
        await store_vault(conn, vault_row(address, read.vault, read.slot))


@dataclass(frozen=True)
class Kind:
    """What a request has besides its method and path."""

    query: str = ""
    headers: str = ""
    body: str = ""


READS_OF_READS = {
    "GET /api/admin/audit",
    "GET /api/admin/audit/export",
    "GET /api/admin/logs",
    "POST /api/admin/audit/verify",
}
"""Routes whose answer shows that they were asked before."""
JSON = "Content-Type: application/json\r\n"
KINDS = {
    "bare": Kind(),
    "one parameter": Kind("?limit=2"),
    "a parameter twice": Kind("?limit=2&limit=3"),
    "an odd parameter": Kind("?a=%C3%28&b=+"),
    "an owner": Kind(headers=JSON, body='{"owner":"OWNER"}'),
    "no JSON": Kind(headers=JSON.replace("\r", "; charset=utf-8\r"), body="{"),
    "JSON as text": Kind(headers="Content-Type: text/plain\r\n", body="{}"),
    "an administrator": Kind(headers=JSON + "Authorization: Bearer TOKEN\r\n", body='{"x":1}'),
    "a slot": Kind(headers="X-Min-Slot: 0\r\n"),
    "a slot of the future": Kind(headers="x-min-slot: 9223372036854775807\r\n"),
    "two slots": Kind(headers="X-Min-Slot: 1\r\nX-Min-Slot: 1\r\n"),
    "validators": Kind(headers='If-None-Match: "x", W/"y"\r\nAccept-Encoding: gzip\r\n'),
}


def requests(app: Edge, owner: str) -> Iterator[tuple[str, bytes, bytes]]:
    """Yield the requests to each route: a name, the head without its last line, the body."""
    bearer = mint(SECRET, subject="reader", role=Role.ADMIN, seconds=3600)
    values = {"owner": owner, "program": "collateral_vault", "name": "start.js"}
    for route in app.routes.views:
        for kind, parts in KINDS.items():
            if route == "GET /metrics" or (kind == "an administrator" and route in READS_OF_READS):
                continue
            for key in {owner, str(Pubkey([7] * 32))}:
                values["owner"] = key
                target = re.sub(
                    r"<(?:.*:)?(\w+)>", lambda match: values.get(match[1], "12345678"), route
                )
                body = parts.body.replace("OWNER", key)
                length = f"Content-Length: {len(body)}\r\n" if body else ""
                head = (
                    f"{target}{parts.query} HTTP/1.1\r\nHost: x:80\r\n"
                    f"Origin: https://exchange.example\r\n{parts.headers}{length}"
                )
                yield f"{route}, {kind}", head.replace("TOKEN", bearer).encode(), body.encode()


async def exchange(stream: trio.SocketStream, request: bytes) -> bytes:
    """Send a request, and return the whole response."""
    received = await ask(stream, request)
    head, _, body = received.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" in head.lower():
        while not received.endswith(b"\r\n0\r\n\r\n"):
            received += bytes(await stream.receive_some())
        return received
    length = re.search(rb"content-length: (\d+)", head)
    assert length is not None
    missing = int(length[1]) - len(body)
    while missing > 0:
        data = bytes(await stream.receive_some())
        received += data
        missing -= len(data)
    return received


def same(short: bytes, long: bytes) -> bool:
    """Return whether two answers differ in CHANGES only. Large bodies do not differ at all."""
    parts = zip(short.partition(b"\r\n\r\n"), long.partition(b"\r\n\r\n"), strict=True)
    return all(a == b or CHANGES.sub(b"*", a) == CHANGES.sub(b"*", b) for a, b in parts)


@pytest.mark.slow(seconds=25)
async def test_every_route_answers_both_ways_with_the_same_bytes(counted: Counted) -> None:
    app, seen, statuses = counted.service.app, 0, set()
    for name, head, body in requests(app, counted.owner):
        async with connected(counted.service) as stream:
            counted.by_quart = 0
            short = await exchange(stream, head + b"\r\n" + body)
            assert counted.by_quart == 0, name
            long = await exchange(stream, head + LONG_WAY + b"\r\n" + body)
            assert counted.by_quart == 1, name
            assert same(short, long), name
            statuses.add(short[9:12])
            seen += 1
    assert seen > 9 * len(app.routes.views)
    assert {b"200", b"400", b"401", b"404", b"415"} <= statuses


async def test_a_known_validator_is_a_304_both_ways(counted: Counted) -> None:
    head = b"GET /api/vault/balance/%s HTTP/1.1\r\nHost: x\r\n" % counted.owner.encode()
    async with connected(counted.service) as stream:
        first = await ask(stream, head + b"\r\n")
        etag = re.search(rb"etag: ([^\r]+)", first)
        assert etag is not None
        again = head + b"If-None-Match: %s\r\n" % etag[1]
        short = await ask(stream, again + b"\r\n")
        long = await ask(stream, again + LONG_WAY + b"\r\n")
    assert short.startswith(b"HTTP/1.1 304 ")
    assert b"content-length" not in short  # of the 200, which a 304 would have to repeat
    assert same(short, long)


@pytest.mark.parametrize("error", [ValueError("a fault"), DatabaseUnavailable("away")])
async def test_an_error_is_the_same_problem_both_ways(service: Service, error: Exception) -> None:
    async def failing(request: Request, variables: object) -> Response:
        raise error

    service.app.add("GET", "/raise", failing)
    async with connected(service) as stream:
        short = await ask(stream, b"GET /raise HTTP/1.1\r\nHost: x\r\n\r\n")
        long = await ask(stream, b"GET /raise HTTP/1.1\r\nHost: x\r\n" + LONG_WAY + b"\r\n")
    assert short[9:10] == b"5"
    assert same(short, long)


async def test_requests_in_one_segment_are_answered_in_order_whichever_way(
    service: Service,
) -> None:
    paths = [b"/health", b"/openapi.json", b"/nowhere", b"/api/vault/tvl", b"/health"]
    odd = b"GET /api/vaults HTTP/1.1\r\nHost: x\r\n" + LONG_WAY + b"\r\n"
    plain = [b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path for path in paths]
    last = b"GET /ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    async with connected(service) as stream:
        received = await answers(stream, b"".join([*plain, odd, *plain, last]))
    statuses = re.findall(rb"HTTP/1\.1 (\d+)", received)
    of_plain = [b"200", b"200", b"404", b"200", b"200"]
    assert statuses == [*of_plain, b"200", *of_plain, b"503"]


async def test_a_request_in_pieces_is_answered(service: Service) -> None:
    async with connected(service) as stream:
        for piece in (HEALTH[:20], HEALTH[20:]):
            await stream.send_all(piece)
            await trio.testing.wait_all_tasks_blocked(0.01)
        assert (await ask(stream, b"")).startswith(b"HTTP/1.1 200 ")
        assert (await ask(stream)).startswith(b"HTTP/1.1 200 ")


async def test_a_body_in_a_segment_of_its_own_takes_the_short_way(counted: Counted) -> None:
    body = b'{"owner":"%s"}' % counted.owner.encode()
    head = b"POST /api/auth/nonce HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    head += b"Content-Length: %d\r\n\r\n" % len(body)
    async with connected(counted.service) as stream:
        for pieces, by_quart in ((2, 0), (3, 1)):
            counted.by_quart = 0
            await stream.send_all(head)
            size = -(-len(body) // (pieces - 1))
            for start in range(0, len(body), size):
                await trio.testing.wait_all_tasks_blocked(0.01)
                await stream.send_all(body[start : start + size])
            assert (await ask(stream, b"")).startswith(b"HTTP/1.1 200 ")
            assert counted.by_quart == by_quart


async def test_a_body_that_never_comes_is_a_408(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_connection, "RECEIVE_SECONDS", 0.05)
    head = b"POST /api/auth/nonce HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n"
    async with connected(service) as stream:
        assert (await answers(stream, head)).startswith(b"HTTP/1.1 408 ")
    async with connected(service) as stream:
        await stream.send_all(head)
        await stream.send_eof()
        with trio.fail_after(10):
            assert bytes(await stream.receive_some()).startswith(b"HTTP/1.1 400 ")


async def test_many_requests_of_one_client_do_not_keep_others_waiting(service: Service) -> None:
    """Between two requests of a segment, the others have their turn."""
    many, order = 400, list[str]()

    async def noting(request: Request, variables: Mapping[str, str]) -> Response:
        order.append(variables["name"])
        return Response(b"", 204)

    service.app.add("GET", "/note/<name>", noting)
    async with connected(service) as greedy, connected(service) as other:
        await ask(other)
        await greedy.send_all(b"GET /note/greedy HTTP/1.1\r\nHost: x\r\n\r\n" * many)
        await other.send_all(b"GET /note/other HTTP/1.1\r\nHost: x\r\n\r\n")
        with trio.fail_after(10):
            received = b""
            while received.count(b"HTTP/1.1 204 ") < many:
                received += bytes(await greedy.receive_some())
    assert order.index("other") < many // 2


async def test_a_shutdown_during_an_answer_ends_the_connection_after_it(service: Service) -> None:
    asked, going_on = trio.Event(), trio.Event()

    async def slow(request: Request, variables: object) -> Response:
        asked.set()
        await going_on.wait()
        return Response(b"done", 200, {"Content-Type": "text/plain"})

    service.app.add("GET", "/slow", slow)
    async with connected(service) as stream, trio.open_nursery() as nursery:

        async def shut_down() -> None:
            await asked.wait()
            service.shutdown.set()
            await trio.testing.wait_all_tasks_blocked(0.01)
            going_on.set()

        nursery.start_soon(shut_down)
        received = await answers(stream, b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
    assert received.endswith(b"done")
    assert b"connection: close\r\n" in received

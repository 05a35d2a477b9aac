"""nginx with our configuration: TLS, WebSockets, bounds, addresses, and rolling restarts."""

from __future__ import annotations

import re
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import trio
import trio_websocket
from solders.keypair import Keypair

from cvms.config.connection_settings import ListenSettings
from cvms.http.framework.edge import MAX_BODY
from tests.deploy.nginx import CONFIGURATION, Site, configured, proxy
from tests.harness.free_ports import free_port
from tests.harness.localnet import Localnet
from tests.harness.processes import HANG_SECONDS, Server, ServerForker, serving, until_ready

LEAST_ANSWERS = 40
REQUESTS = 30
"""Of one address within a minute, before the service refuses more."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """Two replicas behind nginx."""

    site: Site
    replicas: tuple[Server, ...]


@asynccontextmanager
async def deployed(
    folder: Path, database_url: str, localnet: Localnet, forker: ServerForker, **settings: str
) -> AsyncIterator[Deployment]:
    key = folder / "operator.json"
    key.write_text(localnet.operator.to_json())
    key.chmod(0o600)
    common = {
        "DATABASE_URL": database_url,
        "DEPLOYER_KEYPAIR_PATH": str(key),
        "SOLANA_RPC_URL": localnet.rpc_url,
        "SOLANA_WS_URL": localnet.ws_url,
        "TRUSTED_PROXIES": "127.0.0.1",
        "RATE_LIMIT_ADDRESS": "off",
        "RATE_LIMIT_SENSITIVE": "off",
    }
    async with AsyncExitStack() as stack:
        servers = []
        for number in range(2):
            (home := folder / str(number)).mkdir()
            environ = common | {"PORT": str(free_port())} | settings
            servers.append(await stack.enter_async_context(serving(Server(forker, home, environ))))
        for server in servers:
            await until_ready(server.url, server)
        ports = [int(server.environ["PORT"]) for server in servers]
        (at := folder / "nginx").mkdir()
        yield Deployment(await stack.enter_async_context(proxy(at, ports)), tuple(servers))


def test_the_configuration_is_accepted_without_a_warning(tmp_path: Path) -> None:
    with configured(tmp_path, [1, 2]) as (command, _):
        checked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
        assert checked.returncode == 0, checked.stderr
        assert "[warn]" not in checked.stderr
        path = tmp_path / "nginx.conf"
        path.write_text(path.read_text().replace("keepalive 64", "keepaliv 64"))
        broken = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
        assert 'unknown directive "keepaliv"' in broken.stderr


def test_the_bounds_of_the_proxy_are_those_of_the_service() -> None:
    text = CONFIGURATION.read_text()
    assert re.findall(r"client_max_body_size (\w+);", text) == [f"{MAX_BODY // 1024}k"]
    [replicas] = re.findall(r"upstream replicas \{(.*?)\n    \}", text, re.DOTALL)
    [seconds] = re.findall(r"keepalive_timeout (\d+)s;", replicas)
    assert int(seconds) < ListenSettings().keep_alive


@pytest.mark.slow(seconds=20)
async def test_two_replicas_are_one_site(
    tmp_path: Path, database_url: str, localnet: Localnet, forker: ServerForker
) -> None:
    async with (
        deployed(tmp_path, database_url, localnet, forker) as deployment,
        deployment.site.client() as http,
    ):
        site = deployment.site
        answered = await http.get("/api/vault/tvl")
        assert (answered.status_code, answered.http_version) == (200, "HTTP/1.1")
        assert answered.headers["Strict-Transport-Security"] == "max-age=63072000"
        for hidden in ("/metrics", "/ready", "/ready/traffic"):
            refused = await http.get(hidden)
            assert refused.status_code == 404
            assert "x-request-id" not in refused.headers  # no replica was asked
        assert (await http.get("/health")).json() == {"status": "ok"}

        async with httpx.AsyncClient() as plain:
            moved = await plain.get(f"http://localhost:{site.plain_port}/api/vaults?limit=3")
        assert moved.status_code == 308
        assert moved.headers["Location"] == "https://localhost/api/vaults?limit=3"

        await check_bodies(http)
        await check_protocols(site)
        async with trio_websocket.open_websocket_url(
            site.url.replace("https", "wss") + "/ws", ssl_context=site.trusting
        ) as socket:
            with trio.fail_after(HANG_SECONDS):
                assert "connected" in await socket.get_message()

        await check_rolling_restart(deployment)


async def check_bodies(http: httpx.AsyncClient) -> None:
    """Send the longest body, which the service reads, and one that is a byte longer."""
    for length, replied_by_service in ((MAX_BODY, True), (MAX_BODY + 1, False)):
        headers = {"Content-Type": "application/json"}
        reply = await http.post("/api/auth/nonce", content=b" " * length, headers=headers)
        assert (reply.status_code == 413) is not replied_by_service
        assert ("x-request-id" in reply.headers) is replied_by_service


async def check_protocols(site: Site) -> None:
    """Open connections of each version of TLS, and one that asks for HTTP/2."""
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        site.trusting.minimum_version = site.trusting.maximum_version = version
        stream = await trio.open_ssl_over_tcp_stream(
            "127.0.0.1", site.port, ssl_context=site.trusting
        )
        await stream.do_handshake()
        await stream.aclose()
    site.trusting.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    site.trusting.maximum_version = ssl.TLSVersion.MAXIMUM_SUPPORTED
    asking = ssl.create_default_context()
    asking.check_hostname, asking.verify_mode = False, ssl.CERT_NONE
    asking.set_alpn_protocols(["h2", "http/1.1"])
    stream = await trio.open_ssl_over_tcp_stream("127.0.0.1", site.port, ssl_context=asking)
    await stream.do_handshake()
    assert stream.selected_alpn_protocol() == "h2"
    await trio.aclose_forcefully(stream)


async def check_rolling_restart(deployment: Deployment) -> None:
    """Replace both replicas one after the other under load, and lose no request."""
    answers: list[int] = []
    stop = trio.Event()

    async def ask(http: httpx.AsyncClient) -> None:
        owner = {"owner": str(Keypair().pubkey())}
        while not stop.is_set() or len(answers) < LEAST_ANSWERS:
            answers.append((await http.get("/api/vault/tvl")).status_code)
            answers.append((await http.post("/api/auth/nonce", json=owner)).status_code)

    async with deployment.site.client() as http, trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(ask, http)
        for server in deployment.replicas:
            assert await server.stop(within=10) == 0
            await server.start()
            await until_ready(server.url, server)
        stop.set()
    assert set(answers) == {200}


@pytest.mark.slow(seconds=15)
async def test_a_client_is_limited_by_its_own_address_whatever_it_says(
    tmp_path: Path, database_url: str, localnet: Localnet, forker: ServerForker
) -> None:
    limit = {"RATE_LIMIT_ADDRESS": f"{REQUESTS}/3600"}
    async with (
        deployed(tmp_path, database_url, localnet, forker, **limit) as deployment,
        deployment.site.client("127.0.0.2") as greedy,
        deployment.site.client("127.0.0.3") as other,
    ):
        statuses = []
        for number in range(2 * REQUESTS + 2):
            lies = {
                "X-Forwarded-For": f"10.0.0.{number}",
                "Forwarded": f"for=10.0.1.{number}",
            }
            statuses.append((await greedy.get("/api/vault/tvl", headers=lies)).status_code)
        assert statuses[-1] == 429
        assert set(statuses[:REQUESTS]) == {200}
        assert (await other.get("/api/vault/tvl")).status_code == 200

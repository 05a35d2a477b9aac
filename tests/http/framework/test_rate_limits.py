"""Rate limits, the identification of clients by address, and CORS."""

from __future__ import annotations

from ipaddress import ip_network

from solders.keypair import Keypair

from cvms.config.settings import Rates
from cvms.http.websocket.client_session import WebSocketLimits
from cvms.store.redis.rate_limiter import Rate
from tests.harness.localnet import Localnet
from tests.harness.service import frame, handshake, running
from tests.http.wallets import funded, signed, with_vault
from tests.redis_server import RedisServer
from tests.websockets import opened

PROXIES = [ip_network("10.0.0.0/8"), ip_network("fd00::/8")]


async def test_a_client_beyond_its_limit_is_told_when_to_try_again(database_url: str) -> None:
    async with running(database_url, rates=Rates(address=Rate(3, 3600))) as service:
        replies = [await service.get("/api/vault/tvl") for _ in range(4)]
        assert [reply.status_code for reply in replies] == [200, 200, 200, 429]
        assert [reply.headers["RateLimit-Remaining"] for reply in replies] == ["2", "1", "0", "0"]
        refused = replies[-1]
        assert refused.json()["code"] == "rate_limited"
        assert 1190 <= int(refused.headers["Retry-After"]) <= 1200
        assert refused.headers["RateLimit-Limit"] == "3"
        for probe in ("/health", "/metrics"):
            reply = await service.get(probe)
            assert reply.status_code == 200
            assert "RateLimit-Limit" not in reply.headers
        assert 'cvms_requests_limited_total{scope="address"} 1.0' in reply.text


async def test_an_unknown_path_counts_too(database_url: str) -> None:
    async with running(database_url, rates=Rates(address=Rate(1, 3600))) as service:
        assert (await service.get("/nothing")).status_code == 404
        assert (await service.get("/nothing")).status_code == 429


async def test_sensitive_routes_have_lower_limits(database_url: str) -> None:
    async with running(database_url, rates=Rates(sensitive=Rate(1, 3600))) as service:
        body = {"owner": str(Keypair().pubkey())}
        assert (await service.post("/api/auth/nonce", body)).status_code == 200
        assert (await service.post("/api/auth/nonce", body)).status_code == 429
        assert (await service.get("/api/vault/tvl")).status_code == 200


async def test_only_the_owners_signature_uses_its_allowance(
    database_url: str, localnet: Localnet
) -> None:
    async with running(
        database_url,
        **localnet.settings,
        rates=Rates(owner=Rate(1, 3600)),
    ) as service:
        wallet = await funded(service)
        route = "/api/vault/deposit"
        forged = await signed(service, wallet, "deposit", ("amount", 1), signer=Keypair())
        for _ in range(3):
            assert (await service.post(route, forged)).status_code == 401
        own = await signed(service, wallet, "deposit", ("amount", 1))
        assert (await service.post(route, own)).status_code != 429
        assert (await service.post(route, own)).status_code == 429


async def test_resending_a_used_request_does_not_use_its_owners_allowance(
    database_url: str, localnet: Localnet
) -> None:
    async with running(
        database_url,
        **localnet.settings,
        rates=Rates(owner=Rate(4, 3600)),
    ) as service:
        wallet = await with_vault(service)
        route = "/api/vault/deposit"
        spent = await signed(service, wallet, "deposit", ("amount", 1))
        assert (await service.post(route, spent)).status_code == 200
        for _ in range(5):
            assert (await service.post(route, spent)).json()["code"] == "nonce_used"
        own = await signed(service, wallet, "deposit", ("amount", 1))
        assert (await service.post(route, own)).status_code == 200


async def test_two_replicas_share_their_limits(
    database_url: str, redis_server: RedisServer
) -> None:
    rates = Rates(everybody=Rate(2, 3600))
    async with (
        running(database_url, redis_url=redis_server.url, rates=rates) as one,
        running(database_url, redis_url=redis_server.url, rates=rates) as other,
    ):
        codes = [(await each.get("/api/vault/tvl")).status_code for each in (one, other, one)]
        assert codes == [200, 200, 429]


async def test_behind_a_trusted_proxy_each_client_has_its_own_limit(database_url: str) -> None:
    rates = Rates(address=Rate(1, 3600))
    local = (ip_network("127.0.0.0/8"),)
    async with running(database_url, rates=rates, trusted_proxies=local) as service:

        async def ask(client: str) -> int:
            url, headers = f"{service.url}/api/vault/tvl", {"X-Forwarded-For": client}
            return (await service.http.get(url, headers=headers)).status_code

        assert [await ask("1.1.1.1"), await ask("2.2.2.2"), await ask("1.1.1.1")] == [200, 200, 429]


async def test_behind_a_trusted_proxy_each_client_has_its_own_limit_of_websockets(
    database_url: str,
) -> None:
    local = (ip_network("127.0.0.0/8"),)
    limits = WebSocketLimits(connections_per_ip=1)
    async with running(database_url, limits=limits, trusted_proxies=local) as service:
        url = service.url.replace("http", "ws") + "/ws"
        forwarded = {"X-Forwarded-For": "1.1.1.1"}
        async with opened(url, forwarded):
            assert (await handshake(service, "/ws", forwarded)).status_code == 429
            async with opened(url, {"X-Forwarded-For": "2.2.2.2"}) as other:
                assert (await frame(other))["type"] == "connected"


async def test_a_handshake_counts_as_a_request(database_url: str) -> None:
    async with running(database_url, rates=Rates(address=Rate(1, 3600))) as service:
        assert (await service.get("/api/vault/tvl")).status_code == 200
        assert (await handshake(service, "/ws")).status_code == 429

"""With Redis, the balance route answers from the cache and says so."""

from __future__ import annotations

from solders.keypair import Keypair

from tests.harness.service import running
from tests.redis_server import RedisServer
from tests.store.examples import store_vault, vault_row


async def test_the_second_reply_is_cached_and_otherwise_equal(
    database_url: str, redis_server: RedisServer
) -> None:
    owner = str(Keypair().pubkey())
    async with running(database_url, redis_url=redis_server.url) as service:
        async with service.database.connection() as conn:
            await store_vault(conn, vault_row(owner=owner))
        first = (await service.get(f"/api/vault/balance/{owner}")).json()
        second = (await service.get(f"/api/vault/balance/{owner}")).json()
        assert first["cached"] is False
        assert second == first | {"cached": True}

        redis_server.kill()
        third = await service.get(f"/api/vault/balance/{owner}")
        assert (third.status_code, third.json()) == (200, first)

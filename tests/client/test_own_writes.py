"""A client never reads what is older than its own writes, wherever it is read."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
import trio
from solders.keypair import Keypair

from cvms.client import Client, Event, Problem, ServiceUnavailable, Topic, Wallet, open_client
from cvms.config.connection_settings import ReplicaSettings
from tests.harness.localnet import Localnet
from tests.harness.postgres_pair import Pair, execute, postgres_pair
from tests.harness.service import Served, Service, whole_service
from tests.http.wallets import USDT, funded


@pytest.fixture
def pair() -> Iterator[Pair]:
    with postgres_pair() as pair:
        yield pair


async def test_a_replica_that_stands_still_hides_nothing_that_the_client_has_seen(
    pair: Pair, localnet: Localnet
) -> None:
    """It is as little behind as it may be all the time: only the slots tell that it is."""
    settings = localnet.settings | {
        "replicas": ReplicaSettings(urls=(pair.standby.uri(),), max_lag=3600.0),
        "reply_cache_bytes": 0,  # so that balances come from the replica, too
    }
    async with whole_service(pair.primary.uri(), **settings) as system:
        keypair = await funded(system)
        with trio.fail_after(60):
            async with (
                open_client(system.url, wallet=Wallet(keypair)) as client,
                open_client(system.url) as stranger,
                stranger.stream(Topic("deposit_event")) as events,
            ):
                await client.finish(await client.open_vault())
                await client.finish(await client.deposit(100 * USDT))
                await until_used(system)
                await until_replicated(stranger, client.address, 100 * USDT)

                execute(pair.standby.uri(), "SELECT pg_wal_replay_pause()")
                with psycopg.connect(pair.standby.uri(), autocommit=True) as standby:
                    while standby.execute(PAUSED).fetchone() != (True,):
                        pass
                for total in (150, 200):
                    await client.finish(await client.deposit(50 * USDT))
                    assert (await client.balance()).balance == total * USDT
                    assert len(await client.movements()) == total // 50 - 1
                    assert (await client.vault()).total_deposited == total * USDT
                    assert (await client.tvl()).total == total * USDT

                async for message in events:
                    if isinstance(message, Event) and message.data["amount"] == 50 * USDT:
                        break
                seen = (await stranger.balance(client.address)).balance
                assert seen >= 150 * USDT
                async with open_client(system.url) as another:
                    assert (await another.balance(client.address)).balance == 100 * USDT
                    execute(pair.standby.uri(), "SELECT pg_wal_replay_resume()")
                    await until_replicated(another, client.address, 200 * USDT)


USED = 'cvms_read_replica_up{replica="1"} 1.0'
PAUSED = "SELECT pg_get_wal_replay_pause_state() = 'paused'"


async def until_used(system: Served) -> None:
    """Wait until reads may go to the replica."""
    while USED not in (await system.get("/metrics")).text:  # noqa: ASYNC110 - there is no event
        await trio.sleep(0.05)


async def until_replicated(client: Client, owner: str, total: int) -> None:
    while (await client.balance(owner)).balance != total:  # noqa: ASYNC110 - there is no event
        await trio.sleep(0.05)


async def test_a_slot_that_is_never_indexed_is_a_problem_in_the_end(service: Service) -> None:
    async with open_client(service.url, patience=1.0) as client:
        client._transport.note_slot(7)
        with pytest.raises(ServiceUnavailable) as refused:
            await client.tvl()
        assert isinstance(refused.value.__cause__, Problem)
        assert refused.value.__cause__.code == "slot_not_indexed"
    async with open_client(service.url, wallet=Wallet(Keypair())) as client:
        with pytest.raises(Problem, match="vault_not_found"):
            await client.balance(slot=7)

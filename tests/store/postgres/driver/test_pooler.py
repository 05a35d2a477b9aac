"""A pooler that shares backends among sessions is refused; one that does not is transparent."""

from __future__ import annotations

from contextlib import ExitStack, closing

import psycopg
import pytest
import trio

from cvms.errors import ConfigurationError
from cvms.nursery.run import serve
from cvms.store.postgres.database import open_database
from cvms.store.postgres.listen import listen
from tests.harness.bouncer import bouncer
from tests.harness.localnet import Localnet
from tests.harness.resources import config_for_tests
from tests.harness.service import whole_service
from tests.http.wallets import USDT, deposit, funded, initialize, land
from tests.store.own_server import OwnServer, execute


def use_at_once(uri: str, backends: int) -> None:
    """Leave so many backends idle at the pooler."""
    with ExitStack() as stack:
        clients = [
            stack.enter_context(closing(psycopg.connect(uri, autocommit=True)))
            for _ in range(backends)
        ]
        for client in clients:
            client.pgconn.send_query(b"SELECT pg_sleep(0.05)")
        for client in clients:
            while client.pgconn.get_result():
                pass


@pytest.mark.parametrize("mode", ["transaction", "statement"])
@pytest.mark.parametrize("round_robin", [False, True])
async def test_a_pooler_that_shares_backends_is_refused(
    own_server: OwnServer, mode: str, round_robin: bool
) -> None:
    with bouncer(own_server.uri(), mode, round_robin=round_robin) as uri:
        async with open_database(uri) as database:
            for backends in (0, 3):
                use_at_once(uri, backends)
                with pytest.raises(ConfigurationError, match="pool_mode = session"):
                    await database.prepare()
        with pytest.raises(ConfigurationError, match="DATABASE_URL"), trio.fail_after(30):
            await serve(config_for_tests(uri))


async def test_the_service_works_behind_a_pooler_in_session_mode(
    own_server: OwnServer, localnet: Localnet
) -> None:
    execute(own_server.uri(), "DROP DATABASE IF EXISTS pooled")
    execute(own_server.uri(), "CREATE DATABASE pooled")
    with bouncer(own_server.uri().replace("/postgres?", "/pooled?"), "session") as uri:
        async with whole_service(uri, **localnet.settings) as service:
            wallet = await funded(service)
            await land(service, wallet, await initialize(service, wallet))
            await land(service, wallet, await deposit(service, wallet, USDT))
        async with open_database(uri) as database:
            await database.prepare()
            async with listen(database, "here") as listener, database.connection() as conn:
                await conn.execute("NOTIFY here, 'heard'")
                with trio.fail_after(30):
                    assert (await listener.receive()).payload == "heard"


async def test_sessions_of_the_server_itself_are_not_taken_for_shared(
    own_server: OwnServer,
) -> None:
    async with open_database(own_server.uri()) as database:
        await database.prepare()

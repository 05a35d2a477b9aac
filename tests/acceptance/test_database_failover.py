"""The standby database is promoted under load: nothing is lost, doubled or told twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest
import structlog
import trio

from tests.acceptance import test_replicas as replicas
from tests.acceptance.conftest import System
from tests.harness import deposits
from tests.harness.postgres_pair import Pair, postgres_pair
from tests.harness.processes import until_ready

log = structlog.get_logger(__name__)

pytestmark = pytest.mark.slow(seconds=15)


@pytest.fixture
def pair() -> Iterator[Pair]:
    with postgres_pair() as pair:
        yield pair


@pytest.mark.parametrize("old_primary", ["stopped", "read-only", "silent"])
async def test_a_promoted_standby_takes_over_without_loss(
    system: System, pair: Pair, old_primary: str
) -> None:
    async with (
        AsyncExitStack() as stack,
        system.serve(DATABASE_URL=pair.uri) as server,
        trio.open_nursery() as nursery,
    ):
        await until_ready(server.url, server)
        listener = deposits.Listener()
        traffic = replicas.Traffic([server.url, server.url])
        nursery.start_soon(listener.listen, [server.url])
        await stack.enter_async_context(replicas._owners(system, traffic, nursery))
        await deposits.until(lambda: traffic.payments >= replicas.OWNERS)

        ways = {
            "stopped": pair.primary.stop,
            "read-only": pair.demote_primary,
            "silent": pair.primary.freeze,
        }
        await trio.to_thread.run_sync(ways[old_primary])
        await trio.to_thread.run_sync(pair.standby.promote)
        promoted_at, already = trio.current_time(), traffic.payments
        await deposits.until(lambda: traffic.payments > already)
        log.info("payment_made", seconds_after_promotion=trio.current_time() - promoted_at)
        await until_ready(server.url, server)
        log.info("service_ready", seconds_after_promotion=trio.current_time() - promoted_at)
        await deposits.until(lambda: traffic.payments >= already + 2 * replicas.OWNERS)
        traffic.stopping = True
        await deposits.until(lambda: traffic.paying == 0)

        now = pair.standby.uri()
        await deposits.until(lambda: deposits.count_pending(now) == 0)
        await deposits.until(
            lambda: deposits.deposits_recorded(now) == deposits.deposits_landed(now)
        )
        head = deposits.topic_head(now)
        await deposits.until(lambda: listener.seqs[-1:] == [head])
        nursery.cancel_scope.cancel()
        await deposits.check_books(server.url, traffic.paid, now)
    assert listener.seqs == list(range(1, head + 1))

"""Duration of the indexer's transaction while the same process sends its events to endpoints.

    .venv/bin/python -m bench.tasks.event_webhooks [--rate 500] [--seconds 5] [--json FILE]

A writer adds the history and the outbox messages of 50 events in one transaction, at a fixed rate,
as the indexer does. The senders of 0, 1 and 10 endpoints run beside it, and the broadcaster; the
endpoints are a process of their own. The baseline is the transaction without endpoints.
"""

from __future__ import annotations

import argparse
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import trio
from cryptography.fernet import Fernet

from bench import report
from cvms.dev.postgres import embedded_postgres
from cvms.metrics import Metrics
from cvms.nursery.channels.hub import Hub
from cvms.nursery.channels.reply_cache import ReplyCache
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.channels.wakeups import OutboxWakeup
from cvms.nursery.delivery.broadcaster import Broadcaster
from cvms.nursery.delivery.event_webhooks import EventWebhooks
from cvms.store.messaging import outbox
from cvms.store.messaging.outbox import OutboxMessage
from cvms.store.messaging.outbox_notifier import PostgresOutboxNotifier
from cvms.store.messaging.webhooks import endpoint_secrets, endpoints
from cvms.store.messaging.webhooks.event_messages import TOPICS
from cvms.store.postgres.database import Database, open_database
from cvms.store.security.encryption import SecretBox
from cvms.store.vaults import history
from cvms.store.vaults.history import HistoryRow

ENDPOINTS = (0, 1, 10)
OWNERS = 100
EVENTS = 50
"""Of each transaction."""
BOX = SecretBox([Fernet.generate_key()])
CATCH_UP_SECONDS = 120.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rate", type=float, default=500.0)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--receive", action="store_true", help="be the endpoints")
    report.add_arguments(parser)
    options = parser.parse_args()
    if options.receive:
        trio.run(receive)
        return
    print(f"{options.rate:g} events/s; {report.machine()}")
    command = [sys.executable, "-m", "bench.tasks.event_webhooks", "--receive"]
    with (
        tempfile.TemporaryDirectory(prefix="cvms-bench-") as folder,
        embedded_postgres(Path(folder) / "data") as url,
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as receiver,
    ):
        assert receiver.stdout is not None
        target = receiver.stdout.readline().strip()
        rows, base = list[report.Row](), None
        try:
            for count in ENDPOINTS:
                measured = trio.run(measure, url, target, count, options.rate, options.seconds)
                taken, late = measured
                rows.append(report.row(f"a transaction, {count} endpoints", taken, "ms", base))
                base = base or taken
                if count == 1:
                    rows.append(report.row("until all is sent to one endpoint", late, "s"))
        finally:
            receiver.terminate()
    report.finish(report.Report("tasks.event_webhooks", tuple(rows)), options.json)


async def measure(
    url: str, target: str, count: int, rate: float, seconds: float
) -> tuple[float, float]:
    """Return the median transaction in ms, and the seconds from the last one until all is sent.

    More endpoints than one get less than the rate: nobody waits for them.
    """
    async with open_database(url) as database, trio.open_nursery() as nursery:
        await database.prepare()
        async with database.connection() as conn:
            await conn.execute("DELETE FROM webhook_endpoints")
            for _ in range(count):
                row = await endpoints.add(
                    conn, owner=None, url=target, topics=TOPICS, created_by="bench"
                )
                await endpoint_secrets.add(conn, BOX, row.id, b"s" * 32)
        hub, board, wake = Hub(), StatusBoard(), OutboxWakeup()
        metrics = Metrics()
        broadcaster = Broadcaster(
            database=database,
            hub=hub,
            replies=ReplyCache(max_bytes=0, max_age=1),
            wake=wake,
            notifier=PostgresOutboxNotifier(database),
            board=board,
            metrics=metrics,
        )
        senders = EventWebhooks(
            database=database,
            secret_box=BOX,
            hub=hub,
            private=True,
            context=ssl.create_default_context(),
            board=board,
            metrics=metrics,
        )
        nursery.start_soon(broadcaster.run)
        nursery.start_soon(senders.run)
        taken = []
        begin = trio.current_time()
        for number in range(int(rate * seconds / EVENTS)):
            await trio.sleep_until(begin + number * EVENTS / rate)
            started = time.perf_counter()
            await write(database, number)
            taken.append((time.perf_counter() - started) * 1000)
            wake.wake()
        ended = trio.current_time()
        with trio.fail_after(CATCH_UP_SECONDS):
            while count <= 1 and await behind(database):  # noqa: ASYNC110 - the senders tell nobody
                await trio.sleep(0.05)
        behind_for = trio.current_time() - ended
        nursery.cancel_scope.cancel()
    return statistics.median(taken), behind_for


async def write(database: Database, number: int) -> None:
    """Write what the indexer writes of a batch."""
    lines = [line(number * EVENTS + each) for each in range(EVENTS)]
    messages = [
        OutboxMessage(
            topic=topic,
            owner=each.owner,
            slot=each.slot,
            signature=each.signature,
            commitment="confirmed",
            data={"owner": each.owner, "vault": each.vault, "amount": each.amount},
        )
        for each in lines
        for topic in ("deposit_event", "vault_balance_update")
    ]
    async with database.transaction() as conn:
        await history.add(conn, lines)
        await outbox.append(conn, messages)


def line(number: int) -> HistoryRow:
    owner = f"owner {number % OWNERS}"
    return HistoryRow(
        owner=owner,
        vault=f"vault of {owner}",
        kind="deposit",
        amount=1,
        balance_after=number,
        slot=int(time.time()),
        block_time=None,
        signature=f"{time.time()} {number}",
        instruction_index=0,
        ordinal=0,
        commitment="confirmed",
    )


async def behind(database: Database) -> int:
    """Return how many endpoints have not got everything."""
    async with database.connection() as conn:
        cursor = await conn.execute(
            "SELECT count(*) FROM webhook_endpoints AS e, outbox_head AS h "
            "WHERE e.position < h.position - 1 OR EXISTS ("
            "    SELECT FROM webhook_held_vaults AS v WHERE v.endpoint = e.id)"
        )
        [(count,)] = await cursor.fetchall()
    return int(count)


async def receive() -> None:
    """Accept every message, on a free port, which is printed."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    print(f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}/", flush=True)
    await trio.serve_listeners(accept, listeners)


async def accept(stream: trio.SocketStream) -> None:
    got = b""
    with suppress(trio.BrokenResourceError):
        while chunk := await stream.receive_some():
            got += chunk
            while (end := got.find(b"\r\n\r\n")) >= 0:
                length = int(got[:end].lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                if len(got) < end + 4 + length:
                    break
                got = got[end + 4 + length :]
                await stream.send_all(b"HTTP/1.1 204 No Content\r\n\r\n")


if __name__ == "__main__":
    main()

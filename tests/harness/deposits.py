"""Deposits of several owners into a running service, and what must hold of them in the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import psycopg
import trio
from psycopg.rows import namedtuple_row

from cvms.client import Event, Topic, open_client
from cvms.client.client import Client
from tests.harness.processes import HANG_SECONDS

TOPIC = "deposit_event"


@dataclass
class Listener:
    """The `seq`s that a client of one replica receives; after `moved` it switches to the other."""

    seqs: list[int] = field(default_factory=list)
    moved: trio.Event = field(default_factory=trio.Event)

    async def listen(self, urls: list[str]) -> None:
        for url in urls:
            async with open_client(url) as client, trio.open_nursery() as nursery:
                nursery.start_soon(self._follow, client)
                if url != urls[-1]:
                    await self.moved.wait()
                    nursery.cancel_scope.cancel()

    async def _follow(self, client: Client) -> None:
        since = self.seqs[-1] if self.seqs else 0
        async with client.stream(Topic(TOPIC, since=since)) as stream:
            async for event in stream:
                assert isinstance(event, Event), event
                self.seqs.append(event.seq)


async def check_books(url: str, paid: Mapping[str, int], database_url: str) -> None:
    """Assert that each vault holds its owner's deposits, and that none was made twice."""
    async with open_client(url) as client:
        for owner, least in paid.items():
            balance = await client.balance(owner)
            history = await client.movements(owner, kind="deposit")
            assert len({line.amount for line in history}) == len(history)
            assert balance.balance == sum(line.amount for line in history)
            assert balance.balance >= least
    states = query(database_url, "SELECT DISTINCT state FROM submissions WHERE state <> 'built'")
    assert {row.state for row in states} <= {"finalized", "expired"}, states
    differences = query(database_url, "SELECT * FROM reconciliation_logs")
    assert differences == []


async def until(condition: Callable[[], bool]) -> None:
    with trio.fail_after(HANG_SECONDS):
        while not condition():  # noqa: ASYNC110 - processes have no other way to be asked
            await trio.sleep(0.05)


def query(database_url: str, text: str) -> list[Any]:
    with psycopg.connect(database_url, row_factory=namedtuple_row) as conn:
        return conn.execute(text.encode()).fetchall()


def count_pending(database_url: str) -> int:
    states = "('pending', 'submitted', 'confirmed')"
    [row] = query(database_url, f"SELECT count(*) FROM submissions WHERE state IN {states}")
    return int(row.count)


def deposits_landed(database_url: str) -> int:
    landed = "kind = 'deposit' AND state = 'finalized'"
    [row] = query(database_url, f"SELECT count(*) FROM submissions WHERE {landed}")
    return int(row.count)


def deposits_recorded(database_url: str) -> int:
    [row] = query(database_url, "SELECT count(*) FROM transactions WHERE kind = 'deposit'")
    return int(row.count)


def topic_head(database_url: str) -> int:
    [row] = query(database_url, f"SELECT seq FROM outbox_topics WHERE topic = '{TOPIC}'")
    return int(row.seq)

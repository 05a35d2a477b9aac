"""Mixed load: owners on the chain, clients that write and read, and listeners on WebSockets."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from dataclasses import dataclass, field

import httpx
import trio

from tests.chaos.dependencies import Chaos
from tests.scenario.clients import OPERATIONS, Client, Intent
from tests.scenario.listeners import Listener
from tests.scenario.wallets import MAX_AMOUNT, Wallets

WRITERS = 2
READERS = 2
"""Of each replica."""
ACTION_SECONDS = 0.5
PAUSE_SECONDS = 1.0
REPLY_SECONDS = 8.0
"""After which a client tries again: a stopped replica does not answer."""
LOST_REPLIES = 0.3
"""The share of replies that never reach the client, which has to ask again."""
PATIENCE = 600.0
"""No client gives up: it would not know what became of its request."""
WRITES = OPERATIONS + 3 * tuple(each for each in OPERATIONS if each[1] == "schedule")
"""Many that the operator may sign alone: only those are doubled if asking again is not the same."""
UNAVAILABLE = {429, 502, 503, 504}


class LossyTransport(httpx.AsyncHTTPTransport):
    """Loses replies that the service has sent."""

    def __init__(self, dice: random.Random) -> None:
        super().__init__(limits=httpx.Limits(max_keepalive_connections=0))
        self._dice = dice

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        reply = await super().handle_async_request(request)
        if self._dice.random() < LOST_REPLIES:
            await reply.aclose()
            raise httpx.ReadError("the reply was lost", request=request)
        return reply


@dataclass(slots=True)
class Load:
    """The clients, what they have asked for, and answers that no client should get."""

    chaos: Chaos
    wallets: Wallets
    rng: random.Random
    listeners: list[Listener] = field(default_factory=list)
    writers: list[Client] = field(default_factory=list)
    replies: Counter[int] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    statuses: dict[str, int] = field(default_factory=dict)
    """With which the replicas have ended."""
    ending: trio.Event = field(default_factory=trio.Event)

    @property
    def intents(self) -> list[Intent]:
        return [intent for writer in self.writers for intent in writer.intents]

    async def run(self, http: httpx.AsyncClient) -> None:
        """Run until `ending` is set, and then until each client has its last reply."""
        numbers = itertools.count(MAX_AMOUNT + 1)
        urls = [replica.server.url for replica in self.chaos.replicas]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._act)
            for url in urls:
                for _ in range(READERS):
                    nursery.start_soon(self._read, url, http)
                for _ in range(WRITERS):
                    dice = random.Random(self.rng.random())
                    writer = Client(url, http, dice, numbers, patience=PATIENCE, operations=WRITES)
                    self.writers.append(writer)
                    nursery.start_soon(self._write, writer)

    async def listen(self) -> None:
        """Listen on both replicas until cancelled."""
        self.listeners = [Listener(replica.server.url) for replica in self.chaos.replicas]
        async with trio.open_nursery() as nursery:
            for listener in self.listeners:
                nursery.start_soon(listener.run)

    async def _act(self) -> None:
        while not self.ending.is_set():
            self.wallets.act()
            await trio.sleep(ACTION_SECONDS)

    async def _write(self, client: Client) -> None:
        while not self.ending.is_set():
            await client.request(client.rng.choice(self.wallets.owners))
            await trio.sleep(client.rng.random() * PAUSE_SECONDS)

    async def _read(self, url: str, http: httpx.AsyncClient) -> None:
        owners = [str(each.pubkey()) for each in self.wallets.owners]
        while not self.ending.is_set():
            owner = self.rng.choice(owners)
            path = self.rng.choice(READS).format(owner=owner)
            try:
                reply = await http.get(url + path)
            except httpx.TransportError:
                self.replies[0] += 1
            else:
                self.replies[reply.status_code] += 1
                if reply.status_code >= 500 and reply.status_code not in UNAVAILABLE:
                    self.failures.append(f"{path}: {reply.status_code} {reply.text[:300]}")
            await trio.sleep(self.rng.random() * PAUSE_SECONDS)


READS = (
    "/api/vault/balance/{owner}",
    "/api/vault/transactions/{owner}",
    "/api/vault/tvl",
    "/api/vaults",
    "/api/analytics/overview",
    "/metrics",
)

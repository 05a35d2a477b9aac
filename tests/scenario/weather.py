"""Everything that may go wrong around the service, at random moments and for random times."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import psycopg
import trio
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from cvms.localnet import Running
from cvms.localnet.ledger.chain import LocalnetChain
from cvms.localnet.node.faults import Cut, Fail, Garble, Hang, Slow, TooManyRequests
from cvms.localnet.types import Commitment, Entry

CALM_SECONDS = 0.2
"""The most between one trouble and the next."""
TROUBLE_SECONDS = 0.8
"""The most that one trouble lasts."""
EXPIRED_BLOCKS = 155
"""After so many blocks no transaction of before can land any more."""
HOUR = 3600


@dataclass(slots=True)
class Weather:
    """Troubles of the chain, of its nodes and of the database; `clear` ends all of them."""

    nodes: Sequence[Running]
    database_url: str
    rng: random.Random
    troubles: Sequence[str] = ()
    """Which kinds there are; none named: all."""
    lossy: float = 0.0
    """The share of notifications that is lost all the time, whatever the weather."""
    blackout_seconds: float = 0.0
    """How long no node answers at all, once, halfway through."""
    struck: Counter[str] = field(default_factory=Counter)

    async def run(self, strikes: int) -> None:
        """One trouble after another."""
        self.settle()
        for number in range(strikes):
            if self.blackout_seconds and number == strikes // 2:
                await self._blackout()
            await trio.sleep(self.rng.random() * CALM_SECONDS)
            await self.strike(self.rng.choice(self.troubles or [*TROUBLES, *OFTEN]))

    async def _blackout(self) -> None:
        self.struck["blackout"] += 1
        self.outage(self.nodes[0])
        await trio.sleep(self.blackout_seconds)
        self.settle()

    async def strike(self, name: str) -> None:
        """One trouble, from its beginning to its end."""
        self.struck[name] += 1
        node = self.rng.choice(self.nodes)
        TROUBLES[name](self, node)
        await trio.sleep(self.rng.random() * TROUBLE_SECONDS)
        self.settle()

    def settle(self) -> None:
        """All is as it usually is."""
        self.clear()
        for node in self.nodes:
            node.faults.notifications.drop = self.lossy

    def clear(self) -> None:
        """All is well."""
        for node in self.nodes:
            node.faults.clear()
        if self.struck["no_database"]:
            self._allow_connections(True)

    @property
    def chain(self) -> LocalnetChain:
        return self.nodes[0].chain

    # --- notifications and connections ---------------------------------------------------------

    def notifications(self, _: Running) -> None:
        """Lost, doubled, swapped and late ones."""
        for node in self.nodes:
            faults = node.faults.notifications
            faults.drop, faults.duplicate, faults.swap = 0.3, 0.2, 0.2
            faults.delay = self.rng.choice((0.0, 0.3))

    def cut_pubsub(self, _: Running) -> None:
        for node in self.nodes:
            node.cut_pubsub()

    def no_pubsub(self, _: Running) -> None:
        for node in self.nodes:
            node.faults.refuse_pubsub = True
            node.cut_pubsub()

    # --- calls ---------------------------------------------------------------------------------

    def errors(self, node: Running) -> None:
        """Each call may fail in one of the ways in which calls fail."""
        node.faults.rpc += [
            Fail(probability=0.1),
            Fail(probability=0.1, code=-32603, message="Internal error"),
            TooManyRequests(probability=0.1),
            Cut(probability=0.1),
            Garble(probability=0.1),
            Slow(probability=0.1, seconds=0.2),
        ]

    def hang(self, node: Running) -> None:
        node.faults.rpc.append(Hang())

    def stale(self, node: Running) -> None:
        """A node that is behind, and answers all the same."""
        node.faults.lag = self.rng.randint(1, 6)

    def outage(self, _: Running) -> None:
        for node in self.nodes:
            node.faults.refuse = node.faults.refuse_pubsub = True
            node.cut_pubsub()

    def forgetful(self, node: Running) -> None:
        """It lists transactions that it cannot give."""
        node.faults.history.missing = 0.4

    def cut_logs(self, _: Running) -> None:
        """Long logs end in the middle, on all nodes: what the events were is to be found out."""
        for node in self.nodes:
            node.faults.history.log_bytes = self.rng.choice((300, 600, 1000))

    def pruned(self, node: Running) -> None:
        """It does not know what came before, and so not what `until` names."""
        if self._indexed():
            node.faults.history.first_slot = self.chain.tip.slot - self.rng.randint(0, 20)

    def _indexed(self) -> bool:
        """Whether the service has begun: what is its first history is all there is to it."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            found = connection.execute("SELECT to_regclass('indexer_cursor')").fetchone()
            if found is None or found[0] is None:
                return False
            return connection.execute("SELECT FROM indexer_cursor").fetchone() is not None

    # --- sends ---------------------------------------------------------------------------------

    def sends(self, _: Running) -> None:
        """Dropped, late, or landed without an answer."""
        for node in self.nodes:
            faults = node.faults.sends
            faults.drop, faults.late, faults.lose_answer = 0.3, 0.3, 0.3
            faults.late_blocks = self.rng.randint(1, 4)

    # --- the chain itself ----------------------------------------------------------------------

    def fork(self, _: Running) -> None:
        """The newest blocks are dropped; what was in them lands again, or later, or never."""
        final = self.chain.bank(Commitment.FINALIZED).height
        deepest = self.chain.tip.height - final - 1
        if deepest >= 1:
            self.chain.fork(self.rng.randint(1, deepest), again=self._again)

    def _again(self, dropped: Sequence[Entry]) -> Iterable[Entry]:
        kept = self.rng.choice((0.0, 0.5, 1.0))
        again = [entry for entry in dropped if self.rng.random() < kept]
        if self.rng.random() < 0.5:
            self.rng.shuffle(again)
        return again

    def expiry(self, _: Running) -> None:
        """Every transaction that is on its way is too late."""
        self.chain.advance(EXPIRED_BLOCKS)

    def travel(self, _: Running) -> None:
        """Hours go by at once, and what they bring with them is due."""
        self.chain.move_time(self.chain.time.now() + self.rng.randint(1, 30) * HOUR)

    # --- the database --------------------------------------------------------------------------

    def cut_database(self, _: Running) -> None:
        """Every session ends in the middle of what it does."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    def no_database(self, _: Running) -> None:
        """And nobody gets a new one."""
        self._allow_connections(False)
        with psycopg.connect(self._administration, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                (self._name,),
            )

    def _allow_connections(self, allowed: bool) -> None:
        with psycopg.connect(self._administration, autocommit=True) as connection:
            connection.execute(
                sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(
                    sql.Identifier(self._name), sql.Literal(allowed)
                )
            )

    @property
    def _name(self) -> str:
        return str(conninfo_to_dict(self.database_url)["dbname"])

    @property
    def _administration(self) -> str:
        return make_conninfo(self.database_url, dbname="postgres")


TROUBLES: dict[str, Callable[[Weather, Running], None]] = {
    change.__name__: change
    for change in (
        Weather.notifications,
        Weather.cut_pubsub,
        Weather.no_pubsub,
        Weather.errors,
        Weather.hang,
        Weather.stale,
        Weather.outage,
        Weather.forgetful,
        Weather.cut_logs,
        Weather.pruned,
        Weather.sends,
        Weather.fork,
        Weather.expiry,
        Weather.travel,
        Weather.cut_database,
        Weather.no_database,
    )
}

OFTEN = ("fork", "fork", "sends")
"""What is the hardest to get right is struck more often than the rest."""

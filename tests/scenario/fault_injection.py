"""Fault injection: failures around the service, at random moments and of random length."""

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
from tests.provider_proxy import Provider
from tests.provider_proxy.drawn_faults import DRAWS

MAX_PAUSE_SECONDS = 0.2
"""Between two faults."""
MAX_FAULT_SECONDS = 0.8
"""Of one fault."""
EXPIRED_BLOCKS = 155
"""More blocks than a blockhash is valid for."""
HOUR = 3600


@dataclass(slots=True)
class FaultInjector:
    """Injects faults of the chain, of its nodes and of the database. `clear` ends all of them."""

    nodes: Sequence[Running]
    database_url: str
    rng: random.Random
    kinds: Sequence[str] = ()
    """Names in FAULTS, and with providers in DRAWS. Empty for all of FAULTS."""
    providers: Sequence[Provider] = ()
    longest: float = MAX_FAULT_SECONDS
    drop_rate: float = 0.0
    """Share of notifications that is lost throughout."""
    blackout_seconds: float = 0.0
    """Length of one outage of all nodes, halfway through."""
    injected: Counter[str] = field(default_factory=Counter)

    async def run(self, count: int) -> None:
        """Inject `count` faults, one after another."""
        self.reset()
        for number in range(count):
            if self.blackout_seconds and number == count // 2:
                await self._blackout()
            await trio.sleep(self.rng.random() * MAX_PAUSE_SECONDS)
            await self.inject(self.rng.choice(self.kinds or [*FAULTS, *FREQUENT_FAULTS]))

    async def _blackout(self) -> None:
        self.injected["blackout"] += 1
        self.outage(self.nodes[0])
        await trio.sleep(self.blackout_seconds)
        self.reset()

    async def inject(self, name: str) -> None:
        """Begin a fault, and end it after a random time."""
        self.injected[name] += 1
        if name in DRAWS:
            self.rng.choice(self.providers).add(*DRAWS[name](self.rng))
        else:
            FAULTS[name](self, self.rng.choice(self.nodes))
        await trio.sleep(self.rng.random() * self.longest)
        self.reset()

    def reset(self) -> None:
        """End all faults except the loss of notifications by `drop_rate`."""
        self.clear()
        for node in self.nodes:
            node.faults.notifications.drop = self.drop_rate

    def clear(self) -> None:
        """End all faults."""
        for node in self.nodes:
            node.faults.clear()
        for provider in self.providers:
            provider.clear()
        if self.injected["refuse_database"]:
            self._allow_connections(True)

    @property
    def chain(self) -> LocalnetChain:
        return self.nodes[0].chain

    # --- notifications and connections ---------------------------------------------------------

    def notifications(self, _: Running) -> None:
        """Lose, duplicate, swap and delay notifications."""
        for node in self.nodes:
            faults = node.faults.notifications
            faults.drop, faults.duplicate, faults.swap = 0.3, 0.2, 0.2
            faults.delay = self.rng.choice((0.0, 0.3))

    def cut_pubsub(self, _: Running) -> None:
        for node in self.nodes:
            node.cut_pubsub()

    def refuse_pubsub(self, _: Running) -> None:
        for node in self.nodes:
            node.faults.refuse_pubsub = True
            node.cut_pubsub()

    # --- calls ---------------------------------------------------------------------------------

    def rpc_errors(self, node: Running) -> None:
        """Make calls fail at random, each in one of several ways."""
        node.faults.rpc += [
            Fail(probability=0.1),
            Fail(probability=0.1, code=-32603, message="Internal error"),
            TooManyRequests(probability=0.1),
            Cut(probability=0.1),
            Garble(probability=0.1),
            Slow(probability=0.1, seconds=0.2),
        ]

    def rpc_hang(self, node: Running) -> None:
        node.faults.rpc.append(Hang())

    def lagging_node(self, node: Running) -> None:
        """Make a node lag behind the chain while it still replies."""
        node.faults.lag = self.rng.randint(1, 6)

    def outage(self, _: Running) -> None:
        for node in self.nodes:
            node.faults.refuse = node.faults.refuse_pubsub = True
            node.cut_pubsub()

    def missing_transactions(self, node: Running) -> None:
        """Make a node list transactions that it cannot return."""
        node.faults.history.missing = 0.4

    def truncated_logs(self, _: Running) -> None:
        """Truncate long logs on all nodes, so that events have to be reconstructed."""
        for node in self.nodes:
            node.faults.history.log_bytes = self.rng.choice((300, 600, 1000))

    def pruned_history(self, node: Running) -> None:
        """Make a node forget old blocks, and so the signature that `until` names."""
        if self._indexed():
            node.faults.history.first_slot = self.chain.tip.slot - self.rng.randint(0, 20)

    def _indexed(self) -> bool:
        """Return whether the service has a cursor. Before that, pruning would hide history."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            row = connection.execute("SELECT to_regclass('indexer_cursor')").fetchone()
            if row is None or row[0] is None:
                return False
            return connection.execute("SELECT FROM indexer_cursor").fetchone() is not None

    # --- sends ---------------------------------------------------------------------------------

    def lost_sends(self, _: Running) -> None:
        """Drop transactions, land them late, or lose the replies."""
        for node in self.nodes:
            faults = node.faults.sends
            faults.drop, faults.late, faults.lose_answer = 0.3, 0.3, 0.3
            faults.late_blocks = self.rng.randint(1, 4)

    # --- the chain itself ----------------------------------------------------------------------

    def fork(self, _: Running) -> None:
        """Drop the newest blocks. Their transactions land again at once, later, or never."""
        final = self.chain.bank(Commitment.FINALIZED).height
        deepest = self.chain.tip.height - final - 1
        if deepest >= 1:
            self.chain.fork(self.rng.randint(1, deepest), again=self._landing_again)

    def _landing_again(self, dropped: Sequence[Entry]) -> Iterable[Entry]:
        kept = self.rng.choice((0.0, 0.5, 1.0))
        again = [entry for entry in dropped if self.rng.random() < kept]
        if self.rng.random() < 0.5:
            self.rng.shuffle(again)
        return again

    def expired_blockhashes(self, _: Running) -> None:
        """Let every transaction in flight expire."""
        self.chain.advance(EXPIRED_BLOCKS)

    def clock_jump(self, _: Running) -> None:
        """Move the chain's clock by hours, so that timelocks fall due."""
        self.chain.move_time(self.chain.time.now() + self.rng.randint(1, 30) * HOUR)

    # --- the database --------------------------------------------------------------------------

    def cut_database(self, _: Running) -> None:
        """Terminate every session of the database."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    def refuse_database(self, _: Running) -> None:
        """Terminate every session of the database, and refuse new ones."""
        self._allow_connections(False)
        with psycopg.connect(self._admin_url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                (self._database_name,),
            )

    def _allow_connections(self, allowed: bool) -> None:
        with psycopg.connect(self._admin_url, autocommit=True) as connection:
            connection.execute(
                sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(
                    sql.Identifier(self._database_name), sql.Literal(allowed)
                )
            )

    @property
    def _database_name(self) -> str:
        return str(conninfo_to_dict(self.database_url)["dbname"])

    @property
    def _admin_url(self) -> str:
        return make_conninfo(self.database_url, dbname="postgres")


FAULTS: dict[str, Callable[[FaultInjector, Running], None]] = {
    change.__name__: change
    for change in (
        FaultInjector.notifications,
        FaultInjector.cut_pubsub,
        FaultInjector.refuse_pubsub,
        FaultInjector.rpc_errors,
        FaultInjector.rpc_hang,
        FaultInjector.lagging_node,
        FaultInjector.outage,
        FaultInjector.missing_transactions,
        FaultInjector.truncated_logs,
        FaultInjector.pruned_history,
        FaultInjector.lost_sends,
        FaultInjector.fork,
        FaultInjector.expired_blockhashes,
        FaultInjector.clock_jump,
        FaultInjector.cut_database,
        FaultInjector.refuse_database,
    )
}

FREQUENT_FAULTS = ("fork", "fork", "lost_sends")
"""Injected more often, because they are the hardest to handle."""

"""Scenario runner: owners act while faults and kills happen, then all work ends and is checked."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg
import trio
from solders.keypair import Keypair

from cvms.chain.program import instructions
from tests.harness.processes import COMPONENTS, until_ready
from tests.scenario.checks import Violation, same_list
from tests.scenario.clients import Client, Intent
from tests.scenario.context import ScenarioContext, connect
from tests.scenario.fault_injection import MAX_FAULT_SECONDS, FaultInjector
from tests.scenario.invariants import check_invariants, missing_times_filled
from tests.scenario.listeners import CONFLATED, Listener
from tests.scenario.tables import read_tables
from tests.scenario.truth import Truth, read_truth
from tests.scenario.wallets import MAX_AMOUNT, Wallets

POLL_SECONDS = 0.05
HEALING_POLL_SECONDS = 0.5
SLOTS_A_POLL = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """How much happens. Everything is drawn from `seed`."""

    seed: int
    actions: int = 150
    owners: int = 8
    clients: int = 3
    requests: int = 5
    kills: int = 2
    faults: int = 6
    actions_per_slot: int = 3
    fault_kinds: tuple[str, ...] = ()
    """Names of FAULTS in fault_injection.py, and of providers' DRAWS. Empty for all of FAULTS."""
    longest_fault: float = MAX_FAULT_SECONDS
    drop_rate: float = 0.0
    blackout_seconds: float = 0.0
    max_kill_interval: float = 2.0
    """In seconds."""
    heals: bool = False
    """Nodes may hide what is on the chain, so that books differ and are healed afterwards."""
    idle_timeout: float = 90.0
    """In seconds. Far longer than the remaining work takes, unless the service is stuck."""


@dataclass(slots=True)
class Outcome:
    """Results of a scenario, and the violations that were found."""

    truth: Truth
    intents: list[Intent]
    listeners: list[Listener]
    injected: Counter[str]
    violations: list[Violation] = field(default_factory=list)


async def run_scenario(context: ScenarioContext, scenario: Scenario) -> Outcome:
    """Run a scenario until all work is done, stop the server, and check the results."""
    rng = random.Random(scenario.seed)
    wallets = open_vaults(context, rng, owners=scenario.owners)
    listeners = [Listener(context.server.url) for _ in range(2)]
    injector = FaultInjector(
        context.nodes,
        context.database_url,
        random.Random(rng.random()),
        kinds=scenario.fault_kinds,
        providers=context.providers,
        longest=scenario.longest_fault,
        drop_rate=scenario.drop_rate,
        blackout_seconds=scenario.blackout_seconds,
    )
    numbers = itertools.count(MAX_AMOUNT + 1)
    await context.server.start()
    async with httpx.AsyncClient(timeout=5) as http, trio.open_nursery() as listening:
        for listener in listeners:
            listening.start_soon(listener.run)
        clients = [
            Client(context.server.url, http, random.Random(rng.random()), numbers)
            for _ in range(scenario.clients)
        ]
        async with trio.open_nursery() as acting:
            acting.start_soon(injector.run, scenario.faults)
            acting.start_soon(_act, context, wallets, scenario)
            acting.start_soon(_kill, context, scenario, random.Random(rng.random()))
            for client in clients:
                acting.start_soon(_request, client, wallets, scenario)
        injector.clear()
        if scenario.heals:
            await _wait_until_healed(context, listeners, timeout=scenario.idle_timeout)
        status = await stop_when_idle(context, listeners, timeout=scenario.idle_timeout)
        listening.cancel_scope.cancel()
    intents = [intent for client in clients for intent in client.intents]
    outcome = Outcome(
        read_truth(context.chain, context.programs), intents, listeners, injector.injected
    )
    outcome.violations = list(find_violations(context, outcome))
    if scenario.heals:
        outcome.violations = [each for each in outcome.violations if not _comes_of_healing(each)]
    if status != 0:
        outcome.violations.append(Violation("V8", "process", f"it ended with {status} on SIGTERM"))
    return outcome


def open_vaults(context: ScenarioContext, rng: random.Random, *, owners: int) -> Wallets:
    """Open the vaults of new owners, some of whom let the service withdraw for them."""
    wallets = Wallets(context.chain, context.programs, context.operator, rng)
    for _ in range(owners):
        owner = wallets.add_owner(Keypair.from_seed(rng.randbytes(32)))
        if rng.random() < 0.5:
            key, operator = owner.pubkey(), context.operator.pubkey()
            step = instructions.add_delegate(context.programs, owner=key, delegate=operator)
            wallets.send_or_fail(owner, step)
    wallets.empty_and_reopen(wallets.owners[0])
    # So that no fork undoes the setup.
    context.chain.advance(context.chain.timing.finalized_lag + 1)
    return wallets


async def _act(context: ScenarioContext, wallets: Wallets, scenario: Scenario) -> None:
    """Act a fixed number of times in each slot."""
    for number in range(scenario.actions):
        wallets.act()
        if number % scenario.actions_per_slot == 0:
            await trio.sleep(context.chain.timing.slot_seconds)


async def _request(client: Client, wallets: Wallets, scenario: Scenario) -> None:
    for _ in range(scenario.requests):
        await client.request(client.rng.choice(wallets.owners))


async def _kill(context: ScenarioContext, scenario: Scenario, rng: random.Random) -> None:
    """Kill the server with -9 at random moments, even during its start, and restart it."""
    for _ in range(scenario.kills):
        await trio.sleep(rng.choice((0.1, 0.5, 1.0)) * rng.random() * scenario.max_kill_interval)
        await context.server.kill()
        await context.server.start()


# --- waiting until idle ------------------------------------------------------------------------


async def stop_when_idle(
    context: ScenarioContext, listeners: list[Listener], *, timeout: float
) -> int:
    """Stop the server once all work is done, and return its exit status.

    It may submit the release of a matured timelock after the last look and before it ends. Then it
    is started again to finish.
    """
    while True:
        await wait_until_idle(context, listeners, timeout=timeout)
        status = await context.server.stop(within=20)
        with connect(context.database_url) as connection:
            if status != 0 or not _pending_work(context, connection, listeners):
                return status
        await context.server.start()


async def wait_until_idle(
    context: ScenarioContext, listeners: list[Listener], *, timeout: float
) -> None:
    """Wait until everything is finalized, applied, published and received by the listeners.

    Raises AssertionError with the work that is still pending after `timeout` seconds.
    """
    await until_ready(context.server.url, context.server, components=COMPONENTS)
    context.chain.pause()  # so that nothing more falls due by time alone
    pending = ""
    with connect(context.database_url) as connection, trio.move_on_after(timeout):
        while pending := _pending_work(context, connection, listeners):
            # Extra slots, so that lost transactions expire soon.
            context.chain.advance()
            await trio.sleep(POLL_SECONDS)
    if pending:
        raise AssertionError(f"after {timeout:g} s: {pending}\n{context.server.log()}")


async def _wait_until_healed(
    context: ScenarioContext, listeners: list[Listener], *, timeout: float
) -> None:
    """Wait until the tables equal the chain, for `timeout` seconds at most.

    Block times that no node told stay missing.
    """
    await wait_until_idle(context, listeners, timeout=timeout)
    with trio.move_on_after(timeout):
        while True:
            truth = read_truth(context.chain, context.programs)
            with connect(context.database_url) as connection, connection.transaction():
                tables = missing_times_filled(read_tables(connection), truth)
            violations = check_invariants(truth, tables)
            if all(map(_comes_of_healing, violations)):
                return
            context.chain.advance(SLOTS_A_POLL)
            await trio.sleep(HEALING_POLL_SECONDS)


HEALED = (
    "in another order",  # what was found late was published late
    "retracts another event than the last",  # one that a node told wrongly
    "its previous signature is",  # a node lists the transactions of a slot in another order
)


def _comes_of_healing(violation: Violation) -> bool:
    """Return whether it is a difference that was logged, or remains of one that was healed.

    `applied` ends with the transactions that were listed last.
    """
    logged = violation.table in ("reconciliation_logs", "applied")
    return logged or any(words in violation.message for words in HEALED)


def _pending_work(
    context: ScenarioContext, connection: psycopg.Connection[Any], listeners: list[Listener]
) -> str:
    """Describe some work that is still pending. Return an empty string if there is none."""
    chain, program = context.chain, context.programs.vault
    [newest] = chain.ledger.mentioning(
        program, below=(chain.tip.slot + 1, 0), above=(-1, 0), limit=1
    )
    cursor = connection.execute("SELECT signature FROM indexer_cursor").fetchone()
    if cursor is None or cursor[0] != newest.signature:
        return f"the indexer is at {cursor}, the chain at {newest.signature}"
    for name, query in PENDING_WORK:
        row = connection.execute(query).fetchone()
        if row and row[0]:
            return f"{name}: {row[0]}"
    heads = dict(connection.execute("SELECT topic, seq FROM outbox_topics").fetchall())
    for listener in listeners:
        behind = {topic: seq for topic, seq in heads.items() if listener.seq.get(topic, seq) != seq}
        if behind:
            return (
                f"a listener is at {listener.seq}, the topics at {behind}, after "
                f"{listener.connections} connections; {listener.violations}"
            )
    return ""


PENDING_WORK = (
    (
        "submissions in flight",
        "SELECT count(*) FROM submissions WHERE state IN ('pending', 'submitted', 'confirmed')",
    ),
    ("vaults not rechecked at finality", "SELECT count(*) FROM vaults WHERE slot > settled_slot"),
    ("events not finalized", "SELECT count(*) FROM chain_events WHERE commitment <> 'finalized'"),
    (
        "the total value published last differs by",
        "SELECT (SELECT sum(total) FROM vaults) - (SELECT (data ->> 'total')::BIGINT FROM outbox"
        " WHERE topic = 'tvl_update' ORDER BY position DESC LIMIT 1)",
    ),
)


# --- checks ------------------------------------------------------------------------------------


FRAME_FIELDS = ("seq", "type", "slot", "signature", "data")


def find_violations(context: ScenarioContext, outcome: Outcome) -> Iterator[Violation]:
    with connect(context.database_url) as connection, connection.transaction():
        tables = read_tables(connection)
    untimed = outcome.injected["block_times"] > 0
    times = missing_times_filled(tables, outcome.truth) if untimed else tables
    yield from check_invariants(outcome.truth, times)
    yield from _check_intents(outcome.truth, outcome.intents)
    for listener in outcome.listeners:
        for message in listener.violations:
            yield Violation("V7", "websocket", message)
        for topic, frames in listener.seen.items():
            # Timelock notices may have been published after the listeners had stopped.
            published = [
                row
                for row in tables["outbox"]
                if row["topic"] == topic and row["seq"] <= listener.seq[topic]
            ]
            received = [[frame[name] for name in FRAME_FIELDS] for frame in frames]
            sent = [[row[name] for name in FRAME_FIELDS] for row in published]
            if topic in CONFLATED:
                yield from _check_conflated(topic, received, sent)
            else:
                yield from same_list("V7", "websocket", received, sent[len(sent) - len(received) :])


def _check_conflated(
    topic: str, received: list[list[Any]], sent: list[list[Any]]
) -> Iterator[Violation]:
    """Check that only published frames were received, and each owner's last one for certain."""
    data = FRAME_FIELDS.index("data")
    yield from same_list(
        "V7", "websocket", received, [frame for frame in sent if frame in received]
    )
    last_sent = {frame[data].get("owner"): frame for frame in sent}
    last_received = {frame[data].get("owner"): frame for frame in received}
    for name, frame in last_received.items():
        if frame != last_sent[name]:
            message = f"{topic} of {name} ends with {frame} instead of {last_sent[name]}"
            yield Violation("V7", "websocket", message)


def _check_intents(truth: Truth, intents: list[Intent]) -> Iterator[Violation]:
    """Check that each intent had at most one effect, and the one that the client was told of."""
    effects = Counter((entry.owner, entry.kind, entry.amount) for entry in truth.entries)
    for intent in intents:
        count = effects[intent.owner, intent.kind, intent.amount]
        landed = truth.landed.get(intent.signature or "")
        if count > 1:
            yield Violation("V6", "requests", f"{intent} had {count} effects")
        if landed is not None and landed.err is None and count != 1:
            yield Violation("V6", "requests", f"{intent} landed, and had no effect")
        # Whoever gave up while there was no reply may have been obeyed, once.
        if intent.signature is None and intent.outcome != "abandoned" and count:
            yield Violation(
                "V6", "requests", f"{intent} had an effect that the client was not told of"
            )

"""One scenario: people act, the service is killed, then all comes to rest and is judged."""

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
from tests.scenario.books import read_books
from tests.scenario.checks import Broken, same_list
from tests.scenario.clients import Client, Intent
from tests.scenario.invariants import check_invariants
from tests.scenario.listeners import CONFLATED, Listener
from tests.scenario.people import MOST_AT_ONCE, Crowd
from tests.scenario.scene import TIMING, Scene, connect
from tests.scenario.truth import Truth, read_truth
from tests.scenario.weather import Weather

LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """How much happens, all of it drawn from `seed`."""

    seed: int
    acts: int = 150
    owners: int = 8
    clients: int = 3
    requests: int = 5
    kills: int = 2
    strikes: int = 6
    acts_each_slot: int = 3
    troubles: tuple[str, ...] = ()
    """Kinds of trouble, of those in weather.py; none named: all."""
    lossy: float = 0.0
    blackout_seconds: float = 0.0
    kills_apart: float = 2.0
    """The most seconds between two kills."""
    rest_seconds: float = 90.0
    """Far beyond what coming to rest takes; only a service that is stuck needs as long."""


@dataclass(slots=True)
class Outcome:
    """What a scenario has left, and what is wrong with it."""

    truth: Truth
    intents: list[Intent]
    listeners: list[Listener]
    struck: Counter[str]
    broken: list[Broken] = field(default_factory=list)


async def play(scene: Scene, script: Script) -> Outcome:
    """Play to the end and come to rest; the server has stopped then."""
    rng = random.Random(script.seed)
    crowd = Crowd(scene.chain, scene.programs, scene.operator, rng)
    for _ in range(script.owners):
        owner = crowd.join(Keypair.from_seed(rng.randbytes(32)))
        if rng.random() < 0.5:  # the service may withdraw for them
            key, operator = owner.pubkey(), scene.operator.pubkey()
            step = instructions.add_delegate(scene.programs, owner=key, delegate=operator)
            crowd.must(owner, step)
    crowd.leave_and_return(crowd.owners[0])
    scene.chain.advance(TIMING.finalized_lag + 1)  # no fork takes the scene away
    listeners = [Listener(scene.server.url) for _ in range(2)]
    weather = Weather(scene.nodes, scene.database_url, random.Random(rng.random()), script.troubles)
    numbers = itertools.count(MOST_AT_ONCE + 1)
    await scene.server.start()
    async with httpx.AsyncClient(timeout=5) as http, trio.open_nursery() as listening:
        for listener in listeners:
            listening.start_soon(listener.run)
        clients = [
            Client(scene.server.url, http, random.Random(rng.random()), numbers)
            for _ in range(script.clients)
        ]
        async with trio.open_nursery() as acting:
            acting.start_soon(weather.run, script.strikes)
            acting.start_soon(_act, scene, crowd, script)
            acting.start_soon(_kill, scene, script, random.Random(rng.random()))
            for client in clients:
                acting.start_soon(_ask, client, crowd, script)
        weather.clear()
        await rest(scene, listeners, within=script.rest_seconds)
        listening.cancel_scope.cancel()
    status = await scene.server.stop()
    intents = [intent for client in clients for intent in client.intents]
    outcome = Outcome(read_truth(scene.chain, scene.programs), intents, listeners, weather.struck)
    outcome.broken = list(_judge(scene, outcome))
    if status != 0:
        outcome.broken.append(Broken("V8", "process", f"it ended with {status} on SIGTERM"))
    return outcome


async def _act(scene: Scene, crowd: Crowd, script: Script) -> None:
    """So many acts in each slot: bursts and lulls come from the chain's own beat."""
    for number in range(script.acts):
        crowd.act()
        if number % script.acts_each_slot == 0:
            await trio.sleep(scene.chain.timing.slot_seconds)


async def _ask(client: Client, crowd: Crowd, script: Script) -> None:
    for _ in range(script.requests):
        await client.want(client.rng.choice(crowd.owners))


async def _kill(scene: Scene, script: Script, rng: random.Random) -> None:
    """kill -9 at any moment, in the middle of a start too."""
    for _ in range(script.kills):
        await trio.sleep(rng.choice((0.1, 0.5, 1.0)) * rng.random() * script.kills_apart)
        await scene.server.kill()
        await scene.server.start()


# --- rest --------------------------------------------------------------------------------------


async def rest(scene: Scene, listeners: list[Listener], *, within: float) -> None:
    """Return once everything is final, applied, told and heard. Raises what is still missing."""
    await scene.server.ready()
    scene.chain.pause()  # so that nothing more falls due by time alone
    waiting = ""
    with connect(scene.database_url) as connection, trio.move_on_after(within):
        while waiting := _waits_for(scene, connection, listeners):
            # Slots beyond the beat, so that what was lost on its way expires soon.
            scene.chain.advance()
            await trio.sleep(LOOK_SECONDS)
    if waiting:
        raise AssertionError(f"after {within:g} s: {waiting}\n{scene.server.log()}")


def _waits_for(scene: Scene, connection: psycopg.Connection[Any], listeners: list[Listener]) -> str:
    """What is not at rest yet; nothing when all is."""
    chain, program = scene.chain, scene.programs.vault
    [newest] = chain.ledger.mentioning(
        program, below=(chain.tip.slot + 1, 0), above=(-1, 0), limit=1
    )
    cursor = connection.execute("SELECT signature FROM indexer_cursor").fetchone()
    if cursor is None or cursor[0] != newest.signature:
        return f"the indexer is at {cursor}, the chain at {newest.signature}"
    for says, query in UNRESTED:
        found = connection.execute(query).fetchone()
        if found and found[0]:
            return f"{says}: {found[0]}"
    heads = dict(connection.execute("SELECT topic, seq FROM outbox_topics").fetchall())
    for listener in listeners:
        behind = {topic: seq for topic, seq in heads.items() if listener.seq.get(topic, seq) != seq}
        if behind:
            return f"a listener is at {listener.seq}, the topics at {behind}"
    return ""


UNRESTED = (
    (
        "submissions under way",
        "SELECT count(*) FROM submissions WHERE state IN ('pending', 'submitted', 'confirmed')",
    ),
    ("vaults read before a fork", "SELECT count(*) FROM vaults WHERE slot > settled_slot"),
    ("events not final", "SELECT count(*) FROM chain_events WHERE commitment <> 'finalized'"),
    (
        "the value told last differs by",
        "SELECT (SELECT sum(total) FROM vaults) - (SELECT (data ->> 'total')::BIGINT FROM outbox"
        " WHERE topic = 'tvl_update' ORDER BY position DESC LIMIT 1)",
    ),
)


# --- judgement ---------------------------------------------------------------------------------


FRAME = ("seq", "type", "slot", "signature", "data")


def _judge(scene: Scene, outcome: Outcome) -> Iterator[Broken]:
    with connect(scene.database_url) as connection, connection.transaction():
        books = read_books(connection)
    yield from check_invariants(outcome.truth, books)
    yield from _wishes(outcome.truth, outcome.intents)
    for listener in outcome.listeners:
        for says in listener.broken:
            yield Broken("V7", "websocket", says)
        for topic, frames in listener.seen.items():
            # They heard all there was when it came to rest; what falls due is told later, too.
            told = [
                row
                for row in books["outbox"]
                if row["topic"] == topic and row["seq"] <= listener.seq[topic]
            ]
            heard = [[each[name] for name in FRAME] for each in frames]
            real = [[row[name] for name in FRAME] for row in told]
            if topic in CONFLATED:
                yield from _newest(topic, heard, real)
            else:
                yield from same_list("V7", "websocket", heard, real[len(real) - len(heard) :])


def _newest(topic: str, heard: list[list[Any]], real: list[list[Any]]) -> Iterator[Broken]:
    """Nothing was heard that was not told, and of each owner what was told last."""
    data = FRAME.index("data")
    yield from same_list("V7", "websocket", heard, [each for each in real if each in heard])
    told = {each[data].get("owner"): each for each in real}
    last = {each[data].get("owner"): each for each in heard}
    for name, frame in last.items():
        if frame != told[name]:
            says = f"{topic} of {name} ends with {frame}, and {told[name]} was told last"
            yield Broken("V7", "websocket", says)


def _wishes(truth: Truth, intents: list[Intent]) -> Iterator[Broken]:
    """One wish has one effect at most, and the one that it was told of."""
    effects = Counter((line.owner, line.kind, line.amount) for line in truth.lines)
    for intent in intents:
        count = effects[intent.owner, intent.kind, intent.amount]
        landed = truth.landed.get(intent.signature or "")
        if count > 1:
            yield Broken("V6", "requests", f"{intent} had {count} effects")
        if landed is not None and landed.err is None and count != 1:
            yield Broken("V6", "requests", f"{intent} landed, and had no effect")
        if intent.signature is None and count:
            yield Broken("V6", "requests", f"{intent} had an effect that nobody was told of")

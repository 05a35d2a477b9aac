"""Faults of dependencies, processes and clocks, several at a time; a seed decides."""

from __future__ import annotations

import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import trio

from tests.chaos.dependencies import Chaos, Replica
from tests.harness.tcp_proxy import TcpProxy
from tests.provider_proxy.drawn_faults import DRAWS

DEPENDENCIES = ("postgres", "redis", "rpc", "pubsub", "webhooks")
PROVIDER_DRAWS = (
    "refused_method",
    "other_errors",
    "refused_batches",
    "no_answers",
    "lost_answers",
    "slow_answers",
    "node_behind",
    "slot_not_reached",
    "odd_pubsub",
)
"""Those that hide nothing that is on the chain: what is hidden is healed later, and logged."""
CLOCK_SECONDS = (-86_400, -3_600, -120, -5, 5, 120, 3_600, 86_400)
SLOWEST = 0.6
"""Seconds that each piece of an answer waits."""
CUT_SECONDS = 0.3
"""Between two cuts of all connections."""

Duration = float
Fault = tuple[str, Callable[[Duration], Awaitable[None]]]
"""A name, and what makes the fault for so many seconds and then ends it."""


@dataclass(slots=True)
class FaultPlan:
    """Draws faults, and makes them happen."""

    chaos: Chaos
    rng: random.Random
    seconds: tuple[float, float]
    """Of a fault: the shortest and the longest."""
    happened: Counter[str] = field(default_factory=Counter)

    def draw(self) -> list[Fault]:
        """Return one to four faults of different things."""
        groups = [*map(self._of_dependency, DEPENDENCIES), self._provider(), self._process()]
        groups += [self._clock(self.rng.choice(self.chaos.replicas))]
        return self.rng.sample(groups, self.rng.choice((1, 1, 2, 3, 4)))

    async def run(self, faults: list[Fault]) -> None:
        """Begin all, each for its own time, and return when all have ended."""
        async with trio.open_nursery() as nursery:
            for name, fault in faults:
                self.happened[name] += 1
                nursery.start_soon(fault, self.rng.uniform(*self.seconds))

    # --- dependencies --------------------------------------------------------------------------

    def _of_dependency(self, name: str) -> Fault:
        proxies = self.chaos.proxies[name]
        kind = self.rng.choice(tuple(TCP_FAULTS))
        dice = random.Random(self.rng.random())

        async def run(seconds: Duration) -> None:
            with trio.move_on_after(seconds):
                async with trio.open_nursery() as nursery:
                    for proxy in proxies:
                        nursery.start_soon(TCP_FAULTS[kind], proxy, dice)
            for proxy in proxies:
                proxy.cut()  # what a fault has mutilated is not continued
                proxy.heal()

        return f"{name} {kind}", run

    def _provider(self) -> Fault:
        name, provider = self.rng.choice(PROVIDER_DRAWS), self.rng.choice(self.chaos.providers)
        drawn = DRAWS[name](self.rng)

        async def run(seconds: Duration) -> None:
            provider.add(*drawn)
            await trio.sleep(seconds)
            provider.clear()

        return f"provider {name}", run

    # --- processes and clocks ------------------------------------------------------------------

    def _process(self) -> Fault:
        """Kill the second replica, or stop either: the first one's memory is compared."""
        if self.rng.random() < 0.5:
            return "killed", self._kill
        replica = self.rng.choice(self.chaos.replicas)

        async def stop(seconds: Duration) -> None:
            replica.server.send_signal(signal.SIGSTOP)
            await trio.sleep(seconds)
            replica.server.send_signal(signal.SIGCONT)

        return "stopped", stop

    async def _kill(self, seconds: Duration) -> None:
        server = self.chaos.replicas[1].server
        await server.kill()
        await trio.sleep(seconds * self.rng.random())
        await server.start()

    def _clock(self, replica: Replica) -> Fault:
        moved = self.rng.choice(CLOCK_SECONDS)

        async def move(seconds: Duration) -> None:
            replica.clock.move(moved)
            await trio.sleep(seconds)
            replica.clock.move(0.0)

        return "clock ahead" if moved > 0 else "clock behind", move


async def _slow(proxy: TcpProxy, dice: random.Random) -> None:
    proxy.delay = dice.uniform(0.05, SLOWEST)
    await trio.sleep_forever()


async def _cut(proxy: TcpProxy, dice: random.Random) -> None:
    while True:
        proxy.cut()
        await trio.sleep(dice.random() * CUT_SECONDS)


async def _garble(proxy: TcpProxy, dice: random.Random) -> None:
    """Send noise for some answers. A changed digit would be believed: only TLS shows that."""
    proxy.corrupt = lambda data: data if dice.random() < 0.7 else dice.randbytes(len(data))
    await trio.sleep_forever()


async def _stop(proxy: TcpProxy, _: random.Random) -> None:
    proxy.stop()
    await trio.sleep_forever()


async def _refuse(proxy: TcpProxy, _: random.Random) -> None:
    proxy.refuse()
    await trio.sleep_forever()


TCP_FAULTS = {"slow": _slow, "cut": _cut, "garbled": _garble, "stopped": _stop, "refused": _refuse}

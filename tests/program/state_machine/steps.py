"""Single steps: the model and the chain each take the step, and are compared."""

from collections import Counter
from copy import deepcopy
from types import ModuleType
from typing import Any, ClassVar

from hypothesis import note
from hypothesis.stateful import RuleBasedStateMachine

from tests.program.harness.ledger import START

from . import collateral, earning, guards, money, names, policy, pool_admin
from .building import build
from .chain import Chain, assert_events, assert_refused
from .counts import Counts
from .earning import RATE_BPS, reserve_of
from .model import U64, Authority, Refused, World

SUCCESS = "success"
WEALTH = {"eve": 10**9, "dan": U64 - 10**11}
RESERVES = {"pool": 10**6, "other pool": 500}
SPECIFICATION: list[ModuleType] = [money, collateral, earning, guards, policy, pool_admin]


def initial_world() -> World:
    """Return a world with nothing initialized, whose tokens together fit into 64 bits."""
    tokens = {(who, mint): WEALTH.get(who, 10**8) for who in names.PEOPLE for mint in names.MINTS}
    for program in names.YIELD_PROGRAMS:
        tokens[program, "usdt"] = 0
        tokens[reserve_of(program), "usdt"] = RESERVES[program]
    rates = dict.fromkeys(names.YIELD_PROGRAMS, RATE_BPS)
    return World(START, Authority(governance=""), tokens=tokens, rates=rates)


class Steps(RuleBasedStateMachine):
    """A machine that takes steps. `reached` counts each step's outcomes over all runs."""

    reached: ClassVar[Counter[tuple[str, str]]]
    counts: ClassVar[Counts]

    def __init__(self) -> None:
        super().__init__()
        self.world = initial_world()
        self.chain = Chain(self.world, self.counts)

    def step(self, name: str, **arguments: Any) -> bool:
        """Take a step in both, assert that they agree, and return True if it succeeded."""
        specified = next(getattr(part, name) for part in SPECIFICATION if hasattr(part, name))
        given = build(self.world, name, dict(arguments))
        after, refusal = deepcopy(self.world), None
        try:
            events = specified(after, **arguments)
        except Refused as refused:
            refusal = refused.error
        note(f"{name} {arguments} -> {refusal or SUCCESS}")
        outcome = self.chain.send(given)
        if refusal is None:
            assert outcome.error is None, outcome
            assert_events(outcome, events)
            self.world = after
        else:
            assert_refused(outcome, refusal)
        self.chain.assert_holds(self.world)
        self.reached[name, refusal or SUCCESS] += 1
        return refusal is None

    def wait(self, seconds: int) -> None:
        note(f"{seconds} seconds go by")
        self.world.wait(seconds)
        self.chain.ledger.set_time(self.world.now)

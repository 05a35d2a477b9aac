"""Rules that change a pool's rate and fund its reserve."""

from hypothesis import strategies as st
from hypothesis.stateful import rule

from . import names
from .choices import Choices
from .movements import DRAWN
from .pool_admin import MAX_RATE_BPS
from .steps import Steps


class PoolRules(Steps):
    @rule(data=DRAWN)
    def set_rate(self, data: st.DataObject) -> None:
        choose = Choices(data, self.world)
        rate = choose.of([MAX_RATE_BPS, MAX_RATE_BPS, 1, 0, MAX_RATE_BPS + 1, 2**32 - 1])
        program = choose.of(names.YIELD_PROGRAMS)
        self.step("set_rate", signer=choose.governance(), program=program, rate_bps=rate)

    @rule(data=DRAWN)
    def fund_reserve(self, data: st.DataObject) -> None:
        choose = Choices(data, self.world)
        funder, program = choose.of(["eve", "gus"]), choose.of(names.YIELD_PROGRAMS)
        held = self.world.tokens[funder, "usdt"]
        amount = choose.of([1, 100, 0, min(held, 10**5), held + 1])
        self.step("fund_reserve", funder=funder, program=program, amount=amount)
        if choose.once_in(4):
            self.step("initialize")

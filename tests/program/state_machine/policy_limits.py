"""Rules that set a policy and test its limits, which random steps rarely reach."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from . import names
from .choices import Choices
from .collateral_and_yield import CollateralAndYield
from .decisions import Decisions
from .earning import claimable, reserve_of
from .guarding import Guarding
from .model import WEEK
from .money import YEAR
from .movements import DAY, DRAWN, remaining, withdrawable


class PolicyLimits(CollateralAndYield, Decisions, Guarding):
    @rule(data=DRAWN)
    def use_up_a_rate(self, data: st.DataObject) -> None:
        """Withdraw up to the rate limit, within the window and as it ends."""
        choose = Choices(data, self.world)
        owner = self.free(choose)
        window, available = choose.of([60, 1, 3600]), choose.vault(owner).available
        limit = max(1, available // choose.of([4, 3, 2]))
        arguments = {"owner": owner, "signer": owner, "window_seconds": window}
        self.step("set_withdraw_rate_limit", **arguments, max_amount=limit)
        for _ in range(3):
            self.withdraw_some(choose, owner, choose.of([limit, limit // 2 + 1, 1, limit + 1]))
            self.wait(choose.of([window - 1, window, 1]))

    @rule(data=DRAWN)
    def ripen_requests(self, data: st.DataObject) -> None:
        """Make several requests, some of which mature, and use them up one by one or in part."""
        choose = Choices(data, self.world)
        owner = self.free(choose)
        mine, delay = {"owner": owner, "signer": owner}, choose.of([60, 1])
        self.step("set_withdraw_min_delay", **mine, seconds=delay)
        for _ in range(3):
            amount = choose.amount(max(1, choose.vault(owner).available // 2))
            self.step("request_withdraw", **mine, amount=amount)
            self.wait(choose.of([0, 1, delay - 1]))
        for _ in range(2):
            due = [each.executable_at - self.world.now for each in choose.vault(owner).requests]
            next_due = min((seconds for seconds in due if seconds > 0), default=1)
            self.wait(choose.of([next_due, next_due - 1]))
            ceiling = choose.of([self.max_withdrawable(owner), choose.vault(owner).available])
            self.withdraw_some(choose, owner, choose.amount(ceiling))

    @rule(data=DRAWN)
    def await_a_timelock(self, data: st.DataObject) -> None:
        choose = Choices(data, self.world)
        owner, duration = self.free(choose), choose.of([60, 1])
        authority, cosigners = choose.authorized(owner)
        arguments = {"owner": owner, "authority": authority, "cosigners": cosigners}
        for _ in range(2):
            amount = choose.amount(choose.vault(owner).available)
            self.step("schedule_timelock", **arguments, amount=amount, duration=duration)
            self.wait(choose.of([0, 1]))
        for _ in range(2):
            self.wait(choose.of([duration - 1, 1, duration]))
            if choose.once_in(2):
                self.withdraw_some(choose, owner, choose.amount(self.max_withdrawable(owner)))
            else:
                self.step("release_timelocks", owner=owner, authority=choose.of(names.PEOPLE))

    @rule(data=DRAWN)
    def let_requests_expire(self, data: st.DataObject) -> None:
        """Request the whole balance, let the week pass or not quite, and request it again."""
        choose = Choices(data, self.world)
        if not choose.once_in(2):
            self.request_withdraw(data)
            return
        owner = self.free(choose)
        mine, delay = {"owner": owner, "signer": owner}, choose.of([60, 1])
        self.step("set_withdraw_min_delay", **mine, seconds=delay)
        for _ in range(2):
            vault = choose.vault(owner)
            amount = choose.of([vault.total - vault.requested, vault.total])
            self.step("request_withdraw", **mine, amount=max(0, amount))
            self.wait(delay + WEEK + choose.of([0, 1]))
            self.withdraw_some(choose, owner, 1)

    @rule(data=DRAWN)
    def shorten_a_timelock(self, data: st.DataObject) -> None:
        """Cancel equal timelocks of the owner and of a delegate, under a delay."""
        choose = Choices(data, self.world)
        owner = self.free(choose)
        if choose.vault(owner).threshold:
            self.cancel_timelock(data)
            return
        mine, delay = {"owner": owner, "signer": owner}, choose.of([60, 60, 0])
        if "fay" not in choose.vault(owner).delegates:
            self.step("add_delegate", **mine, who="fay")
        self.step("set_withdraw_min_delay", **mine, seconds=delay)
        seconds = choose.of([60, 61, 60, YEAR])
        amount = choose.amount(choose.vault(owner).available // 2)
        arguments = {"owner": owner, "cosigners": [], "amount": amount, "duration": seconds}
        for authority in data.draw(st.permutations([owner, "fay"])):
            self.step("schedule_timelock", **arguments, authority=authority)
        too_long = {"cosigners": [], "authority": "fay", "duration": YEAR + 1}
        self.step("schedule_timelock", owner=owner, **too_long, amount=1)
        time = self.world.now + seconds
        for _ in range(3):
            self.step("cancel_timelock", **mine, cosigners=[], amount=amount, unlock_time=time)

    @rule(data=DRAWN)
    def leave(self, data: st.DataObject) -> None:
        """Exit while something is locked, often by a program that is not listed any more."""
        choose = Choices(data, self.world)
        if choose.once_in(4):
            self.emergency_withdraw(data)
            return
        if self.world.authority.freeze:
            self.step("set_freeze_flag", signer=self.world.authority.governance, freeze=False)
        self.open_position(data)
        if not any(vault.locked for vault in self.world.vaults.values()):
            return
        owner = choose.owner(lambda vault: vault.locked > 0)
        summaries = self.world.summaries.items()
        holders = [
            program for (program, whose), each in summaries if each.locked and whose == owner
        ]
        governed = {
            "signer": self.world.authority.governance,
            "program": choose.of(holders or ["desk"]),
        }
        removed = not choose.once_in(3)
        if removed:
            self.step("remove_authorized_program", **governed)
        signer, cosigners = choose.signer(owner), choose.cosigners(owner)
        self.step("request_exit", owner=owner, signer=signer, cosigners=cosigners)
        self.wait(choose.of([WEEK, 2 * WEEK, WEEK, WEEK - 1, 2 * WEEK + 1]))
        for _ in range(2):
            arguments = {"owner": owner, "signer": choose.signer(owner)}
            shown = remaining(choose, owner, [])
            self.step("release_unclaimed", **arguments, remaining=shown)
            vault = choose.vault(owner)
            arguments = {"owner": owner, "recipient": owner, "mint": vault.mint}
            amount = choose.amount(vault.available)
            self.step("emergency_withdraw", **arguments, authority=owner, amount=amount)
        if removed:
            self.step("add_authorized_program", **governed)

    @rule(data=DRAWN)
    def sign_together(self, data: st.DataObject) -> None:
        choose = Choices(data, self.world)
        owner = self.free(choose)
        signers = data.draw(st.permutations(names.PEOPLE))[: choose.of([3, 2, 10])]
        arguments = {"owner": owner, "signer": owner, "signers": signers}
        self.step("set_vault_multisig", **arguments, threshold=choose.of([2, len(signers)]))
        self.withdraw_some(choose, owner, choose.amount(self.max_withdrawable(owner)))
        authority, cosigners = choose.authorized(owner)
        arguments = {"owner": owner, "authority": authority, "cosigners": cosigners}
        amount = choose.amount(choose.vault(owner).available)
        self.step("schedule_timelock", **arguments, amount=amount, duration=60)
        if "eve" not in choose.vault(owner).delegates:
            self.step("add_delegate", owner=owner, signer=owner, who="eve")
        self.pay_in(owner, choose.of([owner, "eve"]), choose.vault(owner).mint, 1)

    @rule(data=DRAWN)
    def seize(self, data: st.DataObject) -> None:
        """Governance takes what is locked; the owner has to wait and then has the rest."""
        choose = Choices(data, self.world)
        self.open_position(data)
        owner = choose.owner(lambda vault: vault.locked > 0)
        vault = choose.vault(owner)
        arguments = {"owner": owner, "recipient": owner, "mint": vault.mint}
        amount = choose.amount(vault.available)
        self.step("emergency_withdraw", **arguments, authority=owner, amount=amount)
        amount = choose.amount(vault.available + vault.locked)
        authority = choose.governance()
        self.step("emergency_withdraw", **arguments, authority=authority, amount=amount)
        self.withdraw_some(choose, owner, 1)

    @rule(data=DRAWN)
    def take_during_a_pause(self, data: st.DataObject) -> None:
        choose = Choices(data, self.world)
        owner = self.free(choose)
        amount = choose.amount(self.max_withdrawable(owner))
        seconds = choose.of([60, 60, 0])
        self.step("pause_withdrawals", signer=self.world.authority.governance, seconds=seconds)
        self.withdraw_some(choose, owner, amount)
        self.emergency_withdraw(data)

    @rule(data=DRAWN)
    def freeze_and_thaw(self, data: st.DataObject) -> None:
        choose = Choices(data, self.world)
        self.step("set_freeze_flag", signer=choose.governance(), freeze=True)
        for _ in range(2):
            choose.of([self.open_position, self.close_position, self.rebalance])(data)
        self.step(
            "set_freeze_flag",
            signer=self.world.authority.governance,
            freeze=choose.of([False, False, True]),
        )

    @rule(data=DRAWN)
    def add_twice_and_remove_twice(self, data: st.DataObject) -> None:
        choose = Choices(data, self.world)
        if not choose.once_in(3):
            self.deposit(data)
            return
        owner, who = choose.owner(), choose.of(names.PEOPLE)
        program = choose.of(["other desk", "other pool", "never deployed", *names.IMPOSSIBLE])
        governed = {"signer": choose.governance(), "program": program}
        owned = {"owner": owner, "signer": owner, "who": who}
        what, arguments = choose.of(
            [
                ("delegate", owned),
                ("withdraw_whitelist", owned),
                ("authorized_program", governed),
                ("yield_program", governed),
            ]
        )
        for name in ["add", "add", "remove", "remove"]:
            self.step(f"{name}_{what}", **arguments)

    @rule(data=DRAWN)
    def keep_some_yield(self, data: st.DataObject) -> None:
        """Lend with and without a call: neither part can be returned in place of the other."""
        choose = Choices(data, self.world)
        owner = self.free(choose)
        program = self.borrower(choose, owner)
        if program not in self.world.authority.yield_programs:
            self.step("add_yield_program", signer=self.world.authority.governance, program=program)
        for called in (True, False):
            amount = max(1, choose.vault(owner).available // 4)
            self.earn(choose, "yield_deposit", owner, amount, program=program, called=called)
        for _ in range(3):
            vault, stake = choose.vault(owner), self.world.stakes.get((program, owner))
            principal = stake.principal if stake else 0
            ceiling = choose.of([vault.kept, principal, vault.in_yield, vault.kept + 1])
            called = choose.of([True, False])
            self.earn(choose, "yield_withdraw", owner, ceiling, program=program, called=called)

    @rule(data=DRAWN)
    def earn_for_a_month(self, data: st.DataObject) -> None:
        """Earn more than a reserve may hold; another pool owes none of it."""
        choose = Choices(data, self.world)
        owner = self.free(choose)
        program = self.borrower(choose, owner)
        for each in names.YIELD_PROGRAMS:
            if each not in self.world.authority.yield_programs:
                self.step("add_yield_program", signer=self.world.authority.governance, program=each)
            if (each, owner) not in self.world.stakes:
                self.step("enter_pool", program=each, owner=owner)
        there: dict[str, Any] = {"program": program, "called": True}
        self.earn(choose, "yield_deposit", owner, choose.vault(owner).available, **there)
        self.wait(30 * DAY)
        due = claimable(self.world.stakes[program, owner])
        for ceiling in (due, min(due, self.world.tokens[reserve_of(program), "usdt"])):
            self.earn(choose, "compound_yield", owner, ceiling, **there)
        if choose.once_in(4):
            there["program"] = choose.of(names.YIELD_PROGRAMS)
        self.earn(choose, "yield_withdraw", owner, choose.vault(owner).in_yield, **there)

    @rule(data=DRAWN)
    def take_back_from_a_removed_program(self, data: st.DataObject) -> None:
        """Remove the program that holds what is lent, or another one, and list it again."""
        choose = Choices(data, self.world)
        self.yield_deposit(data)
        owner = choose.owner(lambda vault: vault.in_yield > vault.kept)
        vault = choose.vault(owner)
        program = vault.yield_program or "pool"
        removed = {"signer": self.world.authority.governance}
        removed["program"] = choose.of(names.YIELD_PROGRAMS) if choose.once_in(4) else program
        self.step("remove_yield_program", **removed)
        there: dict[str, Any] = {"program": program, "called": True}
        name = choose.of(["yield_withdraw", "yield_withdraw", "compound_yield", "yield_deposit"])
        self.earn(choose, name, owner, vault.in_yield - vault.kept, **there)
        self.step("add_yield_program", **removed)

    def free(self, choose: Choices) -> str:
        """Draw the owner of a vault with something to withdraw, if there is one."""
        self.funded(choose)
        return choose.owner(lambda vault: withdrawable(self.world, vault) > 0)

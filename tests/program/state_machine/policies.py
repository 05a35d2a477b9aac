"""Rules that set a policy and walk along its edge: chance alone seldom comes so near."""

from hypothesis import strategies as st
from hypothesis.stateful import rule

from . import names
from .choices import Choices
from .decisions import Decisions
from .movements import DRAWN, withdrawable
from .ventures import Ventures


class Policies(Ventures, Decisions):
    @rule(data=DRAWN)
    def use_up_a_rate(self, data: st.DataObject) -> None:
        """To the limit, within the window and as it ends."""
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
        """Several, of which some are ripe, to be used one after the other or in part."""
        choose = Choices(data, self.world)
        owner = self.free(choose)
        mine, delay = {"owner": owner, "signer": owner}, choose.of([60, 1])
        self.step("set_withdraw_min_delay", **mine, seconds=delay)
        for _ in range(3):
            amount = choose.amount(max(1, choose.vault(owner).available // 2))
            self.step("request_withdraw", **mine, amount=amount)
            self.wait(choose.of([0, 1, delay - 1]))
        for _ in range(2):
            self.wait(choose.of([delay, delay - 1, 1, 0]))
            self.withdraw_some(choose, owner, choose.amount(self.most(owner)))

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
                self.withdraw_some(choose, owner, choose.amount(self.most(owner)))
            else:
                self.step("release_timelocks", owner=owner, authority=choose.of(names.PEOPLE))

    @rule(data=DRAWN)
    def sign_together(self, data: st.DataObject) -> None:
        choose = Choices(data, self.world)
        owner = self.free(choose)
        signers = data.draw(st.permutations(names.PEOPLE))[: choose.of([3, 2, 10])]
        arguments = {"owner": owner, "signer": owner, "signers": signers}
        self.step("set_vault_multisig", **arguments, threshold=choose.of([2, len(signers)]))
        self.withdraw_some(choose, owner, choose.amount(self.most(owner)))
        authority, cosigners = choose.authorized(owner)
        arguments = {"owner": owner, "authority": authority, "cosigners": cosigners}
        amount = choose.amount(choose.vault(owner).available)
        self.step("schedule_timelock", **arguments, amount=amount, duration=60)
        authority = choose.of([owner, *choose.vault(owner).delegates, "eve"])
        self.pay_in(owner, authority, choose.vault(owner).mint, 1)

    @rule(data=DRAWN)
    def seize(self, data: st.DataObject) -> None:
        """By governance, of what is locked; the owner has to wait, and then has what is left."""
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

    def free(self, choose: Choices) -> str:
        """The owner of a vault from which something may be withdrawn, if there is one."""
        self.funded(choose)
        return choose.owner(lambda vault: withdrawable(self.world, vault) > 0)

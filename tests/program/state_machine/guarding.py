"""Rules that set an owner's guards, at once and by request."""

from hypothesis import strategies as st
from hypothesis.stateful import rule

from . import names
from .choices import Choices
from .guards import DAY, WEEK, wait
from .model import I64, U64, GuardChange
from .steps import Steps

DRAWN = st.data()
U32 = 2**32 - 1


class Guarding(Steps):
    @rule(data=DRAWN)
    def set_multisig(self, data: st.DataObject) -> None:
        choose = Choices(data, self.world)
        owner = choose.owner(lambda vault: vault.threshold == vault.delay == 0)
        signers, threshold = multisig(choose)
        if choose.once_in(8):
            threshold = choose.of([len(signers) + 1, 255])
        self.step(
            "set_vault_multisig",
            owner=owner,
            signer=choose.signer(owner),
            signers=signers,
            threshold=threshold,
            cosigners=choose.cosigners(owner),
        )

    @rule(data=DRAWN)
    def disable_multisig(self, data: st.DataObject) -> None:
        choose = Choices(data, self.world)
        owner = choose.owner(lambda vault: vault.threshold > 0)
        arguments = {"owner": owner, "signer": choose.signer(owner)}
        self.step("disable_vault_multisig", **arguments, cosigners=choose.cosigners(owner))

    @rule(data=DRAWN)
    def set_delay(self, data: st.DataObject) -> None:
        choose = Choices(data, self.world)
        owner = choose.owner()
        seconds = choose.of([60, 1, 3600, 0])
        if choose.once_in(8):
            seconds = choose.of([-1, -I64 - 1])
        arguments = {"owner": owner, "signer": choose.signer(owner), "seconds": seconds}
        self.step("set_withdraw_min_delay", **arguments, cosigners=choose.cosigners(owner))

    @rule(data=DRAWN)
    def set_rate_limit(self, data: st.DataObject) -> None:
        choose = Choices(data, self.world)
        owner = choose.owner(lambda vault: vault.available > 0)
        available, rate = choose.vault(owner).available, choose.vault(owner).rate
        window = choose.of([60, 3600, 1, U32, 0, rate.window_seconds])
        limit = choose.of([max(1, available // 2), available, 0, U64, rate.limit])
        arguments = {"owner": owner, "signer": choose.signer(owner), "window_seconds": window}
        arguments["cosigners"] = choose.cosigners(owner)
        self.step("set_withdraw_rate_limit", **arguments, max_amount=limit)

    @rule(data=DRAWN)
    def set_allowance(self, data: st.DataObject) -> None:
        choose = Choices(data, self.world)
        owner = choose.owner()
        amount = choose.amount(choose.vault(owner).available)
        arguments = {"owner": owner, "signer": choose.signer(owner), "amount": amount}
        self.step("set_transfer_allowance", **arguments, cosigners=choose.cosigners(owner))

    @rule(data=DRAWN)
    def change_by_request(self, data: st.DataObject) -> None:
        """Request a change, and make it when its time has come, or just before or after."""
        choose = Choices(data, self.world)
        if not any(wait(vault) for vault in self.world.vaults.values()) and not choose.once_in(8):
            owner = choose.owner()
            self.step("set_withdraw_min_delay", owner=owner, signer=owner, seconds=60)
        owner = choose.owner(lambda vault: wait(vault) > 0)
        change = self.some_change(choose, owner)
        mine = {"owner": owner, "signer": choose.signer(owner), "change": change}
        self.step("request_guard_change", **mine)
        then = choose.of(["apply", "apply", "cancel", "apply later"])
        if then == "apply later":
            return
        if then == "cancel":
            self.cancel(choose, owner, change)
        seconds = wait(choose.vault(owner))
        if seconds <= WEEK:
            self.wait(choose.of([seconds, seconds, seconds - 1, seconds + WEEK + 1]))
        mine["signer"] = choose.signer(owner)
        self.step("apply_guard_change", **mine)

    @rule(data=DRAWN)
    def end_a_request(self, data: st.DataObject) -> None:
        choose = Choices(data, self.world)
        pending = [each for each, request in self.world.changes.items() if request]
        if not pending:
            return
        owner, change = choose.of(pending)
        if choose.of(["cancel", "apply"]) == "cancel":
            self.cancel(choose, owner, change)
        else:
            mine = {"owner": owner, "signer": choose.signer(owner), "change": change}
            self.step("apply_guard_change", **mine)

    def cancel(self, choose: Choices, owner: str, change: GuardChange) -> None:
        signers = choose.vault(owner).signers if choose.vault(owner).threshold else []
        authority = choose.of([owner, *signers])
        if choose.once_in(6):
            authority = choose.of(names.PEOPLE)
        self.step("cancel_guard_change", owner=owner, authority=authority, change=change)

    def some_change(self, choose: Choices, owner: str) -> GuardChange:
        vault = choose.vault(owner)
        changes: list[GuardChange] = [
            ("WithdrawMinDelay", (0,)),
            ("Multisig", ((), 0)),
            ("WithdrawMinDelay", (choose.of([0, 0, 1, -1]),)),
            ("WithdrawRateLimit", (choose.of([0, 60, DAY]), choose.of([0, vault.available, U64]))),
            ("WhitelistAddition", (choose.of(names.PEOPLE),)),
            ("TransferAllowance", (choose.of([U64, 5, 0]),)),
        ]
        signers, threshold = multisig(choose)
        changes.append(("Multisig", (tuple(signers), threshold)))
        return choose.of(changes)


def multisig(choose: Choices) -> tuple[list[str], int]:
    """Draw signers and a threshold; rarely signers that the program refuses."""
    count = choose.of([1, 2, 3, 10])
    signers = choose.data.draw(st.permutations(names.PEOPLE))[:count]
    threshold = choose.of([min(2, count), count, 1, 0])
    if choose.once_in(8):
        signers = choose.of([[*signers, signers[0]], names.PEOPLE[:11], []])
    return signers, threshold

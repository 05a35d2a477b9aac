"""Rules for the creation and closing of vaults, and for decisions of owners and governance."""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from . import names
from .choices import Choices
from .model import CAPACITY, I64, NOBODY, U64, vault_of
from .policy import DAY, UPGRADE_AUTHORITY
from .steps import Steps

DRAWN = st.data()


class Decisions(Steps):
    @initialize(data=DRAWN)
    def begin(self, data: st.DataObject) -> None:
        """Set up governance, its first programs, and two or three funded vaults."""
        choose = Choices(data, self.world)
        if choose.once_in(24):
            impossible = ["desk", choose.of([*names.IMPOSSIBLE])]
            many = [f"program {n}" for n in range(65)]
            programs = choose.of([["desk", "desk"], many, impossible])
            self.initialize_authority(programs=programs, freeze=None)
        self.initialize_authority(programs=["desk"], freeze=choose.of([None, False]))
        self.step("add_yield_program", signer=names.GOVERNANCE, program="pool")
        for owner in choose.of([["ada", "bob"], ["ada", "bob", "dan"]]):
            self.step("initialize_vault", owner=owner, mint="usdt")
            amount = choose.of([1000, 10**8, self.world.tokens[owner, "usdt"]])
            arguments = {"owner": owner, "authority": owner, "source": owner, "mint": "usdt"}
            self.step("deposit", **arguments, amount=amount)

    def initialize_authority(self, **arguments: Any) -> None:
        self.step("initialize_vault_authority", signer=names.GOVERNANCE, **arguments)

    @rule(data=DRAWN)
    def open_vault(self, data: st.DataObject) -> None:
        choose = Choices(data, self.world)
        closed = [owner for owner in names.OWNERS if owner not in self.world.vaults]
        if not closed and not choose.once_in(6):
            return
        owner = choose.of(closed or names.OWNERS)
        self.step("initialize_vault", owner=owner, mint=choose.mint(owner))

    @rule(data=DRAWN)
    def close_vault(self, data: st.DataObject) -> None:
        """Close an empty vault, or one that its owner empties first."""
        choose = Choices(data, self.world)
        if len(self.world.vaults) < 2 and not choose.once_in(6):
            self.open_vault(data)
            return
        owner = choose.owner(lambda vault: vault.total == vault.available)
        vault = choose.vault(owner)
        if vault.available and not choose.once_in(4):
            guarded = vault.delay or vault.threshold
            authority = self.world.authority.governance if guarded else owner
            arguments = {"owner": owner, "authority": authority, "recipient": owner}
            amount = vault.available
            self.step("emergency_withdraw", **arguments, mint=vault.mint, amount=amount)
        recipient = choose.of([owner, owner, None])
        if choose.once_in(16):
            recipient = choose.of(names.PEOPLE)
        self.step(
            "close_vault",
            owner=owner,
            signer=choose.signer(owner),
            recipient=recipient,
            cosigners=self.cosigners(choose, owner) if recipient else [],
        )

    def cosigners(self, choose: Choices, owner: str) -> list[str]:
        """Draw those who sign beside the owner; rarely too few."""
        vault = choose.vault(owner)
        if vault.threshold == 0:
            return []
        return vault.signers[: vault.threshold - (1 if choose.once_in(8) else 0)]

    @rule(data=DRAWN)
    def sweep(self, data: st.DataObject) -> None:
        """Sweep a vault's own token account or another one, which may be that of a former mint."""
        choose = Choices(data, self.world)
        owner = choose.owner()
        vault = choose.vault(owner)
        mints = [mint for mint in names.MINTS if (vault_of(owner), mint) in self.world.tokens]
        mint = choose.of(names.MINTS if choose.once_in(12) else mints or names.MINTS)
        if mint == vault.mint and owner in self.world.vaults and not choose.once_in(4):
            self.step("give", source="eve", owner=owner, mint=mint, amount=choose.of([1, 1000]))
        self.step(
            "sweep",
            owner=owner,
            signer=choose.signer(owner),
            cosigners=self.cosigners(choose, owner),
            recipient=choose.of(names.PEOPLE) if choose.once_in(16) else owner,
            mint=mint,
        )

    @rule(data=DRAWN)
    def update_usdt_mint(self, data: st.DataObject) -> None:
        choose = Choices(data, self.world)
        empty = [owner for owner, vault in self.world.vaults.items() if vault.total == 0]
        if not empty and not choose.once_in(6):
            return
        self.step(
            "update_usdt_mint",
            signer=choose.governance(),
            owner=choose.owner(lambda vault: vault.total == 0),
            mint=choose.of(names.MINTS),
        )

    @rule(data=DRAWN)
    def get_vault_info(self, data: st.DataObject) -> None:
        choose = Choices(data, self.world)
        self.step("get_vault_info", owner=choose.of(names.OWNERS))

    @rule(data=DRAWN)
    def change_delegates(self, data: st.DataObject) -> None:
        choose = Choices(data, self.world)
        some = choose.once_in(2)
        owner = choose.owner(lambda vault: bool(vault.delegates) >= some)
        delegates = choose.vault(owner).delegates
        others = [who for who in names.PEOPLE if who not in {owner, *delegates}]
        self.change(choose, "delegate", owner, delegates, others)

    @rule(data=DRAWN)
    def change_whitelist(self, data: st.DataObject) -> None:
        choose = Choices(data, self.world)
        some = choose.once_in(2)
        owner = choose.owner(lambda vault: bool(vault.whitelist) >= some)
        whitelist = choose.vault(owner).whitelist
        candidates = [*names.PEOPLE, *(vault_of(each) for each in names.OWNERS)]
        others = [who for who in candidates if who not in whitelist]
        self.change(choose, "withdraw_whitelist", owner, whitelist, others)

    def change(
        self, choose: Choices, what: str, owner: str, present: list[str], others: list[str]
    ) -> None:
        """Add what is absent or remove what is present; rarely the reverse."""
        name = choose.of(["add", "remove", "remove"]) if present else "add"
        candidates = others if name == "add" else present
        if choose.once_in(8):
            candidates = names.PEOPLE
        signer, who = choose.signer(owner), choose.of(candidates)
        arguments: dict[str, Any] = {"owner": owner, "signer": signer, "who": who}
        if (name, what) == ("add", "withdraw_whitelist"):
            arguments["cosigners"] = choose.cosigners(owner)
        self.step(f"{name}_{what}", **arguments)

    @rule(data=DRAWN)
    def govern(self, data: st.DataObject) -> None:
        choose = Choices(data, self.world)
        authority, signer = self.world.authority, choose.governance()
        match choose.of(
            ["programs", "yield programs", "freeze", "settings", "settings", "initialize again"]
        ):
            case "programs":
                candidates = [*names.POSITION_MANAGERS, "never deployed"]
                name, program = entry(choose, authority.programs, candidates)
                if choose.once_in(4):
                    program = choose.of([*names.IMPOSSIBLE])
                self.step(f"{name}_authorized_program", signer=signer, program=program)
            case "yield programs":
                candidates = [*names.YIELD_PROGRAMS, "never deployed"]
                name, program = entry(choose, authority.yield_programs, candidates)
                self.step(f"{name}_yield_program", signer=signer, program=program)
            case "freeze":
                freeze = not authority.freeze and choose.once_in(2)
                self.step("set_freeze_flag", signer=signer, freeze=freeze)
            case "settings":
                enforced = choose.of([True, False])
                self.step("set_cpi_enforced", signer=signer, cpi_enforced=enforced)
                self.step("set_risk_level", signer=signer, risk_level=choose.of([1, 0, 255]))
            case "initialize again":
                arguments = {"signer": choose.of(names.PEOPLE), "programs": ["desk"]}
                self.step("initialize_vault_authority", **arguments, freeze=True)

    @rule(data=DRAWN)
    def hand_over(self, data: st.DataObject) -> None:
        """Propose somebody, by governance or by the upgrade authority, who mostly accepts."""
        choose = Choices(data, self.world)
        signer, recovering = choose.governance(), choose.once_in(3)
        if recovering:
            signer = choose.of([UPGRADE_AUTHORITY, choose.of(names.PEOPLE)])
        proposed = choose.of([*names.PEOPLE, NOBODY])
        arguments = {"signer": signer, "as_upgrade_authority": recovering}
        self.step("propose_governance", **arguments, proposed=proposed)
        if choose.once_in(6) or proposed == NOBODY:
            proposed = choose.of(names.PEOPLE)
        self.step("accept_governance", signer=proposed)

    @rule(data=DRAWN)
    def limit_transfers(self, data: st.DataObject) -> None:
        """Limit transfers, mostly far above what vaults hold, and mostly wait for a raise."""
        choose = Choices(data, self.world)
        limits = [choose.of([U64, 10**9, 10**8, U64, 1000, 0]) for _ in range(2)]
        arguments = {"vault_daily": limits[0], "total_daily": limits[1]}
        self.step("set_transfer_limits", signer=choose.governance(), **arguments)
        if self.world.limits and self.world.limits.pending_at and not choose.once_in(3):
            self.wait(max(0, self.world.limits.pending_at - self.world.now - choose.of([0, 1])))

    @rule(data=DRAWN)
    def pause(self, data: st.DataObject) -> None:
        """Pause; wait until after it, or until the next one is allowed, more or less; try again."""
        choose = Choices(data, self.world)
        seconds = choose.of([60, 1, 3 * DAY, 0, 0])
        if choose.once_in(8):
            seconds = choose.of([-1, -I64 - 1, 3 * DAY + 1, I64])
        self.step("pause_withdrawals", signer=choose.governance(), seconds=seconds)
        if choose.once_in(2):
            self.wait(
                max(0, self.world.authority.paused_until - self.world.now - choose.of([0, 1]))
            )
        elif choose.once_in(8):
            allowed_in = self.world.authority.pause_allowed_at - self.world.now
            self.wait(max(0, allowed_in - choose.of([0, 1])))
        if choose.once_in(2):
            self.sweep(data)
        if choose.once_in(3):
            self.step("pause_withdrawals", signer=choose.governance(), seconds=choose.of([1, 0]))

    @rule(data=DRAWN)
    def fill(self, data: st.DataObject) -> None:
        """Fill a list until one more entry is too many."""
        choose = Choices(data, self.world)
        if not choose.once_in(8):
            return
        owner = choose.owner(lambda vault: vault.available >= CAPACITY["timelocks"])
        mine = {"owner": owner, "signer": owner}
        match choose.of(["timelocks", "requests", "delegates", "whitelist", "programs", "yield"]):
            case "timelocks":
                authority, cosigners = choose.authorized(owner)
                arguments = {"owner": owner, "authority": authority, "cosigners": cosigners}
                self.repeat("schedule_timelock", "amount", [1] * 65, **arguments, duration=60)
            case "requests":
                self.repeat("request_withdraw", "amount", [1] * 65, **mine)
            case "delegates":
                self.repeat("add_delegate", "who", fillers(17), **mine)
            case "whitelist":
                self.repeat("add_withdraw_whitelist", "who", fillers(33), **mine)
            case "programs":
                self.repeat_and_undo("authorized_program")
            case "yield":
                self.repeat_and_undo("yield_program")

    def repeat(self, name: str, varied: str, values: list[Any], **fixed: Any) -> None:
        for value in values:
            if not self.step(name, **fixed, **{varied: value}):
                return

    def repeat_and_undo(self, what: str) -> None:
        """Undo it, since no withdrawal can pass so many summaries."""
        governance = {"signer": self.world.authority.governance}
        self.repeat(f"add_{what}", "program", fillers(65), **governance)
        self.repeat(f"remove_{what}", "program", fillers(65), **governance)


def fillers(count: int) -> list[str]:
    return [f"filler {n}" for n in range(count)]


def entry(choose: Choices, present: list[str], candidates: list[str]) -> tuple[str, str]:
    """Draw a change of a list and its entry, mostly to add the first one that is missing."""
    missing = [each for each in candidates if each not in present]
    name = choose.of(["add", "add", "add", "remove"]) if missing else "remove"
    if choose.once_in(12):
        return name, choose.of(candidates)
    if name == "add":
        return name, missing[0] if choose.once_in(2) else choose.of(missing)
    return name, choose.of(present or candidates)

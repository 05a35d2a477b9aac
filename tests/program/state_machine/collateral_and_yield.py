"""Rules that lock collateral, transfer it between vaults, and earn yield."""

from hypothesis import strategies as st
from hypothesis.stateful import rule

from . import names
from .choices import Choices
from .earning import claimable, reserve_of
from .model import U64
from .movements import DAY, DRAWN, Movements


class CollateralAndYield(Movements):
    @rule(data=DRAWN)
    def open_position(self, data: st.DataObject) -> None:
        choose = Choices(data, self.world)
        desk = choose.listed(names.POSITION_MANAGERS, self.world.authority.programs)
        owner = self.funded(choose)
        if (desk, owner) not in self.world.summaries and not choose.once_in(8):
            self.step("init_position_summary", program=desk, owner=owner)
        self.step(
            "open_position",
            program=desk,
            owner=owner,
            authority=choose.owner_or_delegate(owner),
            amount=choose.amount(choose.vault(owner).available),
        )

    @rule(data=DRAWN)
    def close_position(self, data: st.DataObject) -> None:
        choose = Choices(data, self.world)
        locked = [place for place, summary in self.world.summaries.items() if summary.locked > 0]
        if not locked and not choose.once_in(8):
            self.open_position(data)
            return
        if not locked or choose.once_in(16):
            locked = list(self.world.summaries) or [("desk", "ada")]
        desk, owner = choose.of(locked)
        summary = self.world.summaries.get((desk, owner))
        self.step(
            "close_position",
            program=desk,
            owner=owner,
            authority=choose.owner_or_delegate(owner),
            amount=choose.amount(summary.locked if summary else 0),
        )

    @rule(data=DRAWN)
    def rebalance(self, data: st.DataObject) -> None:
        choose = Choices(data, self.world)
        giver = self.funded(choose)
        vault = choose.vault(giver)
        agreed = vault.allowance > 0 or vault.locked > 0
        if giver in self.world.vaults and not (agreed and choose.once_in(2)):
            amount = choose.of([U64, choose.amount(vault.available)])
            arguments = {"owner": giver, "signer": giver, "amount": amount}
            self.step("set_transfer_allowance", **arguments, cosigners=choose.cosigners(giver))
            vault = choose.vault(giver)
        ceiling = vault.locked + min(vault.available, vault.allowance)
        if choose.once_in(4):
            ceiling = vault.locked + vault.available
        mint = vault.mint
        taker = choose.owner(lambda vault: vault.mint == mint and vault.owner != giver)
        self.step(
            "rebalance_collateral",
            program=choose.listed(names.POSITION_MANAGERS, self.world.authority.programs),
            authority=choose.governance(),
            giver=giver,
            taker=taker,
            amount=choose.amount(ceiling),
        )

    @rule(data=DRAWN)
    def settle(self, data: st.DataObject) -> None:
        """Settle a summary; mostly one whose collateral governance has just taken."""
        choose = Choices(data, self.world)
        if not choose.once_in(8):
            self.open_position(data)
            owner = choose.owner(lambda vault: vault.locked > 0)
            vault = choose.vault(owner)
            self.step(
                "emergency_withdraw",
                owner=owner,
                authority=choose.governance(),
                recipient=owner,
                mint=vault.mint,
                amount=min(vault.available + choose.amount(vault.locked), U64),
            )
        claimed = [
            (desk, owner)
            for (desk, owner), summary in self.world.summaries.items()
            if owner in self.world.vaults and summary.locked > self.world.vaults[owner].locked
        ]
        desk, owner = choose.of(claimed or list(self.world.summaries) or [("desk", "ada")])
        self.step("settle_position_summary", program=desk, owner=owner)

    @rule(data=DRAWN)
    def yield_deposit(self, data: st.DataObject) -> None:
        choose = Choices(data, self.world)
        owner = self.funded(choose)
        self.earn(choose, "yield_deposit", owner, choose.vault(owner).available)

    @rule(data=DRAWN)
    def yield_withdraw(self, data: st.DataObject) -> None:
        choose = Choices(data, self.world)
        fit = any(vault.in_yield > 0 for vault in self.world.vaults.values())
        if not fit and not choose.once_in(8):
            self.yield_deposit(data)
            return
        owner = choose.owner(lambda vault: vault.in_yield > 0)
        vault = choose.vault(owner)
        called = not (vault.kept > 0 and choose.once_in(2))
        staked = [place for place in self.world.stakes if self.world.stakes[place].principal > 0]
        program = choose.of([of for of, whose in staked if whose == owner] or ["pool"])
        stake = self.world.stakes.get((program, owner))
        ceiling = vault.kept if not called else stake.principal if stake else 0
        if choose.once_in(12):
            program, ceiling = choose.of(names.YIELD_PROGRAMS), vault.in_yield
        self.earn(choose, "yield_withdraw", owner, ceiling, program=program, called=called)

    @rule(data=DRAWN)
    def compound_yield(self, data: st.DataObject) -> None:
        """Compound interest that is due; if none is, mostly wait for some first."""
        choose = Choices(data, self.world)
        staked = [place for place, stake in self.world.stakes.items() if stake.principal > 0]
        if not staked and not choose.once_in(8):
            self.yield_deposit(data)
            return
        due = [place for place in staked if claimable(self.world.stakes[place]) > 0]
        if not due and not choose.once_in(8):
            self.wait(choose.of([DAY, 30 * DAY]))
        program, owner = choose.of(due or staked or [("pool", choose.owner())])
        called = not choose.once_in(12)
        stake = self.world.stakes.get((program, owner))
        ceiling = claimable(stake) if stake else 0
        if choose.once_in(4):
            ceiling = min(ceiling, self.world.tokens[reserve_of(program), "usdt"])
        self.earn(choose, "compound_yield", owner, ceiling, program=program, called=called)

    @rule(data=DRAWN)
    def lend_to_another(self, data: st.DataObject) -> None:
        """Have another program be the active one: vaults of before may have lent to several."""
        choose = Choices(data, self.world)
        lent = [vault for vault in self.world.vaults.values() if vault.in_yield > vault.kept]
        if not lent or not choose.once_in(4):
            self.yield_deposit(data)
            return
        vault, program = choose.of(lent), choose.of(names.YIELD_PROGRAMS)
        vault.yield_program = program
        key = names.key(program)
        self.chain.ledger.change_vault(names.key(vault.owner), active_yield_program=key)

    @rule(data=DRAWN)
    def lend_to_a_second(self, data: st.DataObject) -> None:
        """Lend to a program while another one has what was lent before."""
        choose = Choices(data, self.world)
        lent = [vault for vault in self.world.vaults.values() if vault.in_yield > vault.kept]
        if not lent:
            self.yield_deposit(data)
            return
        vault = choose.of(lent)
        others = [each for each in names.YIELD_PROGRAMS if each != vault.yield_program]
        listed = self.world.authority.yield_programs
        program = choose.of([each for each in others if each in listed] or others)
        ceiling = vault.available
        self.earn(choose, "yield_deposit", vault.owner, ceiling, program=program, called=True)

    def borrower(self, choose: Choices, owner: str) -> str:
        """Draw a yield program to which the vault may lend, and sometimes another one."""
        vault = choose.vault(owner)
        if vault.in_yield > vault.kept and vault.yield_program and not choose.once_in(6):
            return vault.yield_program
        return choose.listed(names.YIELD_PROGRAMS, self.world.authority.yield_programs)

    def earn(
        self,
        choose: Choices,
        name: str,
        owner: str,
        ceiling: int,
        *,
        program: str | None = None,
        called: bool | None = None,
    ) -> None:
        if called is None:
            called = not choose.once_in(3)
        if program is None:
            program = self.borrower(choose, owner)
        if called and (program, owner) not in self.world.stakes and not choose.once_in(6):
            self.step("enter_pool", program=program, owner=owner)
        authority, cosigners = choose.authorized(owner)
        self.step(
            name,
            owner=owner,
            authority=authority,
            cosigners=cosigners,
            program=program,
            called=called,
            amount=choose.amount(ceiling),
        )

    @rule(data=DRAWN)
    def call_directly(self, data: st.DataObject) -> None:
        """Call an instruction directly that only programs may call."""
        choose = Choices(data, self.world)
        if not choose.once_in(3):
            return
        owner, amount = choose.owner(), choose.of([1, 0])
        name = choose.of(["lock_collateral", "unlock_collateral", "transfer_collateral"])
        if name == "transfer_collateral":
            self.step(name, giver=owner, taker=choose.owner(), amount=amount)
        else:
            self.step(name, owner=owner, amount=amount)

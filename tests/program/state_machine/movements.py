"""Rules that move tokens."""

from hypothesis import strategies as st
from hypothesis.stateful import rule

from . import names
from .choices import Choices
from .model import I64, U64, WEEK, Vault, World, is_valid, vault_of
from .money import YEAR, Remaining
from .steps import Steps

DRAWN = st.data()
DAY = 24 * 60 * 60


class Movements(Steps):
    @rule(data=DRAWN)
    def deposit(self, data: st.DataObject) -> None:
        choose = Choices(data, self.world)
        owner = choose.owner()
        vault = choose.vault(owner)
        authority = owner if vault.threshold else choose.owner_or_delegate(owner)
        if choose.once_in(16):
            authority, _ = choose.authorized(owner)
        source = authority
        if choose.once_in(24):
            source = choose.of([owner, vault_of(owner), "eve"])
        mint = choose.mint(owner)
        amount = choose.amount(min(self.world.tokens.get((source, mint), 0), U64 - vault.deposited))
        self.step(
            "deposit", owner=owner, authority=authority, source=source, mint=mint, amount=amount
        )

    def funded(self, choose: Choices) -> str:
        """Draw the owner of a vault with available tokens, which eve deposits if there are none."""
        vaults = self.world.vaults
        if not vaults and not choose.once_in(8):
            self.step("initialize_vault", owner=choose.of(names.OWNERS), mint="usdt")
        if not any(vault.available for vault in vaults.values()) and not choose.once_in(8):
            owner = choose.of(list(self.world.vaults) or names.OWNERS)
            self.pay_in(owner, owner, choose.vault(owner).mint, 1000)
        return choose.owner(lambda vault: vault.available > 0)

    def pay_in(self, owner: str, authority: str, mint: str, amount: int) -> None:
        arguments = {"authority": authority, "source": authority, "mint": mint}
        self.step("deposit", owner=owner, **arguments, amount=amount)

    @rule(data=DRAWN)
    def withdraw(self, data: st.DataObject) -> None:
        choose = Choices(data, self.world)
        fit = any(withdrawable(self.world, vault) > 0 for vault in self.world.vaults.values())
        if not fit and not choose.once_in(4):
            self.deposit(data)
            return
        owner = choose.owner(lambda vault: withdrawable(self.world, vault) > 0)
        self.withdraw_some(
            choose, owner, choose.amount(withdrawable(self.world, choose.vault(owner)))
        )

    def max_withdrawable(self, owner: str) -> int:
        """Return what authorized signers may withdraw from the vault now, or 0 if there is none."""
        vault = self.world.vaults.get(owner)
        return withdrawable(self.world, vault) if vault else 0

    def withdraw_some(self, choose: Choices, owner: str, amount: int) -> None:
        authority, cosigners = choose.authorized(owner)
        self.step(
            "withdraw",
            owner=owner,
            authority=authority,
            recipient=recipient(choose, choose.vault(owner)),
            mint=choose.mint(owner),
            amount=amount,
            remaining=remaining(choose, owner, cosigners),
        )

    @rule(data=DRAWN)
    def emergency_withdraw(self, data: st.DataObject) -> None:
        choose = Choices(data, self.world)
        owner = self.funded(choose)
        vault = choose.vault(owner)
        ceiling, authority = within_guards(self.world, vault, vault.available), owner
        if vault.locked or ceiling <= 0 or choose.once_in(4):
            ceiling, authority = vault.available + vault.locked, self.world.authority.governance
        if choose.once_in(16):
            authority = choose.of(names.PEOPLE)
        mint = choose.mint(owner)
        target = recipient(choose, vault) if choose.once_in(16) else owner
        amount = choose.amount(ceiling)
        self.step(
            "emergency_withdraw",
            owner=owner,
            authority=authority,
            recipient=target,
            mint=mint,
            amount=amount,
            remaining=choose.cosigners(owner),
        )

    @rule(data=DRAWN)
    def schedule_timelock(self, data: st.DataObject) -> None:
        choose = Choices(data, self.world)
        owner = self.funded(choose)
        authority, cosigners = choose.authorized(owner)
        duration = choose.of([0, 1, 59, 60, 100, 3600])
        if choose.once_in(16):
            longest = I64 - self.world.now
            duration = choose.of([-1, -I64 - 1, I64, longest, longest + 1, YEAR, YEAR + 1])
        self.step(
            "schedule_timelock",
            owner=owner,
            authority=authority,
            cosigners=cosigners,
            amount=choose.amount(choose.vault(owner).available),
            duration=duration,
        )

    @rule(data=DRAWN)
    def release_timelocks(self, data: st.DataObject) -> None:
        choose = Choices(data, self.world)
        owner = choose.owner(lambda vault: bool(vault.timelocks))
        self.step("release_timelocks", owner=owner, authority=choose.of(names.PEOPLE))

    @rule(data=DRAWN)
    def request_withdraw(self, data: st.DataObject) -> None:
        choose = Choices(data, self.world)
        owner = choose.owner(lambda vault: vault.delay > 0)
        if choose.vault(owner).delay == 0 and owner in self.world.vaults and not choose.once_in(6):
            self.step("set_withdraw_min_delay", owner=owner, signer=owner, seconds=60)
        vault = choose.vault(owner)
        amount = choose.amount(max(0, vault.total - vault.requested))
        self.step("request_withdraw", owner=owner, signer=choose.signer(owner), amount=amount)

    @rule(data=DRAWN)
    def cancel_withdraw_request(self, data: st.DataObject) -> None:
        choose = Choices(data, self.world)
        owner = choose.owner(lambda vault: bool(vault.requests))
        if not choose.vault(owner).requests:
            self.request_withdraw(data)
            owner = choose.owner(lambda vault: bool(vault.requests))
        requests = choose.vault(owner).requests
        amount, time = 1, self.world.now
        if requests:
            request = choose.of(requests)
            amount, time = request.amount, request.executable_at + choose.once_in(16)
        arguments = {"owner": owner, "signer": choose.signer(owner)}
        self.step("cancel_withdraw_request", **arguments, amount=amount, executable_at=time)

    @rule(data=DRAWN)
    def cancel_timelock(self, data: st.DataObject) -> None:
        choose = Choices(data, self.world)
        owner = choose.owner(lambda vault: bool(vault.timelocks))
        timelocks = choose.vault(owner).timelocks
        if not timelocks and not choose.once_in(8):
            self.schedule_timelock(data)
            return
        amount, time = 1, self.world.now
        if timelocks:
            timelock = choose.of(timelocks)
            amount, time = timelock.amount, timelock.unlock_time + choose.once_in(16)
        arguments = {"owner": owner, "signer": choose.signer(owner)}
        cosigners = choose.cosigners(owner)
        self.step(
            "cancel_timelock", **arguments, cosigners=cosigners, amount=amount, unlock_time=time
        )

    @rule(data=DRAWN)
    def give(self, data: st.DataObject) -> None:
        """Send tokens without a deposit, after which the vault can never be closed."""
        choose = Choices(data, self.world)
        if choose.once_in(6):
            owner = choose.owner()
            amount, mint = choose.of([1, 0, 1000]), choose.mint(owner)
            self.step("give", source="eve", owner=owner, mint=mint, amount=amount)

    @rule(data=DRAWN)
    def let_time_pass(self, data: st.DataObject) -> None:
        """Advance the clock, often to exactly a deadline or to one second before it."""
        choose = Choices(data, self.world)
        now = self.world.now
        near = [
            when - now + shift
            for when in deadlines(self.world)
            for shift in (0, -1)
            if 0 < when - now + shift <= 2 * DAY
        ]
        self.wait(choose.of([*(near or [60]), *(near or [1]), 1, 60, 3600]))


def deadlines(world: World) -> list[int]:
    times = []
    for vault in world.vaults.values():
        times += [timelock.unlock_time for timelock in vault.timelocks]
        times += [request.executable_at for request in vault.requests]
        times += [request.executable_at + WEEK + 1 for request in vault.requests]
        times += [vault.exit_at, vault.exit_at + WEEK + 1]
        if vault.rate.limits:
            times.append(vault.rate.window_start + vault.rate.window_seconds)
    times += [request.executable_at for request in world.changes.values() if request]
    return times


def withdrawable(world: World, vault: Vault) -> int:
    now, programs = world.now, world.authority.programs
    summaries = [world.summaries.get((program, vault.owner)) for program in programs]
    if vault.locked or any(summary and summary.open_positions for summary in summaries):
        return 0
    matured = [timelock for timelock in vault.timelocks if timelock.unlock_time <= now]
    limit = vault.available + sum(timelock.amount for timelock in matured)
    return within_guards(world, vault, min(limit, U64 - vault.withdrawn))


def within_guards(world: World, vault: Vault, limit: int) -> int:
    """Return how much of `limit` the owner's delay and rate limit let out now."""
    now = world.now
    if vault.delay > 0:
        ripe = [each.amount for each in vault.requests if is_valid(each.executable_at, now)]
        limit = min(limit, sum(ripe))
    if vault.rate.limits:
        over = now >= vault.rate.window_start + vault.rate.window_seconds
        limit = min(limit, vault.rate.limit - (0 if over else vault.rate.withdrawn))
    return limit


def recipient(choose: Choices, vault: Vault) -> str:
    """Draw the owner or a whitelisted wallet, and rarely another one."""
    if choose.once_in(16):
        return choose.of([vault_of(vault.owner), vault_of("bob"), "gus", "eve"])
    whitelisted = [who for who in vault.whitelist if (who, vault.mint) in choose.world.tokens]
    return choose.of([vault.owner, *whitelisted])


def remaining(choose: Choices, owner: str, cosigners: list[str]) -> Remaining:
    """Draw each program's summary in order; rarely one missing, out of order or another's."""
    summaries = [(program, owner) for program in choose.world.authority.programs]
    if summaries and choose.once_in(12):
        match choose.of(["too few", "out of order", "another's"]):
            case "too few":
                summaries.pop()
            case "out of order":
                summaries.reverse()
            case "another's":
                summaries[-1] = (summaries[-1][0], choose.of(names.OWNERS))
    return [*summaries, *cosigners]

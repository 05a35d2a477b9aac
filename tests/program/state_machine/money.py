"""Specification: deposits, withdrawals, timelocks and withdrawal requests."""

from collections.abc import Sequence

from .model import (
    CAPACITY,
    I64,
    U64,
    Events,
    Refused,
    Request,
    Timelock,
    Vault,
    World,
    authorize,
    require,
    vault_of,
)

# Position summaries by program and owner, and names of extra signers.
Remaining = Sequence[tuple[str, str] | str]


def deposit(
    world: World, *, owner: str, authority: str, source: str, mint: str, amount: int
) -> Events:
    vault = world.vault(owner)
    require_outside(world, vault, source, mint)
    require(amount > 0, "InvalidAmount")
    if vault.threshold == 0:
        authorize(vault, authority, ())
    else:
        require(authority == owner, "Unauthorized")
    require(vault.total + amount <= U64, "Overflow")
    require(vault.deposited + amount <= U64, "Overflow")
    require(amount <= world.tokens[source, mint], "TokenInsufficientFunds")
    require(authority == source, "TokenOwnerMismatch")
    vault.available += amount
    vault.deposited += amount
    world.move(source, vault_of(owner), amount, mint)
    return [
        ("DepositEvent", {**named(vault), "amount": amount, **new_balances(vault)}),
        vault.record("Deposit", amount, world.now),
    ]


def withdraw(
    world: World,
    *,
    owner: str,
    authority: str,
    recipient: str,
    mint: str,
    amount: int,
    remaining: Remaining,
) -> Events:
    vault = world.vault(owner)
    require_outside(world, vault, recipient, mint)
    require(amount > 0, "InvalidAmount")
    programs = world.authority.programs
    require(len(remaining) >= len(programs), "PositionSummaryMissing")
    summaries, others = remaining[: len(programs)], remaining[len(programs) :]
    authorize(vault, authority, [other for other in others if isinstance(other, str)])
    require(recipient in {owner, *vault.whitelist}, "Unauthorized")
    released = release_matured(vault, world.now)
    for program, summary in zip(programs, summaries, strict=True):
        require(summary == (program, owner), "PositionSummaryInvalid")
        kept = world.summaries.get((program, owner))
        require(kept is None or kept.open_positions == 0, "OpenPositionsExist")
    require(vault.locked == 0, "OpenPositionsExist")
    pay_out(vault, amount)
    consume(vault, amount, world.now)
    world.move(vault_of(owner), recipient, amount, mint)
    return [
        *released,
        ("WithdrawEvent", {**named(vault), "amount": amount, **new_balances(vault)}),
        vault.record("Withdrawal", amount, world.now),
    ]


def consume(vault: Vault, amount: int, now: int) -> None:
    """Count a withdrawal against the owner's delay and rate limit."""
    if vault.delay > 0:
        consume_requests(vault, amount, now)
    if vault.rate.limits:
        consume_rate(vault, amount, now)


def consume_requests(vault: Vault, amount: int, now: int) -> None:
    """Take `amount` from matured requests, oldest first; the last one may be used in part."""
    for request in vault.requests:
        if request.executable_at <= now:
            used = min(amount, request.amount)
            request.amount -= used
            amount -= used
    require(amount == 0, "Unauthorized")
    vault.requests = [request for request in vault.requests if request.amount > 0]


def consume_rate(vault: Vault, amount: int, now: int) -> None:
    rate = vault.rate
    if now >= rate.window_start + rate.window_seconds:
        rate.window_start, rate.withdrawn = now, 0
    rate.withdrawn += amount
    require(rate.withdrawn <= rate.limit, "Unauthorized")


def emergency_withdraw(
    world: World,
    *,
    owner: str,
    authority: str,
    recipient: str,
    mint: str,
    amount: int,
    remaining: Sequence[str] = (),
) -> Events:
    """By governance, all but timelocks and yield; by the owner under his guards, if not locked."""
    vault = world.vault(owner)
    require_outside(world, vault, recipient, mint)
    require(amount > 0, "InvalidAmount")
    require(recipient == owner, "ConstraintTokenOwner")
    if authority == world.authority.governance:
        seized = max(0, amount - vault.available)
        require(seized <= vault.locked, "InsufficientFunds")
        vault.locked -= seized
        vault.available += seized
        pay_out(vault, amount)
    else:
        require(authority == owner, "Unauthorized")
        require(vault.locked == 0, "OpenPositionsExist")
        authorize(vault, authority, remaining)
        pay_out(vault, amount)
        consume(vault, amount, world.now)
    world.move(vault_of(owner), recipient, amount, mint)
    fields = {**named(vault), "authority": authority, "amount": amount, **new_balances(vault)}
    return [
        ("EmergencyWithdrawEvent", fields | {"new_locked_balance": vault.locked}),
        vault.record("EmergencyWithdrawal", amount, world.now),
    ]


def pay_out(vault: Vault, amount: int) -> None:
    vault.take(amount)
    require(vault.withdrawn + amount <= U64, "Overflow")
    vault.withdrawn += amount


def require_outside(world: World, vault: Vault, holder: str, mint: str) -> None:
    """Require a token account of the vault's mint that is not the vault's own."""
    require((holder, mint) in world.tokens, "InvalidTokenProgramOwner")
    require(mint == vault.mint, "ConstraintTokenMint")
    require(holder != vault_of(vault.owner), "ConstraintTokenOwner")


def schedule_timelock(
    world: World,
    *,
    owner: str,
    authority: str,
    cosigners: Sequence[str],
    amount: int,
    duration: int,
) -> Events:
    vault = world.vault(owner)
    require(amount > 0 and duration >= 0, "InvalidAmount")
    authorize(vault, authority, cosigners)
    unlock_time = world.now + duration
    require(unlock_time <= I64, "Overflow")
    vault.take(amount)
    require(len(vault.timelocks) < CAPACITY["timelocks"], "Overflow")
    vault.timelocks.append(Timelock(amount, unlock_time))
    fields = {**named(vault), "amount": amount, "unlock_time": unlock_time}
    fields["remaining_timelocks"] = len(vault.timelocks)
    return [("TimelockScheduledEvent", fields)]


def release_timelocks(world: World, *, owner: str, authority: str) -> Events:
    """Anyone may be the `authority`."""
    return release_matured(world.vault(owner), world.now)


def release_matured(vault: Vault, now: int) -> Events:
    matured = [timelock for timelock in vault.timelocks if timelock.unlock_time <= now]
    if not matured:
        return []
    released = sum(timelock.amount for timelock in matured)
    vault.timelocks = [timelock for timelock in vault.timelocks if timelock.unlock_time > now]
    vault.available += released
    fields = {**named(vault), "released_total": released}
    fields["remaining_timelocks"] = len(vault.timelocks)
    return [("TimelocksReleasedEvent", fields)]


def request_withdraw(world: World, *, owner: str, signer: str, amount: int) -> Events:
    """A request sets nothing aside: it is a permission that matures."""
    vault = world.vault(owner, given=signer)
    require(amount > 0, "InvalidAmount")
    require(vault.delay > 0, "Unauthorized")
    executable_at = world.now + vault.delay
    require(executable_at <= I64, "Overflow")
    require(len(vault.requests) < CAPACITY["requests"], "Overflow")
    vault.requests.append(Request(amount, world.now, executable_at))
    fields = {**named(vault), "amount": amount, "requested_at": world.now}
    fields |= {"executable_at": executable_at, "remaining_pending": len(vault.requests)}
    return [("WithdrawRequestedEvent", fields)]


def give(world: World, *, source: str, owner: str, mint: str, amount: int) -> Events:
    """A plain token transfer to a vault, which its recorded balances do not include."""
    holder = vault_of(owner)
    if (holder, mint) not in world.tokens:
        raise Refused("InvalidAccountData")
    world.move(source, holder, amount, mint)
    return []


def named(vault: Vault) -> dict[str, object]:
    return {"vault": vault.owner, "owner": vault.owner}


def new_balances(vault: Vault) -> dict[str, object]:
    return {"new_total_balance": vault.total, "new_available_balance": vault.available}

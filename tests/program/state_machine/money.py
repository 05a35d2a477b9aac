"""Specification: deposits, withdrawals, timelocks and withdrawal requests."""

from collections.abc import Sequence

from .model import (
    CAPACITY,
    I64,
    U64,
    WEEK,
    Events,
    Refused,
    Request,
    Timelock,
    Vault,
    World,
    authorize,
    is_valid,
    require,
    vault_of,
)

YEAR = 365 * 24 * 60 * 60

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
    require(world.now >= world.authority.paused_until, "WithdrawalsPaused")
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
    """Take `amount` from valid requests, oldest first; the last one may be used in part."""
    for request in vault.requests:
        if is_valid(request.executable_at, now):
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
    """By governance, all but timelocks and yield.

    By the owner, what is available, under his guards, while nothing is locked or during an exit.
    """
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
        require(vault.locked == 0 or vault.can_exit(world.now), "OpenPositionsExist")
        require(world.now >= world.authority.paused_until, "WithdrawalsPaused")
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
    by_delegate = vault.threshold == 0 and authority != owner
    require(duration <= YEAR or not by_delegate, "DurationTooLong")
    unlock_time = world.now + duration
    require(unlock_time <= I64, "Overflow")
    vault.take(amount)
    require(len(vault.timelocks) < CAPACITY["timelocks"], "Overflow")
    vault.timelocks.append(Timelock(amount, unlock_time, by_delegate))
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


def cancel_timelock(
    world: World,
    *,
    owner: str,
    signer: str,
    cosigners: Sequence[str],
    amount: int,
    unlock_time: int,
) -> Events:
    """Release a delegate's at once, an own one after the delay; an equal own one goes first."""
    vault, now = world.vault(owner, given=signer), world.now
    authorize(vault, owner, cosigners)
    equal = [
        each for each in vault.timelocks if (each.amount, each.unlock_time) == (amount, unlock_time)
    ]
    require(bool(equal), "NotFound")
    held = now < unlock_time <= now + vault.delay
    own = [each for each in equal if not each.by_delegate and not held]
    others = [each for each in equal if each.by_delegate]
    require(bool(own or others), "GuardInForce")
    chosen = (own or others)[0]
    chosen.unlock_time = min(unlock_time, now if chosen.by_delegate else now + vault.delay)
    fields = {**named(vault), "amount": amount, "unlock_time": unlock_time}
    fields["new_unlock_time"] = chosen.unlock_time
    if chosen.unlock_time <= now:
        vault.timelocks = [each for each in vault.timelocks if each is not chosen]
        vault.available += amount
    fields["new_available_balance"] = vault.available
    return [("TimelockCancelledEvent", fields | {"remaining_timelocks": len(vault.timelocks)})]


def request_withdraw(world: World, *, owner: str, signer: str, amount: int) -> Events:
    """A request sets nothing aside: it is a permission that matures and expires."""
    vault = world.vault(owner, given=signer)
    require(amount > 0, "InvalidAmount")
    require(vault.delay > 0, "Unauthorized")
    executable_at = world.now + vault.delay
    require(executable_at <= I64, "Overflow")
    full = len(vault.requests) == CAPACITY["requests"]
    if full or vault.requested + amount > vault.total:
        vault.requests = [each for each in vault.requests if world.now <= each.executable_at + WEEK]
    require(vault.requested + amount <= vault.total, "InsufficientFunds")
    require(len(vault.requests) < CAPACITY["requests"], "Overflow")
    vault.requests.append(Request(amount, world.now, executable_at))
    fields = {**named(vault), "amount": amount, "requested_at": world.now}
    fields |= {"executable_at": executable_at, "remaining_pending": len(vault.requests)}
    return [("WithdrawRequestedEvent", fields)]


def cancel_withdraw_request(
    world: World, *, owner: str, signer: str, amount: int, executable_at: int
) -> Events:
    vault = world.vault(owner, given=signer)
    for request in vault.requests:
        if (request.amount, request.executable_at) == (amount, executable_at):
            vault.requests = [each for each in vault.requests if each is not request]
            break
    else:
        raise Refused("NotFound")
    fields = {**named(vault), "amount": amount, "executable_at": executable_at}
    fields["remaining_pending"] = len(vault.requests)
    return [("WithdrawRequestCancelledEvent", fields)]


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

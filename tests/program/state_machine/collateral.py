"""Specification: collateral that position managers lock, unlock and transfer.

A position manager's own errors have the names of the vault program's errors.
"""

from collections.abc import Sequence

from .model import (
    I64,
    U64,
    WEEK,
    Event,
    Events,
    Limits,
    Summary,
    Vault,
    World,
    authorize,
    require,
    vault_of,
)
from .money import Remaining, named

DAY = 24 * 60 * 60


def init_position_summary(world: World, *, program: str, owner: str) -> Events:
    world.vault(owner)
    require((program, owner) not in world.summaries, "AlreadyInitialized")
    world.summaries[program, owner] = Summary()
    return []


def open_position(world: World, *, program: str, owner: str, authority: str, amount: int) -> Events:
    vault, summary = traded(world, program, owner, authority)
    require(amount > 0, "InvalidAmount")
    require(summary.locked + amount <= U64, "Overflow")
    summary.open_positions += 1
    summary.locked += amount
    require_caller(world, program)
    require(not world.authority.freeze, "Frozen")
    vault.take(amount)
    vault.locked += amount
    return [changed("LockEvent", vault, amount), vault.record("Lock", amount, world.now)]


def close_position(
    world: World, *, program: str, owner: str, authority: str, amount: int
) -> Events:
    """Positions are counted but not identified: some are open exactly while an amount is locked."""
    vault, summary = traded(world, program, owner, authority)
    require(amount > 0, "InvalidAmount")
    require(amount <= summary.locked, "InsufficientFunds")
    summary.locked -= amount
    summary.open_positions = max(1, summary.open_positions - 1) if summary.locked else 0
    require_caller(world, program)
    require(not world.authority.freeze, "Frozen")
    require(amount <= vault.locked, "InsufficientFunds")
    vault.locked -= amount
    vault.available += amount
    return [changed("UnlockEvent", vault, amount), vault.record("Unlock", amount, world.now)]


def traded(world: World, program: str, owner: str, authority: str) -> tuple[Vault, Summary]:
    """Require the owner or a delegate, whatever the multisig."""
    vault = world.vault(owner)
    require((program, owner) in world.summaries, "AccountNotInitialized")
    require(authority in {owner, *vault.delegates}, "Unauthorized")
    return vault, world.summaries[program, owner]


def rebalance_collateral(
    world: World, *, program: str, authority: str, giver: str, taker: str, amount: int
) -> Events:
    require(authority == world.authority.governance, "Unauthorized")
    require(amount > 0, "InvalidAmount")
    source, target = world.vault(giver), world.vault(taker)
    require(giver != taker, "ConstraintDuplicateMutableAccount")
    require(source.mint == target.mint, "ConstraintTokenMint")
    require_caller(world, program)
    require(not world.authority.freeze, "Frozen")
    from_locked = min(amount, source.locked)
    source.locked -= from_locked
    source.take(amount - from_locked)
    agreed(source, amount - from_locked)
    if world.limits:
        world.limits.apply_pending(world.now)
        count(source, amount, world.limits.vault_daily, world.now)
        count(world.limits, amount, world.limits.total_daily, world.now)
    require(target.total + amount <= U64, "Overflow")
    target.available += amount
    world.move(vault_of(giver), vault_of(taker), amount, source.mint)
    fields: dict[str, object] = {"from_vault": giver, "to_vault": taker, "amount": amount}
    fields |= {"from_new_total_balance": source.total, "to_new_total_balance": target.total}
    moved: dict[str, object] = {"from_vault": giver, "to_vault": taker, "caller": program}
    moved |= {"amount": amount, "from_locked": from_locked}
    moved |= {"from_new_locked_balance": source.locked}
    moved |= {"from_new_available_balance": source.available}
    return [
        ("TransferEvent", fields),
        source.record("Transfer", amount, world.now),
        ("CollateralTransferredEvent", moved | {"to_new_available_balance": target.available}),
    ]


def count(window: Vault | Limits, amount: int, limit: int, now: int) -> None:
    """Count it in a window of a day, which starts with its first transfer."""
    if now >= window.transfers_since + DAY:
        window.transfers_since, window.transferred = now, 0
    window.transferred += amount
    require(window.transferred <= limit, "TransferLimitExceeded")


def agreed(vault: Vault, unlocked: int) -> None:
    """Use up what the owner agreed to; the largest allowance lasts for ever."""
    require(unlocked <= vault.allowance, "TransferNotAgreed")
    if vault.allowance < U64:
        vault.allowance -= unlocked


def settle_position_summary(world: World, *, program: str, owner: str) -> Events:
    """Lower what the summary claims to what is locked in the vault, whoever asks for it."""
    vault = world.vault(owner)
    require((program, owner) in world.summaries, "AccountNotInitialized")
    summary = world.summaries[program, owner]
    require(summary.locked > vault.locked, "NotFound")
    summary.locked = vault.locked
    summary.open_positions = summary.open_positions if vault.locked else 0
    return []


def request_exit(world: World, *, owner: str, signer: str, cosigners: Sequence[str]) -> Events:
    vault = world.vault(owner, given=signer)
    authorize(vault, owner, cosigners)
    require(world.now + WEEK <= I64, "Overflow")
    vault.exit_at = world.now + WEEK
    return [("ExitRequestedEvent", {**named(vault), "exit_at": vault.exit_at})]


def release_unclaimed(world: World, *, owner: str, signer: str, remaining: Remaining) -> Events:
    """During an exit, unlock what no authorized program claims in its summary."""
    vault, programs = world.vault(owner, given=signer), world.authority.programs
    require(vault.can_exit(world.now), "NotExecutableNow")
    require(len(remaining) >= len(programs), "PositionSummaryMissing")
    claimed = 0
    for program, summary in zip(programs, remaining, strict=False):
        require(summary == (program, owner), "PositionSummaryInvalid")
        claimed += world.summaries.get((program, owner), Summary()).locked
    amount = vault.locked - claimed
    require(amount > 0, "NotFound")
    vault.locked -= amount
    vault.available += amount
    return [changed("CollateralReleasedEvent", vault, amount)]


def lock_collateral(world: World, *, owner: str, amount: int) -> Events:
    """A direct call, without a calling program."""
    world.vault(owner)
    require(amount > 0, "InvalidAmount")
    require(False, "UnauthorizedProgram")
    return []


unlock_collateral = lock_collateral


def transfer_collateral(world: World, *, giver: str, taker: str, amount: int) -> Events:
    source, target = world.vault(giver), world.vault(taker)
    require(giver != taker, "ConstraintDuplicateMutableAccount")
    require(source.mint == target.mint, "ConstraintTokenMint")
    require(amount > 0, "InvalidAmount")
    require(False, "UnauthorizedProgram")
    return []


def require_caller(world: World, program: str) -> None:
    require(program in world.authority.programs, "UnauthorizedProgram")


def changed(event: str, vault: Vault, amount: int) -> Event:
    fields = {**named(vault), "amount": amount, "new_locked_balance": vault.locked}
    return event, fields | {"new_available_balance": vault.available}

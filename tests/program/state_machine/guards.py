"""Specification: the owner's guards, and the changes that they hold up."""

from collections.abc import Sequence

from .model import (
    CAPACITY,
    I64,
    Events,
    GuardChange,
    GuardRequest,
    Rate,
    Vault,
    World,
    enough_sign,
    insert,
    require,
)
from .money import named
from .policy import whitelist_event

DAY = 24 * 60 * 60
WEEK, YEAR = 7 * DAY, 365 * DAY


def wait(vault: Vault) -> int:
    """Return how long a loosening change must have been requested; 0 without a guard."""
    delay = min(vault.delay, YEAR)
    return max(delay, WEEK) if vault.threshold else delay


def loosens(vault: Vault, change: GuardChange) -> bool:
    match change:
        case ("Multisig", (_, threshold)):
            return bool(vault.threshold or (vault.delay and threshold))
        case ("WithdrawMinDelay", (seconds,)):
            return bool(seconds < vault.delay)
        case ("WithdrawRateLimit", (window_seconds, limit)):
            old, new = vault.rate, Rate(window_seconds, limit)
            smaller = new.limits and limit <= old.limit and window_seconds >= old.window_seconds
            return old.limits and not smaller
        case ("TransferAllowance", (amount,)):
            return bool(amount > vault.allowance)
    return True


def validate(change: GuardChange) -> None:
    match change:
        case ("Multisig", (signers, threshold)):
            require(threshold <= len(signers), "InvalidAmount")
        case ("WithdrawMinDelay", (seconds,)):
            require(seconds >= 0, "InvalidAmount")


def change_at_once(
    world: World, owner: str, signer: str, cosigners: Sequence[str], change: GuardChange
) -> Events:
    vault = world.vault(owner, given=signer)
    validate(change)
    if wait(vault) and loosens(vault, change):
        signed = vault.threshold > 0 and enough_sign(vault, [signer, *cosigners])
        require(signed, "GuardInForce")
    return make(world, vault, change)


def make(world: World, vault: Vault, change: GuardChange) -> Events:
    match change:
        case ("Multisig", (signers, threshold)):
            vault.signers, vault.threshold = [], threshold
            for each in signers:
                insert(vault.signers, each, "signers")
            fields = {"threshold": threshold, "signers": signers}
            return [("MultisigSetEvent", {**named(vault), **fields})]
        case ("WithdrawMinDelay", (seconds,)):
            vault.delay = seconds
            return [("WithdrawMinDelaySetEvent", {**named(vault), "seconds": seconds})]
        case ("WithdrawRateLimit", (window_seconds, limit)):
            old = vault.rate
            runs_on = wait(vault) and old.limits and not loosens(vault, change)
            window = (old.window_start, old.withdrawn) if runs_on else (world.now, 0)
            vault.rate = Rate(window_seconds, limit, *window)
            fields = {"window_seconds": window_seconds, "max_amount": limit}
            return [("WithdrawRateLimitSetEvent", {**named(vault), **fields})]
        case ("WhitelistAddition", (who,)):
            insert(vault.whitelist, who, "whitelist")
            return [whitelist_event(vault, who, added=True)]
        case ("TransferAllowance", (amount,)):
            vault.allowance = amount
            return [("TransferAllowanceSetEvent", {**named(vault), "amount": amount})]
    raise AssertionError(f"no change: {change}")


# At once


def set_vault_multisig(
    world: World,
    *,
    owner: str,
    signer: str,
    signers: Sequence[str],
    threshold: int,
    cosigners: Sequence[str] = (),
) -> Events:
    change = ("Multisig", (tuple(signers), threshold))
    return change_at_once(world, owner, signer, cosigners, change)


def disable_vault_multisig(
    world: World, *, owner: str, signer: str, cosigners: Sequence[str] = ()
) -> Events:
    return change_at_once(world, owner, signer, cosigners, ("Multisig", ((), 0)))


def set_withdraw_min_delay(
    world: World, *, owner: str, signer: str, seconds: int, cosigners: Sequence[str] = ()
) -> Events:
    change = ("WithdrawMinDelay", (seconds,))
    return change_at_once(world, owner, signer, cosigners, change)


def set_withdraw_rate_limit(
    world: World,
    *,
    owner: str,
    signer: str,
    window_seconds: int,
    max_amount: int,
    cosigners: Sequence[str] = (),
) -> Events:
    change = ("WithdrawRateLimit", (window_seconds, max_amount))
    return change_at_once(world, owner, signer, cosigners, change)


def add_withdraw_whitelist(
    world: World, *, owner: str, signer: str, who: str, cosigners: Sequence[str] = ()
) -> Events:
    return change_at_once(world, owner, signer, cosigners, ("WhitelistAddition", (who,)))


def set_transfer_allowance(
    world: World, *, owner: str, signer: str, amount: int, cosigners: Sequence[str] = ()
) -> Events:
    change = ("TransferAllowance", (amount,))
    return change_at_once(world, owner, signer, cosigners, change)


# By request


def request_guard_change(world: World, *, owner: str, signer: str, change: GuardChange) -> Events:
    validate(change)
    if change[0] == "Multisig":
        signers = change[1][0]
        require(len(signers) <= CAPACITY["signers"], "Overflow")
        require(len({*signers}) == len(signers), "AlreadyExists")
    vault = world.vault(owner, given=signer)
    seconds = wait(vault)
    require(seconds > 0, "Unauthorized")
    require(world.changes.get((owner, change)) is None, "AlreadyExists")
    require(world.now + seconds <= I64, "Overflow")
    request = GuardRequest(world.now, world.now + seconds)
    world.changes[owner, change] = request
    fields = {"executable_at": request.executable_at, "change": change}
    return [("GuardChangeRequestedEvent", {**named(vault), **fields})]


def apply_guard_change(world: World, *, owner: str, signer: str, change: GuardChange) -> Events:
    vault = world.vault(owner, given=signer)
    request = world.changes.get((owner, change))
    if request is None:
        return require_found()
    first = max(request.executable_at, request.requested_at + wait(vault))
    in_time = first <= world.now <= request.executable_at + WEEK
    require(in_time and request.requested_at > vault.created_at, "NotExecutableNow")
    events = make(world, vault, change)
    world.changes[owner, change] = None
    return [*events, ("GuardChangeAppliedEvent", {**named(vault), "change": change})]


def cancel_guard_change(world: World, *, owner: str, authority: str, change: GuardChange) -> Events:
    if world.changes.get((owner, change)) is None:
        return require_found()
    if authority != owner:
        vault = world.vault(owner)
        require(vault.threshold > 0 and authority in vault.signers, "Unauthorized")
    world.changes[owner, change] = None
    fields: dict[str, object] = {"vault": owner, "owner": owner, "authority": authority}
    return [("GuardChangeCancelledEvent", fields | {"change": change})]


def require_found() -> Events:
    require(False, "AccountNotInitialized")
    return []

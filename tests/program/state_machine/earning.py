"""Specification: yield, and the pools that pay it."""

from collections.abc import Sequence

from .model import Event, Events, Stake, Vault, World, authorize, require, vault_of
from .money import named

YEAR = 365 * 24 * 60 * 60
BASIS_POINTS = 10_000
# The annual interest rate of all pools at first.
RATE_BPS = 10_000
MINT = "usdt"


def yield_deposit(
    world: World,
    *,
    owner: str,
    authority: str,
    cosigners: Sequence[str],
    program: str,
    called: bool,
    amount: int,
) -> Events:
    """Move tokens if the program is `called`; otherwise move only recorded balances."""
    vault = earner(world, owner, [authority, *cosigners], program, amount)
    choose_program(vault, authority, program, called=called)
    vault.take(amount)
    events = put_in(world, vault, program, amount) if called else []
    vault.in_yield += amount
    vault.kept += 0 if called else amount
    return [*events, *changed("Deposit", world, vault, program, amount)]


def yield_withdraw(
    world: World,
    *,
    owner: str,
    authority: str,
    cosigners: Sequence[str],
    program: str,
    called: bool,
    amount: int,
) -> Events:
    vault = earner(world, owner, [authority, *cosigners], program, amount, comes_back=True)
    require(amount <= vault.in_yield, "InsufficientYieldBalance")
    vault.in_yield -= amount
    if called:
        require(vault.in_yield >= vault.kept, "InsufficientYieldBalance")
        events = take_out(world, vault, program, amount)
    else:
        require(amount <= vault.kept, "InvariantViolation")
        vault.kept -= amount
        events = []
    vault.available += amount
    if vault.in_yield == 0:
        vault.yield_program = None
    return [*events, *changed("Withdraw", world, vault, program, amount)]


def compound_yield(
    world: World,
    *,
    owner: str,
    authority: str,
    cosigners: Sequence[str],
    program: str,
    called: bool,
    amount: int,
) -> Events:
    """The pool pays the interest it owes and takes it as principal, so that the total grows."""
    vault = earner(world, owner, [authority, *cosigners], program, amount)
    require(called, "InsufficientYieldBalance")  # without a call nothing accrues
    choose_program(vault, authority, program, called=called)
    events = [claim(world, vault, program, amount), *put_in(world, vault, program, amount)]
    vault.in_yield += amount
    vault.compounded_at = world.now
    fields = {**named(vault), "program": program, "compounded_amount": amount}
    fields |= {"new_yield_balance": vault.in_yield, "last_compounded_at": world.now}
    events += [("YieldCompoundEvent", fields), vault.record("YieldCompound", amount, world.now)]
    return events


def earner(
    world: World,
    owner: str,
    signers: Sequence[str],
    program: str,
    amount: int,
    *,
    comes_back: bool = False,
) -> Vault:
    vault = world.vault(owner)
    require(amount > 0, "InvalidAmount")
    authorize(vault, signers[0], signers[1:])
    listed = program in world.authority.yield_programs
    require(listed or (comes_back and program == vault.yield_program), "YieldProgramNotWhitelisted")
    return vault


def choose_program(vault: Vault, authority: str, program: str, *, called: bool) -> None:
    """Lend to the active program; to another one only while nothing is lent, and by the owner."""
    if program == vault.yield_program:
        return
    require(vault.threshold > 0 or authority == vault.owner, "Unauthorized")
    if vault.in_yield == vault.kept:
        vault.yield_program = program
    else:
        require(not called, "AnotherYieldProgramHolds")


def changed(what: str, world: World, vault: Vault, program: str, amount: int) -> Events:
    fields = {**named(vault), "program": program, "amount": amount}
    fields |= {"new_yield_balance": vault.in_yield, "new_available_balance": vault.available}
    return [(f"Yield{what}Event", fields), vault.record(f"Yield{what}", amount, world.now)]


# The yield program


def enter_pool(world: World, *, program: str, owner: str) -> Events:
    require((program, owner) not in world.stakes, "AlreadyInitialized")
    world.stakes[program, owner] = Stake()
    return [
        (
            "PositionOpened",
            {"pool": program, "position": (program, owner), "owner": vault_of(owner)},
        )
    ]


def put_in(world: World, vault: Vault, program: str, amount: int) -> Events:
    stake = staked(world, vault, program)
    stake.principal += amount
    world.move(vault_of(vault.owner), program, amount, vault.mint)
    return [principal_changed("Deposited", world, vault, program, amount)]


def take_out(world: World, vault: Vault, program: str, amount: int) -> Events:
    stake = staked(world, vault, program)
    require(amount <= stake.principal, "InsufficientPrincipal")
    stake.principal -= amount
    world.move(program, vault_of(vault.owner), amount, vault.mint)
    return [principal_changed("Withdrawn", world, vault, program, amount)]


def claim(world: World, vault: Vault, program: str, amount: int) -> Event:
    """Interest is simple and is paid in whole units from the pool's reserve."""
    stake = staked(world, vault, program)
    require(amount <= claimable(stake), "InsufficientInterest")
    stake.earned -= amount * BASIS_POINTS * YEAR
    reserve = reserve_of(program)
    require(amount <= world.tokens[reserve, MINT], "InsufficientReserve")
    world.move(reserve, vault_of(vault.owner), amount, MINT)
    fields: dict[str, object] = {"pool": program, "owner": vault_of(vault.owner)}
    return "Claimed", fields | {"amount": amount, "new_reserve": world.tokens[reserve, MINT]}


def staked(world: World, vault: Vault, program: str) -> Stake:
    require((program, vault.owner) in world.stakes, "AccountNotInitialized")
    require(vault.mint == MINT, "ConstraintTokenMint")
    return world.stakes[program, vault.owner]


def claimable(stake: Stake) -> int:
    return stake.earned // (BASIS_POINTS * YEAR)


def reserve_of(program: str) -> str:
    return f"{program}'s reserve"


def principal_changed(event: str, world: World, vault: Vault, program: str, amount: int) -> Event:
    stakes = [stake for (of, _), stake in world.stakes.items() if of == program]
    fields: dict[str, object] = {"pool": program, "owner": vault_of(vault.owner), "amount": amount}
    fields["new_principal"] = world.stakes[program, vault.owner].principal
    return event, fields | {"new_total_principal": sum(stake.principal for stake in stakes)}

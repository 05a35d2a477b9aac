"""The state of the specification: what the vault program keeps, in plain Python.

People, programs and mints are names; times are seconds. The specification is in `money`,
`collateral`, `earning`, `policy`, `guards` and `pool_admin`, with one function for each
instruction, under its name. A function changes the world and returns the events. If it raises
`Refused`, the caller discards the world. Checks run in the program's order, since the first failing
check determines the error.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

U64 = 2**64 - 1
I64 = 2**63 - 1
NOBODY = "nobody"
"""The name of the address of zeros."""
CAPACITY = {
    "signers": 10,
    "delegates": 16,
    "timelocks": 64,
    "requests": 64,
    "whitelist": 32,
    "programs": 64,
    "yield_programs": 64,
}

WEEK = 7 * 24 * 60 * 60

Event = tuple[str, dict[str, object]]
Events = list[Event]


class Refused(Exception):
    """Raised when the instruction is refused with the error of this name."""

    def __init__(self, error: str) -> None:
        super().__init__(error)
        self.error = error


def require(condition: bool, error: str) -> None:
    if not condition:
        raise Refused(error)


@dataclass(slots=True)
class Timelock:
    amount: int
    unlock_time: int
    by_delegate: bool = False


@dataclass(slots=True)
class Request:
    amount: int
    requested_at: int
    executable_at: int


@dataclass(slots=True)
class Rate:
    """The withdrawal limit of a time window; it applies if window and limit are both set."""

    window_seconds: int = 0
    limit: int = 0
    window_start: int = 0
    withdrawn: int = 0

    @property
    def limits(self) -> bool:
        return self.window_seconds > 0 and self.limit > 0


@dataclass(slots=True)
class Vault:
    """A vault. `kept` is the part of `in_yield` that never left the vault's token account."""

    owner: str
    mint: str
    created_at: int
    available: int = 0
    locked: int = 0
    in_yield: int = 0
    kept: int = 0
    deposited: int = 0
    withdrawn: int = 0
    compounded_at: int = 0
    yield_program: str | None = None
    threshold: int = 0
    signers: list[str] = field(default_factory=list)
    delegates: list[str] = field(default_factory=list)
    timelocks: list[Timelock] = field(default_factory=list)
    delay: int = 0
    allowance: int = 0
    requests: list[Request] = field(default_factory=list)
    exit_at: int = 0
    whitelist: list[str] = field(default_factory=list)
    rate: Rate = field(default_factory=Rate)
    transferred: int = 0
    transfers_since: int = 0

    @property
    def total(self) -> int:
        """The sum of all balances; every unit is in exactly one of them."""
        timelocked = sum(timelock.amount for timelock in self.timelocks)
        return self.available + self.locked + timelocked + self.in_yield

    @property
    def requested(self) -> int:
        return sum(request.amount for request in self.requests)

    def can_exit(self, now: int) -> bool:
        return self.exit_at > 0 and is_valid(self.exit_at, now)

    def take(self, amount: int) -> None:
        require(amount <= self.available, "InsufficientFunds")
        self.available -= amount

    def record(self, kind: str, amount: int, now: int) -> Event:
        """Return the event that records a movement in the vault's history."""
        fields: dict[str, object] = {"vault": self.owner, "owner": self.owner}
        fields |= {"transaction_type": kind, "amount": amount, "timestamp": now}
        return "TransactionEvent", fields


# The variant of a change of an owner's guards, and the values of its fields in order.
GuardChange = tuple[str, tuple[Any, ...]]


@dataclass(slots=True)
class GuardRequest:
    requested_at: int
    executable_at: int


@dataclass(slots=True)
class Authority:
    governance: str
    programs: list[str] = field(default_factory=list)
    freeze: bool = False
    cpi_enforced: bool = False
    yield_programs: list[str] = field(default_factory=list)
    risk_level: int = 0
    proposed: str = NOBODY
    paused_until: int = 0
    pause_allowed_at: int = 0


@dataclass(slots=True)
class Limits:
    """What may be transferred within a day; what waits to replace it from `pending_at` on."""

    vault_daily: int
    total_daily: int
    transferred: int = 0
    transfers_since: int = 0
    pending_vault_daily: int = 0
    pending_total_daily: int = 0
    pending_at: int = 0

    def apply_pending(self, now: int) -> None:
        if 0 < self.pending_at <= now:
            self.vault_daily, self.total_daily = self.pending_vault_daily, self.pending_total_daily
            self.pending_vault_daily = self.pending_total_daily = self.pending_at = 0


@dataclass(slots=True)
class Summary:
    """A position manager's summary of one vault."""

    open_positions: int = 0
    locked: int = 0


@dataclass(slots=True)
class Stake:
    """A vault's position in a pool. `earned` is in units of principal, basis point and second."""

    principal: int = 0
    earned: int = 0


@dataclass(slots=True)
class World:
    """The whole state. `tokens` are the amounts of token accounts by holder and mint.

    Summaries are by position manager and owner, stakes by yield program and owner, rates in basis
    points by yield program, requested guard changes by owner and change; None is one that was
    requested and is there no longer.
    """

    now: int
    authority: Authority
    limits: Limits | None = None
    vaults: dict[str, Vault] = field(default_factory=dict)
    summaries: dict[tuple[str, str], Summary] = field(default_factory=dict)
    stakes: dict[tuple[str, str], Stake] = field(default_factory=dict)
    rates: dict[str, int] = field(default_factory=dict)
    tokens: dict[tuple[str, str], int] = field(default_factory=dict)
    changes: dict[tuple[str, GuardChange], GuardRequest | None] = field(default_factory=dict)

    def vault(self, owner: str, /, *, given: str | None = None) -> Vault:
        """Return the vault of `owner`, whom the instruction must also give as the owner."""
        require(owner in self.vaults, "AccountNotInitialized")
        require(given in {None, owner}, "ConstraintSeeds")
        return self.vaults[owner]

    def move(self, source: str, target: str, amount: int, mint: str) -> None:
        """Transfer tokens, as the token program does."""
        require(amount <= self.tokens[source, mint], "TokenInsufficientFunds")
        self.tokens[source, mint] -= amount
        self.tokens[target, mint] += amount

    def wait(self, seconds: int) -> None:
        """Advance the clock, and accrue interest on what is in yield pools."""
        self.now += seconds
        for (program, _), stake in self.stakes.items():
            stake.earned += stake.principal * self.rates[program] * seconds


def is_valid(start: int, now: int) -> bool:
    """Return True for a week from `start`, for a request that has matured and for an exit."""
    return start <= now <= start + WEEK


def vault_of(owner: str) -> str:
    """Return the name that holds a vault's tokens."""
    return f"{owner}'s vault"


def authorize(vault: Vault, authority: str, cosigners: Sequence[str]) -> None:
    """Require the owner or a delegate; under multisig, enough signers, each counted once."""
    if vault.threshold == 0:
        require(authority in {vault.owner, *vault.delegates}, "Unauthorized")
    else:
        require(enough_sign(vault, [authority, *cosigners]), "Unauthorized")


def enough_sign(vault: Vault, signers: Sequence[str]) -> bool:
    return len({*signers} & {*vault.signers}) >= vault.threshold


def insert(entries: list[str], entry: str, capacity: str) -> None:
    require(entry not in entries, "AlreadyExists")
    require(len(entries) < CAPACITY[capacity], "Overflow")
    entries.append(entry)


def remove(entries: list[str], entry: str) -> None:
    require(entry in entries, "NotFound")
    entries.remove(entry)

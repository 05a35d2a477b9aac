"""Replies about one vault's state: the fields of its account, interpreted at a time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from solders.pubkey import Pubkey

from cvms.store.vaults.vaults import VaultRow

UNSET_KEY = str(Pubkey.default())
LATEST = int(datetime(9999, 12, 31, tzinfo=UTC).timestamp())


class Multisig(msgspec.Struct, frozen=True, kw_only=True):
    """How many of the signers a withdrawal needs; with 0 the owner or a delegate is enough."""

    threshold: int
    signers: list[str]


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """The owner's limits against the theft of a key; 0 where nothing is set."""

    min_withdraw_delay_seconds: int
    rate_window_seconds: int
    rate_limit_amount: int


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """An amount that is due at `until_time` (Unix seconds).

    `until` is the same time as a date, null beyond the year 9999. `remaining_seconds` is 0 once the
    amount is due.
    """

    amount: int
    until_time: int
    until: datetime | None
    remaining_seconds: int


class VaultConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Who may act for a vault, and the limits of withdrawals, as of `slot`."""

    owner: str
    vault: str
    multisig: Multisig
    delegates: list[str]
    policy: Policy
    withdraw_whitelist: list[str]
    slot: int
    as_of: datetime | None


class VaultTimelocks(msgspec.Struct, frozen=True, kw_only=True):
    """A vault's timelocks, in the order of the account. `matured` may be released at `now`."""

    owner: str
    vault: str
    timelocked: int
    matured: int
    timelocks: list[Waiting]
    now: datetime
    slot: int
    as_of: datetime | None


class RateLimit(msgspec.Struct, frozen=True, kw_only=True):
    """At most `limit` may be withdrawn within a window; `used` of it has been in the current one.

    `resets_at` is null while no window is running: the next withdrawal starts one.
    """

    window_seconds: int
    limit: int
    used: int
    remaining: int
    resets_at: datetime | None
    resets_in_seconds: int | None


class VaultLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of a vault's withdrawals. `rate` is null if no rate limit is set.

    With a minimum delay, at most `ready` may be withdrawn: the sum of the requests that are due.
    """

    owner: str
    vault: str
    rate: RateLimit | None
    min_delay_seconds: int
    pending: list[Waiting]
    ready: int
    now: datetime
    slot: int
    as_of: datetime | None


class VaultState(msgspec.Struct, frozen=True, kw_only=True):
    """A vault's whole account as of `slot`. `active_yield_program` is null if there is none."""

    owner: str
    vault: str
    token_account: str
    mint: str
    balance: int
    available: int
    locked: int
    timelocked: int
    yield_deposited: int
    yield_accrued: int
    active_yield_program: str | None
    last_compounded_at: datetime | None
    total_deposited: int
    total_withdrawn: int
    created_at: datetime | None
    multisig: Multisig
    delegates: list[str]
    policy: Policy
    withdraw_whitelist: list[str]
    rate: RateLimit | None
    timelocks: list[Waiting]
    pending_withdrawals: list[Waiting]
    now: datetime
    slot: int
    as_of: datetime | None


class _Timelock(msgspec.Struct, frozen=True):
    amount: int
    unlock_time: int


class _Pending(msgspec.Struct, frozen=True):
    amount: int
    executable_at: int


class VaultAccountState(msgspec.Struct, frozen=True):
    """The row's `state`: the account's fields that have no column, named as in the IDL."""

    total_deposited: int
    total_withdrawn: int
    yield_accrued_balance: int
    last_compounded_at: int
    active_yield_program: str
    created_at: int
    multisig_threshold: int
    multisig_signers: list[str]
    timelocks: list[_Timelock]
    min_withdraw_delay_seconds: int
    pending_withdrawals: list[_Pending]
    withdraw_whitelist: list[str]
    rate_window_seconds: int
    rate_limit_amount: int
    last_withdrawal_window_start: int
    withdrawn_in_window: int


class VaultView:
    """An open vault's row, interpreted at the time `now`."""

    def __init__(self, row: VaultRow, now: datetime) -> None:
        self.row = row
        self.now = now
        self.account = msgspec.convert(row.state, VaultAccountState)
        self.timelocks = [self._waiting(t.amount, t.unlock_time) for t in self.account.timelocks]
        self.pending = [
            self._waiting(each.amount, each.executable_at)
            for each in self.account.pending_withdrawals
        ]
        self.rate = self._rate()

    @property
    def phase(self) -> str:
        """A text that changes when the passing of time makes something due or ends the window."""
        window = self.rate is not None and self.rate.resets_at is not None
        return f"{_count_due(self.timelocks)}-{_count_due(self.pending)}-{window:d}"

    def state(self) -> VaultState:
        row, account = self.row, self.account
        return VaultState(
            **self._identity(),
            token_account=row.token_account,
            mint=row.mint,
            balance=row.total,
            available=row.available,
            locked=row.locked,
            timelocked=row.timelocked,
            yield_deposited=row.yield_deposited,
            yield_accrued=account.yield_accrued_balance,
            active_yield_program=(
                None if account.active_yield_program == UNSET_KEY else account.active_yield_program
            ),
            last_compounded_at=_datetime(account.last_compounded_at or None),
            total_deposited=account.total_deposited,
            total_withdrawn=account.total_withdrawn,
            created_at=_datetime(account.created_at),
            **self._settings(),
            rate=self.rate,
            timelocks=self.timelocks,
            pending_withdrawals=self.pending,
            now=self.now,
        )

    def config(self) -> VaultConfig:
        return VaultConfig(**self._identity(), **self._settings())

    def timelock_list(self) -> VaultTimelocks:
        return VaultTimelocks(
            **self._identity(),
            timelocked=self.row.timelocked,
            matured=_sum_due(self.timelocks),
            timelocks=self.timelocks,
            now=self.now,
        )

    def limits(self) -> VaultLimits:
        return VaultLimits(
            **self._identity(),
            rate=self.rate,
            min_delay_seconds=self.account.min_withdraw_delay_seconds,
            pending=self.pending,
            ready=_sum_due(self.pending),
            now=self.now,
        )

    def _identity(self) -> dict[str, Any]:
        row = self.row
        return {
            "owner": row.owner,
            "vault": row.vault,
            "slot": row.slot,
            "as_of": row.updated_at,
        }

    def _settings(self) -> dict[str, Any]:
        account = self.account
        return {
            "multisig": Multisig(
                threshold=account.multisig_threshold, signers=account.multisig_signers
            ),
            "delegates": list(self.row.delegates),
            "policy": Policy(
                min_withdraw_delay_seconds=account.min_withdraw_delay_seconds,
                rate_window_seconds=account.rate_window_seconds,
                rate_limit_amount=account.rate_limit_amount,
            ),
            "withdraw_whitelist": account.withdraw_whitelist,
        }

    def _waiting(self, amount: int, until: int) -> Waiting:
        return Waiting(
            amount=amount,
            until_time=until,
            until=_datetime(until),
            remaining_seconds=self._seconds_until(until),
        )

    def _rate(self) -> RateLimit | None:
        account = self.account
        window, limit = account.rate_window_seconds, account.rate_limit_amount
        if window == 0 or limit == 0:  # to the program, either means no limit
            return None
        end = account.last_withdrawal_window_start + window
        remaining = self._seconds_until(end)
        used = account.withdrawn_in_window if remaining else 0
        return RateLimit(
            window_seconds=window,
            limit=limit,
            used=used,
            remaining=limit - used,
            resets_at=_datetime(end) if remaining else None,
            resets_in_seconds=remaining or None,
        )

    def _seconds_until(self, time: int) -> int:
        return max(0, time - int(self.now.timestamp()))


def _datetime(seconds: int | None) -> datetime | None:
    # An owner may schedule a timelock for any time of 64 bits.
    if seconds is None or not 0 <= seconds <= LATEST:
        return None
    return datetime.fromtimestamp(seconds, UTC)


def _sum_due(waiting: Sequence[Waiting]) -> int:
    return sum(each.amount for each in waiting if not each.remaining_seconds)


def _count_due(waiting: Sequence[Waiting]) -> int:
    return sum(not each.remaining_seconds for each in waiting)

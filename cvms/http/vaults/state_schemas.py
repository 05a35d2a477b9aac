"""What the routes about one vault's state answer: the account's fields, read with the time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from solders.pubkey import Pubkey

from cvms.store.vaults.vaults import VaultRow

NOBODY = str(Pubkey.default())
LATEST = int(datetime(9999, 12, 31, tzinfo=UTC).timestamp())


class Multisig(msgspec.Struct, frozen=True, kw_only=True):
    """How many of the signers a withdrawal needs; 0: the owner or a delegate alone."""

    threshold: int
    signers: list[str]


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What the owner has set against a stolen key; zeros where nothing is set."""

    min_withdraw_delay_seconds: int
    rate_window_seconds: int
    rate_limit_amount: int


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """An amount that waits until `until_time` (Unix seconds).

    `until` is the same as a date, null beyond the year 9999; `remaining_seconds` is 0 once it is
    due.
    """

    amount: int
    until_time: int
    until: datetime | None
    remaining_seconds: int


class VaultConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Who may act for a vault, and within which bounds, as of `slot`."""

    owner: str
    vault: str
    multisig: Multisig
    delegates: list[str]
    policy: Policy
    withdraw_whitelist: list[str]
    slot: int
    as_of: datetime | None


class VaultTimelocks(msgspec.Struct, frozen=True, kw_only=True):
    """The timelocks of a vault, in the account's order; `matured` may be released at `now`."""

    owner: str
    vault: str
    timelocked: int
    matured: int
    timelocks: list[Waiting]
    now: datetime
    slot: int
    as_of: datetime | None


class RateLimit(msgspec.Struct, frozen=True, kw_only=True):
    """At most `limit` may leave within `window_seconds`; `used` of it has, since the window began.

    `resets_at` is null while no window runs: the next withdrawal begins one.
    """

    window_seconds: int
    limit: int
    used: int
    remaining: int
    resets_at: datetime | None
    resets_in_seconds: int | None


class VaultLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What bounds the withdrawals of a vault; `rate` is null where no rate is set.

    With a minimum delay, at most `ready` may be withdrawn: requests that are due.
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
    """The whole account of a vault as of `slot`; `active_yield_program` is null while none is."""

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


class Account(msgspec.Struct, frozen=True):
    """What the row's `state` holds beside the row's columns: fields as in the IDL."""

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
    """An open vault's row, read at a time."""

    def __init__(self, row: VaultRow, now: datetime) -> None:
        self.row = row
        self.now = now
        self.account = msgspec.convert(row.state, Account)
        self.timelocks = [self._waiting(t.amount, t.unlock_time) for t in self.account.timelocks]
        self.pending = [
            self._waiting(each.amount, each.executable_at)
            for each in self.account.pending_withdrawals
        ]
        self.rate = self._rate()

    @property
    def phase(self) -> str:
        """What time alone has changed, but for the seconds that are left."""
        window = self.rate is not None and self.rate.resets_at is not None
        return f"{_due(self.timelocks)}-{_due(self.pending)}-{window:d}"

    def state(self) -> VaultState:
        row, account = self.row, self.account
        return VaultState(
            **self._known(),
            token_account=row.token_account,
            mint=row.mint,
            balance=row.total,
            available=row.available,
            locked=row.locked,
            timelocked=row.timelocked,
            yield_deposited=row.yield_deposited,
            yield_accrued=account.yield_accrued_balance,
            active_yield_program=(
                None if account.active_yield_program == NOBODY else account.active_yield_program
            ),
            last_compounded_at=_moment(account.last_compounded_at or None),
            total_deposited=account.total_deposited,
            total_withdrawn=account.total_withdrawn,
            created_at=_moment(account.created_at),
            **self._settings(),
            rate=self.rate,
            timelocks=self.timelocks,
            pending_withdrawals=self.pending,
            now=self.now,
        )

    def config(self) -> VaultConfig:
        return VaultConfig(**self._known(), **self._settings())

    def timelock_list(self) -> VaultTimelocks:
        return VaultTimelocks(
            **self._known(),
            timelocked=self.row.timelocked,
            matured=_matured(self.timelocks),
            timelocks=self.timelocks,
            now=self.now,
        )

    def limits(self) -> VaultLimits:
        return VaultLimits(
            **self._known(),
            rate=self.rate,
            min_delay_seconds=self.account.min_withdraw_delay_seconds,
            pending=self.pending,
            ready=_matured(self.pending),
            now=self.now,
        )

    def _known(self) -> dict[str, Any]:
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
            until=_moment(until),
            remaining_seconds=self._left(until),
        )

    def _rate(self) -> RateLimit | None:
        account = self.account
        window, limit = account.rate_window_seconds, account.rate_limit_amount
        if window == 0 or limit == 0:  # the program takes either for no limit
            return None
        ends = account.last_withdrawal_window_start + window
        left = self._left(ends)
        used = account.withdrawn_in_window if left else 0
        return RateLimit(
            window_seconds=window,
            limit=limit,
            used=used,
            remaining=limit - used,
            resets_at=_moment(ends) if left else None,
            resets_in_seconds=left or None,
        )

    def _left(self, until: int) -> int:
        return max(0, until - int(self.now.timestamp()))


def _moment(seconds: int | None) -> datetime | None:
    # Whoever schedules chooses the time, up to the end of 64 bits.
    if seconds is None or not 0 <= seconds <= LATEST:
        return None
    return datetime.fromtimestamp(seconds, UTC)


def _matured(waiting: Sequence[Waiting]) -> int:
    return sum(each.amount for each in waiting if not each.remaining_seconds)


def _due(waiting: Sequence[Waiting]) -> int:
    return sum(not each.remaining_seconds for each in waiting)

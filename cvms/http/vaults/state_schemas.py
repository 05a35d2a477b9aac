"""Replies about one vault's state: the fields of its account, interpreted at a time.

`VaultState` has them all; the other replies are parts of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec
from solders.pubkey import Pubkey

from cvms.amounts import Amount
from cvms.chain.program.accounts import VALID_SECONDS
from cvms.http.framework import schemas
from cvms.store.vaults.vaults import VaultRow

DAY_SECONDS = 24 * 60 * 60
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
    rate_limit_amount: Amount


class Waiting(msgspec.Struct, frozen=True, kw_only=True):
    """An amount that is due at `until_time` (Unix seconds).

    `until` is the same time as a date, null beyond the year 9999. `remaining_seconds` is 0 once the
    amount is due.
    """

    amount: Amount
    until_time: int
    until: datetime | None
    remaining_seconds: int


class Timelock(Waiting, frozen=True, kw_only=True):
    """A timelock. One `by_delegate` can be cancelled by the owner at once."""

    by_delegate: bool


class WithdrawalRequest(Waiting, frozen=True, kw_only=True):
    """A requested withdrawal, which may be made from `until_time` to `expires_time`."""

    expires_time: int
    expires: datetime | None
    expired: bool


class Exit(msgspec.Struct, frozen=True, kw_only=True):
    """An exit, which is in effect from `exit_time` to `expires_time` (Unix seconds).

    Meanwhile the owner can release locked tokens that no position claims, and withdraw what is
    available although something is locked.
    """

    exit_time: int
    expires_time: int
    in_effect: bool


class VaultConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Signers, delegates and withdrawal limits of a vault, as of `slot`.

    `transfer_allowance` is how much may be transferred to other vaults beyond what is locked;
    2^64 - 1 is any amount.
    """

    owner: str
    vault: str
    multisig: Multisig
    delegates: list[str]
    policy: Policy
    withdraw_whitelist: list[str]
    transfer_allowance: Amount
    slot: int
    as_of: datetime | None


class VaultTimelocks(msgspec.Struct, frozen=True, kw_only=True):
    """A vault's timelocks, in the order of the account. `matured` may be released at `now`."""

    owner: str
    vault: str
    timelocked: Amount
    matured: Amount
    timelocks: list[Timelock]
    now: datetime
    slot: int
    as_of: datetime | None


class RateLimit(msgspec.Struct, frozen=True, kw_only=True):
    """At most `limit` may be withdrawn within a window; `used` of it has been in the current one.

    `resets_at` is null while no window is running: the next withdrawal starts one.
    """

    window_seconds: int
    limit: Amount
    used: Amount
    remaining: Amount
    resets_at: datetime | None
    resets_in_seconds: int | None


class VaultLimits(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of a vault's withdrawals. `rate` is null if no rate limit is set.

    `used` is what was withdrawn within the last day, `window_seconds`, whether there is a limit or
    not; `limit` is that of `rate`, which counts in windows of its own. With a minimum delay, at
    most `ready` may be withdrawn: the sum of the requests that are due and have not expired.
    """

    owner: str
    vault: str
    rate: RateLimit | None
    min_delay_seconds: int
    pending: list[WithdrawalRequest]
    ready: Amount
    window_seconds: int = DAY_SECONDS
    used: Amount = 0
    limit: Amount | None = None
    now: datetime
    slot: int
    as_of: datetime | None


class VaultState(msgspec.Struct, frozen=True, kw_only=True):
    """A vault's whole account as of `slot`.

    `active_yield_program` and `exit` are null if there is none, `exit` also once it has expired.
    """

    owner: str
    vault: str
    token_account: str
    mint: str
    balance: Amount
    available: Amount
    locked: Amount
    timelocked: Amount
    yield_deposited: Amount
    yield_accrued: Amount
    active_yield_program: str | None
    last_compounded_at: datetime | None
    total_deposited: Amount
    total_withdrawn: Amount
    created_at: datetime | None
    multisig: Multisig
    delegates: list[str]
    policy: Policy
    withdraw_whitelist: list[str]
    rate: RateLimit | None
    timelocks: list[Timelock]
    pending_withdrawals: list[WithdrawalRequest]
    transfer_allowance: Amount
    exit: Exit | None
    now: datetime
    slot: int
    as_of: datetime | None

    # Fields of `VaultTimelocks` and `VaultLimits`.

    @property
    def matured(self) -> int:
        return _sum_due(self.timelocks)

    @property
    def pending(self) -> list[WithdrawalRequest]:
        return self.pending_withdrawals

    @property
    def ready(self) -> int:
        return _sum_due(each for each in self.pending if not each.expired)

    @property
    def min_delay_seconds(self) -> int:
        return self.policy.min_withdraw_delay_seconds

    @property
    def phase(self) -> str:
        """A text that changes when the passing of time makes something due or ends the window."""
        matured = sum(not each.remaining_seconds for each in self.timelocks)
        ready = sum(not each.remaining_seconds for each in self.pending)
        expired = sum(each.expired for each in self.pending)
        window = self.rate is not None and self.rate.resets_at is not None
        exits = self.exit is not None and self.exit.in_effect
        return f"{matured}-{ready}-{expired}-{window:d}-{self.exit is not None:d}{exits:d}"


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
    transfer_allowance: int = 0
    exit_at: int = 0
    delegate_timelocks: int = 0


def vault_state(row: VaultRow, now: datetime) -> VaultState:
    """Return the state of an open vault, interpreted at the time `now`."""
    account = msgspec.convert(row.state, VaultAccountState)
    program = account.active_yield_program
    return VaultState(
        owner=row.owner,
        vault=row.vault,
        token_account=row.token_account,
        mint=row.mint,
        balance=row.total,
        available=row.available,
        locked=row.locked,
        timelocked=row.timelocked,
        yield_deposited=row.yield_deposited,
        yield_accrued=account.yield_accrued_balance,
        active_yield_program=None if program == UNSET_KEY else program,
        last_compounded_at=_datetime(account.last_compounded_at or None),
        total_deposited=account.total_deposited,
        total_withdrawn=account.total_withdrawn,
        created_at=_datetime(account.created_at),
        multisig=Multisig(threshold=account.multisig_threshold, signers=account.multisig_signers),
        delegates=list(row.delegates),
        policy=schemas.reply_of(account, Policy),
        withdraw_whitelist=account.withdraw_whitelist,
        rate=_rate(account, now),
        timelocks=_timelocks(account, now),
        pending_withdrawals=[_request(each, now) for each in account.pending_withdrawals],
        transfer_allowance=account.transfer_allowance,
        exit=_exit(account.exit_at, now),
        now=now,
        slot=row.slot,
        as_of=row.updated_at,
    )


def _timelocks(account: VaultAccountState, now: datetime) -> list[Timelock]:
    return [
        Timelock(
            amount=each.amount,
            until_time=each.unlock_time,
            until=_datetime(each.unlock_time),
            remaining_seconds=_seconds_until(each.unlock_time, now),
            by_delegate=bool(account.delegate_timelocks >> place & 1),
        )
        for place, each in enumerate(account.timelocks)
    ]


def _request(entry: _Pending, now: datetime) -> WithdrawalRequest:
    expires = entry.executable_at + VALID_SECONDS
    return WithdrawalRequest(
        amount=entry.amount,
        until_time=entry.executable_at,
        until=_datetime(entry.executable_at),
        remaining_seconds=_seconds_until(entry.executable_at, now),
        expires_time=expires,
        expires=_datetime(expires),
        expired=int(now.timestamp()) > expires,
    )


def _exit(exit_at: int, now: datetime) -> Exit | None:
    expires, seconds = exit_at + VALID_SECONDS, int(now.timestamp())
    if exit_at == 0 or seconds > expires:
        return None
    return Exit(exit_time=exit_at, expires_time=expires, in_effect=seconds >= exit_at)


def _rate(account: VaultAccountState, now: datetime) -> RateLimit | None:
    window, limit = account.rate_window_seconds, account.rate_limit_amount
    if window == 0 or limit == 0:  # to the program, either means no limit
        return None
    end = account.last_withdrawal_window_start + window
    remaining = _seconds_until(end, now)
    used = account.withdrawn_in_window if remaining else 0
    return RateLimit(
        window_seconds=window,
        limit=limit,
        used=used,
        remaining=limit - used,
        resets_at=_datetime(end) if remaining else None,
        resets_in_seconds=remaining or None,
    )


def _seconds_until(time: int, now: datetime) -> int:
    return max(0, time - int(now.timestamp()))


def _datetime(seconds: int | None) -> datetime | None:
    # An owner may schedule a timelock for any time of 64 bits.
    if seconds is None or not 0 <= seconds <= LATEST:
        return None
    return datetime.fromtimestamp(seconds, UTC)


def _sum_due(waiting: Iterable[Waiting]) -> int:
    return sum(each.amount for each in waiting if not each.remaining_seconds)

"""Replies about the whole state of a vault, and lists of vaults."""

from __future__ import annotations

from datetime import datetime

import msgspec

from cvms.client.schemas import Balance


class VaultList(msgspec.Struct, frozen=True):
    """A page of vaults. The last one has no `next_cursor`."""

    vaults: list[Balance]
    next_cursor: str | None


class Multisig(msgspec.Struct, frozen=True):
    """The signers of withdrawals. With a `threshold` of 0, the owner or a delegate suffices."""

    threshold: int
    signers: list[str]


class Policy(msgspec.Struct, frozen=True):
    """Limits of withdrawals that the owner has set. Zeros are no limit."""

    min_withdraw_delay_seconds: int
    rate_window_seconds: int
    rate_limit_amount: int


class Waiting(msgspec.Struct, frozen=True):
    """An amount that waits until `until_time` (Unix seconds). `until` is None after year 9999."""

    amount: int
    until_time: int
    until: datetime | None
    remaining_seconds: int


class RateLimit(msgspec.Struct, frozen=True):
    """At most `limit` may be withdrawn within a window. `resets_at` is None while none is open."""

    window_seconds: int
    limit: int
    used: int
    remaining: int
    resets_at: datetime | None


class VaultConfig(msgspec.Struct, frozen=True):
    """Signers, delegates and limits of a vault."""

    owner: str
    vault: str
    multisig: Multisig
    delegates: list[str]
    policy: Policy
    withdraw_whitelist: list[str]
    slot: int


class VaultTimelocks(msgspec.Struct, frozen=True):
    """A vault's timelocks. The `matured` amount may be released."""

    owner: str
    vault: str
    timelocked: int
    matured: int
    timelocks: list[Waiting]
    slot: int


class VaultLimits(msgspec.Struct, frozen=True):
    """Limits of a vault's withdrawals. With a minimum delay, at most `ready` is available now.

    `used` was withdrawn within the last day, with or without a limit.
    """

    owner: str
    vault: str
    rate: RateLimit | None
    min_delay_seconds: int
    pending: list[Waiting]
    ready: int
    used: int
    slot: int


class VaultState(msgspec.Struct, frozen=True):
    """The whole account of a vault."""

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
    total_deposited: int
    total_withdrawn: int
    multisig: Multisig
    delegates: list[str]
    policy: Policy
    withdraw_whitelist: list[str]
    rate: RateLimit | None
    timelocks: list[Waiting]
    pending_withdrawals: list[Waiting]
    slot: int

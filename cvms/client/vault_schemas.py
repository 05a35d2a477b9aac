"""What the service answers about the whole of one vault, and lists of them."""

from __future__ import annotations

from datetime import datetime

import msgspec

from cvms.client.schemas import Balance


class VaultList(msgspec.Struct, frozen=True):
    """A page of vaults; no `next_cursor` on the last one."""

    vaults: list[Balance]
    next_cursor: str | None


class Multisig(msgspec.Struct, frozen=True):
    """How many of the signers a withdrawal needs; 0: the owner or a delegate alone."""

    threshold: int
    signers: list[str]


class Policy(msgspec.Struct, frozen=True):
    """What the owner has set against a stolen key; zeros where nothing is set."""

    min_withdraw_delay_seconds: int
    rate_window_seconds: int
    rate_limit_amount: int


class Waiting(msgspec.Struct, frozen=True):
    """An amount that waits: `until` is None beyond the year 9999, `until_time` is in seconds."""

    amount: int
    until_time: int
    until: datetime | None
    remaining_seconds: int


class RateLimit(msgspec.Struct, frozen=True):
    """At most `limit` may leave within a window; `resets_at` is None while none runs."""

    window_seconds: int
    limit: int
    used: int
    remaining: int
    resets_at: datetime | None


class VaultConfig(msgspec.Struct, frozen=True):
    """Who may act for a vault, and within which bounds."""

    owner: str
    vault: str
    multisig: Multisig
    delegates: list[str]
    policy: Policy
    withdraw_whitelist: list[str]
    slot: int


class VaultTimelocks(msgspec.Struct, frozen=True):
    """A vault's timelocks; `matured` may be released."""

    owner: str
    vault: str
    timelocked: int
    matured: int
    timelocks: list[Waiting]
    slot: int


class VaultLimits(msgspec.Struct, frozen=True):
    """What bounds a vault's withdrawals. With a minimum delay, at most `ready` may leave now."""

    owner: str
    vault: str
    rate: RateLimit | None
    min_delay_seconds: int
    pending: list[Waiting]
    ready: int
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

"""Replies about the whole state of a vault, its statement, and lists of vaults."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

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


class Timelock(Waiting, frozen=True, kw_only=True):
    """A timelock. One `by_delegate` can be cancelled by the owner at once."""

    by_delegate: bool = False


class WithdrawalRequest(Waiting, frozen=True, kw_only=True):
    """A requested withdrawal, which may be made from `until_time` to `expires_time`."""

    expires_time: int = 0
    expires: datetime | None = None
    expired: bool = False


class Exit(msgspec.Struct, frozen=True):
    """An exit, which is in effect from `exit_time` to `expires_time` (Unix seconds)."""

    exit_time: int
    expires_time: int
    in_effect: bool


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
    transfer_allowance: int = 0


class VaultTimelocks(msgspec.Struct, frozen=True):
    """A vault's timelocks. The `matured` amount may be released."""

    owner: str
    vault: str
    timelocked: int
    matured: int
    timelocks: list[Timelock]
    slot: int


class VaultLimits(msgspec.Struct, frozen=True):
    """Limits of a vault's withdrawals. With a minimum delay, at most `ready` is available now.

    `used` was withdrawn within the last day, with or without a limit.
    """

    owner: str
    vault: str
    rate: RateLimit | None
    min_delay_seconds: int
    pending: list[WithdrawalRequest]
    ready: int
    used: int
    slot: int


class VaultState(msgspec.Struct, frozen=True):
    """The whole account of a vault. `exit` is None without one, and once it has expired."""

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
    timelocks: list[Timelock]
    pending_withdrawals: list[WithdrawalRequest]
    slot: int
    transfer_allowance: int = 0
    exit: Exit | None = None


class GuardChange(msgspec.Struct, frozen=True):
    """A requested change of guards. Times are Unix seconds of the chain's clock."""

    change: str
    requested_at: int
    executable_at: int
    expires_at: int
    executable: bool


class GuardChanges(msgspec.Struct, frozen=True):
    """The changes of its guards that a vault's owner has requested."""

    owner: str
    vault: str
    changes: list[GuardChange]


class Balances(msgspec.Struct, frozen=True):
    """The balances of a vault, or by how much they change."""

    total: int
    available: int
    locked: int
    timelocked: int
    yield_deposited: int

    def plus(self, change: Balances) -> Balances:
        """Return the balances after the change."""
        return Balances(
            total=self.total + change.total,
            available=self.available + change.available,
            locked=self.locked + change.locked,
            timelocked=self.timelocked + change.timelocked,
            yield_deposited=self.yield_deposited + change.yield_deposited,
        )


class StatementLine(msgspec.Struct, frozen=True):
    """A change of a vault's balances, and the balances after it.

    A line of kind `correction` says what the vault's account was found to hold, and has neither a
    time nor a signature.
    """

    slot: int
    kind: str
    amount: int
    change: Balances
    balances: Balances
    block_time: datetime | None = None
    signature: str | None = None


class BalancesAtSlot(Balances, frozen=True, kw_only=True):
    """The balances at the end of `slot`, None before the first."""

    slot: int | None


class Statement(msgspec.Struct, frozen=True):
    """The lines of the slots from `from_slot` to before `to_slot`, oldest first.

    It is `complete`, or there are `more` lines from the slot `next_from` on, or what follows
    `final_slot` is `pending`.
    """

    owner: str
    from_slot: int
    to_slot: int
    status: Literal["complete", "more", "pending"]
    opening: BalancesAtSlot
    closing: BalancesAtSlot
    lines: list[StatementLine]
    next_from: int | None = None
    final_slot: int | None = None

    @property
    def adds_up(self) -> bool:
        """Whether the opening balances and the lines make the closing ones."""
        opening = msgspec.structs.asdict(self.opening)
        del opening["slot"]
        now = Balances(**opening)
        for line in self.lines:
            now = now.plus(line.change)
            if now != line.balances:
                return False
        return msgspec.structs.replace(self.closing, **msgspec.structs.asdict(now)) == self.closing

"""Checking the code of a second factor, which signed requests need once the owner has enabled one.

Only wrong codes count, and only with the owner's valid signature: a stranger cannot lock out an
owner. A thief of the wallet's key can, but only for time-based codes. Recovery codes are too long
to guess, so they are accepted at any time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cvms.errors import (
    Conflict,
    InvalidSecondFactor,
    RateLimited,
    SecondFactorRequired,
    SecondFactorUsed,
    TwoFactorDisabled,
)
from cvms.http.auth import totp
from cvms.http.auth.credential import SignedRequest
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.request import current_request
from cvms.store.postgres.driver.connection import Connection
from cvms.store.security import audit_log, second_factors
from cvms.store.security.encryption import SecretBox
from cvms.store.security.second_factors import Factor

HEADER = "X-2FA-CODE"
# After this many wrong codes in a row, time-based codes are locked. Each further wrong code doubles
# the lock, up to one guess a day, each of which is right with a probability of 1 in 330,000.
MAX_FAILURES = 5
FIRST_LOCK = timedelta(seconds=30)
MAX_LOCK = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Step:
    """A time-based code, identified by its step; `newest` is the last step valid with it."""

    number: int
    newest: int

    async def use(self, conn: Connection, owner: str) -> None:
        await second_factors.use_step(conn, owner, self.number, newest=self.newest)


@dataclass(frozen=True, slots=True)
class RecoveryCode:
    """A recovery code, identified by its hash."""

    hash: bytes

    async def use(self, conn: Connection, owner: str) -> None:
        await second_factors.use_recovery_code(conn, owner, self.hash)


@dataclass(slots=True, eq=False)
class SecondFactor:
    """A signed request with the code that came with it.

    An owner whose second factor is off needs no code; with `required`, it must be on.
    """

    signed: SignedRequest
    code: str = field(repr=False)
    secret_box: SecretBox = field(repr=False)
    required: bool = False
    _checked_at: datetime | None = field(default=None, init=False)

    @property
    def actor(self) -> str:
        return self.signed.actor

    async def check(self, deps: Dependencies) -> None:
        """Raise unless signature, nonce and code are valid now. Counts a wrong code."""
        await self.signed.check(deps)
        async with deps.database.transaction() as conn:
            try:
                await self._match(conn)
            except _WrongCode as error:
                await self._count_failure(conn, error.factor)
                wrong = error
            else:
                return
        raise wrong  # outside the transaction, which must commit the count

    async def consume(self, conn: Connection) -> None:
        """Use up the nonce and the code, which has to be valid at the time of its check."""
        await self.signed.consume(conn)
        match = await self._match(conn)
        if match is not None:
            await match.use(conn, self.actor)

    async def _match(self, conn: Connection) -> Step | RecoveryCode | None:
        """Identify the code; None if the owner needs none.

        Locks the owner's row, so that the result holds until the transaction ends.
        """
        factor = await second_factors.lock(conn, self.actor)
        if factor is None or factor.enabled_at is None:
            if self.required:
                raise Conflict(f"{self.actor} has no second factor enabled.")
            return None
        if not self.code:
            raise SecondFactorRequired(
                f"{self.actor} has enabled a second factor. Send a code in the header {HEADER}."
            )
        self._checked_at = self._checked_at or factor.now
        return await self._recovery_code(conn) or self._step(factor, self._checked_at)

    async def _recovery_code(self, conn: Connection) -> RecoveryCode | None:
        if not totp.is_recovery_code(self.code):
            return None
        hashed = totp.recovery_hash(self.actor, self.code)
        used = await second_factors.recovery_code_used(conn, self.actor, hashed)
        if used:
            raise SecondFactorUsed("This recovery code has been used. Send another one.")
        return None if used is None else RecoveryCode(hashed)

    def _step(self, factor: Factor, at: datetime) -> Step:
        seconds = math.ceil(remaining_lock(factor, at).total_seconds())
        if seconds > 0:
            raise RateLimited(
                f"Too many wrong codes. Try again in {seconds} s, or send a recovery code.",
                retry_after=seconds,
            )
        if not self.secret_box.enabled:
            raise TwoFactorDisabled(
                f"The second factor of {self.actor} cannot be checked, since DATA_ENCRYPTION_KEYS "
                "is not set. Send a recovery code."
            )
        steps = totp.matching_steps(factor.secret(self.secret_box), self.code, at.timestamp())
        if not steps:
            raise _WrongCode(factor)
        step = Step(steps[-1], totp.newest_step(at.timestamp()))
        if factor.step_used(step.number, newest=step.newest):
            raise SecondFactorUsed("This code or a later one has been used. Wait for the next one.")
        return step

    async def _count_failure(self, conn: Connection, factor: Factor) -> None:
        failures = factor.failures + 1
        lock = lock_after(failures)
        until = factor.now + lock if lock else None
        await second_factors.fail(conn, self.actor, until)
        await audit_log.record(
            conn,
            actor=self.actor,
            action="second_factor",
            owner=self.actor,
            outcome="refused",
            details={
                "request": self.signed.text.partition(":")[0],
                "failures": failures,
                "locked_until": until and until.isoformat(),
            },
        )


class _WrongCode(InvalidSecondFactor):
    """The code does not match `factor`, the owner's second factor."""

    def __init__(self, factor: Factor) -> None:
        super().__init__(f"The code in {HEADER} is not a current code of {factor.owner}.")
        self.factor = factor


def second_factor(
    deps: Dependencies, signed: SignedRequest, *, required: bool = False
) -> SecondFactor:
    """Return the signed request with the code of the current HTTP request."""
    return SecondFactor(
        signed,
        code=(current_request().header(HEADER.lower()) or "").strip(),
        secret_box=deps.secret_box,
        required=required,
    )


def lock_after(failures: int) -> timedelta:
    """Return for how long this many failures lock time-based codes."""
    doublings = failures - MAX_FAILURES
    if doublings < 0:
        return timedelta()
    return min(FIRST_LOCK * (1 << min(doublings, 20)), MAX_LOCK)


def remaining_lock(factor: Factor, at: datetime) -> timedelta:
    """Return how long time-based codes are still locked at `at`.

    A lock that would last longer than it ever does began while the clock was ahead, and is over:
    the next wrong code locks again.
    """
    if factor.locked_until is None:
        return timedelta()
    remaining = factor.locked_until - at
    return remaining if remaining <= lock_after(factor.failures) else timedelta()

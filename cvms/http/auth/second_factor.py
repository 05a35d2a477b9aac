"""The code of a second factor, which a signed request must show once its owner has set one up.

Only wrong codes count, and only under the owner's good signature: a stranger cannot lock anybody
out. Whoever has stolen the wallet's key can, but only from the codes that change with time:
recovery codes are too long to be guessed, so they are good at any time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from quart import request

from cvms.errors import (
    Conflict,
    InvalidSecondFactor,
    RateLimited,
    SecondFactorRequired,
    SecondFactorUsed,
    TwoFactorDisabled,
)
from cvms.http.auth import totp
from cvms.http.auth.requester import SignedRequest
from cvms.http.framework.dependencies import Dependencies
from cvms.store.postgres.driver.connection import Connection
from cvms.store.security import audit_log, second_factors
from cvms.store.security.encryption import SecretBox
from cvms.store.security.second_factors import Factor

HEADER = "X-2FA-CODE"
# So many wrong codes, one after another, close the door; each that follows for twice as long as
# the one before. By then a guess a day is left, of which one in 330,000 is right.
MOST_FAILURES = 5
FIRST_LOCK = timedelta(seconds=30)
LONGEST_LOCK = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Step:
    """A code that changes with time, known by its step."""

    number: int

    async def use(self, conn: Connection, owner: str) -> None:
        await second_factors.use_step(conn, owner, self.number)


@dataclass(frozen=True, slots=True)
class RecoveryCode:
    """A recovery code, known by its hash."""

    hash: bytes

    async def use(self, conn: Connection, owner: str) -> None:
        await second_factors.use_recovery_code(conn, owner, self.hash)


@dataclass(frozen=True, slots=True)
class SecondFactor:
    """A signed request, and the code that came with it at a time.

    An owner whose second factor is off shows none, unless it is `required` to be on.
    """

    signed: SignedRequest
    code: str = field(repr=False)
    at: datetime
    sealer: SecretBox = field(repr=False)
    required: bool = False

    @property
    def actor(self) -> str:
        return self.signed.actor

    async def check(self, deps: Dependencies) -> None:
        """Raise unless signature, nonce and code are good now. Counts a wrong code."""
        await self.signed.check(deps)
        async with deps.database.transaction() as conn:
            try:
                await self._proof(conn)
            except _Wrong as error:
                await self._count(conn, error.factor)
                wrong = error
            else:
                return
        raise wrong

    async def consume(self, conn: Connection) -> None:
        """Use up the nonce and the code, which is judged by the time at which it came."""
        await self.signed.consume(conn)
        proof = await self._proof(conn)
        if proof is not None:
            await proof.use(conn, self.actor)

    async def _proof(self, conn: Connection) -> Step | RecoveryCode | None:
        """What the code is, None where none is needed. Holds the owner's row, so that what is
        said of it holds until the transaction ends.
        """
        factor = await second_factors.lock(conn, self.actor)
        if factor is None or factor.enabled_at is None:
            if self.required:
                raise Conflict(f"The second factor of {self.actor} is not on.")
            return None
        if not self.code:
            raise SecondFactorRequired(
                f"The second factor of {self.actor} is on: send a code of it as {HEADER}."
            )
        return await self._recovery_code(conn) or self._step(factor)

    async def _recovery_code(self, conn: Connection) -> RecoveryCode | None:
        if not totp.is_recovery_code(self.code):
            return None
        hashed = totp.recovery_hash(self.actor, self.code)
        used = await second_factors.recovery_code_used(conn, self.actor, hashed)
        if used:
            raise SecondFactorUsed("This recovery code was used before: each is good for once.")
        return None if used is None else RecoveryCode(hashed)

    def _step(self, factor: Factor) -> Step:
        if factor.locked_until is not None and self.at < factor.locked_until:
            seconds = math.ceil((factor.locked_until - self.at).total_seconds())
            raise RateLimited(
                f"Too many wrong codes. Try again in {seconds} s, or send a recovery code.",
                retry_after=seconds,
            )
        if not self.sealer.enabled:
            raise TwoFactorDisabled(
                f"The second factor of {self.actor} is on, but DATA_ENCRYPTION_KEYS is not set. "
                "Only a recovery code can be checked."
            )
        steps = totp.matching_steps(factor.secret(self.sealer), self.code, self.at.timestamp())
        if not steps:
            raise _Wrong(factor)
        if steps[-1] <= factor.last_step:
            raise SecondFactorUsed("This code, or one after it, was used before: take the next.")
        return Step(steps[-1])

    async def _count(self, conn: Connection, factor: Factor) -> None:
        failures = factor.failures + 1
        until = locked_until(failures, self.at)
        await second_factors.fail(conn, self.actor, until)
        details = {
            "request": self.signed.text.partition(":")[0],
            "failures": failures,
            "locked_until": None if until is None else until.isoformat(),
        }
        await audit_log.record(
            conn,
            actor=self.actor,
            action="second_factor",
            owner=self.actor,
            outcome="refused",
            details=details,
        )


class _Wrong(InvalidSecondFactor):
    """A code that is none of the owner's: `factor` is what it was held against."""

    def __init__(self, factor: Factor) -> None:
        super().__init__(f"The code in {HEADER} is none of {factor.owner}'s at this time.")
        self.factor = factor


def second_factor(
    deps: Dependencies, signed: SignedRequest, *, required: bool = False
) -> SecondFactor:
    """The signed request with the code of the present HTTP request, which came just now."""
    return SecondFactor(
        signed,
        code=request.headers.get(HEADER, "").strip(),
        at=datetime.fromtimestamp(deps.wall_clock(), UTC),
        sealer=deps.secret_box,
        required=required,
    )


def locked_until(failures: int, at: datetime) -> datetime | None:
    """Until when no code is looked at, after so many wrong ones of which the last came at `at`."""
    doublings = failures - MOST_FAILURES
    if doublings < 0:
        return None
    return at + min(FIRST_LOCK * (1 << min(doublings, 20)), LONGEST_LOCK)

"""/api/2fa: an owner sets up a second factor, shows that the device has it, and takes it away."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
import trio
from quart import request
from solders.pubkey import Pubkey

from cvms.errors import (
    Conflict,
    DecryptionFailed,
    InvalidSecondFactor,
    InvalidSignature,
    NonceExpired,
    NonceUnknown,
    NonceUsed,
    NotFound,
    TwoFactorDisabled,
)
from cvms.http.auth import totp
from cvms.http.auth.second_factor import second_factor
from cvms.http.auth.signed_body import Signed
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.operation_metrics import counted
from cvms.http.framework.request import Body, owner_in_path
from cvms.http.framework.response import Reply
from cvms.http.framework.routing import Auth, Route
from cvms.store.postgres.driver.connection import Connection
from cvms.store.security import audit_log, second_factors
from cvms.store.security.second_factors import Factor

# How long a setup waits for its first code.
SETUP_AGE = timedelta(hours=1)
# Nobody signs `verify`, so that a stranger may guess: wrong codes end the setup, not the owner's
# access, and most of a stranger's guesses end at the limit of one address (`rate_limits`).
MOST_GUESSES = 50

TotpCode = Annotated[str, msgspec.Meta(pattern=r"^[0-9]{6}\Z")]


class Verify(Body, frozen=True):
    owner: Pubkey
    code: TotpCode


class TwoFactorSetup(msgspec.Struct, frozen=True):
    """What a device needs, told this once. `qr_code` shows `otpauth_uri`: a PNG as a data URI."""

    secret: str
    otpauth_uri: str
    qr_code: str
    recovery_codes: list[str]


class TwoFactorStatus(msgspec.Struct, frozen=True):
    """Whether, and since when, withdrawals take a code; and how many recovery codes are unused."""

    enabled: bool
    since: datetime | None
    recovery_codes_left: int


async def setup(deps: Dependencies, body: Signed) -> Reply:
    """A new secret and recovery codes, in place of those that no code was shown of yet."""
    with counted(deps, "twofa_setup"):
        _require_keys(deps)
        signed = body.request("twofa_setup")
        await signed.check(deps)
        owner, secret, codes = str(body.owner), totp.new_secret(), totp.new_recovery_codes()
        uri = totp.uri_of(secret, owner)
        image = await trio.to_thread.run_sync(totp.image_of, uri)
        async with deps.database.transaction() as conn:
            await signed.consume(conn)
            await second_factors.begin(
                conn,
                owner,
                secret=secret,
                hashes=[totp.recovery_hash(owner, code) for code in codes],
                at=_now(deps),
                sealer=deps.secret_box,
            )
            await audit_log.record(conn, actor=owner, action="twofa_setup", owner=owner)
    return Reply(TwoFactorSetup(secret, uri, image, codes))


async def verify(deps: Dependencies, body: Verify) -> Reply:
    """Show the first code: from now on withdrawals take one. This code is used up by it.

    Nobody signs here: only whoever has got the secret can know a code.
    """
    with counted(deps, "twofa_verify"):
        _require_keys(deps)
        owner, now = str(body.owner), _now(deps)
        await deps.limits.admit_guess(request, owner)
        async with deps.database.transaction() as conn:
            factor = _waiting(await second_factors.lock(conn, owner), owner, now)
            secret = factor.secret(deps.secret_box)
            steps = totp.matching_steps(secret, body.code, now.timestamp())
            if steps:
                await second_factors.enable(conn, owner, steps[-1], now)
                await audit_log.record(conn, actor=owner, action="twofa_enable", owner=owner)
            else:
                await _count(conn, factor)
    if not steps:
        raise InvalidSecondFactor("The code is none of the secret that waits to be verified.")
    return Reply(TwoFactorStatus(True, now, totp.RECOVERY_CODES))


def _waiting(factor: Factor | None, owner: str, now: datetime) -> Factor:
    if factor is None or (factor.enabled_at is None and now - factor.created_at > SETUP_AGE):
        raise NotFound(f"No second factor of {owner} waits to be verified: set one up first.")
    if factor.enabled_at is not None:
        raise Conflict(f"The second factor of {owner} is on already.")
    return factor


async def _count(conn: Connection, factor: Factor) -> None:
    guesses = factor.failures + 1
    if guesses < MOST_GUESSES:
        await second_factors.fail(conn, factor.owner, None)
    else:
        await second_factors.remove(conn, factor.owner)
    details = {"guesses": guesses, "setup_ended": guesses >= MOST_GUESSES}
    await audit_log.record(
        conn,
        actor="anonymous",
        action="twofa_enable",
        owner=factor.owner,
        outcome="refused",
        details=details,
    )


async def disable(deps: Dependencies, body: Signed) -> Reply:
    """Take the second factor away, with its recovery codes. Takes a code in X-2FA-CODE."""
    with counted(deps, "twofa_disable"):
        _require_keys(deps)
        owner = str(body.owner)
        shown = second_factor(deps, body.request("twofa_disable"), required=True)
        await shown.check(deps)
        async with deps.database.transaction() as conn:
            await shown.consume(conn)
            await second_factors.remove(conn, owner)
            await audit_log.record(conn, actor=owner, action="twofa_disable", owner=owner)
    return Reply(OFF)


async def status(deps: Dependencies, owner: str) -> Reply:
    """Whether an owner's second factor is on. Anybody may ask."""
    _require_keys(deps)
    key = str(owner_in_path(owner))
    async with deps.database.connection() as conn:
        found = await second_factors.status(conn, key)
    if found is None:
        return Reply(OFF)
    return Reply(TwoFactorStatus(True, found.since, found.recovery_codes_left))


OFF = TwoFactorStatus(enabled=False, since=None, recovery_codes_left=0)


def _require_keys(deps: Dependencies) -> None:
    if not deps.secret_box.enabled:
        raise TwoFactorDisabled(
            "DATA_ENCRYPTION_KEYS is not set: there are no second factors here."
        )


def _now(deps: Dependencies) -> datetime:
    return datetime.fromtimestamp(deps.wall_clock(), UTC)


_SIGNED = (InvalidSignature, NonceUnknown, NonceExpired, NonceUsed)
_KEPT = (TwoFactorDisabled, DecryptionFailed)

ROUTES = (
    Route(
        method="POST",
        rule="/api/2fa/setup",
        handler=setup,
        body=Signed,
        replies={200: TwoFactorSetup},
        refusals=(*_SIGNED, *_KEPT, Conflict),
        auth=Auth.WALLET,
        sensitive=True,
        tags=("second factor",),
    ),
    Route(
        method="POST",
        rule="/api/2fa/verify",
        handler=verify,
        body=Verify,
        replies={200: TwoFactorStatus},
        refusals=(*_KEPT, InvalidSecondFactor, NotFound, Conflict),
        sensitive=True,
        tags=("second factor",),
    ),
    Route(
        method="POST",
        rule="/api/2fa/disable",
        handler=disable,
        body=Signed,
        replies={200: TwoFactorStatus},
        refusals=(*_SIGNED, Conflict),
        auth=Auth.WALLET,
        sensitive=True,
        second_factor=True,
        tags=("second factor",),
    ),
    Route(
        method="GET",
        rule="/api/2fa/status/<owner>",
        handler=status,
        replies={200: TwoFactorStatus},
        refusals=(TwoFactorDisabled,),
        tags=("second factor",),
    ),
)

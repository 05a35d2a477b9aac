"""Routes of the second factor: setup, verification, removal and status."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

import msgspec
import trio
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
from cvms.http.framework.request import Body, current_request, owner_in_path
from cvms.http.framework.response import Reply
from cvms.http.framework.routing import Auth, RouteGroup
from cvms.store.postgres.driver.connection import Connection
from cvms.store.security import audit_log, second_factors
from cvms.store.security.second_factors import Factor

# How long a setup can be verified.
SETUP_AGE = timedelta(hours=1)
# `verify` is not signed, so a stranger may guess codes. Wrong codes end the setup, not the owner's
# access, and the rate limit of one address stops most guesses (`rate_limits`).
MAX_GUESSES = 50

TotpCode = Annotated[str, msgspec.Meta(max_length=32, pattern=totp.TOTP_PATTERN)]

_SIGNED = (InvalidSignature, NonceUnknown, NonceExpired, NonceUsed)
_ENCRYPTED = (TwoFactorDisabled, DecryptionFailed)

ROUTES = RouteGroup("second factor")


class Setup(Signed, frozen=True, kw_only=True):
    """`secret` is one that the client has made, at least 128 bits in base32."""

    secret: totp.OwnSecret | None = None


class Verify(Body, frozen=True):
    owner: Pubkey
    code: TotpCode


class TwoFactorSetup(msgspec.Struct, frozen=True):
    """Secret for an authenticator. `qr_code` encodes `otpauth_uri`: a PNG as a data URI."""

    secret: str
    otpauth_uri: str
    qr_code: str
    recovery_codes: list[str]


class TwoFactorStatus(msgspec.Struct, frozen=True):
    """State of a second factor, and the number of unused recovery codes."""

    enabled: bool
    since: datetime | None
    recovery_codes_left: int


@ROUTES.post(
    "/api/2fa/setup",
    replies={200: TwoFactorSetup},
    refusals=(*_SIGNED, *_ENCRYPTED, Conflict),
    auth=Auth.WALLET,
    sensitive=True,
    name="set_up_second_factor",
)
async def setup(deps: Dependencies, body: Setup) -> Reply:
    """Set up a second factor.

    Returns a new secret, or the `secret` of the body, and ten recovery codes, which are not shown
    again. Nothing changes for the owner until `POST /api/2fa/verify` within an hour; an earlier
    unverified setup is replaced. 409 if a second factor is enabled.
    """
    with counted(deps, "twofa_setup"):
        _require_keys(deps)
        signed = body.request("twofa_setup")
        await signed.check(deps)
        secret = totp.new_secret() if body.secret is None else body.secret.upper()
        owner, codes = str(body.owner), totp.new_recovery_codes()
        uri = totp.uri_of(secret, owner)
        image = await trio.to_thread.run_sync(totp.image_of, uri)
        async with deps.database.transaction() as conn:
            await signed.consume(conn)
            await second_factors.begin(
                conn,
                owner,
                secret=secret,
                hashes=[totp.recovery_hash(owner, code) for code in codes],
                secret_box=deps.secret_box,
            )
            await audit_log.record(conn, actor=owner, action="twofa_setup", owner=owner)
    return Reply(TwoFactorSetup(secret, uri, image, codes))


@ROUTES.post(
    "/api/2fa/verify",
    replies={200: TwoFactorStatus},
    refusals=(*_ENCRYPTED, InvalidSecondFactor, NotFound, Conflict),
    sensitive=True,
    name="enable_second_factor",
)
async def verify(deps: Dependencies, body: Verify) -> Reply:
    """Enable the second factor that was set up.

    `code` is a current code of the new secret, and is used up. From now on `withdraw`,
    `request-withdraw`, `schedule-withdraw`, `timelock/cancel`, `exit/request`, `exit/withdraw`,
    `sweep` and `2fa/disable` require a code in `X-2FA-CODE`. The request is not signed, since only
    the holder of the secret knows a code.
    """
    with counted(deps, "twofa_verify"):
        _require_keys(deps)
        owner = str(body.owner)
        await deps.limits.admit_guess(current_request(), owner)
        async with deps.database.transaction() as conn:
            factor = _unverified(await second_factors.lock(conn, owner), owner)
            secret = factor.secret(deps.secret_box)
            steps = totp.matching_steps(secret, body.code, factor.now.timestamp())
            if steps:
                since = await second_factors.enable(conn, owner, steps[-1])
                await audit_log.record(conn, actor=owner, action="twofa_enable", owner=owner)
            else:
                await _count_guess(conn, factor)
    if not steps:
        raise InvalidSecondFactor("The code is not a current code of the secret that was set up.")
    return Reply(TwoFactorStatus(True, since, totp.RECOVERY_CODES))


def _unverified(factor: Factor | None, owner: str) -> Factor:
    if factor is None or (
        factor.enabled_at is None and abs(factor.now - factor.created_at) > SETUP_AGE
    ):
        raise NotFound(
            f"{owner} has no second factor to verify. Set one up with POST /api/2fa/setup."
        )
    if factor.enabled_at is not None:
        raise Conflict(f"The second factor of {owner} is already enabled.")
    return factor


async def _count_guess(conn: Connection, factor: Factor) -> None:
    guesses = factor.failures + 1
    if guesses < MAX_GUESSES:
        await second_factors.fail(conn, factor.owner, None)
    else:
        await second_factors.remove(conn, factor.owner)
    await audit_log.record(
        conn,
        actor="anonymous",
        action="twofa_enable",
        owner=factor.owner,
        outcome="refused",
        details={"guesses": guesses, "setup_ended": guesses >= MAX_GUESSES},
    )


@ROUTES.post(
    "/api/2fa/disable",
    replies={200: TwoFactorStatus},
    refusals=(*_SIGNED, Conflict),
    auth=Auth.WALLET,
    sensitive=True,
    second_factor=True,
    name="disable_second_factor",
)
async def disable(deps: Dependencies, body: Signed) -> Reply:
    """Disable the second factor.

    Deletes its secret and its recovery codes. 409 if it is not enabled.
    """
    with counted(deps, "twofa_disable"):
        _require_keys(deps)
        owner = str(body.owner)
        credential = second_factor(deps, body.request("twofa_disable"), required=True)
        await credential.check(deps)
        async with deps.database.transaction() as conn:
            await credential.consume(conn)
            await second_factors.remove(conn, owner)
            await audit_log.record(conn, actor=owner, action="twofa_disable", owner=owner)
    return Reply(OFF)


@ROUTES.get(
    "/api/2fa/status/<owner>",
    replies={200: TwoFactorStatus},
    refusals=(TwoFactorDisabled,),
    name="get_second_factor",
)
async def get_status(deps: Dependencies, owner: str) -> Reply:
    """Get the status of an owner's second factor."""
    _require_keys(deps)
    key = str(owner_in_path(owner))
    async with deps.database.connection() as conn:
        status = await second_factors.status(conn, key)
    if status is None:
        return Reply(OFF)
    return Reply(TwoFactorStatus(True, status.since, status.recovery_codes_left))


OFF = TwoFactorStatus(enabled=False, since=None, recovery_codes_left=0)


def _require_keys(deps: Dependencies) -> None:
    if not deps.secret_box.enabled:
        raise TwoFactorDisabled(
            "This service has no second factors, since DATA_ENCRYPTION_KEYS is not set."
        )

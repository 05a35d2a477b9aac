"""The second factor: an owner who enabled one withdraws with a code, and each code works once."""

from __future__ import annotations

import base64
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_network
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pyotp
import pytest
import trio
from cryptography.fernet import Fernet
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from structlog.testing import capture_logs

from cvms.cli import main
from cvms.http.auth.credential import SignedRequest
from cvms.http.auth.second_factor import SecondFactor
from cvms.nursery.run import serve
from cvms.store.security.encryption import SecretBox
from tests.harness.localnet import Localnet
from tests.harness.resources import config_for_tests
from tests.harness.service import Json, Service, running
from tests.http.auth.test_wallet_security import routes_of
from tests.http.wallets import USDT, rows, signed, with_vault
from tests.postgres_server import DatabaseClock

FULL_WIDTH = "\uff11\uff12\uff13\uff14\uff15\uff16"  # digits, and yet none of ours
KEY, NEW_KEY = Fernet.generate_key(), Fernet.generate_key()
SETUP, VERIFY, DISABLE = "/api/2fa/setup", "/api/2fa/verify", "/api/2fa/disable"
WITHDRAW = "/api/vault/withdraw"
AMOUNT = ("amount", 1 * USDT)
# Where there is no chain: what comes of a request that has shown all it needs.
LET_THROUGH = (503, "chain_unavailable")


NOW = 1_900_000_005.0


@pytest.fixture
def clock(database_url: str) -> DatabaseClock:
    """The clock of the database and of the devices; that of the service's process is another."""
    return DatabaseClock(database_url, NOW)


@pytest.fixture
async def offchain(database_url: str, clock: DatabaseClock) -> AsyncIterator[Service]:
    """Run the front end without a chain."""
    async with running(database_url, **settings()) as service:
        yield service


@pytest.fixture
async def onchain(
    database_url: str, localnet: Localnet, clock: DatabaseClock
) -> AsyncIterator[Service]:
    """Run the front end on a real chain."""
    async with running(
        database_url,
        **localnet.settings,
        **settings(),
    ) as service:
        yield service


def settings(*keys: bytes) -> dict[str, Any]:
    return {"data_encryption_keys": keys or (KEY,)}


@dataclass(frozen=True, slots=True)
class Device:
    """An authenticator with the secret of a setup."""

    wallet: Keypair
    clock: DatabaseClock
    setup: Json

    def code(self, steps: int = 0) -> str:
        return pyotp.TOTP(self.setup["secret"]).at(int(self.clock.now) + 30 * steps)

    def wrong(self) -> str:
        near = {self.code(steps) for steps in range(-2, 3)}
        return next(code for code in map(str, range(734_519, 734_525)) if code not in near)

    def recovery(self, number: int = 0) -> str:
        code: str = self.setup["recovery_codes"][number]
        return code


async def set_up(service: Service, wallet: Keypair, clock: DatabaseClock) -> Device:
    reply = await service.post(SETUP, await signed(service, wallet, "twofa_setup"))
    assert reply.status_code == 200, reply.text
    return Device(wallet, clock, reply.json())


async def test_a_client_may_bring_its_own_secret(offchain: Service, clock: DatabaseClock) -> None:
    wallet, secret = Keypair(), pyotp.random_base32()
    for bad in ("", "JBSWY3DPEHPK3PXP", "0" * 32, "A" * 27, 7):
        body = await signed(offchain, wallet, "twofa_setup") | {"secret": bad}
        reply = await offchain.post(SETUP, body)
        assert (reply.status_code, reply.json()["code"]) == (400, "invalid_request"), bad
    body = await signed(offchain, wallet, "twofa_setup")
    replaced = await offchain.post(SETUP, body | {"secret": secret})
    assert (replaced.status_code, replaced.json()["code"]) == (401, "invalid_signature")
    body = await signed(offchain, wallet, "twofa_setup", ("secret", secret.lower()))
    reply = await offchain.post(SETUP, body)
    assert (reply.status_code, reply.json()["secret"]) == (200, secret)
    assert secret in reply.json()["otpauth_uri"]
    device = Device(wallet, clock, {"secret": secret})
    assert (await verify(offchain, device)).json()["enabled"]


async def verify(
    service: Service, device: Device, code: str = "", **headers: str
) -> httpx.Response:
    body = {"owner": str(device.wallet.pubkey()), "code": code or device.code()}
    return await service.http.post(service.url + VERIFY, json=body, headers=headers)


async def enabled(service: Service, wallet: Keypair, clock: DatabaseClock) -> Device:
    """Return a device whose first code was verified; the clock is at the next step then."""
    device = await set_up(service, wallet, clock)
    assert (await verify(service, device)).status_code == 200
    clock.now += 30
    return device


async def send(
    service: Service, body: Json, code: str | None = None, route: str = WITHDRAW, **headers: str
) -> httpx.Response:
    if code is not None:
        headers["X-2FA-CODE"] = code
    return await service.http.post(service.url + route, json=body, headers=headers)


async def withdraw(service: Service, device: Device, code: str | None = None) -> httpx.Response:
    return await send(service, await signed(service, device.wallet, "withdraw", AMOUNT), code)


async def disable(service: Service, device: Device, code: str | None = None) -> httpx.Response:
    body = await signed(service, device.wallet, "twofa_disable")
    return await send(service, body, code, DISABLE)


async def status(service: Service, wallet: Keypair) -> Json:
    reply = await service.get(f"/api/2fa/status/{wallet.pubkey()}")
    assert reply.status_code == 200, reply.text
    warning: Json = reply.json()
    return warning


def outcome(reply: httpx.Response) -> tuple[int, str]:
    return reply.status_code, reply.json().get("code", "")


OFF = {"enabled": False, "since": None, "recovery_codes_left": 0}


# --- what an owner does ------------------------------------------------------------------------


async def test_a_second_factor_is_set_up_used_for_withdrawals_and_disabled(
    onchain: Service, clock: DatabaseClock
) -> None:
    wallet = await with_vault(onchain, amount=100 * USDT, delegate=True)
    device = await set_up(onchain, wallet, clock)
    assert await status(onchain, wallet) == OFF
    assert (await withdraw(onchain, device)).status_code == 202  # not before a code was shown

    reply = await verify(onchain, device)
    assert reply.json() == await status(onchain, wallet)
    assert reply.json() == {
        "enabled": True,
        "since": "2030-03-17T17:46:45Z",
        "recovery_codes_left": 10,
    }
    assert outcome(await withdraw(onchain, device)) == (401, "second_factor_required")
    assert outcome(await withdraw(onchain, device, device.code())) == (409, "second_factor_used")
    clock.now += 30
    assert outcome(await withdraw(onchain, device, device.wrong())) == (
        401,
        "invalid_second_factor",
    )
    reply = await withdraw(onchain, device, device.code())
    assert (reply.status_code, reply.json()["mode"]) == (202, "submitted")
    assert outcome(await withdraw(onchain, device, device.code())) == (409, "second_factor_used")
    clock.now += 30
    assert (await withdraw(onchain, device, device.code())).status_code == 202

    assert outcome(await disable(onchain, device)) == (401, "second_factor_required")
    clock.now += 30
    reply = await disable(onchain, device, device.code())
    assert (reply.status_code, reply.json()) == (200, OFF)
    assert await status(onchain, wallet) == OFF
    assert (await withdraw(onchain, device)).status_code == 202
    assert len(await rows(onchain, "SELECT 1 FROM submissions WHERE kind = 'withdraw'")) == 4


async def test_authenticators_can_read_the_setup(offchain: Service, clock: DatabaseClock) -> None:
    wallet = Keypair()
    setup = (await set_up(offchain, wallet, clock)).setup
    assert len(base64.b32decode(setup["secret"])) == 20
    uri = urlsplit(setup["otpauth_uri"])
    assert (uri.scheme, uri.netloc) == ("otpauth", "totp")
    assert uri.path == f"/CVMS:{wallet.pubkey()}"
    assert parse_qs(uri.query) == {"secret": [setup["secret"]], "issuer": ["CVMS"]}
    kind, _, image = setup["qr_code"].partition(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(image).startswith(b"\x89PNG\r\n\x1a\n")
    codes = setup["recovery_codes"]
    assert len(set(codes)) == 10
    assert all(re.fullmatch("[a-z2-7]{4}(-[a-z2-7]{4}){3}", code) for code in codes)


async def test_another_setup_before_verification_replaces_the_first(
    offchain: Service, clock: DatabaseClock
) -> None:
    wallet = Keypair()
    first, second = [await set_up(offchain, wallet, clock) for _ in range(2)]
    assert outcome(await verify(offchain, first)) == (401, "invalid_second_factor")
    assert (await verify(offchain, second)).status_code == 200
    assert outcome(await verify(offchain, second)) == (409, "conflict")
    assert outcome(await withdraw(offchain, first, first.recovery())) == (
        401,
        "invalid_second_factor",
    )
    reply = await offchain.post(SETUP, await signed(offchain, wallet, "twofa_setup"))
    assert outcome(reply) == (409, "conflict")
    assert outcome(await withdraw(offchain, second, second.recovery())) == LET_THROUGH


async def test_a_setup_can_be_verified_for_an_hour(offchain: Service, clock: DatabaseClock) -> None:
    device = await set_up(offchain, Keypair(), clock)
    clock.now += 3_601
    assert outcome(await verify(offchain, device)) == (404, "not_found")
    again = await set_up(offchain, device.wallet, clock)
    clock.now += 3_599
    assert (await verify(offchain, again)).status_code == 200


async def test_without_a_setup_there_is_nothing_to_verify_or_disable(
    offchain: Service, clock: DatabaseClock
) -> None:
    nobody = Device(Keypair(), clock, {"secret": pyotp.random_base32()})
    assert outcome(await verify(offchain, nobody)) == (404, "not_found")
    assert outcome(await disable(offchain, nobody, nobody.code())) == (409, "conflict")
    waiting = await set_up(offchain, Keypair(), clock)
    assert outcome(await disable(offchain, waiting, waiting.code())) == (409, "conflict")


async def test_every_route_that_declares_a_second_factor_demands_it(
    offchain: Service, clock: DatabaseClock
) -> None:
    requests: dict[str, tuple[Any, ...]] = {
        "/api/vault/withdraw": ("withdraw", AMOUNT),
        "/api/vault/request-withdraw": ("request_withdraw", AMOUNT),
        "/api/vault/schedule-withdraw": ("schedule", AMOUNT, ("duration_seconds", 60)),
        "/api/vault/timelock/cancel": ("timelock_cancel", AMOUNT, ("unlock_time", 60)),
        "/api/vault/exit/request": ("exit_request",),
        "/api/vault/exit/withdraw": ("exit_withdraw", AMOUNT),
        "/api/vault/sweep": ("sweep", ("token_account", str(Pubkey([7] * 32)))),
        "/api/2fa/disable": ("twofa_disable",),
    }
    declared = {route.rule for route in routes_of(offchain.app) if route.second_factor}
    assert declared == requests.keys()
    for rule, text in requests.items():
        device = await enabled(offchain, Keypair(), clock)
        body = await signed(offchain, device.wallet, *text)
        assert outcome(await send(offchain, body, route=rule)) == (401, "second_factor_required")
        reply = await send(offchain, body, device.wrong(), rule)
        assert outcome(reply) == (401, "invalid_second_factor")
        assert reply.headers["WWW-Authenticate"] == "Second-Factor"
        good = await send(offchain, body, device.code(), rule)
        assert outcome(good) in {LET_THROUGH, (200, "")}, good.text


async def test_codes_of_the_neighbouring_steps_are_accepted(
    offchain: Service, clock: DatabaseClock
) -> None:
    device = await enabled(offchain, Keypair(), clock)
    clock.now += 300
    for steps, expected in (
        (-2, (401, "invalid_second_factor")),
        (-1, LET_THROUGH),
        (0, LET_THROUGH),
        (1, LET_THROUGH),
        (2, (401, "invalid_second_factor")),
    ):
        assert outcome(await withdraw(offchain, device, device.code(steps))) == expected, steps


async def test_a_code_may_contain_spaces_and_hyphens(
    offchain: Service, clock: DatabaseClock
) -> None:
    device = await enabled(offchain, Keypair(), clock)
    code, recovery = device.code(), device.recovery()
    for text in (
        f"{code[:3]} {code[3:]}",
        f"{code[:3]}-{code[3:]}",
        recovery.upper(),
        recovery.replace("-", ""),
        recovery.replace("-", " "),
    ):
        assert outcome(await withdraw(offchain, device, text)) == LET_THROUGH, text


@pytest.mark.parametrize("layout", ["{0} {1}", "{0}-{1}", " {0}{1} ", "{0}  -  {1}"])
async def test_the_first_code_may_contain_spaces_and_hyphens(
    offchain: Service, clock: DatabaseClock, layout: str
) -> None:
    device = await set_up(offchain, Keypair(), clock)
    code = device.code()
    body = {"owner": str(device.wallet.pubkey()), "code": layout.format(code[:3], code[3:])}
    reply = await offchain.post(VERIFY, body)
    assert (reply.status_code, reply.json().get("enabled")) == (200, True), reply.text


# --- each code once ----------------------------------------------------------------------------


async def test_a_used_code_and_earlier_ones_are_refused(
    onchain: Service, clock: DatabaseClock
) -> None:
    device = await enabled(
        onchain, await with_vault(onchain, amount=9 * USDT, delegate=True), clock
    )
    clock.now += 60
    assert (await withdraw(onchain, device, device.code(1))).status_code == 202
    for steps in (1, 0, -1):
        reply = await withdraw(onchain, device, device.code(steps))
        assert outcome(reply) == (409, "second_factor_used")
    clock.now += 30
    assert outcome(await withdraw(onchain, device, device.code())) == (409, "second_factor_used")
    clock.now += 30
    assert (await withdraw(onchain, device, device.code())).status_code == 202


@pytest.mark.parametrize("kind", ["step", "recovery code"])
@pytest.mark.parametrize("nonces", [1, 20])
async def test_of_twenty_at_once_with_one_code_exactly_one_has_an_effect(
    onchain: Service, clock: DatabaseClock, kind: str, nonces: int
) -> None:
    device = await enabled(
        onchain, await with_vault(onchain, amount=90 * USDT, delegate=True), clock
    )
    code = device.code() if kind == "step" else device.recovery()
    bodies = [await signed(onchain, device.wallet, "withdraw", AMOUNT) for _ in range(nonces)]
    replies = await all_at_once(onchain, (bodies * 20)[:20], [code] * 20)
    assert sorted(reply.status_code for reply in replies) == [202] + [409] * 19
    refusals = {reply.json()["code"] for reply in replies if reply.status_code == 409}
    assert refusals <= {"second_factor_used", "nonce_used"}
    assert len(await rows(onchain, "SELECT 1 FROM submissions WHERE kind = 'withdraw'")) == 1
    left = 10 if kind == "step" else 9
    assert (await status(onchain, device.wallet))["recovery_codes_left"] == left
    # The nonces of those that had no effect are still valid.
    clock.now += 30
    unused = [body for body in bodies[1:] if (await send(onchain, body, device.code())).is_success]
    assert len(unused) == (0 if nonces == 1 else 1)


async def test_of_twenty_requests_to_disable_with_one_code_exactly_one_has_an_effect(
    offchain: Service, clock: DatabaseClock
) -> None:
    device = await enabled(offchain, Keypair(), clock)
    bodies = [await signed(offchain, device.wallet, "twofa_disable") for _ in range(20)]
    replies = await all_at_once(offchain, bodies, [device.recovery()] * 20, DISABLE)
    assert sorted(reply.status_code for reply in replies) == [200] + [409] * 19
    disabled = await rows(offchain, "SELECT 1 FROM audit_logs WHERE action = 'twofa_disable'")
    assert len(disabled) == 1


async def test_of_ten_verifications_at_once_exactly_one_enables(
    offchain: Service, clock: DatabaseClock
) -> None:
    device = await set_up(offchain, Keypair(), clock)
    replies: list[httpx.Response] = []

    async def ask() -> None:
        replies.append(await verify(offchain, device))

    async with trio.open_nursery() as nursery:
        for _ in range(10):
            nursery.start_soon(ask)
    assert sorted(reply.status_code for reply in replies) == [200] + [409] * 9


async def test_each_recovery_code_is_good_once(onchain: Service, clock: DatabaseClock) -> None:
    device = await enabled(
        onchain, await with_vault(onchain, amount=9 * USDT, delegate=True), clock
    )
    assert (await withdraw(onchain, device, device.recovery(0))).status_code == 202
    reply = await withdraw(onchain, device, device.recovery(0))
    assert outcome(reply) == (409, "second_factor_used")
    assert (await withdraw(onchain, device, device.recovery(1))).status_code == 202
    assert (await status(onchain, device.wallet))["recovery_codes_left"] == 8
    assert (await disable(onchain, device, device.recovery(2))).status_code == 200


async def test_a_wrong_code_leaves_nonce_and_code_unused(
    onchain: Service, clock: DatabaseClock
) -> None:
    device = await enabled(
        onchain, await with_vault(onchain, amount=9 * USDT, delegate=True), clock
    )
    body = await signed(onchain, device.wallet, "withdraw", AMOUNT)
    assert outcome(await send(onchain, body)) == (401, "second_factor_required")
    assert outcome(await send(onchain, body, device.wrong())) == (401, "invalid_second_factor")
    assert (await send(onchain, body, device.code())).status_code == 202


async def test_an_unavailable_chain_leaves_nonce_and_code_unused(
    onchain: Service, database_url: str, clock: DatabaseClock
) -> None:
    device = await enabled(
        onchain, await with_vault(onchain, amount=9 * USDT, delegate=True), clock
    )
    body = await signed(onchain, device.wallet, "withdraw", AMOUNT)
    operator = onchain.operator
    async with running(database_url, operator=operator, **settings()) as cut_off:
        for code in (device.code(), device.recovery()):
            assert outcome(await send(cut_off, body, code)) == LET_THROUGH
    assert (await send(onchain, body, device.recovery())).status_code == 202
    assert (await withdraw(onchain, device, device.code())).status_code == 202


async def test_killed_with_the_code_in_hand_it_has_used_nothing_up(
    onchain: Service, clock: DatabaseClock
) -> None:
    device = await enabled(
        onchain, await with_vault(onchain, amount=9 * USDT, delegate=True), clock
    )
    body, replies = await signed(onchain, device.wallet, "withdraw", AMOUNT), []

    async def ask() -> None:
        replies.append(await send(onchain, body, device.code()))

    # A request that has used up nonce and code waits here to append to the audit trail.
    async with trio.open_nursery() as nursery, onchain.database.transaction() as conn:
        await conn.execute("SELECT 1 FROM audit_head FOR UPDATE")
        nursery.start_soon(ask)
        await rows(
            onchain, f"SELECT pg_terminate_backend({await wait_for_blocked_process(onchain)})"
        )
    assert outcome(replies[0]) == (503, "database_unavailable")
    assert (await send(onchain, body, device.code())).status_code == 202


async def test_a_factor_enabled_during_a_withdrawal_already_requires_a_code(
    onchain: Service, clock: DatabaseClock
) -> None:
    device = await set_up(onchain, await with_vault(onchain, amount=9 * USDT, delegate=True), clock)
    body, replies = await signed(onchain, device.wallet, "withdraw", AMOUNT), []

    async def ask() -> None:
        replies.append(await send(onchain, body))

    # A request that was admitted waits here for the nonce.
    async with trio.open_nursery() as nursery, onchain.database.transaction() as conn:
        await conn.execute("SELECT 1 FROM nonces FOR UPDATE")
        nursery.start_soon(ask)
        await wait_for_blocked_process(onchain)
        assert (await verify(onchain, device)).status_code == 200
    assert outcome(replies[0]) == (401, "second_factor_required")
    clock.now += 30
    assert (await send(onchain, body, device.code())).status_code == 202


async def test_a_request_repeated_with_its_key_needs_no_new_code(
    onchain: Service, clock: DatabaseClock
) -> None:
    device = await enabled(
        onchain, await with_vault(onchain, amount=9 * USDT, delegate=True), clock
    )
    body = await signed(onchain, device.wallet, "withdraw", AMOUNT)
    key = {"Idempotency-Key": "one"}
    assert outcome(await send(onchain, body, **key)) == (401, "second_factor_required")
    first = await send(onchain, body, device.code(), **key)
    again = await send(onchain, body, device.code(), **key)
    assert first.status_code == again.status_code == 202
    assert first.content == again.content
    assert len(await rows(onchain, "SELECT 1 FROM submissions WHERE kind = 'withdraw'")) == 1


# --- who may guess -----------------------------------------------------------------------------


async def test_wrong_codes_lock_the_factor_for_longer_and_longer(
    offchain: Service, database_url: str, clock: DatabaseClock
) -> None:
    device = await enabled(offchain, Keypair(), clock)
    for _ in range(5):
        reply = await withdraw(offchain, device, device.wrong())
        assert outcome(reply) == (401, "invalid_second_factor")
    for seconds in (30, 60, 120):
        async with running(database_url, **settings()) as replica:
            for service in (offchain, replica):
                reply = await withdraw(service, device, device.code())
                assert outcome(reply) == (429, "rate_limited")
                assert reply.headers["Retry-After"] == str(seconds)
                # A recovery code cannot be guessed, so it is never locked.
                reply = await withdraw(service, device, device.recovery())
                assert outcome(reply) == LET_THROUGH
        clock.now += seconds
        assert outcome(await withdraw(offchain, device, device.code())) == LET_THROUGH
        reply = await withdraw(offchain, device, device.wrong())
        assert outcome(reply) == (401, "invalid_second_factor")
    for _ in range(15):
        clock.now += 86_400
        await withdraw(offchain, device, device.wrong())
    reply = await withdraw(offchain, device, device.code())
    assert reply.headers["Retry-After"] == "86400"


async def test_a_correct_code_resets_the_count_of_failures(
    onchain: Service, clock: DatabaseClock
) -> None:
    device = await enabled(
        onchain, await with_vault(onchain, amount=9 * USDT, delegate=True), clock
    )
    for code in (device.code(), device.recovery()):
        for _ in range(4):
            await withdraw(onchain, device, device.wrong())
        assert (await withdraw(onchain, device, code)).status_code == 202
        assert outcome(await withdraw(onchain, device, device.wrong()))[0] == 401
    for _ in range(4):
        await withdraw(onchain, device, device.wrong())
    assert outcome(await withdraw(onchain, device, device.wrong()))[0] == 429


async def test_of_twenty_guesses_at_once_only_the_allowed_number_is_checked(
    offchain: Service, clock: DatabaseClock
) -> None:
    device = await enabled(offchain, Keypair(), clock)
    bodies = [await signed(offchain, device.wallet, "withdraw", AMOUNT) for _ in range(20)]
    replies = await all_at_once(offchain, bodies, [device.wrong()] * 20)
    assert sorted(reply.status_code for reply in replies) == [401] * 5 + [429] * 15


async def test_nobody_without_the_owners_signature_can_lock_the_factor(
    offchain: Service, clock: DatabaseClock
) -> None:
    alice, mallory = await enabled(offchain, Keypair(), clock), Keypair()
    good = await signed(offchain, alice.wallet, "withdraw", AMOUNT)
    async with offchain.database.connection() as conn:
        await conn.execute("UPDATE nonces SET used_at = now()")
    forged = await signed(offchain, alice.wallet, "withdraw", AMOUNT, signer=mallory)
    changed = await signed(offchain, alice.wallet, "withdraw", AMOUNT) | {"amount": 2 * USDT}
    for _ in range(7):
        for body in (good, forged, changed):
            reply = await send(offchain, body, alice.wrong())
            assert reply.json()["code"] in {"nonce_used", "invalid_signature"}
    assert outcome(await withdraw(offchain, alice, alice.code())) == LET_THROUGH


async def test_guessing_the_first_code_is_limited_per_address(
    offchain: Service, clock: DatabaseClock
) -> None:
    device = await set_up(offchain, Keypair(), clock)
    for _ in range(10):
        reply = await verify(offchain, device, device.wrong())
        assert outcome(reply) == (401, "invalid_second_factor")
    reply = await verify(offchain, device)
    assert outcome(reply) == (429, "rate_limited")
    assert int(reply.headers["Retry-After"]) > 0
    another = await set_up(offchain, Keypair(), clock)
    assert (await verify(offchain, another)).status_code == 200


async def test_guesses_from_many_addresses_only_end_the_setup(
    database_url: str, clock: DatabaseClock
) -> None:
    proxies = (ip_network("127.0.0.0/8"),)
    async with running(database_url, trusted_proxies=proxies, **settings()) as offchain:
        device = await set_up(offchain, Keypair(), clock)
        wrong = device.wrong()
        for number in range(50):
            headers = {"X-Forwarded-For": f"192.0.2.{number}"}
            reply = await verify(offchain, device, wrong, **headers)
            assert outcome(reply) == (401, "invalid_second_factor")
        assert outcome(await verify(offchain, device)) == (404, "not_found")
        again = await set_up(offchain, device.wallet, clock)
        assert (await verify(offchain, again)).status_code == 200
        # Once it is enabled, there is nothing to guess.
        headers = {"X-Forwarded-For": "192.0.2.100"}
        assert outcome(await verify(offchain, again, wrong, **headers)) == (409, "conflict")
        clock.now += 30
        assert outcome(await withdraw(offchain, again, again.code())) == LET_THROUGH


async def test_secrets_are_neither_shown_nor_logged_nor_stored(
    onchain: Service, clock: DatabaseClock
) -> None:
    with capture_logs() as logs:
        device = await enabled(
            onchain, await with_vault(onchain, amount=9 * USDT, delegate=True), clock
        )
        wrong = await withdraw(onchain, device, device.wrong())
        assert (await withdraw(onchain, device, device.code())).status_code == 202
        used = await withdraw(onchain, device, device.recovery())
        again = await withdraw(onchain, device, device.recovery())
        metrics = await onchain.get("/metrics")
    trail = await rows(onchain, "SELECT details FROM audit_logs")
    exposed = repr((logs, trail)) + "".join(reply.text for reply in (wrong, used, again, metrics))
    tables = await rows(
        onchain, "SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public'"
    )
    kept = [
        await rows(onchain, f"SELECT t::TEXT AS t FROM {table['name']} AS t") for table in tables
    ]
    everywhere = exposed + repr(kept)
    assert str(device.wallet.pubkey()) in everywhere
    assert not re.search(rf"\b({device.wrong()}|{device.code()})\b", exposed)
    secret = device.setup["secret"]
    codes = [device.recovery(number) for number in range(10)]
    for each in (
        secret,
        secret.encode().hex(),
        base64.b32decode(secret).hex(),
        *codes,
        *(code.replace("-", "") for code in codes),
        *(code.replace("-", "").encode().hex() for code in codes),
    ):
        assert each not in everywhere


async def test_the_representation_of_a_request_does_not_contain_its_code() -> None:
    shown = SecondFactor(
        SignedRequest(Keypair().pubkey(), "text", "nonce", "signature"),
        code="734519",
        secret_box=SecretBox([KEY]),
    )
    assert "734519" not in repr(shown)


async def test_the_audit_trail_records_who_did_what(
    offchain: Service, clock: DatabaseClock
) -> None:
    device = await set_up(offchain, Keypair(), clock)
    await verify(offchain, device, device.wrong())
    await verify(offchain, device)
    clock.now += 30
    await withdraw(offchain, device, device.wrong())
    await disable(offchain, device, device.code())
    owner = str(device.wallet.pubkey())
    trail = await rows(
        offchain, "SELECT actor, action, owner, outcome, details FROM audit_logs ORDER BY id"
    )
    assert {entry.pop("owner") for entry in trail} == {owner}
    assert [tuple(entry.values()) for entry in trail] == [
        (owner, "twofa_setup", "accepted", {}),
        ("anonymous", "twofa_enable", "refused", {"guesses": 1, "setup_ended": False}),
        (owner, "twofa_enable", "accepted", {}),
        (
            owner,
            "second_factor",
            "refused",
            {"request": "withdraw", "failures": 1, "locked_until": None},
        ),
        (owner, "twofa_disable", "accepted", {}),
    ]


# --- who may set up and disable ----------------------------------------------------------------


@pytest.mark.parametrize(("route", "action"), [(SETUP, "twofa_setup"), (DISABLE, "twofa_disable")])
async def test_only_the_owner_sets_up_or_disables(
    offchain: Service, clock: DatabaseClock, route: str, action: str
) -> None:
    wallet, mallory = Keypair(), Keypair()
    device = await (set_up if route == SETUP else enabled)(offchain, wallet, clock)
    before = await rows(offchain, "SELECT * FROM twofa")
    used = await signed(offchain, wallet, action)
    late = await signed(offchain, wallet, action)
    async with offchain.database.connection() as conn:
        await conn.execute(
            "UPDATE nonces SET used_at = now() WHERE nonce = %(nonce)s", {"nonce": used["nonce"]}
        )
        await conn.execute(
            "UPDATE nonces SET expires_at = now() WHERE nonce = %(nonce)s",
            {"nonce": late["nonce"]},
        )
    stolen = await offchain.nonce(wallet)
    other = "twofa_disable" if route == SETUP else "twofa_setup"
    attempts: list[tuple[Json, int, str]] = [
        (await signed(offchain, wallet, action, signer=mallory), 401, "invalid_signature"),
        (await signed(offchain, wallet, other), 401, "invalid_signature"),
        (await signed(offchain, wallet, "withdraw", AMOUNT), 400, "invalid_request"),
        (
            await signed(offchain, wallet, action) | {"owner": str(mallory.pubkey())},
            401,
            "invalid_signature",
        ),
        (
            await signed(offchain, wallet, action) | {"nonce": await offchain.nonce(wallet)},
            401,
            "invalid_signature",
        ),
        (await signed(offchain, mallory, action, nonce=stolen), 401, "invalid_nonce"),
        (await signed(offchain, wallet, action, nonce="x" * 32), 401, "invalid_nonce"),
        (used, 409, "nonce_used"),
        (late, 401, "nonce_expired"),
    ]
    for body, *expected in attempts:
        reply = await send(offchain, body, device.code(), route)
        assert outcome(reply) == tuple(expected), body
    assert await rows(offchain, "SELECT * FROM twofa") == before
    reply = await send(
        offchain, await signed(offchain, wallet, action, nonce=stolen), device.code(), route
    )
    assert reply.status_code == 200


@pytest.mark.parametrize(
    "code",
    ["", "12345", "1234567", "123 4567", " " * 33 + "123456", "12345a", FULL_WIDTH, "123456\n", 1],
)
async def test_a_first_code_is_six_digits(offchain: Service, code: object) -> None:
    body = {"owner": str(Keypair().pubkey()), "code": code}
    assert outcome(await offchain.post(VERIFY, body)) == (400, "invalid_request")


@pytest.mark.parametrize("code", ["0", "x" * 5_000, "é" * 6, FULL_WIDTH, "a" * 16, "%00" * 6])
async def test_any_other_text_is_refused_as_a_wrong_code(
    offchain: Service, clock: DatabaseClock, code: str
) -> None:
    device = await enabled(offchain, Keypair(), clock)
    body = await signed(offchain, device.wallet, "withdraw", AMOUNT)
    headers = {b"X-2FA-CODE": code.encode()}
    reply = await offchain.http.post(offchain.url + WITHDRAW, json=body, headers=headers)
    assert outcome(reply) == (401, "invalid_second_factor")


# --- clocks ------------------------------------------------------------------------------------


async def test_a_clock_that_was_ahead_blocks_no_owner_and_lets_no_code_be_used_twice(
    onchain: Service, clock: DatabaseClock
) -> None:
    device = await enabled(
        onchain, await with_vault(onchain, amount=9 * USDT, delegate=True), clock
    )
    used = {clock.now: device.code()}
    assert (await withdraw(onchain, device, device.code())).status_code == 202
    before, ahead = clock.now, clock.now + 86_400
    clock.now = ahead
    used[ahead] = device.code()
    assert (await withdraw(onchain, device, device.code())).status_code == 202
    clock.now = before
    assert outcome(await withdraw(onchain, device, used[before])) == (409, "second_factor_used")
    clock.now = before + 30
    assert (await withdraw(onchain, device, device.code())).status_code == 202
    assert outcome(await withdraw(onchain, device, used[before])) == (409, "second_factor_used")
    clock.now = ahead
    assert outcome(await withdraw(onchain, device, used[ahead])) == (409, "second_factor_used")
    clock.now = ahead + 30
    assert (await withdraw(onchain, device, device.code())).status_code == 202


async def test_a_lock_that_began_while_the_clock_was_ahead_is_over(
    offchain: Service, clock: DatabaseClock
) -> None:
    device = await enabled(offchain, Keypair(), clock)
    before = clock.now
    clock.now += 30 * 86_400
    for _ in range(5):
        await withdraw(offchain, device, device.wrong())
    assert outcome(await withdraw(offchain, device, device.code())) == (429, "rate_limited")
    clock.now = before
    assert outcome(await withdraw(offchain, device, device.wrong()))[0] == 401
    reply = await withdraw(offchain, device, device.code())
    assert (outcome(reply), reply.headers["Retry-After"]) == ((429, "rate_limited"), "60")


async def test_a_setup_of_the_future_cannot_be_verified(
    offchain: Service, clock: DatabaseClock
) -> None:
    device = await set_up(offchain, Keypair(), clock)
    clock.now -= 3_601
    assert outcome(await verify(offchain, device)) == (404, "not_found")


# --- the keys ----------------------------------------------------------------------------------


async def test_without_keys_the_routes_answer_that_second_factors_are_disabled(
    offchain: Service, database_url: str, clock: DatabaseClock
) -> None:
    device, other = await enabled(offchain, Keypair(), clock), Keypair()
    async with running(database_url) as keyless:
        for reply in (
            await keyless.post(SETUP, await signed(keyless, other, "twofa_setup")),
            await verify(keyless, device),
            await disable(keyless, device, device.code()),
            await keyless.get(f"/api/2fa/status/{other.pubkey()}"),
            # An owner with a second factor is not admitted without a code: the key is missing.
            await withdraw(keyless, device, device.code()),
        ):
            assert outcome(reply) == (503, "twofa_disabled")
            assert "DATA_ENCRYPTION_KEYS" in reply.json()["detail"]
        reply = await withdraw(keyless, device)
        assert outcome(reply) == (401, "second_factor_required")
        assert outcome(await withdraw(keyless, device, device.recovery())) == LET_THROUGH
        body = await signed(keyless, other, "withdraw", AMOUNT)
        assert outcome(await send(keyless, body)) == LET_THROUGH
    async with running(database_url, **settings(NEW_KEY)) as astray:
        reply = await withdraw(astray, device, device.code())
        assert outcome(reply) == (503, "sealed_data_unreadable")


async def test_the_encryption_key_can_be_rotated(
    database_url: str, clock: DatabaseClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(database_url, **settings(KEY)) as offchain:
        device = await enabled(offchain, Keypair(), clock)
    async with running(database_url, **settings(NEW_KEY, KEY)) as offchain:
        assert outcome(await withdraw(offchain, device, device.code())) == LET_THROUGH
        monkeypatch.setenv("DATABASE_URL", database_url)
        monkeypatch.setenv("DATA_ENCRYPTION_KEYS", f"{NEW_KEY.decode()},{KEY.decode()}")
        assert await trio.to_thread.run_sync(main, ["reseal"]) == 0
    async with running(database_url, **settings(NEW_KEY)) as offchain:
        assert outcome(await withdraw(offchain, device, device.code())) == LET_THROUGH
    monkeypatch.setenv("DATA_ENCRYPTION_KEYS", KEY.decode())
    assert await trio.to_thread.run_sync(main, ["reseal"]) == 1


@pytest.mark.parametrize("keys", [(), (KEY,)])
async def test_startup_logs_that_second_factors_are_disabled(
    database_url: str, keys: tuple[bytes, ...]
) -> None:
    config = config_for_tests(database_url, data_encryption_keys=keys)
    shutdown = trio.Event()
    with capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(serve, config, shutdown=shutdown))
            shutdown.set()
    warning = {"unset": "DATA_ENCRYPTION_KEYS", "event": "second_factors_disabled"}
    assert any(warning.items() <= entry.items() for entry in logs) == (not keys)


async def wait_for_blocked_process(service: Service) -> int:
    """Wait until a process of the database waits for a lock, and return its id."""
    query = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    with trio.fail_after(20):
        while True:
            for row in await rows(service, f"{query} AND datname = current_database()"):
                pid: int = row["pid"]
                return pid
            await trio.sleep(0.01)


async def all_at_once(
    service: Service, bodies: list[Json], codes: list[str], route: str = WITHDRAW
) -> list[httpx.Response]:
    replies: list[httpx.Response] = []

    async def ask(body: Json, code: str) -> None:
        replies.append(await send(service, body, code, route))

    async with trio.open_nursery() as nursery:
        for body, code in zip(bodies, codes, strict=True):
            nursery.start_soon(ask, body, code)
    return replies

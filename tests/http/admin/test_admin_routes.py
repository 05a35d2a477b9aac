"""Administrators: valid tokens, what each role may do, and the transactions of governance."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import jwt
import pytest
import trio
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from cvms.chain.program.accounts import read_vault_authority
from cvms.chain.program.addresses import vault_authority_address
from cvms.chain.transactions.vault_builders import fetch_vault
from cvms.chain.types import Commitment
from cvms.http.admin import (
    admin_routes,
    alert_routes,
    approval_routes,
    collateral_routes,
    delivery_routes,
    governance_routes,
    governance_view,
    log_routes,
    submission_routes,
)
from cvms.http.framework.admin_tokens import AUDIENCE, Role, mint
from cvms.http.framework.routing import Auth, Route, action_of
from cvms.http.vaults import withdrawal_policy_routes
from tests.harness.localnet import Localnet
from tests.harness.service import Json, Service, running
from tests.http.wallets import USDT, funded, landed, rows, sent, signed, with_vault

SECRET = b"s" * 32
ROUTES = (
    *governance_routes.ROUTES,
    *collateral_routes.ROUTES,
    *governance_view.ROUTES,
    *approval_routes.approval_routes({}),
    *withdrawal_policy_routes.ROUTES,
    *admin_routes.ROUTES,
    *alert_routes.ROUTES,
    *delivery_routes.ROUTES,
    *log_routes.ROUTES,
    *submission_routes.ROUTES,
)
KEY = str(Pubkey.default())


@pytest.fixture
async def office(database_url: str, localnet: Localnet) -> AsyncIterator[Service]:
    """Run the front end alone, with a secret, on a real chain whose governance is the operator."""
    async with running(
        database_url,
        **localnet.settings,
        admin_jwt_secret=SECRET,
    ) as service:
        yield service


def token(_role: Role = Role.ADMIN, /, **claims: Any) -> str:
    now = int(time.time())
    given = {"sub": "carol", "role": _role.label, "aud": AUDIENCE, "iat": now, "exp": now + 60}
    wanted = {name: value for name, value in (given | claims).items() if value is not None}
    return jwt.encode(wanted, SECRET, algorithm="HS256")


def unsigned() -> str:
    now = int(time.time())
    claims = {"sub": "m", "role": "admin", "aud": AUDIENCE, "iat": now, "exp": now + 60}
    return jwt.encode(claims, "", algorithm="none")


async def ask(
    service: Service, method: str, path: str, body: Json | None = None, bearer: str | None = None
) -> httpx.Response:
    headers = {} if bearer is None else {"Authorization": f"Bearer {bearer}"}
    content: dict[str, Any] = {} if body is None else {"json": body}
    return await service.http.request(method, service.url + path, headers=headers, **content)


def by_admin(route: Route) -> bool:
    return route.auth is Auth.ADMIN


# --- who is one --------------------------------------------------------------------------------


def bad_tokens() -> dict[str, str]:
    now = int(time.time())
    return {
        "garbage": "x.y.z",
        "unsigned": unsigned(),
        "another_secret": jwt.encode(
            {"sub": "m", "role": "admin", "aud": AUDIENCE, "iat": now, "exp": now + 60},
            b"t" * 32,
            algorithm="HS256",
        ),
        "another_algorithm": jwt.encode(
            {"sub": "m", "role": "admin", "aud": AUDIENCE, "iat": now, "exp": now + 60},
            b"s" * 64,
            algorithm="HS512",
        ),
        "expired": token(iat=now - 120, exp=now - 60),
        "of_the_future": token(iat=now + 600, exp=now + 660),
        "too_long_a_life": token(exp=now + 24 * 3600 + 60),
        "another_audience": token(aud="somebody-else"),
        "no_audience": token(aud=None),
        "no_expiry": token(exp=None),
        "no_role": token(role=None),
        "unknown_role": token(role="root"),
        "no_subject": token(sub=None),
        "empty_subject": token(sub=""),
        "subject_with_nul": token(sub="car\0ol"),
        "subject_with_a_lone_surrogate": token(sub="car\ud800ol"),
        "subject_with_a_line_break": token(sub="car\nol"),
        "long_subject": token(sub="c" * 201),
        "too_long": "x" * 5000,
    }


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.rule}")
async def test_nobody_gets_in_without_a_valid_token(database_url: str, route: Route) -> None:
    async with running(database_url, admin_jwt_secret=SECRET) as service:
        if by_admin(route):
            missing = await ask(service, route.method, route.rule, {})
            assert (missing.status_code, missing.json()["code"]) == (401, "invalid_token")
            assert missing.headers["WWW-Authenticate"] == "Bearer"
        for name, bearer in bad_tokens().items():
            reply = await ask(service, route.method, route.rule, {}, bearer)
            assert (reply.status_code, reply.json()["code"]) == (401, "invalid_token"), name
        for role in Role:
            reply = await ask(service, route.method, route.rule, {"x": 1}, token(role))
            allowed = role >= route.role
            assert (reply.status_code != 403) == allowed, role
            assert allowed or reply.json()["code"] == "not_allowed"
        trail = await rows(service, "SELECT actor, action, outcome FROM audit_logs ORDER BY id")
        refused = [role for role in Role if role < route.role]
        outcomes = ["refused"] * len(refused)
        outcomes += ["accepted"] * (len(Role) - len(refused)) * (route.method == "GET")
        assert [entry["outcome"] for entry in trail] == outcomes
        assert {entry["actor"] for entry in trail} <= {"admin:carol"}
        assert {entry["action"] for entry in trail} <= {action_of(route)}


async def test_without_a_secret_there_are_no_administrators(service: Service) -> None:
    reply = await ask(service, "GET", "/api/admin/tasks", bearer=token())
    assert (reply.status_code, reply.json()["code"]) == (503, "admin_disabled")


@pytest.mark.parametrize("subject", ["", "car\0ol", "car\ud800ol", "car\nol", "c" * 201])
def test_no_token_is_minted_for_a_subject_that_none_may_have(subject: str) -> None:
    with pytest.raises(ValueError, match="printable"):
        mint(SECRET, subject=subject, role=Role.VIEWER, seconds=60)


def test_no_token_is_valid_for_longer_than_a_day() -> None:
    assert mint(SECRET, subject="carol", role=Role.ADMIN, seconds=24 * 3600)
    for seconds in (0, -1, 24 * 3600 + 1):
        with pytest.raises(ValueError, match="lifetime"):
            mint(SECRET, subject="carol", role=Role.ADMIN, seconds=seconds)


# --- governance --------------------------------------------------------------------------------


async def decided(office: Service, path: str, body: Json) -> Any:
    """Make a request as an administrator, let it land, and return the authority account."""
    reply = await ask(office, "POST", path, body, token())
    assert reply.status_code == 202, reply.text
    (row,) = await rows(office, "SELECT wire FROM submissions WHERE state = 'pending'")
    await landed(office.rpc, await office.rpc.send_transaction(row["wire"]))
    async with office.database.connection() as conn:
        await conn.execute("DELETE FROM submissions")
    programs = office.config.programs
    found = await office.rpc.get_accounts(
        [vault_authority_address(programs)], commitment=Commitment.CONFIRMED
    )
    return read_vault_authority(found.accounts[0], programs)


async def test_governance_changes_the_authority_on_chain(office: Service) -> None:
    program = Pubkey.new_unique()
    named = {"program": str(program)}
    authority = await decided(office, "/api/admin/vault-authority/add", named)
    assert program in authority.authorized_programs
    authority = await decided(office, "/api/admin/vault-authority/remove", named)
    assert program not in authority.authorized_programs
    authority = await decided(office, "/api/admin/yield-program/add", named)
    assert program in authority.yield_whitelist
    authority = await decided(office, "/api/admin/yield-program/remove", named)
    assert program not in authority.yield_whitelist
    authority = await decided(office, "/api/admin/risk-level/set", {"risk_level": 7})
    assert authority.risk_level == 7
    authority = await decided(office, "/api/admin/freeze/set", {"freeze": True})
    assert authority.freeze
    authority = await decided(office, "/api/admin/cpi-enforced/set", {"cpi_enforced": True})
    assert authority.cpi_enforced
    trail = await rows(office, "SELECT actor, action, outcome FROM audit_logs ORDER BY id")
    assert {row["actor"] for row in trail} == {"admin:carol"}
    assert [row["action"] for row in trail][:2] == [
        "add_authorized_program",
        "remove_authorized_program",
    ]
    again = await ask(office, "POST", "/api/admin/yield-program/remove", named, token())
    assert again.json()["program_error"]["name"] == "NotFound"


async def test_programs_may_be_named_as_the_earlier_service_did(office: Service) -> None:
    program = Pubkey.new_unique()
    named = {"program_id": str(program)}
    authority = await decided(office, "/api/admin/vault-authority/add", named)
    assert program in authority.authorized_programs
    named = {"yield_program": str(program)}
    authority = await decided(office, "/api/admin/yield-program/add", named)
    assert program in authority.yield_whitelist
    authority = await decided(office, "/api/admin/yield-program/remove", named)
    assert program not in authority.yield_whitelist
    trail = await rows(office, "SELECT details FROM audit_logs ORDER BY id")
    assert {row["details"]["program"] for row in trail} == {str(program)}
    for body in ({}, named | {"program": str(program)}, {"program_id": str(program)}):
        reply = await ask(office, "POST", "/api/admin/yield-program/add", body, token())
        assert (reply.status_code, reply.json()["code"]) == (400, "invalid_request"), body


async def test_an_operator_that_is_not_governance_signs_nothing(
    database_url: str, localnet: Localnet
) -> None:
    other = Keypair()
    async with running(
        database_url,
        **(localnet.settings | {"operator": other}),
        admin_jwt_secret=SECRET,
    ) as service:
        airdrop = await service.rpc.call("requestAirdrop", [str(other.pubkey()), 10**9])
        await landed(service.rpc, airdrop)
        reply = await ask(service, "POST", "/api/admin/freeze/set", {"freeze": True}, token())
        assert reply.json()["mode"] == "cosign"
        assert await rows(service, "SELECT wire FROM submissions") == [{"wire": None}]


async def test_an_emergency_withdrawal_includes_locked_tokens_and_records_the_reason(
    office: Service,
) -> None:
    wallet = await with_vault(office, amount=10 * USDT)
    body = await signed(office, wallet, "pm_lock", ("amount", 8 * USDT))
    await sent(office, wallet, await office.post("/api/pm/lock", body))
    owner = str(wallet.pubkey())
    body = {"owner": owner, "amount": 9 * USDT, "reason": "the position manager is broken"}
    await decided(office, "/api/vault/emergency-withdraw", body)
    vault = await fetch_vault(office.rpc, office.config.programs, wallet.pubkey())
    assert (vault.total_balance, vault.locked_balance) == (1 * USDT, 1 * USDT)
    (entry,) = await rows(
        office, "SELECT actor, owner, details FROM audit_logs WHERE action = 'emergency_withdraw'"
    )
    assert (entry["actor"], entry["owner"]) == ("admin:carol", owner)
    assert entry["details"]["reason"] == "the position manager is broken"
    nameless = {"owner": owner, "amount": 1, "reason": ""}
    reply = await ask(office, "POST", "/api/vault/emergency-withdraw", nameless, token())
    assert reply.status_code == 400


@pytest.mark.parametrize(
    "reason", ["", " ", "a\0b", "\x1b[2J", "a\x7f", "a\x9f", "\u202efdp", "a\u200bb", "a\u2066b"]
)
async def test_a_reason_has_no_characters_that_nobody_sees(office: Service, reason: str) -> None:
    body = {"owner": str(Keypair().pubkey()), "amount": 1, "reason": reason}
    reply = await ask(office, "POST", "/api/vault/emergency-withdraw", body, token())
    assert (reply.status_code, reply.json()["code"]) == (400, "invalid_request")
    assert reply.json()["errors"][0]["path"] == "reason"


async def test_collateral_is_transferred_between_two_vaults(office: Service) -> None:
    giver = await with_vault(office, amount=10 * USDT)
    body = await signed(office, giver, "pm_lock", ("amount", 3 * USDT))
    await sent(office, giver, await office.post("/api/pm/lock", body))
    taker = await with_vault(office)
    body = {"from_owner": str(giver.pubkey()), "to_owner": str(taker.pubkey()), "amount": 3 * USDT}
    foreign = body | {"caller_program": KEY}
    route = "/api/internal/transfer-collateral"
    assert (await ask(office, "POST", route, foreign, token())).status_code == 400
    await decided(office, route, body)
    vault = await fetch_vault(office.rpc, office.config.programs, taker.pubkey())
    assert vault.available_balance == 3 * USDT
    nobody = body | {"to_owner": str(Keypair().pubkey())}
    assert (await ask(office, "POST", route, nobody, token())).status_code == 404


async def test_twenty_equal_requests_with_one_key_have_one_effect(office: Service) -> None:
    replies: list[httpx.Response] = []

    async def decide() -> None:
        headers = {"Authorization": f"Bearer {token()}", "Idempotency-Key": "one"}
        url = f"{office.url}/api/admin/freeze/set"
        replies.append(await office.http.post(url, json={"freeze": True}, headers=headers))

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(decide)
    assert {reply.status_code for reply in replies} == {202}
    assert len({reply.json()["signature"] for reply in replies}) == 1
    assert len(await rows(office, "SELECT 1 FROM submissions")) == 1


# --- policies ----------------------------------------------------------------------------------


async def test_an_owner_changes_a_policy_with_its_wallet(office: Service) -> None:
    wallet = await with_vault(office)
    friend = Pubkey.new_unique()
    address = ("address", str(friend))
    body = await signed(office, wallet, "whitelist_add", address)
    await sent(office, wallet, await office.post("/api/admin/withdraw/whitelist/add", body))
    body = await signed(office, wallet, "min_delay_set", ("seconds", 60))
    await sent(office, wallet, await office.post("/api/admin/withdraw/min-delay/set", body))
    limit = ("window_seconds", 3600), ("max_amount", 5 * USDT)
    body = await signed(office, wallet, "rate_limit_set", *limit)
    await sent(office, wallet, await office.post("/api/admin/withdraw/rate-limit/set", body))
    vault = await fetch_vault(office.rpc, office.config.programs, wallet.pubkey())
    assert vault.withdraw_whitelist == (friend,)
    assert vault.min_withdraw_delay_seconds == 60
    assert (vault.rate_window_seconds, vault.rate_limit_amount) == (3600, 5 * USDT)
    body = await signed(office, wallet, "whitelist_remove", address)
    reply = await ask(office, "DELETE", "/api/admin/withdraw/whitelist/remove", body)
    await sent(office, wallet, reply)
    vault = await fetch_vault(office.rpc, office.config.programs, wallet.pubkey())
    assert vault.withdraw_whitelist == ()


async def test_an_administrator_prepares_a_policy_that_only_the_owner_can_sign(
    office: Service,
) -> None:
    wallet = await with_vault(office)
    body = {"owner": str(wallet.pubkey()), "seconds": 60}
    route = "/api/admin/withdraw/min-delay/set"
    reply = await ask(office, "POST", route, body, token(Role.OPERATOR))
    assert reply.json()["mode"] == "cosign"
    await sent(office, wallet, reply)
    (entry,) = await rows(office, "SELECT actor FROM audit_logs WHERE action = 'min_delay_set'")
    assert entry["actor"] == "admin:carol"


async def test_only_the_owner_or_an_administrator_changes_a_policy(office: Service) -> None:
    wallet = await with_vault(office)
    route = "/api/admin/withdraw/min-delay/set"
    bare = {"owner": str(wallet.pubkey()), "seconds": 0}
    reply = await office.post(route, bare)
    assert reply.status_code == 400
    assert {each["path"] for each in reply.json()["errors"]} == {"nonce", "signature"}
    mallory = await funded(office)
    forged = await signed(office, wallet, "min_delay_set", ("seconds", 0), signer=mallory)
    reply = await office.post(route, forged)
    assert (reply.status_code, reply.json()["code"]) == (401, "invalid_signature")


# --- looking -----------------------------------------------------------------------------------


async def test_the_audit_trail_is_read_by_owner_and_action_page_by_page(office: Service) -> None:
    wallet = await with_vault(office)
    owner = str(wallet.pubkey())
    for seconds in (1, 2, 3):
        body = {"owner": owner, "seconds": seconds}
        await ask(office, "POST", "/api/admin/withdraw/min-delay/set", body, token())
    path = f"/api/admin/audit?owner={owner}&action=min_delay_set&limit=2"
    first = (await ask(office, "GET", path, bearer=token(Role.VIEWER))).json()
    rest = (
        await ask(office, "GET", f"{path}&cursor={first['next_cursor']}", bearer=token(Role.VIEWER))
    ).json()
    ids = [entry["id"] for page in (first, rest) for entry in page["entries"]]
    looked = "/api/admin/audit?action=get_api_admin_audit"
    seen = (await ask(office, "GET", looked, bearer=token(Role.VIEWER))).json()["entries"]
    assert [owner in entry["details"]["query"] for entry in seen] == [False, True, True]
    assert ids == sorted(ids, reverse=True)
    assert len(ids) == 3
    assert rest["next_cursor"] is None
    assert all(len(entry["hash"]) == 64 for entry in first["entries"])


@pytest.mark.parametrize("query", ["owner=%00", "x=%ff%fe", "action=%0a", "limit=0", "x" * 3000])
async def test_an_invalid_query_is_refused_and_recorded(office: Service, query: str) -> None:
    reply = await ask(office, "GET", f"/api/admin/audit?{query}", bearer=token(Role.VIEWER))
    assert reply.status_code == 400
    (entry,) = await rows(office, "SELECT action, details FROM audit_logs")
    assert entry["action"] == "get_api_admin_audit"
    assert entry["details"]["query"] == query[:500]


async def test_a_vault_is_reconciled_on_request(office: Service) -> None:
    wallet = await with_vault(office)
    owner = str(wallet.pubkey())
    reply = await ask(office, "POST", "/api/admin/reconcile", {"owner": owner}, token())
    assert (reply.status_code, reply.json()) == (202, {"status": "queued"})
    vault = await fetch_vault(office.rpc, office.config.programs, wallet.pubkey())
    route, own = "/api/admin/vault-token-account/set", str(vault.token_account)
    body = {"owner": owner, "token_account": KEY}
    refused = await ask(office, "POST", route, body, token())
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert own in refused.json()["detail"]
    body = {"owner": owner, "token_account": own}
    assert (await ask(office, "POST", route, body, token())).status_code == 202
    actions = [row["action"] for row in await rows(office, "SELECT action FROM audit_logs")]
    assert actions[-2:] == ["reconcile", "vault_token_account_set"]


async def test_every_supervised_task_is_listed(office: Service) -> None:
    office.board.set_task_state("indexer", "backoff", error="it broke")
    reply = (await ask(office, "GET", "/api/admin/tasks", bearer=token(Role.VIEWER))).json()
    task = reply["tasks"]["indexer"]
    assert (task["state"], task["restarts"], task["last_error"]) == ("backoff", 1, "it broke")
    assert reply["parts"]["database"]["ok"] in {True, False}
    empty = await ask(office, "GET", "/api/admin/reconciliation", bearer=token(Role.VIEWER))
    assert empty.json() == {"differences": []}

"""Two administrators: one requests what moves or exposes money, another one approves it."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import httpx
import pytest
import trio
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from cvms.chain.transactions.vault_builders import fetch_vault
from cvms.http.framework.admin_tokens import Role
from cvms.store.postgres.driver.connection import Connection
from cvms.store.security import approvals, revoked_tokens
from cvms.store.security.revoked_tokens import Revocation
from tests.harness.localnet import Localnet
from tests.harness.service import Json, Service
from tests.http.admin.test_admin_routes import ask
from tests.http.admin.two_people import (
    APPROVALS,
    alert_kinds,
    decide,
    requested,
    status_of,
    submissions,
    token_of,
    two_people,
)
from tests.http.wallets import USDT, landed, rows, sent, signed, with_vault

SOMEBODY = str(Pubkey.new_unique())
TRANSFER = "/api/internal/transfer-collateral"
EMERGENCY = "/api/vault/emergency-withdraw"
FREEZE = "/api/admin/freeze/set"
OFF = {"freeze": False}
RISK = [
    ("/api/admin/vault-authority/add", {"program": SOMEBODY}, "add_authorized_program"),
    ("/api/admin/yield-program/add", {"program": SOMEBODY}, "add_yield_program"),
    ("/api/admin/governance/propose", {"proposed": SOMEBODY}, "propose_governance"),
    (FREEZE, OFF, "set_freeze_flag"),
    ("/api/admin/cpi-enforced/set", {"cpi_enforced": False}, "set_cpi_enforced"),
    ("/api/admin/withdrawals/pause", {"seconds": 0}, "pause_withdrawals"),
    ("/api/admin/withdrawals/pause", {"seconds": 3599}, "pause_withdrawals"),
    (EMERGENCY, {"owner": SOMEBODY, "amount": 1, "reason": "a test"}, "emergency_withdraw"),
    (TRANSFER, {"from_owner": SOMEBODY, "to_owner": SOMEBODY, "amount": 1}, "transfer_collateral"),
    ("/api/webhooks", {"url": "https://hooks.example/x"}, "webhook_register"),
    (
        "/api/webhooks/rotate",
        {"endpoint": "00000000-0000-0000-0000-000000000000"},
        "webhook_rotate",
    ),
]
SAFE = [
    ("/api/admin/vault-authority/remove", {"program": SOMEBODY}),
    ("/api/admin/yield-program/remove", {"program": SOMEBODY}),
    ("/api/admin/governance/propose", {"proposed": str(Pubkey.default())}),
    (FREEZE, {"freeze": True}),
    ("/api/admin/cpi-enforced/set", {"cpi_enforced": True}),
    ("/api/admin/withdrawals/pause", {"seconds": 3600}),
    ("/api/admin/transfer-limits/set", {"vault_daily": 5, "total_daily": 9}),
    ("/api/admin/risk-level/set", {"risk_level": 3}),
]


@pytest.fixture
async def office(database_url: str, localnet: Localnet) -> AsyncIterator[Service]:
    async with two_people(database_url, localnet) as service:
        yield service


@pytest.fixture
async def replica(database_url: str, localnet: Localnet) -> AsyncIterator[Service]:
    async with two_people(database_url, localnet) as service:
        yield service


async def land_all(office: Service) -> None:
    """Send what is pending, as the submitter does, and count it as final."""
    for row in await rows(office, "SELECT wire FROM submissions WHERE state = 'pending'"):
        await landed(office.rpc, await office.rpc.send_transaction(row["wire"]))
    async with office.database.connection() as conn:
        await conn.execute("UPDATE submissions SET state = 'finalized' WHERE state = 'pending'")


async def with_transfer(office: Service) -> tuple[Json, Keypair]:
    """Return the body of a transfer of locked tokens that can be made, and who gets them."""
    giver = await with_vault(office, amount=10 * USDT)
    locked = await signed(office, giver, "pm_lock", ("amount", 8 * USDT))
    reply = await office.post("/api/pm/lock", locked)
    await sent(office, giver, reply)
    taker = await with_vault(office)
    return {
        "from_owner": str(giver.pubkey()),
        "to_owner": str(taker.pubkey()),
        "amount": 3 * USDT,
    }, taker


# --- requesting and approving ------------------------------------------------------------------


async def test_a_second_person_approves_a_transfer_which_then_happens_once(
    office: Service,
) -> None:
    body, taker = await with_transfer(office)
    before = await submissions(office)
    approval = await requested(office, TRANSFER, body)
    assert approval["action"] == "transfer_collateral"
    assert approval["requested_by"] == "carol"
    assert body["to_owner"] in approval["summary"]
    assert str(3 * USDT) in approval["summary"]
    [stored] = await rows(office, "SELECT request FROM approvals")
    assert approval["body_hash"] == hashlib.sha256(stored["request"].encode()).hexdigest()
    assert await submissions(office) == before
    assert await alert_kinds(office, approval) == [("admin_act_requested", "warning")]

    reply = await decide(office, approval)
    assert (reply.status_code, reply.json()["mode"]) == (202, "submitted"), reply.text
    after = await submissions(office)
    assert [row for row in after if row["kind"] == "transfer_collateral"] == [
        {
            "kind": "transfer_collateral",
            "owner": body["from_owner"],
            "amount": 3 * USDT,
            "state": "pending",
        }
    ]
    assert await alert_kinds(office, approval) == [
        ("admin_act_requested", "warning"),
        ("admin_act_executed", "critical"),
    ]
    for name in ("bob", "carol"):
        again = await decide(office, approval, by=name)
        assert (again.status_code, again.content) == (202, reply.content), name
    other = await decide(office, approval, by="dave")
    assert (other.status_code, other.json()["code"]) == (409, "approval_ended")
    assert await submissions(office) == after
    assert await status_of(office, approval) == "executed"

    trail = await rows(office, "SELECT actor, action, details FROM audit_logs ORDER BY id")
    acts = [row for row in trail if row["details"].get("approval") == approval["id"]]
    assert [(row["actor"], row["action"]) for row in acts] == [
        ("admin:carol", "approval_request"),
        ("admin:bob", "approval_approve"),
        ("admin:carol", "transfer_collateral"),
    ]
    assert acts[-1]["details"]["approved_by"] == "admin:bob"
    assert [row["details"]["body_hash"] for row in acts[:2]] == [approval["body_hash"]] * 2
    await land_all(office)
    vault = await fetch_vault(office.rpc, office.config.programs, taker.pubkey())
    assert vault.available_balance == 3 * USDT


@pytest.mark.parametrize(("path", "body", "action"), RISK, ids=lambda value: str(value)[:30])
async def test_what_moves_or_exposes_money_waits(
    office: Service, path: str, body: Json, action: str
) -> None:
    approval = await requested(office, path, body)
    assert approval["action"] == action
    assert await rows(office, "SELECT 1 FROM submissions") == []
    assert await rows(office, "SELECT 1 FROM webhook_endpoints") == []


@pytest.mark.parametrize(("path", "body"), SAFE, ids=lambda value: str(value)[:30])
async def test_what_makes_money_safer_happens_at_once(
    office: Service, path: str, body: Json
) -> None:
    reply = await ask(office, "POST", path, body, token_of("carol"))
    assert reply.json().get("mode") in {"submitted", None}, reply.text
    assert await rows(office, "SELECT 1 FROM approvals") == []


async def test_only_a_higher_limit_of_transfers_waits(office: Service) -> None:
    path = "/api/admin/transfer-limits/set"

    async def mode(vault: int, total: int) -> str:
        body = {"vault_daily": vault, "total_daily": total}
        reply = await ask(office, "POST", path, body, token_of("carol"))
        await land_all(office)
        found: str = reply.json()["mode"]
        return found

    assert await mode(50, 90) == "submitted", "the first ones limit what was unlimited"
    assert await mode(51, 90) == "approval"
    assert await mode(1, 91) == "approval"
    assert await mode(50, 90) == "submitted", "it drops a rise that is pending"
    assert await mode(49, 1) == "submitted"


async def test_a_request_that_nobody_may_make_is_refused_at_once(office: Service) -> None:
    transfer = {"from_owner": SOMEBODY, "to_owner": SOMEBODY, "amount": 1}
    for path, body, status in (
        (TRANSFER, transfer | {"caller_program": SOMEBODY}, 400),
        (TRANSFER, transfer | {"amount": 0}, 400),
        ("/api/webhooks", {"url": "http://10.0.0.1/x"}, 400),
        ("/api/admin/governance/accept", {}, 409),
    ):
        reply = await ask(office, "POST", path, body, token_of("carol"))
        assert reply.status_code == status, reply.text
    refused = await ask(office, "POST", TRANSFER, transfer, token_of("carol", Role.OPERATOR))
    assert refused.json()["code"] == "not_allowed"
    assert await rows(office, "SELECT 1 FROM approvals") == []


# --- who may decide ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["carol", "Carol", " carol ", "\uff43arol", "carol\ufe0f", "c\u3164arol"]
)
async def test_nobody_approves_an_own_request(office: Service, name: str) -> None:
    approval = await requested(office, FREEZE, OFF)
    reply = await decide(office, approval, by=name)
    assert (reply.status_code, reply.json()["code"]) == (403, "not_allowed")
    assert await status_of(office, approval) == "pending"
    assert await submissions(office) == []


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OPERATOR])
@pytest.mark.parametrize("name", ["bob", "carol"])
@pytest.mark.parametrize("what", ["approve", "reject", "withdraw"])
async def test_only_the_role_admin_decides(
    office: Service, role: Role, name: str, what: str
) -> None:
    approval = await requested(office, FREEZE, OFF)
    reply = await decide(office, approval, what, by=name, role=role)
    assert (reply.status_code, reply.json()["code"]) == (403, "not_allowed")
    assert await status_of(office, approval) == "pending"


async def test_a_second_person_rejects_and_the_requester_withdraws(office: Service) -> None:
    for what, by, other, status in (
        ("reject", "bob", "carol", "rejected"),
        ("withdraw", "carol", "bob", "withdrawn"),
    ):
        approval = await requested(office, FREEZE, OFF)
        assert (await decide(office, approval, what, by=other)).status_code == 403
        for _ in range(2):
            reply = await decide(office, approval, what, by=by)
            assert (reply.status_code, reply.json()["status"]) == (200, status), reply.text
            assert reply.json()["decided_by"] == by
        late = await decide(office, approval)
        assert (late.status_code, late.json()["code"]) == (409, "approval_ended")
        kinds = [kind for kind, _ in await alert_kinds(office, approval)]
        assert kinds == ["admin_act_requested", "admin_act_refused"]
    assert await submissions(office) == []


async def test_approvals_are_listed_by_status_and_page(office: Service) -> None:
    made = [await requested(office, FREEZE, OFF) for _ in range(3)]
    await decide(office, made[1], "reject")
    await expire(office, made[2])

    async def listed(query: str) -> Json:
        reply = await ask(office, "GET", APPROVALS + query, bearer=token_of("eve", Role.VIEWER))
        assert reply.status_code == 200, reply.text
        page: Json = reply.json()
        return page

    def ids(page: Json) -> list[str]:
        return [each["id"] for each in page["approvals"]]

    assert ids(await listed("")) == [each["id"] for each in reversed(made)]
    for number, status in enumerate(("pending", "rejected", "expired")):
        assert ids(await listed(f"?status={status}")) == [made[number]["id"]], status
    first = await listed("?limit=2")
    rest = await listed(f"?limit=2&cursor={first['next_cursor']}")
    assert [*ids(first), *ids(rest)] == [each["id"] for each in reversed(made)]
    assert rest["next_cursor"] is None
    for path in ("nonsense", "00000000-0000-0000-0000-000000000000"):
        for method, end in (("GET", ""), ("POST", "/approve"), ("POST", "/reject")):
            reply = await ask(office, method, f"{APPROVALS}/{path}{end}", bearer=token_of("bob"))
            assert (reply.status_code, reply.json()["code"]) == (404, "not_found")


# --- what may happen in between ----------------------------------------------------------------


async def expire(office: Service, approval: Json) -> None:
    async with office.database.connection() as conn:
        await conn.execute(
            "UPDATE approvals SET expires_at = now() WHERE id = %(id)s", {"id": approval["id"]}
        )


async def waiting_for_a_lock(conn: Connection) -> None:
    """Wait until another session waits for a lock that this one holds."""
    query = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    with trio.fail_after(20):
        while (await (await conn.execute(query)).fetchone()) == (0,):  # noqa: ASYNC110
            await trio.sleep(0.01)


async def test_an_approval_that_has_expired_is_not_executed(office: Service) -> None:
    approval = await requested(office, FREEZE, OFF)
    await expire(office, approval)
    reply = await decide(office, approval)
    assert (reply.status_code, reply.json()["code"]) == (409, "approval_ended")
    assert await status_of(office, approval) == "expired"
    assert await submissions(office) == []


async def meanwhile(office: Service, approval: Json, change: Any) -> httpx.Response:
    """Approve, and let `change` commit while the approval's transaction waits for its row."""
    replies: list[httpx.Response] = []

    async def approve() -> None:
        replies.append(await decide(office, approval, token_id="of-bob"))

    async with trio.open_nursery() as nursery, office.database.transaction() as conn:
        await approvals.lock(conn, UUID(approval["id"]))
        nursery.start_soon(approve)
        await waiting_for_a_lock(conn)
        await change(conn)
    return replies[0]


async def test_whatever_changes_until_the_last_moment_counts(office: Service) -> None:
    async def run_out(conn: Connection) -> None:
        await conn.execute("UPDATE approvals SET expires_at = now()")

    async def revoke_requester(conn: Connection) -> None:
        await revoked_tokens.add(conn, Revocation(token_id="of-carol"), by="test")

    async def revoke_approver(conn: Connection) -> None:
        await revoked_tokens.add(conn, Revocation(token_id="of-bob"), by="test")

    for change, status, code in (
        (run_out, 409, "approval_ended"),
        (revoke_approver, 401, "invalid_token"),
        (revoke_requester, 409, "approval_ended"),
    ):
        approval = await requested(office, FREEZE, OFF, token_id="of-carol")
        reply = await meanwhile(office, approval, change)
        assert (reply.status_code, reply.json()["code"]) == (status, code), change
        async with office.database.connection() as conn:
            await conn.execute("DELETE FROM revoked_tokens")
    assert await submissions(office) == []


async def test_a_revoked_requester_s_act_can_be_rejected_only(office: Service) -> None:
    approval = await requested(office, FREEZE, OFF)
    async with office.database.connection() as conn:
        revocation = Revocation(person="carol", issued_before=2**40)
        await revoked_tokens.add(conn, revocation, by="test")
    reply = await decide(office, approval)
    assert (reply.status_code, reply.json()["code"]) == (409, "approval_ended")
    assert "revoked" in reply.json()["detail"]
    assert (await decide(office, approval, "reject")).status_code == 200


async def test_what_the_chain_refuses_by_then_is_refused_for_good(office: Service) -> None:
    wallet = await with_vault(office, amount=10 * USDT)
    body = {"owner": str(wallet.pubkey()), "amount": 10 * USDT, "reason": "all of it"}
    first, second = [await requested(office, EMERGENCY, body) for _ in range(2)]
    assert (await decide(office, first)).status_code == 202
    await land_all(office)
    before = await submissions(office)
    refused = await decide(office, second)
    assert (refused.status_code, refused.json()["code"]) == (422, "program_error"), refused.text
    again = await decide(office, second)
    assert (again.status_code, again.content) == (422, refused.content)
    assert await status_of(office, second) == "refused"
    kinds = [kind for kind, _ in await alert_kinds(office, second)]
    assert kinds == ["admin_act_requested", "admin_act_refused"]
    assert await submissions(office) == before
    [entry] = await rows(
        office,
        "SELECT actor, details FROM audit_logs "
        "WHERE action = 'emergency_withdraw' AND outcome = 'refused'",
    )
    assert (entry["actor"], entry["details"]["approved_by"]) == ("admin:carol", "admin:bob")


async def test_what_fails_without_an_effect_may_be_approved_again(office: Service) -> None:
    """A vault that does not exist yet, as a chain that does not answer."""
    wallet = Keypair()
    body = {"owner": str(wallet.pubkey()), "amount": 1, "reason": "too early"}
    approval = await requested(office, EMERGENCY, body)
    assert (await decide(office, approval)).json()["code"] == "vault_not_found"
    assert await status_of(office, approval) == "pending"


# --- once --------------------------------------------------------------------------------------


async def at_once(approval: Json, *who: tuple[Service, str]) -> list[httpx.Response]:
    replies: list[httpx.Response] = []

    async def approve(service: Service, name: str) -> None:
        replies.append(await decide(service, approval, by=name))

    async with trio.open_nursery() as nursery:
        for service, name in who:
            nursery.start_soon(approve, service, name)
    return replies


async def test_two_approvers_at_once_have_one_effect(office: Service, replica: Service) -> None:
    approval = await requested(office, FREEZE, OFF)
    replies = await at_once(approval, (office, "bob"), (replica, "dave"), (replica, "erin"))
    assert sorted(reply.status_code for reply in replies) == [202, 409, 409]
    assert len(await submissions(office)) == 1


async def test_one_approver_at_two_replicas_gets_one_reply(
    office: Service, replica: Service
) -> None:
    approval = await requested(office, FREEZE, OFF)
    replies = await at_once(approval, *[(office, "bob"), (replica, "bob")] * 4)
    assert {reply.status_code for reply in replies} == {202}, [each.text for each in replies]
    assert len({reply.content for reply in replies}) == 1
    assert len(await submissions(office)) == 1


async def test_a_process_that_dies_before_the_commit_leaves_it_pending(
    office: Service, replica: Service
) -> None:
    """Its session ends as it waits for the last of its writes."""
    approval = await requested(office, FREEZE, OFF)
    replies: list[httpx.Response] = []

    async def approve() -> None:
        replies.append(await decide(office, approval))

    async with trio.open_nursery() as nursery, replica.database.transaction() as conn:
        await conn.execute("SELECT id FROM audit_head FOR UPDATE")
        nursery.start_soon(approve)
        await waiting_for_a_lock(conn)
        await conn.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
        )
    assert (replies[0].status_code, replies[0].json()["code"]) == (503, "database_unavailable")
    assert await status_of(replica, approval) == "pending"
    assert await submissions(replica) == []
    reply = await decide(replica, approval)
    assert reply.status_code == 202, reply.text
    [row] = await submissions(replica)
    assert row["state"] == "pending", "stored before it is sent"


async def test_a_repeated_request_with_its_key_is_one_approval(office: Service) -> None:
    async def send(body: Json, path: str = FREEZE) -> httpx.Response:
        headers = {"Authorization": f"Bearer {token_of('carol')}", "Idempotency-Key": "one"}
        return await office.http.post(office.url + path, json=body, headers=headers)

    first = await send(OFF)
    approval = first.json()["approval"]
    again = await send(OFF)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert again.content == first.content
    other = await send({"proposed": SOMEBODY}, "/api/admin/governance/propose")
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_key_reused")
    assert len(await rows(office, "SELECT 1 FROM approvals")) == 1
    # The key of the request that approves is none of the act's, which has no key of its own.
    headers = {"Authorization": f"Bearer {token_of('bob')}", "Idempotency-Key": "one"}
    url = f"{office.url}{APPROVALS}/{approval['id']}/approve"
    reply = await office.http.post(url, headers=headers)
    assert (reply.status_code, reply.json()["mode"]) == (202, "submitted"), reply.text
    assert (await send(OFF)).content == first.content
    assert len(await submissions(office)) == 1


# --- secrets -----------------------------------------------------------------------------------


async def test_a_secret_is_shown_to_the_two_only_and_kept_encrypted(office: Service) -> None:
    url = "https://hooks.example/very-secret-path"
    approval = await requested(office, "/api/webhooks", {"url": url})
    assert "hooks.example" in approval["summary"]
    assert "very-secret-path" not in approval["summary"]
    reply = await decide(office, approval)
    assert reply.status_code == 201, reply.text
    secret = reply.json()["secret"]
    for name in ("carol", "bob"):
        assert (await decide(office, approval, by=name)).content == reply.content
    assert (await decide(office, approval, by="dave")).status_code == 409
    for table in ("approvals", "approval_secrets", "audit_logs", "alerts", "outbox"):
        text = str(await rows(office, f"SELECT * FROM {table}"))
        assert secret not in text, table
        assert "very-secret-path" not in text or table == "approvals"
    rotation = {"endpoint": reply.json()["endpoint"]["id"]}
    rotated = await decide(office, await requested(office, "/api/webhooks/rotate", rotation))
    assert rotated.json()["secret"] != secret
    async with office.database.connection() as conn:
        await conn.execute("DELETE FROM approval_secrets")
    late = await decide(office, approval)
    assert (late.status_code, late.json()["code"]) == (409, "approval_ended")

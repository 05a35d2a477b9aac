"""Submissions of unknown outcome: listed, shown with evidence, and settled by an administrator."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from solders.keypair import Keypair

from cvms.http.framework.admin_tokens import Role
from tests.harness.localnet import Localnet
from tests.harness.service import Json, Service, running
from tests.http.admin.test_admin_routes import SECRET, ask, token
from tests.http.admin.two_people import decide, requested, status_of, two_people
from tests.http.multisig.signers import (
    SUBMIT,
    approved,
    let_block_hashes_expire,
    shared_vault,
    standing,
    with_signatures,
)
from tests.http.wallets import USDT, cosigned, deposit, rows, signed, with_vault

ROUTE = "/api/admin/submissions"


@pytest.fixture
async def office(database_url: str, localnet: Localnet) -> AsyncIterator[Service]:
    """Run the front end alone, with administrators, on a real chain."""
    settings = localnet.settings | {"admin_jwt_secret": SECRET}
    async with running(database_url, **settings) as service:
        yield service


async def quarantine(office: Service, localnet: Localnet) -> str:
    """Give up the only submission, long after its last block; return its signature."""
    let_block_hashes_expire(localnet)
    async with office.database.connection() as conn:
        await conn.execute("UPDATE submissions SET state = 'quarantined'")
    [row] = await rows(office, "SELECT signature FROM submissions")
    signature: str = row["signature"]
    return signature


async def settle(
    office: Service, key: str, outcome: str, _role: Role = Role.ADMIN, /, **fields: Any
) -> httpx.Response:
    body = {"outcome": outcome, "reason": "looked it up", **fields}
    return await ask(office, "POST", f"{ROUTE}/{key}/settle", body, token(_role))


async def shown(office: Service, path: str) -> Json:
    reply = await ask(office, "GET", f"{ROUTE}{path}", bearer=token(Role.VIEWER))
    assert reply.status_code == 200, reply.text
    found: Json = reply.json()
    return found


async def send(office: Service) -> None:
    """Send the stored transaction as the submitter would; it may fail."""
    [row] = await rows(office, "SELECT wire FROM submissions")
    await office.rpc.send_transaction(row["wire"])


async def copy_submission(office: Service, copies: int) -> None:
    """Store more of them, one a second, the last of them the newest."""
    async with office.database.connection() as conn:
        await conn.execute(
            """
            INSERT INTO submissions (
                message_hash, kind, owner, state, signature, message, wire,
                last_valid_block_height, created_at
            )
            SELECT sha256(n::TEXT::BYTEA), kind, owner, state, 'copy ' || n, message, wire,
                   last_valid_block_height, created_at + n * INTERVAL '1 second'
            FROM submissions, generate_series(1, %(copies)s) AS n
            """,
            {"copies": copies},
        )


async def test_they_are_listed_newest_first_in_pages(office: Service, localnet: Localnet) -> None:
    wallet = await with_vault(office)
    reply = await deposit(office, wallet, USDT)
    await office.post(SUBMIT, cosigned(wallet, reply))
    assert (await shown(office, ""))["submissions"] == []
    [pending] = (await shown(office, "?state=pending"))["submissions"]
    assert (pending["kind"], pending["amount"]) == ("deposit", USDT)
    signature = await quarantine(office, localnet)
    await copy_submission(office, 4)
    seen, cursor = [], ""
    for _ in range(3):
        page = await shown(office, f"?limit=2{cursor}")
        seen += [each["signature"] for each in page["submissions"]]
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == ["copy 4", "copy 3", "copy 2", "copy 1", signature]
    assert page["next_cursor"] is None
    assert (await shown(office, "?state=pending"))["submissions"] == []
    for query in ("state=built", "state=expired", "cursor=x", "limit=0"):
        refused = await ask(office, "GET", f"{ROUTE}?{query}", bearer=token())
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid_request"), query


async def test_a_deposit_that_landed_is_settled_as_finalized(
    office: Service, localnet: Localnet
) -> None:
    wallet = await with_vault(office)
    await office.post(SUBMIT, cosigned(wallet, await deposit(office, wallet, USDT)))
    await send(office)
    signature = await quarantine(office, localnet)
    found = await shown(office, f"/{signature}")
    assert found["suggested"] == "finalized"
    [endpoint] = found["endpoints"]
    assert endpoint["blocks"]["containing_slot"] == endpoint["status"]["slot"]
    assert (await shown(office, f"/{found['submission']['id']}"))["suggested"] == "finalized"
    refused = await settle(office, signature, "expired")
    assert (refused.status_code, refused.json()["code"]) == (409, "settlement_contradicted")
    assert "succeeded" in refused.json()["detail"]
    done = await settle(office, signature, "finalized")
    assert (done.status_code, done.json()["state"]) == (200, "finalized")
    state = (await office.get(f"/api/transactions/{signature}")).json()
    assert (state["status"], state["slot"]) == ("finalized", endpoint["status"]["slot"])
    again = await settle(office, signature, "finalized")
    assert (again.status_code, again.json()["code"]) == (409, "conflict")
    [entry] = await rows(office, "SELECT actor FROM audit_logs WHERE action = 'submission_settle'")
    assert entry == {"actor": "admin:carol"}


async def test_only_an_admin_settles_and_says_why(office: Service, localnet: Localnet) -> None:
    wallet = await with_vault(office)
    await office.post(SUBMIT, cosigned(wallet, await deposit(office, wallet, USDT)))
    signature = await quarantine(office, localnet)
    for role in (Role.VIEWER, Role.OPERATOR):
        assert (await settle(office, signature, "expired", role)).status_code == 403
    for reason in ("", " \t", "x" * 501, 7, None, "a\0b", "\u202eab"):
        refused = await settle(office, signature, "expired", reason=reason)
        assert refused.status_code == 400, reason
    for outcome in ("landed", "quarantined", "built"):
        assert (await settle(office, signature, outcome)).status_code == 400
    for key in ("x", str(Keypair().sign_message(b"other")), "f" * 64):
        assert (await settle(office, key, "expired")).status_code == 404
        reply = await ask(office, "GET", f"{ROUTE}/{key}", bearer=token())
        assert (reply.status_code, reply.json()["code"]) == (404, "not_found")
    assert (await settle(office, signature, "expired")).json()["state"] == "expired"


async def test_an_expired_request_is_repeated_only_with_a_new_nonce_and_a_new_key(
    office: Service, localnet: Localnet
) -> None:
    """The nonce was used, and the key keeps the reply that it had."""
    wallet = await with_vault(office, amount=9 * USDT, delegate=True)
    body = await signed(office, wallet, "withdraw", ("amount", USDT))
    key = {"Idempotency-Key": "one"}

    async def withdraw(body: Json, headers: Json) -> httpx.Response:
        url = f"{office.url}/api/vault/withdraw"
        return await office.http.post(url, json=body, headers=headers)

    first = await withdraw(body, key)
    assert first.status_code in {200, 202}, first.text
    if first.json()["mode"] == "cosign":
        await office.post(SUBMIT, cosigned(wallet, first))
    signature = await quarantine(office, localnet)
    before = await withdraw(body, key)
    assert (before.json(), before.headers["Idempotency-Replayed"]) == (first.json(), "true")
    assert (await settle(office, signature, "expired")).status_code == 200
    replayed = await withdraw(body, key)
    assert (replayed.json(), replayed.headers["Idempotency-Replayed"]) == (first.json(), "true")
    used = await withdraw(body, {})
    assert (used.status_code, used.json()["code"]) == (409, "nonce_used")
    fresh = await withdraw(
        await signed(office, wallet, "withdraw", ("amount", USDT)), {"Idempotency-Key": "two"}
    )
    assert fresh.status_code == first.status_code, fresh.text
    assert fresh.json() != first.json()


@pytest.mark.parametrize("outcome", ["finalized", "failed", "expired"])
async def test_a_proposal_goes_on_with_the_outcome_of_its_transaction(
    office: Service, localnet: Localnet, outcome: str
) -> None:
    shared = await shared_vault(office)
    ready = await approved(office, shared, 0, 1)
    body = with_signatures(ready["transaction"], *shared.signers[:2])
    assert (await office.post(SUBMIT, body)).status_code == 202
    if outcome == "finalized":
        await send(office)
    signature = await quarantine(office, localnet)
    assert (await standing(office, ready["proposal_id"]))["state"] == "submitted"
    waiting = await office.post(SUBMIT, body)
    assert waiting.json() == {"signature": signature, "status": "quarantined"}
    done = await settle(office, signature, outcome, force=outcome == "failed")
    assert done.status_code == 200, done.text
    state = (await standing(office, ready["proposal_id"]))["state"]
    again = await office.post(SUBMIT, body)
    if outcome == "finalized":
        assert state == "executed"
        assert again.json() == {"signature": signature, "status": "finalized"}
    else:
        assert state == "approved"
        assert len(await rows(office, "SELECT 1 FROM submissions")) == 1
    if outcome == "expired":
        assert again.json()["rebuilt"]
        fresh = with_signatures(again.json()["transaction"], *shared.signers[:2])
        assert (await office.post(SUBMIT, fresh)).json()["status"] == "pending"


async def test_a_second_administrator_approves_a_settlement(
    database_url: str, localnet: Localnet
) -> None:
    async with two_people(database_url, localnet) as office:
        wallet = await with_vault(office)
        await office.post(SUBMIT, cosigned(wallet, await deposit(office, wallet, USDT)))
        signature = await quarantine(office, localnet)
        path = f"{ROUTE}/{signature}/settle"
        wrong = await requested(office, path, {"outcome": "finalized", "reason": "a guess"})
        refused = await decide(office, wrong)
        assert (refused.status_code, refused.json()["code"]) == (409, "settlement_contradicted")
        body = {"outcome": "expired", "reason": "looked it up"}
        first, second = [await requested(office, path, body) for _ in range(2)]
        state = (await office.get(f"/api/transactions/{signature}")).json()["status"]
        assert state == "quarantined"
        done = await decide(office, first)
        assert (done.status_code, done.json()["state"]) == (200, "expired")
        late = await decide(office, second)
        assert (late.status_code, late.json()["code"]) == (409, "conflict")
        query = "SELECT actor, details FROM audit_logs WHERE action = 'submission_settle'"
        [entry] = [each for each in await rows(office, query) if "evidence" in each["details"]]
        assert entry["actor"] == "admin:carol"
        assert entry["details"]["approved_by"] == "admin:bob"
        assert await status_of(office, first) == "executed"

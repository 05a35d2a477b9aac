"""The routes that change a vault, on a real chain: effects, refusals and records."""

from __future__ import annotations

import base64
import re

import trio
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from cvms.chain.program.accounts import VAULT_LENGTH
from cvms.chain.program.addresses import token_account, vault_address
from cvms.chain.transactions.versioned import parse_base64
from cvms.chain.types import Commitment
from tests.harness.localnet import Localnet
from tests.harness.service import Json, Served, Service, running
from tests.http.wallets import (
    USDT,
    at_once,
    confirmed_submission,
    cosigned,
    deposit,
    funded,
    initialize,
    land,
    rows,
    signed,
    submit,
    with_vault,
)
from tests.nursery.world import held_clock

WITHDRAW = "/api/vault/withdraw"


async def test_from_the_first_request_to_a_withdrawal_by_one_signed_message(system: Served) -> None:
    wallet = await funded(system)
    owner = str(wallet.pubkey())
    await land(system, wallet, await initialize(system, wallet))
    await land(system, wallet, await deposit(system, wallet, 1_000 * USDT))
    state = await balance_of(system, owner, 1_000 * USDT)
    assert state["available"] == 1_000 * USDT
    assert state["cached"] is False
    assert state["as_of"].endswith("Z")

    operator = system.operator.pubkey()
    body = await signed(system, wallet, "delegate_add", ("delegate", str(operator)))
    await land(system, wallet, await system.post("/api/vault/delegate/add", body))
    body = await signed(system, wallet, "withdraw", ("amount", 400 * USDT))
    reply = await system.post(WITHDRAW, body)
    assert (reply.status_code, reply.json()["mode"]) == (202, "submitted")
    landed = await confirmed_submission(system, reply.json()["signature"])
    assert (landed["kind"], landed["owner"], landed["amount"]) == ("withdraw", owner, 400 * USDT)
    await balance_of(system, owner, 600 * USDT)

    history = (await system.get(f"/api/vault/transactions/{owner}")).json()["transactions"]
    assert [(row["kind"], row["amount"], row["balance_after"]) for row in history] == [
        ("withdraw", 400 * USDT, 600 * USDT),
        ("deposit", 1_000 * USDT, 1_000 * USDT),
    ]
    await pages_of(system, owner)

    body = await signed(system, wallet, "delegate_remove", ("delegate", str(operator)))
    reply = await system.http.request(
        "DELETE", f"{system.url}/api/vault/delegate/remove", json=body
    )
    await land(system, wallet, reply)
    body = await signed(system, wallet, "withdraw", ("amount", 100 * USDT))
    await land(system, wallet, await system.post(WITHDRAW, body))
    await balance_of(system, owner, 500 * USDT)
    assert (await system.get("/api/vault/tvl")).json()["total"] == 500 * USDT


async def test_a_refusal_by_the_program_is_a_422_with_its_name_and_uses_up_the_nonce(
    front: Service,
) -> None:
    wallet = await with_vault(front)
    body = await signed(front, wallet, "withdraw", ("amount", 1))
    reply = await front.post(WITHDRAW, body)
    problem = reply.json()
    assert (reply.status_code, problem["code"]) == (422, "program_error")
    assert problem["program_error"]["code"] == 6002
    assert problem["program_error"]["name"] == "InsufficientFunds"
    assert problem["logs"]
    reply = await front.post(WITHDRAW, body)
    assert (reply.status_code, reply.json()["code"]) == (409, "nonce_used")
    audit = await rows(front, "SELECT action, outcome, owner FROM audit_logs ORDER BY id")
    assert audit[-1] == {
        "action": "withdraw",
        "outcome": "refused",
        "owner": str(wallet.pubkey()),
    }


async def test_twenty_equal_requests_at_once_have_one_effect(front: Service) -> None:
    wallet = await with_vault(front, amount=100 * USDT, delegate=True)
    body = await signed(front, wallet, "withdraw", ("amount", 1 * USDT))
    replies = await at_once(front, WITHDRAW, [body] * 20)
    assert sorted(reply.status_code for reply in replies) == [202] + [409] * 19
    assert {reply.json()["code"] for reply in replies if reply.status_code == 409} == {"nonce_used"}
    withdrawals = await rows(front, "SELECT state FROM submissions WHERE kind = 'withdraw'")
    assert len(withdrawals) == 1


async def test_equal_withdrawals_with_different_nonces_are_different_transactions(
    front: Service,
) -> None:
    wallet = await with_vault(front, amount=100 * USDT, delegate=True)
    bodies = [await signed(front, wallet, "withdraw", ("amount", 1 * USDT)) for _ in range(5)]
    replies = await at_once(front, WITHDRAW, bodies)
    assert [reply.status_code for reply in replies] == [202] * 5
    assert len({reply.json()["signature"] for reply in replies}) == 5


async def test_requests_without_a_valid_signature_and_nonce_are_refused(front: Service) -> None:
    alice, mallory = await with_vault(front, amount=10 * USDT, delegate=True), Keypair()
    amount = ("amount", 1 * USDT)
    stolen = await front.nonce(alice)
    attempts: list[tuple[Json, int, str]] = [
        (await signed(front, alice, "withdraw", amount, signer=mallory), 401, "invalid_signature"),
        (await signed(front, alice, "deposit", amount), 401, "invalid_signature"),
        (
            await signed(front, alice, "withdraw", amount) | {"amount": 2 * USDT},
            401,
            "invalid_signature",
        ),
        (
            await signed(front, alice, "withdraw", amount) | {"owner": str(mallory.pubkey())},
            401,
            "invalid_signature",
        ),
        (await signed(front, mallory, "withdraw", amount, nonce=stolen), 401, "invalid_nonce"),
        (await signed(front, alice, "withdraw", amount, nonce="x" * 32), 401, "invalid_nonce"),
    ]
    for body, status, code in attempts:
        reply = await front.post(WITHDRAW, body)
        assert (reply.status_code, reply.json()["code"]) == (status, code), body
        assert ("WWW-Authenticate" in reply.headers) == (status == 401)
    assert not await rows(front, "SELECT 1 FROM submissions WHERE kind = 'withdraw'")
    # Refused requests use nothing up: the stolen nonce is still valid for its owner.
    reply = await front.post(WITHDRAW, await signed(front, alice, "withdraw", amount, nonce=stolen))
    assert reply.status_code == 202


async def test_a_nonce_expires(front: Service, database_url: str) -> None:
    wallet = await with_vault(front)
    body = await signed(front, wallet, "deposit", ("amount", 1))
    async with front.database.connection() as conn:
        await conn.execute("UPDATE nonces SET expires_at = now()")
    reply = await front.post("/api/vault/deposit", body)
    assert (reply.status_code, reply.json()["code"]) == (401, "nonce_expired")


async def test_an_unavailable_chain_leaves_the_nonce_unused(
    front: Service, database_url: str
) -> None:
    wallet = await with_vault(front)
    body = await signed(front, wallet, "deposit", ("amount", 1))
    async with running(database_url, operator=front.operator) as cut_off:
        reply = await cut_off.post("/api/vault/deposit", body)
        assert (reply.status_code, reply.json()["code"]) == (503, "chain_unavailable")
        assert reply.headers["Retry-After"] == "1"
    assert (await front.post("/api/vault/deposit", body)).status_code == 200


async def test_an_owner_without_a_vault_is_told_what_to_do(front: Service) -> None:
    wallet = Keypair()
    owner = str(wallet.pubkey())
    replies = [
        await front.post(
            "/api/vault/deposit", await signed(front, wallet, "deposit", ("amount", 1))
        ),
        await front.post(WITHDRAW, await signed(front, wallet, "withdraw", ("amount", 1))),
        await front.get(f"/api/vault/balance/{owner}"),
    ]
    for reply in replies:
        assert (reply.status_code, reply.json()["code"]) == (404, "vault_not_found")
        assert "initialize" in reply.json()["detail"]


async def test_initialize_takes_the_wallet_under_either_name(front: Service) -> None:
    wallet, other = await funded(front), str(Keypair().pubkey())
    owner = str(wallet.pubkey())
    for body in ({"owner": owner}, {"user_pubkey": owner}):
        reply = await front.post("/api/vault/initialize", body)
        assert reply.status_code == 200, reply.text
        transaction = parse_base64(reply.json()["transaction"])
        assert wallet.pubkey() in transaction.message.account_keys
    for body, path in (({}, ""), ({"owner": owner, "user_pubkey": other}, "user_pubkey")):
        reply = await front.post("/api/vault/initialize", body)
        assert (reply.status_code, reply.json()["code"]) == (400, "invalid_request")
        assert reply.json()["errors"][0]["path"] == path


async def test_initialize_says_who_has_to_pay_how_much(front: Service) -> None:
    wallet = Keypair()
    reply = await initialize(front, wallet)
    assert (reply.status_code, reply.json()["code"]) == (422, "insufficient_funds")
    detail = reply.json()["detail"]
    assert detail.startswith(f"{wallet.pubkey()} pays ")
    (needed,) = re.findall(r"pays (\d+) lamports", detail)
    (more,) = re.findall(r"Send it (\d+) lamports more", detail)
    for lamports, status in (
        (int(needed) - 1, 422),
        (int(needed) + 1, 422),  # an account with one lamport is not rent-exempt
        (int(more), 200),
        (int(needed), 200),
    ):
        await give(front, wallet, lamports)
        reply = await initialize(front, wallet)
        assert reply.status_code == status, reply.text
    body = cosigned(wallet, reply)  # of which nothing is left, and that is allowed
    assert (await front.rpc.simulate(base64.b64decode(body["transaction"]))).err is None


async def test_the_rent_is_that_of_a_vaults_account(front: Service) -> None:
    wallet = await with_vault(front)
    address = vault_address(front.config.programs, wallet.pubkey())
    found = await front.rpc.get_accounts([address], commitment=Commitment.CONFIRMED)
    account = found.accounts[0]
    assert account is not None
    assert len(account.data) == VAULT_LENGTH


async def give(front: Service, wallet: Keypair, lamports: int) -> None:
    """Set a wallet's balance."""
    account = {"lamports": lamports, "data": "", "owner": str(Pubkey.default())}
    await front.rpc.call("surfnet_setAccount", [str(wallet.pubkey()), account])


async def test_a_second_initialize_is_a_conflict(front: Service) -> None:
    reply = await initialize(front, await with_vault(front))
    assert (reply.status_code, reply.json()["code"]) == (409, "conflict")


async def test_a_recipient_that_is_not_whitelisted_on_chain_is_refused(front: Service) -> None:
    wallet = await with_vault(front, amount=10 * USDT, delegate=True)
    fields = ("amount", 1), ("recipient", str(Keypair().pubkey()))
    reply = await front.post(WITHDRAW, await signed(front, wallet, "withdraw", *fields))
    assert reply.status_code == 400
    assert reply.json()["errors"][0]["path"] == "recipient"
    fields = ("amount", 1), ("recipient", str(wallet.pubkey()))
    reply = await front.post(WITHDRAW, await signed(front, wallet, "withdraw", *fields))
    assert reply.status_code == 202


async def test_the_owner_pays_for_a_missing_token_account_and_signs(
    front: Service,
) -> None:
    wallet = await with_vault(front, amount=10 * USDT, delegate=True)
    ata = token_account(wallet.pubkey(), front.config.programs.mint)
    empty = {"lamports": 0, "data": "", "owner": str(Pubkey.default())}
    await front.rpc.call("surfnet_setAccount", [str(ata), empty])
    body = await signed(front, wallet, "withdraw", ("amount", 1 * USDT))
    reply = await front.post(WITHDRAW, body)
    assert reply.json()["mode"] == "cosign", reply.text
    payer = parse_base64(reply.json()["transaction"]).message.account_keys[0]
    assert payer == wallet.pubkey()
    assert (await submit(front, wallet, reply)).status_code == 202


async def test_the_instruction_of_the_reply_is_that_of_the_transaction(front: Service) -> None:
    wallet = await funded(front)
    reply = (await initialize(front, wallet)).json()
    instruction = reply["instruction"]
    assert instruction["program_id"] == str(front.config.programs.vault)
    assert instruction["accounts"][0] == {
        "pubkey": str(wallet.pubkey()),
        "is_signer": True,
        "is_writable": True,
    }
    assert base64.b64decode(instruction["data"])
    message = parse_base64(reply["transaction"]).message
    assert message.account_keys[0] == front.operator.pubkey()
    assert reply["last_valid_block_height"] > 0


# --- POST /api/transactions --------------------------------------------------------------------


async def test_the_same_transaction_twice_gets_the_same_answer(front: Service) -> None:
    wallet = await funded(front)
    body = cosigned(wallet, await initialize(front, wallet))
    first = await front.post("/api/transactions", body)
    second = await front.post("/api/transactions", body)
    assert first.status_code == second.status_code == 202
    assert first.json() == second.json()
    with trio.fail_after(1):
        assert await front.submit_wake.wait(1)
    pending = await rows(front, "SELECT state, wire IS NOT NULL AS stored FROM submissions")
    assert pending == [{"state": "pending", "stored": True}]


async def test_a_transaction_that_the_chain_refuses_by_now_is_not_submitted(front: Service) -> None:
    wallet = await with_vault(front)
    body = cosigned(wallet, await deposit(front, wallet, 50 * USDT))
    mint = str(front.config.programs.mint)
    await front.rpc.call(
        "surfnet_setTokenAccount", [str(wallet.pubkey()), mint, {"amount": 49 * USDT}]
    )
    reply = await front.post("/api/transactions", body)
    problem = reply.json()
    assert (reply.status_code, problem["code"]) == (422, "program_error")
    assert problem["program_error"] == {
        "code": 1,
        "name": "InsufficientFunds",
        "msg": problem["program_error"]["msg"],
    }
    deposits = await rows(front, "SELECT state FROM submissions WHERE kind = 'deposit'")
    assert deposits == [{"state": "built"}]


async def test_a_transaction_that_was_not_built_here_is_refused(front: Service) -> None:
    wallet = await funded(front)
    body = cosigned(wallet, await initialize(front, wallet))
    async with front.database.connection() as conn:
        await conn.execute("DELETE FROM submissions")
    reply = await front.post("/api/transactions", body)
    assert (reply.status_code, reply.json()["code"]) == (422, "unknown_transaction")


async def test_a_missing_or_wrong_signature_of_the_wallet_is_refused(front: Service) -> None:
    wallet = await funded(front)
    built = await initialize(front, wallet)
    unsigned = {"transaction": built.json()["transaction"]}
    wire = bytearray(base64.b64decode(cosigned(wallet, built)["transaction"]))
    wire[1 + 64 + 5] ^= 1  # inside the wallet's signature, the second
    forged = {"transaction": base64.b64encode(bytes(wire)).decode()}
    for body in (unsigned, forged):
        reply = await front.post("/api/transactions", body)
        assert (reply.status_code, reply.json()["code"]) == (401, "invalid_signature")
    assert await rows(front, "SELECT state FROM submissions") == [{"state": "built"}]


async def test_an_expired_transaction_is_refused(front: Service) -> None:
    wallet = await funded(front)
    body = cosigned(wallet, await initialize(front, wallet))
    async with front.database.connection() as conn:
        await conn.execute("UPDATE submissions SET last_valid_block_height = 0")
    reply = await front.post("/api/transactions", body)
    assert (reply.status_code, reply.json()["code"]) == (422, "transaction_expired")


async def test_a_node_that_does_not_know_the_blockhash_yet_makes_nothing_expire(
    front: Service, localnet: Localnet
) -> None:
    """A load balancer may ask one node for the blockhash and another, behind it, to simulate."""
    wallet = await funded(front)
    chain = localnet.running.chain
    with held_clock(chain):
        chain.advance(6)
        body = cosigned(wallet, await initialize(front, wallet))
        localnet.running.faults.lag = 4
        reply = await front.post("/api/transactions", body)
    assert reply.status_code == 202, reply.text


async def test_an_invalid_transaction_is_a_400(front: Service) -> None:
    for text in ("", "!", "AAAA", "A" * 5_000, base64.b64encode(b"\x01" * 1232).decode()):
        reply = await front.post("/api/transactions", {"transaction": text})
        assert (reply.status_code, reply.json()["code"]) == (400, "invalid_request"), text
    signature = "1" * 64
    reply = await front.get(f"/api/transactions/{signature}")
    assert (reply.status_code, reply.json()["code"]) == (404, "not_found")


async def test_the_operator_signs_nothing_before_the_wallet_has(front: Service) -> None:
    wallet = await funded(front)
    transaction = parse_base64((await initialize(front, wallet)).json()["transaction"])
    assert {bytes(each) for each in transaction.signatures} == {bytes(64)}


async def test_operations_are_counted_by_outcome(front: Service) -> None:
    await initialize(front, await funded(front))
    await initialize(front, Keypair())  # no SOL: refused
    text = (await front.get("/metrics")).text
    assert 'cvms_vault_operations_total{operation="initialize",outcome="accepted"} 1.0' in text
    assert (
        'cvms_vault_operations_total{operation="initialize",outcome="insufficient_funds"} 1.0'
        in text
    )


# --- what the tests are made of ----------------------------------------------------------------


async def balance_of(service: Served, owner: str, expected: int) -> Json:
    """Return the balance once the indexer has reached what the chain has confirmed."""
    with trio.fail_after(20):
        while True:
            reply = await service.get(f"/api/vault/balance/{owner}")
            state: Json = reply.json()
            if reply.status_code == 200 and state["balance"] == expected:
                return state
            await trio.sleep(0.02)


async def pages_of(service: Served, owner: str) -> None:
    path = f"/api/vault/transactions/{owner}?limit=1"

    async def page(more: str = "") -> Json:
        found: Json = (await service.get(path + more)).json()
        return found

    def lines(page: Json) -> list[tuple[int, str]]:
        # Not compared completely: an entry may become final between two reads.
        return [(row["id"], row["kind"]) for row in page["transactions"]]

    first = await page()
    second = await page(f"&cursor={first['next_cursor']}")
    assert [kind for _, kind in lines(first)] == ["withdraw"]
    assert [kind for _, kind in lines(second)] == ["deposit"]
    assert lines(second) == lines(await page("&offset=1")) == lines(await page("&kind=deposit"))
    assert (await page("&offset=2"))["next_cursor"] is None

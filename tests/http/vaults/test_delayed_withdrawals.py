"""Delayed withdrawals, timelocks and their release, positions, and the closing of a vault."""

from __future__ import annotations

import pytest
from solders.keypair import Keypair

from cvms.chain.program.accounts import Vault
from cvms.chain.program.instructions import set_withdraw_min_delay
from cvms.chain.transactions.chain_clock import chain_time
from cvms.chain.transactions.vault_builders import fetch_vault
from cvms.chain.transactions.versioned import build_transaction, sign_as
from tests.harness.localnet import Localnet
from tests.harness.service import Service
from tests.http.wallets import USDT, at_once, landed, rows, sent, signed, submit, with_vault

SCHEDULE = "/api/vault/schedule-withdraw"
RELEASE = "/api/vault/release-timelocks"


async def vault_of(front: Service, wallet: Keypair) -> Vault:
    return await fetch_vault(front.rpc, front.config.programs, wallet.pubkey())


async def schedule(front: Service, wallet: Keypair, amount: int, seconds: int) -> None:
    fields = ("amount", amount), ("duration_seconds", seconds)
    reply = await front.post(SCHEDULE, await signed(front, wallet, "schedule", *fields))
    assert reply.json()["mode"] == "cosign", reply.text
    await sent(front, wallet, reply)


async def test_an_owner_schedules_a_timelock_and_anyone_may_release_it_once_due(
    front: Service, localnet: Localnet
) -> None:
    wallet = await with_vault(front, amount=10 * USDT)
    await schedule(front, wallet, 4 * USDT, 3600)
    body = {"owner": str(wallet.pubkey())}
    early = await front.post(RELEASE, body)
    assert (early.status_code, early.json()["code"]) == (409, "conflict")
    assert "the first one matures in 3" in early.json()["detail"]
    assert not await rows(front, "SELECT 1 FROM submissions")

    chain = localnet.running.chain
    chain.move_time(chain.time.now() + 3600)
    chain.advance(2)
    replies = await at_once(front, RELEASE, [body] * 20)
    assert {reply.status_code for reply in replies} == {202}
    assert len({reply.json()["signature"] for reply in replies}) == 1
    (row,) = await rows(front, "SELECT wire, kind FROM submissions")
    assert row["kind"] == "release_timelocks"
    await landed(front.rpc, await front.rpc.send_transaction(row["wire"]))
    vault = await vault_of(front, wallet)
    assert (vault.timelocks, vault.available_balance) == ((), 10 * USDT)
    async with front.database.connection() as conn:
        await conn.execute("UPDATE submissions SET state = 'confirmed'")
    late = await front.post(RELEASE, body)
    assert (late.status_code, late.json()["code"]) == (409, "conflict")
    assert "it has none" in late.json()["detail"]


async def test_as_delegate_the_service_schedules_at_once(front: Service) -> None:
    wallet = await with_vault(front, amount=10 * USDT, delegate=True)
    fields = ("amount", 4 * USDT), ("duration_seconds", 60)
    reply = await front.post(SCHEDULE, await signed(front, wallet, "schedule", *fields))
    assert (reply.status_code, reply.json()["mode"]) == (202, "submitted")
    (row,) = await rows(front, "SELECT wire FROM submissions")
    await landed(front.rpc, await front.rpc.send_transaction(row["wire"]))
    assert (await vault_of(front, wallet)).timelocked == 4 * USDT


@pytest.mark.parametrize("seconds", [-1, 2**63, "60.0", " 60", 1.5, None])
async def test_a_duration_is_an_integer_of_seconds(front: Service, seconds: object) -> None:
    wallet = Keypair()
    body = await signed(front, wallet, "schedule", ("amount", 1), ("duration_seconds", seconds))
    reply = await front.post(SCHEDULE, body)
    assert reply.status_code == 400
    assert reply.json()["errors"][0]["path"] == "duration_seconds"


async def test_a_vault_with_a_delay_pays_out_only_requested_withdrawals(front: Service) -> None:
    wallet = await with_vault(front, amount=10 * USDT)
    route = "/api/vault/request-withdraw"
    body = await signed(front, wallet, "request_withdraw", ("amount", 1 * USDT))
    refused = await front.post(route, body)
    assert refused.json()["program_error"]["name"] == "Unauthorized"

    delay = set_withdraw_min_delay(front.config.programs, owner=wallet.pubkey(), seconds=60)
    built = build_transaction(
        delay, fee_payer=wallet.pubkey(), blockhash=await front.rpc.get_latest_blockhash()
    )
    wire = bytes(sign_as(built.message, wallet))
    await landed(front.rpc, await front.rpc.send_transaction(wire))
    body = await signed(front, wallet, "request_withdraw", ("amount", 1 * USDT))
    await sent(front, wallet, await front.post(route, body))
    [pending] = (await vault_of(front, wallet)).pending_withdrawals
    assert pending.amount == 1 * USDT
    assert pending.executable_at - pending.requested_at == 60
    assert abs(pending.requested_at - await chain_time(front.rpc)) < 60


async def test_collateral_is_locked_and_unlocked_by_the_position_manager(
    front: Service,
) -> None:
    wallet = await with_vault(front, amount=10 * USDT)
    body = await signed(front, wallet, "pm_lock", ("amount", 6 * USDT))
    await sent(front, wallet, await front.post("/api/pm/lock", body))
    assert (await vault_of(front, wallet)).locked_balance == 6 * USDT
    body = await signed(front, wallet, "withdraw", ("amount", 1 * USDT))
    refused = await front.post("/api/vault/withdraw", body)
    assert refused.json()["program_error"]["name"] == "OpenPositionsExist"
    body = await signed(front, wallet, "pm_unlock", ("amount", 6 * USDT))
    await sent(front, wallet, await front.post("/api/pm/unlock", body))
    assert (await vault_of(front, wallet)).locked_balance == 0
    body = await signed(front, wallet, "withdraw", ("amount", 1 * USDT))
    await sent(front, wallet, await front.post("/api/vault/withdraw", body))
    body = await signed(front, wallet, "pm_unlock", ("amount", 1))
    refused = await front.post("/api/pm/unlock", body)
    assert (refused.status_code, refused.json()["code"]) == (422, "program_error")


async def test_an_empty_vault_is_closed_and_a_full_one_is_not(front: Service) -> None:
    wallet = await with_vault(front, amount=1 * USDT)
    route = "/api/vault/close"
    full = await front.post(route, await signed(front, wallet, "close_vault"))
    assert full.json()["program_error"]["name"] == "NonZeroBalance"
    body = await signed(front, wallet, "withdraw", ("amount", 1 * USDT))
    await sent(front, wallet, await front.post("/api/vault/withdraw", body))
    empty = await front.post(route, await signed(front, wallet, "close_vault"))
    assert (await submit(front, wallet, empty)).status_code == 202
    (row,) = await rows(front, "SELECT wire FROM submissions WHERE state = 'pending'")
    await landed(front.rpc, await front.rpc.send_transaction(row["wire"]))
    closed = await front.post(route, await signed(front, wallet, "close_vault"))
    assert (closed.status_code, closed.json()["code"]) == (404, "vault_not_found")

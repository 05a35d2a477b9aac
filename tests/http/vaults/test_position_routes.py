"""Positions whose collateral governance has taken are settled by anyone."""

from __future__ import annotations

from solders.keypair import Keypair

from cvms.chain.program import instructions
from tests.harness.service import Service
from tests.http.multisig.signers import on_chain
from tests.http.vaults.guards.chain_steps import lock, send_pending, sent_by, vault_of
from tests.http.wallets import USDT, at_once, rows, signed, with_vault

SETTLE = "/api/pm/settle"


async def seize(front: Service, wallet: Keypair, amount: int) -> None:
    """Let governance take tokens of a vault for its owner, also locked ones."""
    instruction = instructions.emergency_withdraw(
        front.config.programs,
        authority=front.operator.pubkey(),
        owner=wallet.pubkey(),
        amount=amount,
    )
    await on_chain(front, front.operator, instruction)


async def test_a_seizure_is_settled_once_whoever_asks(front: Service) -> None:
    wallet = await with_vault(front, amount=10 * USDT)
    await lock(front, wallet, 10 * USDT)
    body = {"owner": str(wallet.pubkey())}
    nothing = await front.post(SETTLE, body)
    assert (nothing.status_code, nothing.json()["code"]) == (409, "conflict")

    await seize(front, wallet, 10 * USDT)
    replies = await at_once(front, SETTLE, [body] * 10)
    assert {reply.status_code for reply in replies} == {202}
    assert len({reply.json()["signature"] for reply in replies}) == 1
    (row,) = await rows(front, "SELECT kind, sponsored_lamports, sponsored_owner FROM submissions")
    # Anybody may ask for it, so it must not use up the owner's budget.
    assert (row["kind"], row["sponsored_owner"]) == ("pm_settle", None)
    assert row["sponsored_lamports"] > 0
    await send_pending(front)
    again = await front.post(SETTLE, body)
    assert (again.status_code, again.json()["code"]) == (409, "conflict")


async def test_there_is_nothing_to_settle_without_a_vault_or_a_position(front: Service) -> None:
    stranger = await front.post(SETTLE, {"owner": str(Keypair().pubkey())})
    assert (stranger.status_code, stranger.json()["code"]) == (404, "vault_not_found")
    wallet = await with_vault(front)
    unused = await front.post(SETTLE, {"owner": str(wallet.pubkey())})
    assert (unused.status_code, unused.json()["code"]) == (409, "conflict")


async def test_what_is_left_of_a_seized_position_is_closed_and_withdrawn(front: Service) -> None:
    wallet = await with_vault(front, amount=10 * USDT)
    await lock(front, wallet, 6 * USDT)
    await seize(front, wallet, 7 * USDT)  # of which 3 were locked
    reply = await front.post(SETTLE, {"owner": str(wallet.pubkey())})
    assert reply.status_code == 202
    await send_pending(front)
    locked = ("amount", (await vault_of(front, wallet)).locked_balance)
    unlock = await front.post("/api/pm/unlock", await signed(front, wallet, "pm_unlock", locked))
    await sent_by(front, [wallet], unlock)
    body = await signed(front, wallet, "withdraw", ("amount", 3 * USDT))
    await sent_by(front, [wallet], await front.post("/api/vault/withdraw", body))
    assert (await vault_of(front, wallet)).total_balance == 0

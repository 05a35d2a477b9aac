"""What an owner agrees to, or takes back before its time."""

from __future__ import annotations

import pytest
from solders.keypair import Keypair

from cvms.chain.program import instructions
from tests.harness.localnet import Localnet
from tests.harness.service import Service
from tests.http.multisig.signers import on_chain, shared_vault
from tests.http.vaults.guards.chain_steps import pass_time, refusal, sent_by, vault_of
from tests.http.wallets import USDT, signed, with_vault

ALLOWANCE = "/api/vault/transfer-allowance/set"
CANCEL_REQUEST, CANCEL_TIMELOCK = "/api/vault/request-withdraw/cancel", "/api/vault/timelock/cancel"


async def transfer(front: Service, giver: Keypair, taker: Keypair, amount: int) -> None:
    """Let governance move tokens that are not locked to another vault."""
    instruction = instructions.rebalance_collateral(
        front.config.programs,
        authority=front.operator.pubkey(),
        from_owner=giver.pubkey(),
        to_owner=taker.pubkey(),
        amount=amount,
    )
    await on_chain(front, front.operator, instruction)


async def test_an_allowance_lets_governance_transfer_what_is_not_locked(front: Service) -> None:
    giver, taker = await with_vault(front, amount=10 * USDT), await with_vault(front)
    with pytest.raises(AssertionError, match="'Custom': 6024"):
        await transfer(front, giver, taker, 3 * USDT)
    body = await signed(front, giver, "transfer_allowance_set", ("allowance", str(5 * USDT)))
    await sent_by(front, [giver], await front.post(ALLOWANCE, body))
    await transfer(front, giver, taker, 3 * USDT)
    vault = await vault_of(front, giver)
    assert (vault.total_balance, vault.transfer_allowance) == (7 * USDT, 2 * USDT)
    assert (await vault_of(front, taker)).available_balance == 3 * USDT


async def test_an_unlimited_allowance_is_not_used_up(front: Service) -> None:
    giver, taker = await with_vault(front, amount=10 * USDT), await with_vault(front)
    body = await signed(front, giver, "transfer_allowance_set", ("allowance", "unlimited"))
    await sent_by(front, [giver], await front.post(ALLOWANCE, body))
    await transfer(front, giver, taker, 3 * USDT)
    assert (await vault_of(front, giver)).transfer_allowance == 2**64 - 1


async def test_a_multisigs_signers_raise_an_allowance_at_once(front: Service) -> None:
    shared = await shared_vault(front)
    fields = "transfer_allowance_set", ("allowance", "5")
    alone = await front.post(ALLOWANCE, await signed(front, shared.owner, *fields))
    assert refusal(alone) == "GuardInForce"
    signers = [str(each.pubkey()) for each in shared.signers[:2]]
    body = await signed(front, shared.owner, *fields, signers=signers)
    await sent_by(front, [shared.owner, *shared.signers[:2]], await front.post(ALLOWANCE, body))
    assert (await vault_of(front, shared.owner)).transfer_allowance == 5


@pytest.mark.parametrize("allowance", [5, "", "-1", "05", "Unlimited", "1" * 20, None])
async def test_an_allowance_is_digits_or_unlimited(front: Service, allowance: object) -> None:
    body = await signed(front, Keypair(), "transfer_allowance_set", ("allowance", allowance))
    reply = await front.post(ALLOWANCE, body)
    assert reply.status_code == 400
    assert reply.json()["errors"][0]["path"] == "allowance"


async def test_a_requested_withdrawal_is_cancelled(front: Service) -> None:
    wallet = await with_vault(front, amount=10 * USDT)
    delay = await signed(front, wallet, "min_delay_set", ("seconds", 60))
    await sent_by(front, [wallet], await front.post("/api/admin/withdraw/min-delay/set", delay))
    body = await signed(front, wallet, "request_withdraw", ("amount", 1 * USDT))
    await sent_by(front, [wallet], await front.post("/api/vault/request-withdraw", body))
    [pending] = (await vault_of(front, wallet)).pending_withdrawals
    fields = ("amount", 1 * USDT), ("executable_at", pending.executable_at)
    body = await signed(front, wallet, "request_withdraw_cancel", *fields)
    await sent_by(front, [wallet], await front.post(CANCEL_REQUEST, body))
    assert (await vault_of(front, wallet)).pending_withdrawals == ()
    again = await signed(front, wallet, "request_withdraw_cancel", *fields)
    assert refusal(await front.post(CANCEL_REQUEST, again)) == "NotFound"


async def test_a_timelock_is_cancelled_at_once_or_with_a_delay_after_it(
    front: Service, localnet: Localnet
) -> None:
    wallet = await with_vault(front, amount=10 * USDT)
    for amount in (4 * USDT, 2 * USDT):
        fields = ("amount", amount), ("duration_seconds", 3600)
        body = await signed(front, wallet, "schedule", *fields)
        await sent_by(front, [wallet], await front.post("/api/vault/schedule-withdraw", body))
    first, second = (await vault_of(front, wallet)).timelocks
    fields = ("amount", first.amount), ("unlock_time", first.unlock_time)
    body = await signed(front, wallet, "timelock_cancel", *fields)
    await sent_by(front, [wallet], await front.post(CANCEL_TIMELOCK, body))
    vault = await vault_of(front, wallet)
    assert (vault.timelocks, vault.available_balance) == ((second,), 8 * USDT)

    delay = await signed(front, wallet, "min_delay_set", ("seconds", 600))
    await sent_by(front, [wallet], await front.post("/api/admin/withdraw/min-delay/set", delay))
    fields = ("amount", second.amount), ("unlock_time", second.unlock_time)
    body = await signed(front, wallet, "timelock_cancel", *fields)
    await sent_by(front, [wallet], await front.post(CANCEL_TIMELOCK, body))
    [sooner] = (await vault_of(front, wallet)).timelocks
    assert sooner.amount == second.amount
    assert sooner.unlock_time < second.unlock_time - 2000
    pass_time(localnet, 600)
    owner = {"owner": str(wallet.pubkey())}
    assert (await front.post("/api/vault/release-timelocks", owner)).status_code == 202

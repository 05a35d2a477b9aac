"""Tokens in and out: funding, vaults, deposits, a delegate, a withdrawal, four refusals."""

from __future__ import annotations

from solders.keypair import Keypair

from cvms.demo.client import expect
from cvms.demo.stage import DEPOSIT, TOPICS, USDT, WITHDRAW, Stage, Step

DELEGATE_ADD = "delegate_add:{owner}:{delegate}:{nonce}"


async def fund_wallets(stage: Stage) -> None:
    """Two new wallets get 2 SOL and 5,000 USDT each."""
    for wallet in (stage.alice, stage.bob):
        address = str(wallet.pubkey())
        signature = await stage.client.rpc("requestAirdrop", address, 2_000_000_000)
        await stage.client.landed(signature)
        mint, amount = str(stage.programs.mint), {"amount": 5_000 * USDT}
        await stage.client.rpc("surfnet_setTokenAccount", address, mint, amount)
        stage.say(f"  {address} has 2 SOL and 5,000 USDT")
    stage.before = await stage.client.metrics()


async def initialize_vaults(stage: Stage) -> None:
    """Each wallet co-signs the creation of its vault; the service pays the fee and submits."""
    for wallet in (stage.alice, stage.bob):
        body = {"user_pubkey": str(wallet.pubkey())}
        reply = await stage.client.post("/api/vault/initialize", body)
        signature = await stage.client.cosign(wallet, reply)
        stage.say(f"  vault of {wallet.pubkey()} is open: {signature}")


async def subscribe(stage: Stage) -> None:
    """Alice subscribes to her events; from here she goes on, even after a lost connection."""
    async with stage.client.websocket() as socket:
        for topic in TOPICS:
            reply = await stage.client.subscribe(socket, topic, stage.alice.pubkey())
            stage.client.seen_seq[topic] = reply["seq"]
            stage.say(f"  {topic} after seq {reply['seq']}")


async def deposit(stage: Stage) -> None:
    """Each wallet signs a deposit of 1,000 USDT, then the transaction that makes it."""
    for wallet in (stage.alice, stage.bob):
        body = await stage.client.signed(wallet, DEPOSIT, amount=1_000 * USDT)
        reply = await stage.client.post("/api/vault/deposit", body)
        signature = await stage.client.cosign(wallet, reply)
        stage.say(f"  1,000 USDT of {wallet.pubkey()}: {signature}")


async def see_deposit(stage: Stage) -> None:
    """The WebSocket delivers the deposit and the new balance; balance and history show it."""
    await stage.see_event("deposit_event", "amount", 1_000 * USDT)
    await stage.see_event("vault_balance_update", "balance", 1_000 * USDT)
    await stage.expect_balances(available=1_000 * USDT)
    await stage.expect_history(("deposit", 1_000 * USDT))


async def add_delegate(stage: Stage) -> None:
    """The owner lets the operator submit withdrawals, which can only reach the owner."""
    operator = str(await stage.operator())
    body = await stage.client.signed(stage.alice, DELEGATE_ADD, delegate=operator)
    reply = await stage.client.post("/api/vault/delegate/add", body)
    stage.say(f"  {operator} is a delegate: {await stage.client.cosign(stage.alice, reply)}")


async def withdraw(stage: Stage) -> None:
    """One signed message withdraws 400 USDT: the service submits, the wallet signs no more."""
    stage.withdrawal = await stage.client.signed(stage.alice, WITHDRAW, amount=400 * USDT)
    reply = await stage.client.post("/api/vault/withdraw", stage.withdrawal)
    expect("mode", reply["mode"], "submitted")
    stage.withdrawal_signature = reply["signature"]
    stage.say(f"  submitted by the service: {stage.withdrawal_signature}")


async def see_withdrawal(stage: Stage) -> None:
    """Events, balance, history and metrics agree with the chain to the unit."""
    await stage.client.settled(stage.withdrawal_signature)
    await stage.see_event("withdraw_event", "amount", 400 * USDT)
    await stage.see_event("vault_balance_update", "balance", 600 * USDT)
    await stage.expect_balances(available=600 * USDT)
    await stage.expect_history(("withdraw", 400 * USDT), ("deposit", 1_000 * USDT))
    wallet = await stage.client.token_amount(str(stage.alice.pubkey()))
    expect("USDT in the wallet", wallet, 4_400 * USDT)
    metrics = await stage.client.metrics()
    for name, grown in (("vault_deposits_total", 2), ("vault_withdrawals_total", 1)):
        expect(name, metrics[name] - stage.before[name], grown)


async def refusals(stage: Stage) -> None:
    """A replayed nonce, a wrong signature, an overdraft, an unknown owner: clear problems."""
    await stage.refused(stage.withdrawal, 409, "nonce_used")
    forged = await stage.client.signed(stage.alice, WITHDRAW, amount=USDT, signer=stage.bob)
    await stage.refused(forged, 401, "invalid_signature")
    await stage.refused_by_program(601 * USDT, "InsufficientFunds")
    unknown = await stage.client.signed(Keypair(), WITHDRAW, amount=USDT)
    await stage.refused(unknown, 404, "vault_not_found")
    await stage.expect_balances(available=600 * USDT)
    await stage.expect_history(("withdraw", 400 * USDT), ("deposit", 1_000 * USDT))


STEPS: tuple[Step, ...] = (
    fund_wallets,
    initialize_vaults,
    subscribe,
    deposit,
    see_deposit,
    add_delegate,
    withdraw,
    see_withdrawal,
    refusals,
)

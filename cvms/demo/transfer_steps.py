"""Tokens in and out: funding, vaults, deposits, a delegate, a withdrawal, four refusals."""

from __future__ import annotations

from solders.keypair import Keypair

from cvms.client import Wallet, open_client
from cvms.demo.chain_client import expect
from cvms.demo.context import USDT, DemoContext, DemoStep

WITHDRAW = "/api/vault/withdraw"


async def fund_wallets(stage: DemoContext) -> None:
    """Two new wallets get 2 SOL and 5,000 USDT each."""
    for wallet in (stage.alice, stage.bob):
        address = str(wallet.pubkey())
        signature = await stage.chain.rpc("requestAirdrop", address, 2_000_000_000)
        await stage.chain.landed(signature)
        mint, amount = str(stage.programs.mint), {"amount": 5_000 * USDT}
        await stage.chain.rpc("surfnet_setTokenAccount", address, mint, amount)
        stage.say(f"  {address} has 2 SOL and 5,000 USDT")
    stage.before = await stage.metrics()


async def initialize_vaults(stage: DemoContext) -> None:
    """Each wallet co-signs the creation of its vault; the service pays the fee and submits."""
    for client in (stage.alice_client, stage.bob_client):
        state = await client.finish(await client.open_vault())
        stage.say(f"  vault of {client.address} is open: {state.signature}")


async def subscribe(stage: DemoContext) -> None:
    """Alice subscribes to her events; from here she goes on, even after a lost connection."""
    await stage.see_snapshots()


async def deposit(stage: DemoContext) -> None:
    """Each wallet signs a deposit of 1,000 USDT, then the transaction that makes it."""
    for client in (stage.alice_client, stage.bob_client):
        state = await client.finish(await client.deposit(1_000 * USDT))
        stage.say(f"  1,000 USDT of {client.address}: {state.signature}")


async def see_deposit(stage: DemoContext) -> None:
    """The WebSocket delivers the deposit and the new balance; balance and history show it."""
    await stage.see_event("deposit_event", "amount", 1_000 * USDT)
    await stage.see_event("vault_balance_update", "balance", 1_000 * USDT)
    await stage.expect_balances(available=1_000 * USDT)
    await stage.expect_history(("deposit", 1_000 * USDT))


async def add_delegate(stage: DemoContext) -> None:
    """The owner lets the operator submit withdrawals, which can only reach the owner."""
    operator = str(await stage.operator())
    state = await stage.alice_client.finish(await stage.alice_client.add_delegate(operator))
    stage.say(f"  {operator} is a delegate: {state.signature}")


async def withdraw(stage: DemoContext) -> None:
    """One signed message withdraws 400 USDT: the service submits, the wallet signs no more."""
    stage.withdrawal = await stage.submitted(400 * USDT)
    stage.say(f"  submitted by the service: {stage.withdrawal}")


async def see_withdrawal(stage: DemoContext) -> None:
    """Events, balance, history and metrics agree with the chain to the unit."""
    await stage.alice_client.settled(stage.withdrawal)
    await stage.see_event("withdraw_event", "amount", 400 * USDT)
    await stage.see_event("vault_balance_update", "balance", 600 * USDT)
    await stage.expect_balances(available=600 * USDT)
    await stage.expect_history(("withdraw", 400 * USDT), ("deposit", 1_000 * USDT))
    wallet = await stage.chain.token_amount(str(stage.alice.pubkey()))
    expect("USDT in the wallet", wallet, 4_400 * USDT)
    metrics = await stage.metrics()
    for name, grown in (("vault_deposits_total", 2), ("vault_withdrawals_total", 1)):
        expect(name, metrics[name] - stage.before[name], grown)


async def refusals(stage: DemoContext) -> None:
    """An overdraft, sent again as it was, a wrong signature, an unknown owner: clear problems."""
    alice = stage.alice_client
    body = await alice.signed("withdraw", owner=alice.address, amount=601 * USDT)
    problem = await stage.refused(alice.request("POST", WITHDRAW, body), 422, "program_error")
    expect("program_error", problem.program_error, "InsufficientFunds")
    await stage.refused(alice.request("POST", WITHDRAW, body), 409, "nonce_used")
    body = await alice.signed("withdraw", owner=alice.address, amount=USDT)
    body["signature"] = stage.bob_client.wallet.sign_text("what Alice did not say")
    await stage.refused(alice.request("POST", WITHDRAW, body), 401, "invalid_signature")
    async with open_client(stage.chain.at.url, wallet=Wallet(Keypair())) as stranger:
        await stage.refused(stranger.withdraw(USDT), 404, "vault_not_found")
    await stage.expect_balances(available=600 * USDT)
    await stage.expect_history(("withdraw", 400 * USDT), ("deposit", 1_000 * USDT))


STEPS: tuple[DemoStep, ...] = (
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

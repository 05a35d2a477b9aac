"""Steps of the demo: funding, vaults, deposits, a delegate, a withdrawal, four refusals."""

from __future__ import annotations

from solders.keypair import Keypair

from cvms.client import Wallet, open_client
from cvms.demo.chain_client import expect
from cvms.demo.context import USDT, DemoContext, DemoStep

WITHDRAW = "/api/vault/withdraw"


async def fund_wallets(demo: DemoContext) -> None:
    """Two new wallets receive 2 SOL and 5,000 USDT each."""
    for wallet in (demo.alice, demo.bob):
        address = str(wallet.pubkey())
        signature = await demo.chain.rpc("requestAirdrop", address, 2_000_000_000)
        await demo.chain.landed(signature)
        mint, amount = str(demo.programs.mint), {"amount": 5_000 * USDT}
        await demo.chain.rpc("surfnet_setTokenAccount", address, mint, amount)
        demo.say(f"  {address} has 2 SOL and 5,000 USDT")
    demo.metrics_before = await demo.metrics()


async def initialize_vaults(demo: DemoContext) -> None:
    """Each wallet signs the creation of its vault. The service pays the fee and submits it."""
    for client in (demo.alice_client, demo.bob_client):
        state = await client.finish(await client.open_vault())
        demo.say(f"  vault of {client.address} is open: {state.signature}")


async def subscribe(demo: DemoContext) -> None:
    """Alice subscribes to her events. The stream survives lost connections."""
    await demo.see_snapshots()


async def deposit(demo: DemoContext) -> None:
    """Each wallet signs a request to deposit 1,000 USDT, and then the transaction for it."""
    for client in (demo.alice_client, demo.bob_client):
        state = await client.finish(await client.deposit(1_000 * USDT))
        demo.say(f"  1,000 USDT of {client.address}: {state.signature}")


async def see_deposit(demo: DemoContext) -> None:
    """The WebSocket delivers the deposit and the new balance. Balance and history show both."""
    await demo.see_event("deposit_event", "amount", 1_000 * USDT)
    await demo.see_event("vault_balance_update", "balance", 1_000 * USDT)
    await demo.expect_balances(available=1_000 * USDT)
    await demo.expect_history(("deposit", 1_000 * USDT))


async def add_delegate(demo: DemoContext) -> None:
    """Alice makes the operator a delegate, which can withdraw to her wallet only."""
    operator = str(await demo.operator())
    state = await demo.alice_client.finish(await demo.alice_client.add_delegate(operator))
    demo.say(f"  {operator} is a delegate: {state.signature}")


async def withdraw(demo: DemoContext) -> None:
    """One signed message withdraws 400 USDT. The service signs and submits the transaction."""
    demo.withdrawal = await demo.submitted(400 * USDT)
    demo.say(f"  submitted by the service: {demo.withdrawal}")


async def see_withdrawal(demo: DemoContext) -> None:
    """Events, balance, history and metrics agree with the chain."""
    await demo.alice_client.settled(demo.withdrawal)
    await demo.see_event("withdraw_event", "amount", 400 * USDT)
    await demo.see_event("vault_balance_update", "balance", 600 * USDT)
    await demo.expect_balances(available=600 * USDT)
    await demo.expect_history(("withdraw", 400 * USDT), ("deposit", 1_000 * USDT))
    wallet = await demo.chain.token_amount(str(demo.alice.pubkey()))
    expect("USDT in the wallet", wallet, 4_400 * USDT)
    metrics = await demo.metrics()
    for name, increase in (("vault_deposits_total", 2), ("vault_withdrawals_total", 1)):
        expect(name, metrics[name] - demo.metrics_before[name], increase)


async def refusals(demo: DemoContext) -> None:
    """The service refuses an overdraft, its repetition, a wrong signature and an unknown owner."""
    alice = demo.alice_client
    body = await alice.signed("withdraw", owner=alice.address, amount=601 * USDT)
    problem = await demo.refused(alice.request("POST", WITHDRAW, body), 422, "program_error")
    expect("program_error", problem.program_error, "InsufficientFunds")
    await demo.refused(alice.request("POST", WITHDRAW, body), 409, "nonce_used")
    body = await alice.signed("withdraw", owner=alice.address, amount=USDT)
    body["signature"] = demo.bob_client.wallet.sign_text("not the text of Alice's request")
    await demo.refused(alice.request("POST", WITHDRAW, body), 401, "invalid_signature")
    async with open_client(demo.chain.at.url, wallet=Wallet(Keypair())) as stranger:
        await demo.refused(stranger.withdraw(USDT), 404, "vault_not_found")
    await demo.expect_balances(available=600 * USDT)
    await demo.expect_history(("withdraw", 400 * USDT), ("deposit", 1_000 * USDT))


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

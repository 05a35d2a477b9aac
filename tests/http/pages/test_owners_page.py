"""The page of an owner: everything that it offers, done once in a browser with a wallet."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path

import pyotp
import pytest
import trio
from cryptography.fernet import Fernet
from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.hash import Hash
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction
from spl.token.instructions import create_idempotent_associated_token_account

from cvms.chain.program import instructions
from cvms.chain.program.addresses import token_account
from cvms.chain.program.instructions import set_withdraw_min_delay
from cvms.chain.types import Commitment, Programs
from tests.harness.installed_tools import node_modules
from tests.harness.localnet import Localnet
from tests.harness.service import Served, whole_service
from tests.http.multisig.signers import on_chain, set_multisig
from tests.http.pages.test_pages import PAGES, audit
from tests.http.pages.trader import Trader, trading
from tests.http.wallets import USDT, deposit, funded, land

OWNERS, SIGNERS = "Owner's wallet", "Signer's wallet"
# What the service answers to the next request for a deposit says 4 USDT instead of 3.
TAMPERED = """(() => {
  const real = window.fetch;
  window.fetch = async (...request) => {
    const answer = await real(...request);
    if (!request[0].endsWith("api/vault/deposit")) return answer;
    window.fetch = real;
    const { transaction, ...rest } = await answer.json();
    const changed = btoa(atob(transaction).replace("\\xc0\\xc6\\x2d", "\\x00\\x09\\x3d"));
    return new Response(JSON.stringify({...rest, transaction: changed}), {status: answer.status});
  };
})()"""
# What the service answers to the next request of a path is this transaction.
HOSTILE = """(() => {
  const real = window.fetch;
  window.fetch = async (...request) => {
    const answer = await real(...request);
    if (!request[0].endsWith(%s)) return answer;
    window.fetch = real;
    return new Response(JSON.stringify({transaction: %s}), {status: answer.status});
  };
})()"""
# The answer to the next request for a deposit is lost.
LOST = """(() => {
  const real = window.fetch;
  window.fetch = async (...request) => {
    const answer = await real(...request);
    if (!request[0].endsWith("api/vault/deposit")) return answer;
    window.fetch = real;
    throw new TypeError("the connection was lost");
  };
})()"""
SAVED = """(() => {
  const real = URL.createObjectURL;
  URL.createObjectURL = (blob) => { window.saved = blob.text(); return real(blob); };
})()"""


@pytest.mark.slow(seconds=20)
async def test_an_owner_does_everything_that_the_page_offers(
    database_url: str, localnet: Localnet, tmp_path: Path
) -> None:
    keys = {"data_encryption_keys": (Fernet.generate_key(),)}
    async with whole_service(database_url, **(localnet.settings | keys)) as served:
        owner, signer = await funded(served), Keypair()
        wallets = {OWNERS: owner, SIGNERS: signer}
        async with trading(tmp_path, served, owner, wallets) as trader:
            await _deposit(trader, served, owner)
            await _be_refused(trader, owner)
            await _see_what_was_not_asked_for(trader, served.config.programs, owner.pubkey())
            await _withdraw_and_timelock(trader)
            recovery = await _use_a_second_factor(trader)
            await _save_a_statement(trader, owner)
            await _agree_with_a_signer(trader, served, owner, signer)
            await _request_a_withdrawal(trader, served, owner, recovery)
            await _be_readable(trader)
            # The browser notes that the vault was not there at first, and what was refused.
            errors = [each for each in trader.tab.errors if "status of 4" not in each]
            assert errors == []


async def _deposit(trader: Trader, served: Served, owner: Keypair) -> None:
    await trader.see("No vault yet")
    assert "This vault has no" not in await trader.tab.evaluate("document.body.innerText")
    await trader.see("it lacks solana:signMessage: use another wallet")
    await trader.connect(OWNERS)
    await trader.move("Open the vault")
    await trader.balance("balance", "0.00")
    reviewed = await trader.move("Deposit", amount=" 250.000001")
    assert "250.000001 (250000001 units)" in reviewed
    assert f"{served.operator.pubkey()} (the service)" in reviewed
    [text] = (await trader.wallet(OWNERS))["texts"]
    assert text.startswith(f"deposit:{owner.pubkey()}:250000001:")
    await trader.balance("available", "250.000001")

    # Somewhere else, while the page is not connected.
    await trader.see("Live", within=".live")
    await trader.tab.evaluate("window.isCut = true; window.sockets.at(-1).close()")
    await trader.see("Stale since", within=".live")
    await land(served, owner, await deposit(served, owner, 7 * USDT))
    await trader.tab.evaluate("window.isCut = false")
    await trader.balance("available", "257.000001")
    await trader.see("Live", within=".live")


async def _be_refused(trader: Trader, owner: Keypair) -> None:
    """Each refusal says why and what to do, and nothing is sent."""
    for ambiguous in ("1,5", "1,500", "1,50.0", "1.000,5"):
        await trader.request("Withdraw", amount=ambiguous)
        assert f"“{ambiguous}” is not an amount." in await trader.trouble()
        await trader.close()

    await trader.request("Withdraw", amount="1.0000001")
    assert "1.0000001 has 7 decimals, and the token has 6." in await trader.trouble()
    await trader.close()

    await trader.request("Withdraw", amount="300")
    assert "Choose an amount that is not above" in await trader.trouble()
    await trader.close()

    await trader.tab.evaluate(f"testWallets[`{OWNERS}`].refuses = true")
    await trader.request("Deposit", amount="3")
    refusal = await trader.trouble()
    assert "User rejected the request." in refusal
    assert "Nothing was sent." in refusal
    await trader.tab.evaluate(f"testWallets[`{OWNERS}`].refuses = false")
    await trader.tab.evaluate(LOST)
    await trader.press("Try again")
    await trader.see("a repeated request takes effect once", within="dialog .trouble")
    asked = await trader.wallet(OWNERS)

    await trader.tab.evaluate(TAMPERED)
    await trader.press("Try again")
    await trader.see("Its amount is 4000000, and you have asked for 3000000.", within="dialog")
    assert "Sign and send" not in await trader.dialog()
    assert await trader.wallet(OWNERS) == asked
    await trader.close()


async def _see_what_was_not_asked_for(trader: Trader, programs: Programs, owner: Pubkey) -> None:
    """Whoever changes the service's answers gets no signature of another transaction."""
    thief = Pubkey.new_unique()
    asked = await trader.wallet(OWNERS)
    put_in = instructions.deposit(programs, authority=owner, owner=owner, amount=USDT)
    rent = create_idempotent_associated_token_account(payer=owner, owner=thief, mint=programs.mint)
    elsewhere = token_account(thief, programs.mint)
    take_out = instructions.withdraw(
        programs,
        authority=owner,
        owner=owner,
        recipient_token_account=elsewhere,
        position_summaries=(),
        amount=USDT,
    )
    fee = [set_compute_unit_limit(1_400_000), set_compute_unit_price(1_000_000_000)]
    for button, hostile, fault in (
        ("Deposit", [rent, put_in], "It also creates or changes"),
        ("Deposit", [*fee, put_in], "Its fee may be 1.400005 SOL"),
        ("Withdraw", [take_out], f"account {elsewhere} is not"),
    ):
        message = MessageV0.try_compile(owner, hostile, [], Hash.default())
        wire = bytes(VersionedTransaction.populate(message, [Signature.default()]))
        transaction = base64.b64encode(wire).decode()
        path = f"api/vault/{button.lower()}"
        await trader.tab.evaluate(HOSTILE % (json.dumps(path), json.dumps(transaction)))
        await trader.request(button, amount="1")
        await trader.see(fault, within="dialog .trouble")
        assert "Sign and send" not in await trader.dialog()
        await trader.close()
    assert (await trader.wallet(OWNERS))["transactions"] == asked["transactions"]


async def _withdraw_and_timelock(trader: Trader) -> None:
    await trader.move("Withdraw", amount="50")
    await trader.balance("balance", "207.000001")
    await trader.move("Timelock", amount="7.000001", count="2", unit="3600")
    await trader.balance("timelocked", "7.000001")
    await trader.balance("available", "200.00")
    await trader.move("Cancel the timelock")
    await trader.balance("timelocked", "0.00")


async def _use_a_second_factor(trader: Trader) -> str:
    """Return a recovery code."""
    await trader.request("Set up the second factor")
    secret = await trader.until("return document.querySelector('#secret')?.innerText")
    recovery: str = await trader.until("return document.querySelector('.codes li').innerText")
    await trader.until("return document.querySelector('.qr').width > 100")
    await trader.type("first", "000000")
    await trader.press("Turn on")
    assert "Check the clock of your device" in await trader.trouble()
    await trader.type("first", pyotp.TOTP(secret).now())
    await trader.press("Turn on")
    await trader.see("The second factor is on.", within="dialog")
    await trader.close()
    await trader.see("It is on since")

    await trader.request("Withdraw", amount="1", code="000000")
    assert "wait for the next code" in await trader.trouble()
    await trader.close()
    await trader.move("Withdraw", amount="1", code=pyotp.TOTP(secret).at(time.time() + 30))
    await trader.balance("balance", "206.000001")
    return recovery


async def _save_a_statement(trader: Trader, owner: Keypair) -> None:
    await trader.tab.evaluate(SAVED)
    await trader.press("Download as CSV")
    await trader.see(f"statement-{owner.pubkey()}.csv")
    lines = (await trader.tab.evaluate("window.saved")).splitlines()
    assert [line.split(",")[2] for line in lines[:3]] == ["kind", "opening", "deposit"]
    assert ",deposit,250000001," in lines[2]


async def _agree_with_a_signer(
    trader: Trader, served: Served, owner: Keypair, signer: Keypair
) -> None:
    await trader.see("This vault has no multisig")
    await set_multisig(served, owner, (owner, signer), 2)
    await _reload_once_indexed(trader, served, owner)
    await trader.see("A withdrawal needs 2 of these 2")
    await trader.request("Propose a withdrawal", amount="100")
    await trader.see("It is proposed.", within="dialog")
    await trader.close()
    await trader.request("Approve")
    await trader.see("Your approval counts.", within="dialog")
    await trader.close()

    await trader.press("Disconnect")
    await trader.connect(SIGNERS)
    await trader.see("This is not the owner's wallet. It is a signer of its multisig")
    await trader.see("only the owner's wallet can do this", within="#movements ~ p")
    await trader.reload()
    await trader.press("Show what waits")
    await trader.request("Approve")
    await trader.see("Your approval counts.", within="dialog")
    await trader.close()
    await trader.request("Sign")
    await trader.press("Sign and send")
    await trader.see(f"Still missing: {owner.pubkey()}", within="dialog")
    await trader.close()

    await trader.press("Disconnect")
    await trader.connect(OWNERS)
    await trader.move("Sign")
    await trader.balance("balance", "106.000001")


async def _reload_once_indexed(trader: Trader, served: Served, owner: Keypair) -> None:
    """Reload the page, which reads the vault's rules again only now and then by itself."""
    known = {"X-Min-Slot": str(await served.rpc.get_slot(Commitment.CONFIRMED))}
    path = f"{served.url}/api/vault/{owner.pubkey()}"
    with trio.fail_after(20):
        while (await served.http.get(path, headers=known)).status_code != 200:  # noqa: ASYNC110
            await trio.sleep(0.02)
    await trader.reload()


async def _request_a_withdrawal(trader: Trader, served: Served, owner: Keypair, code: str) -> None:
    await trader.see("the vault has no minimum delay", within="#requests ~ .action")
    delay = set_withdraw_min_delay(served.config.programs, owner=owner.pubkey(), seconds=3600)
    await on_chain(served, owner, delay)
    await _reload_once_indexed(trader, served, owner)
    await trader.see("This vault has a minimum delay of 60 min")
    await trader.move("Request a withdrawal", amount="20", code=code)
    await trader.see("20.00", within="section:has(#requests) table")
    await trader.move("Cancel the request")
    await trader.see("Nothing is requested.")


async def _be_readable(trader: Trader) -> None:
    await trader.tab.evaluate((node_modules(PAGES) / "axe-core" / "axe.min.js").read_text())
    assert await audit(trader, "the page") == []
    assert await trader.tab.evaluate("document.documentElement.scrollWidth") == 390
    style = "getComputedStyle(document.querySelector('code')).unicodeBidi"
    assert await trader.tab.evaluate(style) == "isolate"
    await trader.request("Deposit", amount="3")
    await trader.see("This is what you sign", within="dialog")
    assert await audit(trader, "the review") == []

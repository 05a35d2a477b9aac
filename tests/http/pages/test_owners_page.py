"""The page of an owner: everything that it offers, done once in a browser with a wallet."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography.fernet import Fernet
from solders.keypair import Keypair

from tests.harness.localnet import Localnet
from tests.harness.service import Served, whole_service
from tests.http.pages.trader import Trader, trading
from tests.http.wallets import USDT, deposit, funded, land


@pytest.mark.slow(seconds=20)
async def test_an_owner_does_everything_that_the_page_offers(
    database_url: str, localnet: Localnet, tmp_path: Path
) -> None:
    keys = {"data_encryption_keys": (Fernet.generate_key(),)}
    async with whole_service(database_url, **(localnet.settings | keys)) as served:
        owner, signer = await funded(served), Keypair()
        wallets = {"Owner's wallet": owner, "Signer's wallet": signer}
        async with trading(tmp_path, served, owner, wallets) as trader:
            await _deposit(trader, served, owner)
            # The browser notes that the vault was not there at first.
            assert [each for each in trader.tab.errors if "status of 404" not in each] == []


async def _deposit(trader: Trader, served: Served, owner: Keypair) -> None:
    await trader.see("No vault yet")
    await trader.connect("Owner's wallet")
    await trader.move("Open the vault")
    await trader.balance("balance", "0.00")
    reviewed = await trader.move("Deposit", amount="250.000001")
    assert "250.000001 (250000001 units)" in reviewed
    assert f"{served.operator.pubkey()} (the service)" in reviewed
    [text] = (await trader.wallet("Owner's wallet"))["texts"]
    assert text.startswith(f"deposit:{owner.pubkey()}:250000001:")
    await trader.balance("available", "250.000001")

    await land(served, owner, await deposit(served, owner, 7 * USDT))
    await trader.balance("available", "257.000001")

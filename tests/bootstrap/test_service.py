"""The service runs on what a deployment leaves: its keys, its programs and `.env`."""

from __future__ import annotations

from pathlib import Path

import pytest
from solders.keypair import Keypair

from cvms.chain.program.accounts import read_vault
from cvms.chain.program.addresses import vault_address
from cvms.client.client import open_client
from cvms.client.wallet import Wallet
from tests.bootstrap.deployer import SOL, Deployer
from tests.harness.free_ports import free_port
from tests.harness.processes import Server, ServerForker, serving, until_ready

pytestmark = pytest.mark.slow(seconds=15)


async def test_a_deposit_is_made_at_the_service_that_starts_on_the_written_settings(
    deployer: Deployer, database_url: str, forker: ServerForker, tmp_path: Path
) -> None:
    await deployer.bootstrap(database_url=database_url)
    owner, programs = Keypair(), deployer.programs
    await deployer.cluster.rpc.call("requestAirdrop", [str(owner.pubkey()), SOL])
    tokens = [str(owner.pubkey()), str(programs.mint), {"amount": 5_000_000}]
    await deployer.cluster.rpc.call("surfnet_setTokenAccount", tokens)
    server = Server(forker, tmp_path, {"PORT": str(free_port())})
    async with serving(server):
        await until_ready(server.url, server)
        async with open_client(server.url, wallet=Wallet(owner)) as client:
            await client.finish(await client.open_vault())
            await client.finish(await client.deposit(2_000_000))
    account = await deployer.cluster.account(vault_address(programs, owner.pubkey()))
    vault = read_vault(account, programs)
    assert vault is not None
    assert vault.available_balance == 2_000_000

"""A vault's whole life through the real service, on the local chain and on a real validator.

It is opened, gets three deposits and a delegate, and a withdrawal; the books are reconciled; and
the service recovers from a cursor that the node does not know, as after a fork.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import httpx
import psycopg
import pytest
import trio
from solders.account import Account
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.token.state import Mint, TokenAccount, TokenAccountState
from spl.token.constants import TOKEN_PROGRAM_ID

from cvms import localnet
from cvms.chain.program import instructions
from cvms.chain.program.addresses import token_account
from cvms.chain.rpc.rpc_client import open_rpc
from cvms.chain.types import Commitment, Programs
from cvms.client import Client, Wallet, open_client
from cvms.config.loader import load_programs
from cvms.dev.chain_setup import bundled_programs, land
from cvms.dev.data_folder import write_private
from tests.conformance import validator
from tests.harness.free_ports import free_port
from tests.harness.processes import cvms, until_ready

pytestmark = pytest.mark.slow(seconds=25)

USDT, SOL = 1_000_000, 1_000_000_000
DEADLINE = 90.0
CHECKS = 'cvms_reconciliation_checks_total{outcome="'


def genesis(programs: Programs, operator: Pubkey, owner: Pubkey) -> list[tuple[Pubkey, Account]]:
    """Return the mint, and the owner's account with a thousand USDT."""
    mint = bytes(Mint(operator, 1_000 * USDT, 6, is_initialized=True))
    held = TokenAccount(
        mint=programs.mint,
        owner=owner,
        amount=1_000 * USDT,
        delegate=None,
        state=TokenAccountState.Initialized,
        is_native=None,
        delegated_amount=0,
        close_authority=None,
    )
    return [
        (programs.mint, Account(1_461_600, mint, TOKEN_PROGRAM_ID)),
        (token_account(owner, programs.mint), Account(2_039_280, bytes(held), TOKEN_PROGRAM_ID)),
    ]


@asynccontextmanager
async def local_chain(
    folder: Path, deployed: Sequence[localnet.Deployment], accounts: list[tuple[Pubkey, Account]]
) -> AsyncIterator[tuple[str, str]]:
    timing = localnet.Timing(slot_seconds=0.1)
    serve = partial(localnet.serve, port=0, ledger=None, programs=deployed, timing=timing)
    async with trio.open_nursery() as nursery:
        running: localnet.Running = await nursery.start(serve)
        for key, account in accounts:
            running.chain.overwrite(key, account)
        yield running.rpc_url, running.ws_url
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def real_chain(
    folder: Path, deployed: Sequence[localnet.Deployment], accounts: list[tuple[Pubkey, Account]]
) -> AsyncIterator[tuple[str, str]]:
    async with validator.validator(folder, programs=deployed, accounts=accounts) as running:
        yield running.rpc_url, running.ws_url


async def prepare(rpc_url: str, programs: Programs, operator: Keypair, owner: Pubkey) -> None:
    """Fund the operator and the owner, and make the operator the vaults' governance."""
    async with open_rpc([rpc_url]) as rpc:
        for key in (operator.pubkey(), owner):
            await rpc.call("requestAirdrop", [str(key), 100 * SOL])

            async def funded(key: Pubkey = key) -> bool:
                return await rpc.get_balance(key) >= 100 * SOL

            await until(funded)
        authority = instructions.initialize_vault_authority(
            programs,
            governance=operator.pubkey(),
            authorized_programs=[programs.position_manager],
            freeze=False,
        )
        await land(rpc, operator, [authority])


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Wait for what another process does."""
    with trio.fail_after(DEADLINE):
        while not await condition():  # noqa: ASYNC110
            await trio.sleep(0.2)


async def until_reconciled(url: str) -> None:
    """Wait until vaults have been compared with the chain again, and all of them agreed."""
    async with httpx.AsyncClient() as http:
        before = await checks(http, url)

        async def compared() -> bool:
            return (await checks(http, url)).get("equal", 0) >= before.get("equal", 0) + 2

        await until(compared)
        assert set(await checks(http, url)) == {"equal"}


async def checks(http: httpx.AsyncClient, url: str) -> dict[str, float]:
    """Return how many vaults were compared with the chain, by outcome."""
    lines = (await http.get(f"{url}/metrics")).text.splitlines()
    found = [line.removeprefix(CHECKS).split('"} ') for line in lines if line.startswith(CHECKS)]
    return {outcome: float(count) for outcome, count in found if float(count)}


def apply_unknown(database_url: str, slot: int) -> None:
    """Let the last applied transaction be one that no block holds, as after a fork."""
    unknown = str(Keypair().sign_message(b"dropped by a fork"))
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO applied (slot, signature, final) VALUES (%s, %s, false)", (slot, unknown)
        )
        connection.execute(
            "UPDATE indexer_cursor"
            " SET previous_signature = signature, signature = %s, slot = %s, through = %s",
            (unknown, slot, slot),
        )


async def until_balance(client: Client, amount: int) -> None:
    async def reached() -> bool:
        return (await client.balance()).balance == amount

    await until(reached)


@pytest.mark.parametrize("kind", ["local", "real"])
async def test_a_vault_lives(tmp_path: Path, empty_database_url: str, kind: str) -> None:
    if kind == "real" and validator.found() is None:
        pytest.skip(f"no {validator.NAME} on the PATH")
    programs, operator, owner = load_programs({}), Keypair(), Keypair()
    keypair, port = tmp_path / "operator.json", free_port()
    write_private(keypair, json.dumps(list(bytes(operator))))
    accounts = genesis(programs, operator.pubkey(), owner.pubkey())
    deployed = bundled_programs(programs, upgrade_authority=operator.pubkey())
    chain = (real_chain if kind == "real" else local_chain)(tmp_path, deployed, accounts)
    async with chain as (rpc_url, ws_url):
        await prepare(rpc_url, programs, operator, owner.pubkey())
        url = f"http://127.0.0.1:{port}"
        environ = {
            "PORT": str(port),
            "DATABASE_URL": empty_database_url,
            "SOLANA_RPC_URL": rpc_url,
            "SOLANA_WS_URL": ws_url,
            "DEPLOYER_KEYPAIR_PATH": str(keypair),
            "RECONCILIATION_INTERVAL_SECONDS": "2",
        }
        async with (
            cvms("serve", folder=tmp_path, environ=environ) as service,
            open_client(url, wallet=Wallet(owner)) as client,
        ):
            await until_ready(url, service)
            await client.finish(await client.open_vault())
            for amount in (100, 20, 3):
                await client.finish(await client.deposit(amount * USDT))
            delegate = str(Keypair().pubkey())
            await client.finish(await client.add_delegate(delegate))
            await client.finish(await client.withdraw(23 * USDT))
            await until_balance(client, 100 * USDT)
            assert (await client.config()).delegates == [delegate]
            await until_reconciled(url)
        async with open_rpc([rpc_url]) as rpc:
            apply_unknown(empty_database_url, await rpc.get_slot(Commitment.CONFIRMED))
        async with (
            cvms("serve", folder=tmp_path, environ=environ) as service,
            open_client(url, wallet=Wallet(owner)) as client,
        ):
            await until_ready(url, service)
            await client.finish(await client.deposit(7 * USDT))
            await until_balance(client, 107 * USDT)
            kinds = [each.kind for each in (await client.history()).transactions]
            assert kinds.count("deposit") == 4
            assert kinds.count("withdraw") == 1
            await until_reconciled(url)

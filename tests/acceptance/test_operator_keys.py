"""The operator's key in a token: it signs the whole demo, and takes over from a file under load."""

from __future__ import annotations

import base64
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import pytest
import trio
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from cvms.client import Wallet, open_client
from cvms.config.loader import load_programs
from cvms.demo import Addresses, run_demo
from tests.acceptance.chain import fund, rpc
from tests.acceptance.conftest import System
from tests.harness.processes import HANG_SECONDS, Command, cvms, until_ready
from tests.signing.softhsm import SoftHsm, start_softhsm

pytestmark = pytest.mark.slow(seconds=30)

CLIENTS = 2
PAUSE_SECONDS = 0.25
"""Between two deposits of an owner, so that most of the time goes to the workers that start."""
NEW_CONNECTIONS = httpx.Limits(max_keepalive_connections=0)
NO_LIMITS = {f"RATE_LIMIT_{each}": "off" for each in ("ADDRESS", "SENSITIVE", "OWNER", "GLOBAL")}


@pytest.fixture
def hsm(tmp_path: Path) -> SoftHsm:
    return start_softhsm(tmp_path / "hsm")


async def test_a_token_signs_the_whole_demo(hsm: SoftHsm, tmp_path: Path) -> None:
    address = Pubkey(hsm.make_key("operator"))
    environ = hsm.environ | {"OPERATOR_SIGNER": f"pkcs11:{hsm.uri('operator')}"}
    ports = ("--port", "0", "--localnet-port", "0")
    async with cvms("dev", *ports, folder=tmp_path, environ=environ) as dev:
        at = Addresses(
            url=await dev.line("Service"),
            rpc_url=await dev.line("RPC"),
            programs=load_programs({}),
        )
        assert await dev.line("Operator") == str(address)
        output: list[str] = []
        await run_demo(at, say=output.append)
        assert output[-1] == "Everything is as it should be."
        await dev.stop(signal.SIGINT, within=10)
        assert not (tmp_path / ".cvms" / "operator.json").exists()


async def test_a_token_takes_over_from_a_file_without_a_refused_transaction(
    hsm: SoftHsm, system: System
) -> None:
    """The steps of docs/operations/keys.md, while owners deposit."""
    old, new = Path(system.environ["DEPLOYER_KEYPAIR_PATH"]), Pubkey(hsm.make_key("operator"))
    file, token = f"file:{old}", f"pkcs11:{hsm.uri('operator')}#{new}"
    await rpc(system.at.rpc_url, "surfnet_setAccount", str(new), {"lamports": 10**10})
    set_signers(system, f"{file},{token}")
    async with workers(system, hsm) as service, depositing(system) as load:
        await load.rounds(2)
        assert new not in load.payers
        await set_and_replace(system, service, f"{token},{file}")
        await load.rounds(2)  # the first ones may have been planned before
        assert load.payers[-1] == new
        planned_before = len(load.payers)
        await set_and_replace(system, service, token)
        await load.rounds(1)
    assert set(load.payers[planned_before:]) == {new}
    assert load.refusals == []


@dataclass(eq=False)
class Load:
    """What owners have submitted: who paid for each, and what was refused."""

    payers: list[Pubkey] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    counts: list[int] = field(default_factory=lambda: [0] * CLIENTS)
    grown: trio.Condition = field(default_factory=trio.Condition)

    async def rounds(self, number: int) -> None:
        """Wait until each owner has planned and submitted so many further deposits."""
        wanted = [count + number for count in self.counts]
        with trio.fail_after(HANG_SECONDS):
            async with self.grown:
                while any(count < least for count, least in zip(self.counts, wanted, strict=True)):
                    await self.grown.wait()


@asynccontextmanager
async def depositing(system: System) -> AsyncIterator[Load]:
    """Let owners deposit one after the other, for the block."""
    load, stop = Load(), trio.Event()

    async def owner(number: int, ready: trio.Event) -> None:
        wallet = Keypair()
        await fund(system.at.rpc_url, wallet, system.at.programs.mint)
        async with (
            open_client(system.at.url, wallet=Wallet(wallet)) as client,
            httpx.AsyncClient(timeout=30, limits=NEW_CONNECTIONS) as http,
        ):
            await client.finish(await client.open_vault())
            ready.set()
            while not stop.is_set():
                planned = await client.deposit(1)
                message = VersionedTransaction.from_bytes(
                    base64.b64decode(planned.transaction)
                ).message
                body = {"transaction": Wallet(wallet).cosign(planned.transaction)}
                reply = await http.post(f"{system.at.url}/api/transactions", json=body)
                if reply.status_code != httpx.codes.ACCEPTED:
                    load.refusals.append(reply.text)
                load.payers.append(message.account_keys[0])
                async with load.grown:
                    load.counts[number] += 1
                    load.grown.notify_all()
                await trio.sleep(PAUSE_SECONDS)

    async with trio.open_nursery() as nursery:
        ready = [trio.Event() for _ in range(CLIENTS)]
        for number, event in enumerate(ready):
            nursery.start_soon(owner, number, event)
        for event in ready:
            await event.wait()
        yield load
        stop.set()


@asynccontextmanager
async def workers(system: System, hsm: SoftHsm) -> AsyncIterator[Command]:
    """Run two workers, which read the operator's signers in `.env`."""
    environ = {**system.environ, **hsm.environ, **NO_LIMITS}
    del environ["DEPLOYER_KEYPAIR_PATH"]
    arguments = ("serve", "--workers", "2")
    async with cvms(*arguments, folder=system.folder, environ=environ) as service:
        await until_ready(system.at.url, service)
        yield service


def set_signers(system: System, signers: str) -> None:
    (system.folder / ".env").write_text(f"OPERATOR_SIGNER='{signers}'\n")


async def set_and_replace(system: System, service: Command, signers: str) -> None:
    """Change the setting, and replace the workers as an operator does."""
    set_signers(system, signers)
    replaced = service.log().count('"worker_replaced"')
    service.process.send_signal(signal.SIGHUP)
    with trio.fail_after(HANG_SECONDS):
        while service.log().count('"worker_replaced"') < replaced + 2:
            assert psutil.pid_exists(service.process.pid), service.log()
            await trio.sleep(0.05)

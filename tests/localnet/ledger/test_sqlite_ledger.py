"""The ledger on disk: a killed chain restarts with everything it acknowledged."""

from __future__ import annotations

import itertools
import random
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import httpx
import psutil
import pytest
import trio
from solders.compute_budget import set_compute_unit_limit
from solders.hash import Hash
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from solders.token.associated import get_associated_token_address
from solders.transaction import VersionedTransaction

from cvms import localnet
from cvms.errors import ConfigurationError, RpcError
from cvms.localnet import Running
from cvms.localnet.ledger.program_deployment import deployed_code
from cvms.localnet.ledger.sqlite_ledger import Ledger
from tests.localnet.local_node import BASE64, CONFIRMED, PROCESSED, SOL, Node, wire

PAYMENT = SOL // 100
SEARCH = {"searchTransactionHistory": True}
SCRIPT = Path(__file__).with_name("chain_process.py")


@asynccontextmanager
async def chain_process(ledger: Path) -> AsyncIterator[tuple[Node, trio.Process]]:
    """Run a chain in another process, and kill it at the end."""
    command = [sys.executable, "-W", "error", str(SCRIPT), str(ledger)]
    async with trio.open_nursery() as nursery:
        process: trio.Process = await nursery.start(
            partial(trio.run_process, command, stdout=subprocess.PIPE, check=False)
        )
        try:
            assert process.stdout is not None
            line = b""
            with trio.fail_after(10):
                while not line.endswith(b"\n"):
                    line += await process.stdout.receive_some()
            rpc_url, ws_url = line.decode().split()
            async with httpx.AsyncClient() as http:
                urls = SimpleNamespace(rpc_url=rpc_url, ws_url=ws_url)
                yield Node(cast(Running, urls), http), process
        finally:
            process.kill()
            await process.wait()


async def test_kill_9_under_load_loses_no_acknowledged_transaction_and_no_lamports(
    tmp_path: Path,
) -> None:
    ledger = tmp_path / "ledger.sqlite3"
    payers, payee = [Keypair() for _ in range(4)], Keypair().pubkey()
    acknowledged: list[str] = []
    for _ in range(3):
        async with chain_process(ledger) as (node, process), trio.open_nursery() as nursery:
            enough = Enough(len(acknowledged) + random.randint(30, 80), acknowledged)
            # All before the first payment, which decides whether this is the first round.
            for payer in () if acknowledged else payers:
                await node.call("requestAirdrop", str(payer.pubkey()), 1000 * SOL)
            for payer in payers:
                pay = partial(pay_until_gone, node.running.rpc_url, payer, payee, enough)
                nursery.start_soon(trio.to_thread.run_sync, pay)
            with trio.fail_after(10):
                await enough.reached.wait()
            process.kill()
    async with chain_process(ledger) as (node, _):
        await confirmed_all(node)
        for start in range(0, len(acknowledged), 256):
            part = acknowledged[start : start + 256]
            answer = await node.call("getSignatureStatuses", part, SEARCH)
            assert [status["err"] for status in answer["value"]] == [None] * len(part)
        listed = await node.call("getSignaturesForAddress", str(payee), CONFIRMED)
        assert set(acknowledged) <= {info["signature"] for info in listed}
        assert await node.balance(payee) == len(listed) * PAYMENT
        left = [await node.balance(payer.pubkey()) for payer in payers]
        assert sum(left) == 4 * 1000 * SOL - len(listed) * (PAYMENT + 5000)


class Enough:
    """Collects signatures from threads, until there are `wanted` of them."""

    def __init__(self, wanted: int, taken: list[str]) -> None:
        self._wanted = wanted
        self._taken = taken
        self.reached = trio.Event()

    def take(self, signature: str) -> None:
        self._taken.append(signature)
        if len(self._taken) >= self._wanted:
            self.reached.set()


def pay_until_gone(url: str, payer: Keypair, payee: Pubkey, enough: Enough) -> None:
    """Send payments one after another, and report each that was acknowledged.

    In a thread: when a connection breaks, httpx leaves an asynchronous generator unfinished.
    """
    pay = TransferParams(from_pubkey=payer.pubkey(), to_pubkey=payee, lamports=PAYMENT)
    with httpx.Client(base_url=url) as http:
        for n in itertools.count(1000):
            steps = [set_compute_unit_limit(n), transfer(pay)]  # the limit makes each different
            try:
                latest = blocking_call(http, "getLatestBlockhash", PROCESSED)
                recent = Hash.from_string(latest["value"]["blockhash"])
                message = MessageV0.try_compile(payer.pubkey(), steps, [], recent)
                text = wire(VersionedTransaction(message, [payer]))
                config = BASE64 | {"skipPreflight": True}
                signature = blocking_call(http, "sendTransaction", text, config)
            except httpx.HTTPError:
                return
            trio.from_thread.run_sync(enough.take, signature)


def blocking_call(http: httpx.Client, method: str, *params: Any) -> Any:
    call = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
    return http.post("/", json=call).json()["result"]


async def confirmed_all(node: Node) -> None:
    """Wait until all transactions processed so far are confirmed."""
    tip = await node.call("getSlot", PROCESSED)
    async with node.pubsub() as pubsub:
        await pubsub.call("slotSubscribe")
        while (await pubsub.next())["params"]["result"]["slot"] < tip + 2:
            continue


async def test_a_restart_continues_where_the_chain_ended(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.sqlite3"
    async with in_process(ledger) as first:
        payer, payee = await first.wallet(), Keypair().pubkey()
        mint = await first.mint()
        update = {"amount": 42}
        await first.call("surfnet_setTokenAccount", str(payee), str(mint), update)
        signature = await first.pay(payer, payee, SOL)
        transaction = await first.call("getBlockHeight", PROCESSED)
        tip = first.running.chain.tip
        genesis = await first.call("getGenesisHash")
        unsent = await first.transfer(
            payer, payee, 2 * SOL, blockhash=await first.blockhash("processed")
        )
    async with in_process(ledger) as second:
        assert await second.call("getGenesisHash") == genesis
        assert second.running.chain.tip == tip
        assert await second.call("getBlockHeight", PROCESSED) == transaction
        levels = ("processed", "confirmed", "finalized")
        assert [await second.balance(payee, level) for level in levels] == [SOL, 0, 0]
        second.advance()
        config = {"commitment": "confirmed", "maxSupportedTransactionVersion": 0}
        found = await second.call("getTransaction", signature, config)
        assert found["meta"]["postBalances"][1] == SOL
        tokens = str(get_associated_token_address(payee, mint))
        assert (await second.call("getTokenAccountBalance", tokens))["value"]["amount"] == "42"
        # Earlier block hashes are still valid, and landed transactions cannot land again.
        await second.send(unsent, preflightCommitment="processed")
        with pytest.raises(RpcError, match="already been processed"):
            await second.send(unsent, preflightCommitment="processed")


async def test_after_a_restart_subscribers_are_notified_of_blocks_not_confirmed_before(
    tmp_path: Path,
) -> None:
    ledger = tmp_path / "ledger.sqlite3"
    async with in_process(ledger) as first:
        payer = await first.wallet()
        signature = await first.pay(payer, Keypair().pubkey(), SOL)
    async with in_process(ledger) as second, second.pubsub() as pubsub:
        await pubsub.call("logsSubscribe", "all", {"commitment": "confirmed"})
        second.advance()
        assert (await pubsub.next())["params"]["result"]["value"]["signature"] == signature


async def test_moved_time_survives_a_restart(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.sqlite3"
    target = int(time.time()) + 1_000_000
    async with in_process(ledger) as first:
        await first.call("surfnet_timeTravel", {"absoluteTimestamp": target * 1000})
    async with in_process(ledger) as second:
        slot = second.advance()
        assert await second.call("getBlockTime", slot) >= target


async def test_programs_are_installed_again_only_when_their_bytes_change(tmp_path: Path) -> None:
    elf = files("cvms").joinpath("programs", "collateral_vault.so").read_bytes()
    program = localnet.Deployment(Keypair().pubkey(), elf)
    ledger = tmp_path / "ledger.sqlite3"
    for _ in range(2):
        async with in_process(ledger, programs=[program]) as node:
            config = BASE64 | {"dataSlice": {"offset": 0, "length": 4}}
            answer = await node.call("getAccountInfo", str(program.program_id), config)
            assert answer["value"]["executable"] is True
    changed = localnet.Deployment(program.program_id, elf + b"\0")
    async with in_process(ledger, programs=[changed]) as node:
        assert deployed_code(node.running.chain, program.program_id) == changed.elf


async def test_a_start_with_history_takes_less_than_two_seconds(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.sqlite3"
    async with in_process(ledger) as first:
        payer = await first.wallet(1000)
        blockhash = await first.blockhash("processed")
        for n in range(500):
            transaction = await first.transfer(
                payer, Keypair().pubkey(), SOL // 100 + n, blockhash=blockhash
            )
            first.running.chain.process(transaction)
        first.advance(1000)
    async with chain_process(ledger) as (node, process):
        assert await node.call("getTransactionCount") == 501
        # Of the processor's time: how long it takes on a busy machine says nothing.
        used = psutil.Process(process.pid).cpu_times()
        assert used.user + used.system < 2


async def test_old_versions_of_accounts_are_deleted(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite3"
    async with in_process(path) as node:
        payer = await node.wallet(1000)
        for n in range(50):
            await node.pay(payer, Keypair().pubkey(), SOL + n)
            node.advance()
    book = Ledger(path)
    versions = [key for key, _, _ in book.account_versions() if key == payer.pubkey()]
    book.close()
    assert 1 < len(versions) <= 7


async def test_a_ledger_in_use_is_refused(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.sqlite3"
    async with in_process(ledger):
        with pytest.raises(ConfigurationError, match="cannot use the ledger"):
            Ledger(ledger)


async def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path) -> None:
    junk = tmp_path / "ledger.sqlite3"
    junk.write_bytes(b"not a database, but long enough to be taken for one" * 100)
    with pytest.raises(ConfigurationError, match="cannot use the ledger"):
        Ledger(junk)


@asynccontextmanager
async def in_process(
    ledger: Path, programs: list[localnet.Deployment] | None = None
) -> AsyncIterator[Node]:
    timing = localnet.Timing(slot_seconds=0.05, confirmed_lag=1, finalized_lag=4)
    async with trio.open_nursery() as nursery, httpx.AsyncClient() as http:
        running: localnet.Running = await nursery.start(
            partial(localnet.serve, port=0, ledger=ledger, timing=timing, programs=programs or ())
        )
        running.chain.pause()
        yield Node(running, http)
        nursery.cancel_scope.cancel()

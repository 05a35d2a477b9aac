"""solana-py, unchanged, on an asyncio loop in a thread, against a chain whose slots tick."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio
from solana.rpc.async_api import AsyncClient
from solana.rpc.commitment import Confirmed
from solana.rpc.core import RPCException
from solana.rpc.websocket_api import SolanaWsClient
from solders.hash import Hash
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.rpc.config import RpcTransactionLogsFilterMentions
from solders.rpc.responses import LogsNotification, SignatureNotification
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from cvms import localnet

SOL = 1_000_000_000


@pytest.fixture
async def running(nursery: trio.Nursery) -> localnet.Running:
    timing = localnet.Timing(slot_seconds=0.05, confirmed_lag=1, finalized_lag=4)
    started: localnet.Running = await nursery.start(
        partial(localnet.serve, port=0, ledger=None, timing=timing)
    )
    return started


async def on_asyncio(work: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await work()

    await trio.to_thread.run_sync(asyncio.run, bounded(), abandon_on_cancel=True)


async def funded(client: AsyncClient) -> Keypair:
    keypair = Keypair()
    signature = (await client.request_airdrop(keypair.pubkey(), 10 * SOL)).value
    await client.confirm_transaction(signature, Confirmed, sleep_seconds=0.05)
    return keypair


def payment(payer: Keypair, payee: Pubkey, lamports: int, recent: Hash) -> VersionedTransaction:
    pay = TransferParams(from_pubkey=payer.pubkey(), to_pubkey=payee, lamports=lamports)
    message = MessageV0.try_compile(payer.pubkey(), [transfer(pay)], [], recent)
    return VersionedTransaction(message, [payer])


async def pay_and_read(url: str) -> None:
    async with AsyncClient(url, commitment=Confirmed) as client:
        assert await client.is_connected()
        payer, payee = await funded(client), Keypair().pubkey()
        latest = (await client.get_latest_blockhash()).value
        transaction = payment(payer, payee, SOL, latest.blockhash)
        message = transaction.message
        assert isinstance(message, MessageV0)
        assert (await client.get_fee_for_message(message)).value == 5000
        assert (await client.simulate_transaction(transaction)).value.err is None
        signature = (await client.send_transaction(transaction)).value
        confirmed = await client.confirm_transaction(
            signature,
            Confirmed,
            sleep_seconds=0.05,
            last_valid_block_height=latest.last_valid_block_height,
        )
        assert confirmed.value[0] is not None
        assert confirmed.value[0].err is None
        assert (await client.get_balance(payee)).value == SOL
        for encoding in ("json", "jsonParsed", "base64"):
            found = await client.get_transaction(
                signature, encoding, max_supported_transaction_version=0
            )
            assert found.value is not None
            assert found.value.transaction.meta is not None
            assert found.value.transaction.meta.fee == 5000
        listed = (await client.get_signatures_for_address(payee)).value
        assert [info.signature for info in listed] == [signature]
        slot = listed[0].slot
        block = (await client.get_block(slot, max_supported_transaction_version=0)).value
        assert block is not None
        assert (await client.get_account_info(payee)).value is not None


async def overspend(url: str) -> None:
    async with AsyncClient(url, commitment=Confirmed) as client:
        payer = await funded(client)
        recent = (await client.get_latest_blockhash()).value.blockhash
        with pytest.raises(RPCException, match="insufficient lamports"):
            await client.send_transaction(payment(payer, Keypair().pubkey(), 99 * SOL, recent))


async def be_notified(url: str, ws_url: str) -> None:
    async with AsyncClient(url, commitment=Confirmed) as client, SolanaWsClient(ws_url) as socket:
        payer, payee = await funded(client), Keypair().pubkey()
        recent = (await client.get_latest_blockhash()).value.blockhash
        transaction = payment(payer, payee, SOL, recent)
        mentions, signature = RpcTransactionLogsFilterMentions(payee), transaction.signatures[0]
        await socket.logs_subscribe(filter_=mentions, commitment=Confirmed)
        await socket.signature_subscribe(signature=signature, commitment=Confirmed)
        await client.send_transaction(transaction)
        received = [await socket.recv(), await socket.recv()]
        by_kind = {type(notification): notification for notification in received}
        logs = by_kind[LogsNotification]
        assert isinstance(logs, LogsNotification)
        assert logs.result.value.signature == signature
        assert SignatureNotification in by_kind


async def test_it_sends_confirms_and_reads_a_payment(running: localnet.Running) -> None:
    await on_asyncio(partial(pay_and_read, running.rpc_url))


async def test_it_reads_why_a_payment_is_refused(running: localnet.Running) -> None:
    await on_asyncio(partial(overspend, running.rpc_url))


async def test_it_is_notified_of_its_transaction(running: localnet.Running) -> None:
    await on_asyncio(partial(be_notified, running.rpc_url, running.ws_url))

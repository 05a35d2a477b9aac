"""Integrators receive every event of a vault in order, whichever replica is killed meanwhile."""

from __future__ import annotations

from contextlib import AsyncExitStack

import httpx
import pytest
import trio
from cryptography.fernet import Fernet
from solders.keypair import Keypair

from cvms.client import Client, Wallet, open_client
from cvms.http.framework.admin_tokens import Role, mint
from tests.acceptance.chain import fund
from tests.acceptance.conftest import System
from tests.harness.free_ports import free_port
from tests.harness.processes import HANG_SECONDS, Server, until_ready
from tests.harness.webhook_receiver import Received, WebhookReceiver

pytestmark = pytest.mark.slow(seconds=30)

USDT = 1_000_000
ADMIN_SECRET = "s" * 64
DEPOSITS = 4


async def test_deposits_arrive_in_order_across_a_kill_and_a_second_replica(
    system: System, nursery: trio.Nursery
) -> None:
    all_vaults = await WebhookReceiver().start(nursery)
    own = await WebhookReceiver().start(nursery)
    async with AsyncExitStack() as stack:
        settings = {
            "DATA_ENCRYPTION_KEYS": Fernet.generate_key().decode(),
            "ADMIN_JWT_SECRET": ADMIN_SECRET,
            "ADMIN_APPROVALS": "1",
            "WEBHOOK_PRIVATE_ADDRESSES": "on",
            "RATE_LIMIT_ADDRESS": "off",
        }
        first, second = [
            await stack.enter_async_context(system.serve(**settings, PORT=str(free_port())))
            for _ in "12"
        ]
        await until_ready(first.url, first)
        key = Keypair()
        await fund(system.at.rpc_url, key, system.at.programs.mint)
        client = await stack.enter_async_context(open_client(first.url, wallet=Wallet(key)))
        await client.finish(await client.open_vault())
        all_vaults.secrets.append(await register_for_all(first, all_vaults.url))
        own.secrets.append(await register_own(first, key, own.url))

        amounts = [USDT + number for number in range(2 * DEPOSITS)]
        await deposit(client, amounts[:DEPOSITS])
        await all_vaults.until(lambda: len(seen(all_vaults)) == DEPOSITS)

        await until_ready(second.url, second)
        await first.kill()
        other = await stack.enter_async_context(open_client(second.url, wallet=Wallet(key)))
        await deposit(other, amounts[DEPOSITS:])
        for receiver in (all_vaults, own):
            await receiver.until(
                lambda receiver=receiver: len(seen(receiver)) == len(amounts),  # type: ignore[misc]
                seconds=HANG_SECONDS,
            )
    for receiver in (all_vaults, own):
        assert receiver.invalid == []
        assert seen(receiver) == amounts
        states = [each.data["event"]["status"] for each in once(receiver, "transaction_update")]
        assert states.count("confirmed") >= len(amounts) - 1


def once(receiver: WebhookReceiver, kind: str) -> list[Received]:
    """Return the messages of a type, without those received again."""
    messages = {each.id: each for each in receiver.received if each.type == kind}
    return list(messages.values())


def seen(receiver: WebhookReceiver) -> list[int]:
    """Return the amounts of the deposits, in the order in which each was seen first."""
    return [each.data["event"]["amount"] for each in once(receiver, "deposit_event")]


async def deposit(client: Client, amounts: list[int]) -> None:
    for amount in amounts:
        await client.finish(await client.deposit(amount))


async def register_for_all(server: Server, url: str) -> str:
    """Register a webhook for all vaults as an administrator, and return its secret."""
    token = mint(ADMIN_SECRET.encode(), subject="carol", role=Role.ADMIN, seconds=60)
    async with httpx.AsyncClient(timeout=HANG_SECONDS) as http:
        reply = await http.post(
            f"{server.url}/api/webhooks",
            json={"url": url},
            headers={"Authorization": f"Bearer {token}"},
        )
    assert reply.status_code == 201, reply.text
    return str(reply.json()["secret"])


async def register_own(server: Server, key: Keypair, url: str) -> str:
    """Register a webhook for the owner's vault, signed by the owner, and return its secret."""
    owner = str(key.pubkey())
    async with httpx.AsyncClient(base_url=server.url, timeout=HANG_SECONDS) as http:
        nonce = (await http.post("/api/auth/nonce", json={"owner": owner})).json()["nonce"]
        text = f"webhook_register:{owner}:all:{url}:{nonce}"
        body = {
            "owner": owner,
            "url": url,
            "nonce": nonce,
            "signature": str(key.sign_message(text.encode())),
        }
        reply = await http.post("/api/webhooks", json=body)
    assert reply.status_code == 201, reply.text
    return str(reply.json()["secret"])

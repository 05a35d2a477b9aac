"""The demo's client of the chain's JSON-RPC."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx
import trio
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from cvms.chain.program.accounts import VAULT_DISCRIMINATOR, Vault, decode_vault
from cvms.chain.program.addresses import token_account, vault_address
from cvms.chain.types import Programs

POLL_SECONDS = 0.2

Json = dict[str, Any]


class DemoFailed(Exception):
    """A value differs from the expected one. The message has both."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """URLs of the service and the chain, and the programs."""

    url: str
    rpc_url: str
    programs: Programs


@dataclass(frozen=True, slots=True)
class ChainClient:
    """A JSON-RPC client of the chain."""

    at: Addresses
    http: httpx.AsyncClient

    async def rpc(self, method: str, *params: Any) -> Any:
        """Return the result of a JSON-RPC call. Raises DemoFailed for an error."""
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        reply: Json = (await self.http.post(self.at.rpc_url, json=request)).json()
        if "error" in reply:
            raise DemoFailed(f"{method} on the chain answers {reply['error']}")
        return reply["result"]

    async def send(self, *steps: Instruction, signers: Sequence[Keypair]) -> int:
        """Send a transaction to the chain, paid by the first signer. Return its slot."""
        latest = await self.rpc("getLatestBlockhash", {"commitment": "confirmed"})
        blockhash = Hash.from_string(latest["value"]["blockhash"])
        payer = signers[0].pubkey()
        message = MessageV0.try_compile(payer, list(steps), [], blockhash)
        wire = base64.b64encode(bytes(VersionedTransaction(message, list(signers)))).decode()
        how = {"encoding": "base64", "preflightCommitment": "confirmed"}
        return await self.landed(await self.rpc("sendTransaction", wire, how))

    async def landed(self, signature: str) -> int:
        """Wait until the chain has confirmed a transaction, and return its slot."""
        while True:
            statuses = await self.rpc("getSignatureStatuses", [signature])
            status = statuses["value"][0]
            if status and status["confirmationStatus"] in {"confirmed", "finalized"}:
                expect(f"error of {signature}", status["err"], None)
                return int(status["slot"])
            await trio.sleep(POLL_SECONDS)

    async def travel(self, seconds: int) -> None:
        """Move the clock of a local chain forward."""
        slot = await self.rpc("getSlot", {"commitment": "processed"})
        now = await self.rpc("getBlockTime", slot)
        await self.rpc("surfnet_timeTravel", {"absoluteTimestamp": (now + seconds) * 1000})

    async def vault(self, owner: Pubkey) -> Vault:
        """Return the owner's vault as read from the chain."""
        address = str(vault_address(self.at.programs, owner))
        how = {"encoding": "base64", "commitment": "confirmed"}
        reply = await self.rpc("getAccountInfo", address, how)
        return decode_vault(base64.b64decode(reply["value"]["data"][0]))

    async def token_amount(self, owner: str) -> int:
        """Return the USDT in an owner's associated token account."""
        account = token_account(Pubkey.from_string(owner), self.at.programs.mint)
        reply = await self.rpc("getTokenAccountBalance", str(account), {"commitment": "confirmed"})
        return int(reply["value"]["amount"])

    async def chain_total(self) -> int:
        """Return the sum of all vaults' balances as read from the chain."""
        discriminator = base64.b64encode(VAULT_DISCRIMINATOR).decode()
        vault = {"memcmp": {"offset": 0, "bytes": discriminator, "encoding": "base64"}}
        accounts = await self.rpc(
            "getProgramAccounts",
            str(self.at.programs.vault),
            {"encoding": "base64", "commitment": "confirmed", "filters": [vault]},
        )
        vaults = (decode_vault(base64.b64decode(each["account"]["data"][0])) for each in accounts)
        return sum(each.total_balance for each in vaults)


def expect(what: str, seen: object, expected: object) -> None:
    """Raise DemoFailed if a value is not the expected one."""
    if seen != expected:
        raise DemoFailed(f"{what}: {seen!r} instead of {expected!r}")

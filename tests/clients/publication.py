"""A proof of reserves of one vault of the local chain, written as docs/proofs.md says."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import trio
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from cvms.chain.program.addresses import token_account, vault_address
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Programs
from tests.harness.processes import HANG_SECONDS
from tests.harness.service import Json

BALANCES = ("total", "available", "locked", "timelocked", "yield_deposited")


@dataclass(frozen=True, slots=True)
class Publication:
    """What a service publishes at a final slot, before it is signed."""

    owner: Pubkey
    balances: tuple[int, ...]
    entry: Json
    line: Json
    key: Keypair = field(default_factory=Keypair)

    def changed(self, *, entry: Json | None = None, line: Json | None = None) -> Publication:
        """Return another one, with other values in its entry or in its line of reserves."""
        return replace(self, entry=self.entry | (entry or {}), line=self.line | (line or {}))

    def write(self, folder: Path) -> Path:
        """Write the files as the service serves them, and return that of the proof."""
        slot = self.entry["slot"]
        (folder / f"api/proofs/{slot}").mkdir(parents=True, exist_ok=True)
        reserves = f"{canonical(self.line)}\n".encode()
        salt = bytes(32)
        packed = b"".join(each.to_bytes(8, "little") for each in self.balances)
        sums = dict(zip(BALANCES, map(str, self.balances), strict=True))
        root = hashlib.sha256(b"\0" + bytes(self.owner) + packed + salt).hexdigest()
        amounts = {"tokens": self.line["amount"], "pools": "0", "unproven": "0"}
        digest = hashlib.sha256(reserves).hexdigest()
        text = canonical(
            self.entry
            | {"liabilities": {"root": root, "vaults": 1, **sums}}
            | {"reserves": {"hash": digest, "accounts": 1, **amounts}}
        )
        signature = self.key.sign_message(b"cvms proof of reserves\n" + text.encode())
        signed = {
            "text": text,
            "key": str(self.key.pubkey()),
            "signature": bytes(signature).hex(),
            "memo": None,
        }
        proof = {
            "entry": signed,
            "owner": str(self.owner),
            "balances": sums,
            "salt": salt.hex(),
            "index": 0,
            "path": [],
        }
        (folder / "api/proofs/log").write_text(f"{json.dumps(signed)}\n")
        (folder / f"api/proofs/{slot}/reserves").write_bytes(reserves)
        (folder / "proof.json").write_text(json.dumps(proof))
        return folder / "proof.json"


async def publication_of(rpc: RpcClient, programs: Programs, owner: Pubkey) -> Publication:
    """Read what is final of an owner whose vault has tokens only."""
    account = token_account(vault_address(programs, owner), programs.mint)
    await everything_is_final(rpc)
    final = {"commitment": "finalized", "encoding": "base64"}
    read = await rpc.call("getAccountInfo", [str(account), final])
    data = base64.b64decode(read["value"]["data"][0])
    slot, amount = read["context"]["slot"], int.from_bytes(data[64:72], "little")
    block = await rpc.call("getBlock", [slot, {"transactionDetails": "none"}])
    entry: Json = {
        "version": 1,
        "number": 1,
        "previous": "0" * 64,
        "time": f"{datetime.fromtimestamp(block['blockTime'], UTC):%Y-%m-%dT%H:%M:%SZ}",
        "genesis": await rpc.call("getGenesisHash", []),
        "program": str(programs.vault),
        "mint": str(programs.mint),
        "slot": slot,
        "blockhash": block["blockhash"],
        "audit": {"id": 0, "hash": "0" * 64},
    }
    line: Json = {
        "kind": "vault",
        "owner": str(owner),
        "account": str(account),
        "books": str(amount),
        "books_lent": "0",
        "slot": slot,
        "total": str(amount),
        "lent": "0",
        "amount": str(amount),
        "lamports": str(read["value"]["lamports"]),
        "hash": hashlib.sha256(data).hexdigest(),
        "pool": None,
        "principal": None,
    }
    return Publication(owner, (amount, amount, 0, 0, 0), entry, line)


async def everything_is_final(rpc: RpcClient) -> None:
    """Wait until the chain's newest slot is final. Its slots are 50 ms."""
    newest = await rpc.call("getSlot", [{"commitment": "processed"}])
    with trio.fail_after(HANG_SECONDS):
        while await rpc.call("getSlot", [{"commitment": "finalized"}]) < newest:  # noqa: ASYNC110
            await trio.sleep(0.02)


def canonical(value: Json) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))

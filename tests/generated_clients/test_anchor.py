"""Anchor's TypeScript client needs the served IDL and nothing else."""

from __future__ import annotations

import json

import pytest

from tests.generated_clients.workshop import AMOUNT, SOURCES, Workshop
from tests.harness.installed_tools import node_modules
from tests.harness.localnet import Localnet
from tests.harness.service import Served
from tests.http.wallets import deposit, initialize, land, signed

pytestmark = pytest.mark.slow(seconds=20)


async def test_a_deposit_follows_from_its_owner_and_inner_events_are_seen(
    system: Served, workshop: Workshop, localnet: Localnet
) -> None:
    wallet, modules = workshop.wallet, node_modules(SOURCES)
    await land(system, wallet, await initialize(system, wallet))
    planned = await deposit(system, wallet, AMOUNT)
    await land(system, wallet, planned)
    body = await signed(system, wallet, "pm_lock", ("amount", 1))
    locked = await land(system, wallet, await system.post("/api/pm/lock", body))
    sent = await system.rpc.call(
        "getTransaction", [locked, {"maxSupportedTransactionVersion": 0, "commitment": "confirmed"}]
    )
    logs = workshop.folder / "logs.json"
    logs.write_text(json.dumps(sent["meta"]["logMessages"]))
    idl = workshop.folder / "idl.json"
    idl.write_text((await system.get("/api/idl/collateral_vault")).text)

    workshop.copy("anchor/deposit.mjs")
    (workshop.folder / "node_modules").symlink_to(modules)
    built = json.loads(
        await workshop.run("node", "deposit.mjs", idl, logs, RPC_URL=localnet.rpc_url)
    )
    assert built.pop("events") == ["LockEvent", "TransactionEvent"]
    assert built == planned.json()["instruction"]

"""Routes on a chain without a vault authority answer 404, and the OpenAPI document says so."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from cvms.chain.program.addresses import vault_authority_address
from cvms.http.admin import governance_routes, governance_view
from cvms.http.framework.routing import Route
from tests.harness.localnet import Localnet
from tests.harness.service import Service, running
from tests.http.admin.test_admin_routes import SECRET, ask, token
from tests.http.multisig.signers import PROPOSE, proposal_body, shared_vault
from tests.http.wallets import USDT, signed, with_vault

ROUTES = (*governance_routes.ROUTES, *governance_view.ROUTES)
NOBODY = str(Pubkey.default())
FIELDS: dict[str, dict[str, Any]] = {
    "/api/admin/vault-authority/add": {"program": NOBODY},
    "/api/admin/vault-authority/remove": {"program": NOBODY},
    "/api/admin/yield-program/add": {"program": NOBODY},
    "/api/admin/yield-program/remove": {"program": NOBODY},
    "/api/admin/risk-level/set": {"risk_level": 1},
    "/api/admin/freeze/set": {"freeze": True},
    "/api/admin/cpi-enforced/set": {"cpi_enforced": True},
    "/api/admin/governance/propose": {"proposed": NOBODY},
    "/api/admin/withdrawals/pause": {"seconds": 1},
    "/api/admin/transfer-limits/set": {"vault_daily": 1, "total_daily": 1},
    "/api/vault/emergency-withdraw": {"amount": 1, "reason": "test"},
    "/api/internal/transfer-collateral": {"amount": 1},
}
"""What each route needs beside owners of vaults."""
OWNERS = {
    "/api/vault/emergency-withdraw": ("owner",),
    "/api/internal/transfer-collateral": ("from_owner", "to_owner"),
}


@pytest.fixture
async def office(database_url: str, localnet: Localnet) -> AsyncIterator[Service]:
    settings = {**localnet.settings, "admin_jwt_secret": SECRET}
    async with running(database_url, **settings) as service:
        yield service


async def erase_authority(office: Service) -> None:
    address = str(vault_authority_address(office.config.programs))
    empty = {"lamports": 0, "data": "", "owner": NOBODY}
    await office.rpc.call("surfnet_setAccount", [address, empty])


async def assert_declared(office: Service, reply: httpx.Response, method: str, path: str) -> None:
    assert (reply.status_code, reply.json()["code"]) == (404, "not_found"), reply.text
    document = (await office.get("/openapi.json")).json()
    assert "not_found" in document["paths"][path][method.lower()]["responses"]["404"]["x-codes"]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.rule)
async def test_a_route_of_governance_declares_that_there_is_none(
    office: Service, route: Route
) -> None:
    body = dict(FIELDS.get(route.rule, {}))
    for name in OWNERS.get(route.rule, ()):
        body[name] = str((await with_vault(office)).pubkey())
    await erase_authority(office)
    reply = await ask(office, route.method, route.rule, body, token())
    await assert_declared(office, reply, route.method, route.rule)


async def test_a_withdrawal_declares_it_too(office: Service) -> None:
    wallet = await with_vault(office, amount=10 * USDT)
    await erase_authority(office)
    body = await signed(office, wallet, "withdraw", ("amount", USDT))
    reply = await office.post("/api/vault/withdraw", body)
    await assert_declared(office, reply, "POST", "/api/vault/withdraw")


async def test_a_release_of_what_no_position_claims_declares_it_too(office: Service) -> None:
    wallet: Keypair = await with_vault(office, amount=10 * USDT)
    await erase_authority(office)
    path = "/api/vault/exit/release"
    reply = await office.post(path, await signed(office, wallet, "exit_release"))
    await assert_declared(office, reply, "POST", path)


async def test_a_proposed_withdrawal_declares_it_too(office: Service) -> None:
    shared = await shared_vault(office)
    await erase_authority(office)
    reply = await office.post(PROPOSE, await proposal_body(office, shared))
    await assert_declared(office, reply, "POST", PROPOSE)

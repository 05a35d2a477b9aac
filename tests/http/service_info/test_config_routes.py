"""/api/config tells a client all it needs to know of the deployment, and no secret."""

from __future__ import annotations

from typing import Any

from cryptography.fernet import Fernet

from cvms.chain.program.addresses import vault_authority_address
from tests.harness.localnet import Localnet
from tests.harness.resources import NOWHERE
from tests.harness.service import Service, running


async def test_the_deployment_is_told(front: Service) -> None:
    reply = await front.get("/api/config")
    assert reply.status_code == 200
    told, programs = reply.json(), front.config.programs
    assert told["programs"] == {
        "collateral_vault": str(programs.vault),
        "position_manager": str(programs.position_manager),
        "yield_pool": str(programs.yield_pool),
    }
    assert told["vault_authority"] == str(vault_authority_address(programs))
    assert (told["mint"], told["decimals"]) == (str(programs.mint), 6)
    assert told["operator"] == str(front.operator.pubkey())
    assert told["chain"]["genesis_hash"] == await front.rpc.call("getGenesisHash", [])
    assert told["limits"]["max_page"] == 100
    assert told["limits"]["rates"]["owner"] is None
    assert told["limits"]["websocket"]["subscriptions"] == 64


async def test_it_may_be_cached(front: Service) -> None:
    reply = await front.get("/api/config")
    assert reply.headers["Cache-Control"] == "public, max-age=300"
    known = {"If-None-Match": reply.headers["ETag"]}
    again = await front.http.get(f"{front.url}/api/config", headers=known)
    assert (again.status_code, again.content) == (304, b"")


async def test_no_secret_is_told(database_url: str, localnet: Localnet) -> None:
    jwt, encryption = "j" * 40, Fernet.generate_key()
    secrets: dict[str, Any] = {
        "admin_jwt_secret": jwt.encode(),
        "data_encryption_keys": (encryption,),
    }
    async with running(database_url, **localnet.settings, **secrets) as front:
        text = (await front.get("/api/config")).text
        key = front.operator
    hidden = [jwt, encryption.decode(), str(key)]
    assert not [each for each in [*hidden, database_url, "127.0.0.1"] if each in text]


async def test_without_a_chain_it_is_a_503_until_the_chain_answers(database_url: str) -> None:
    async with running(database_url, rpc_urls=(NOWHERE,)) as service:
        reply = await service.get("/api/config")
        assert (reply.status_code, reply.json()["code"]) == (503, "chain_unavailable")

"""GET /api/idl serves the IDLs that Anchor clients start from."""

from __future__ import annotations

from dataclasses import asdict, replace
from importlib import resources

import msgspec
import pytest
from solders.pubkey import Pubkey

from cvms.config.loader import load_programs
from tests.harness.service import Service, running

FIELDS = {
    "collateral_vault": "vault",
    "position_manager": "position_manager",
    "yield_pool": "yield_pool",
}


@pytest.mark.parametrize("program", FIELDS)
async def test_an_idl_is_the_one_of_the_package(service: Service, program: str) -> None:
    reply = await service.get(f"/api/idl/{program}")
    assert reply.status_code == 200
    assert reply.headers["Content-Type"] == "application/json"
    packaged = resources.files("cvms.chain.program.idl").joinpath(f"{program}.json").read_bytes()
    assert reply.json() == msgspec.json.decode(packaged)
    assert reply.json()["address"] == str(asdict(load_programs({}))[FIELDS[program]])


@pytest.mark.parametrize("program", FIELDS)
async def test_an_idl_has_the_address_of_this_deployment(database_url: str, program: str) -> None:
    elsewhere = Pubkey.new_unique()
    programs = replace(load_programs({}), **{FIELDS[program]: elsewhere})
    async with running(database_url, programs=programs) as service:
        moved = (await service.get(f"/api/idl/{program}")).json()
        others = [(await service.get(f"/api/idl/{each}")).json() for each in FIELDS]
    assert moved["address"] == str(elsewhere)
    assert [each["address"] for each in others].count(str(elsewhere)) == 1


async def test_a_client_that_has_the_idl_gets_a_304(database_url: str, service: Service) -> None:
    url = f"{service.url}/api/idl/collateral_vault"
    first = await service.http.get(url)
    etag = first.headers["ETag"]
    again = await service.http.get(url, headers={"If-None-Match": etag})
    assert (again.status_code, again.content, again.headers["ETag"]) == (304, b"", etag)
    weak = await service.http.get(url, headers={"If-None-Match": f'"another", W/{etag}'})
    assert weak.status_code == 304
    other = await service.http.get(url, headers={"If-None-Match": '"another"'})
    assert (other.status_code, other.content) == (200, first.content)
    elsewhere = replace(load_programs({}), vault=Pubkey.new_unique())
    async with running(database_url, programs=elsewhere) as moved:
        reply = await moved.get("/api/idl/collateral_vault")
    assert reply.headers["ETag"] != etag


@pytest.mark.parametrize("name", ["token", "collateral_vault.json", "..%2F__init__.py", "%00"])
async def test_an_unknown_program_is_not_found(service: Service, name: str) -> None:
    reply = await service.get(f"/api/idl/{name}")
    assert reply.status_code == 404
    assert reply.headers["Content-Type"] == "application/problem+json"
    assert reply.json()["code"] == "not_found"


async def test_the_problem_names_the_known_programs(service: Service) -> None:
    problem = (await service.get("/api/idl/token")).json()
    assert "collateral_vault, position_manager, yield_pool" in problem["detail"]

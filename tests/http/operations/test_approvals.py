"""Requests that wait for approval: how many of them one person may have."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
import trio

from cvms.http.operations.approvals import MAX_PENDING
from tests.harness.localnet import Localnet
from tests.harness.service import Service
from tests.http.admin.test_admin_routes import ask
from tests.http.admin.two_people import decide, requested, token_of, two_people
from tests.http.wallets import rows

FREEZE = "/api/admin/freeze/set"
OFF = {"freeze": False}


@pytest.fixture
async def office(database_url: str, localnet: Localnet) -> AsyncIterator[Service]:
    async with two_people(database_url, localnet) as service:
        yield service


@pytest.fixture
async def replica(database_url: str, localnet: Localnet) -> AsyncIterator[Service]:
    async with two_people(database_url, localnet) as service:
        yield service


async def send(service: Service, name: str = "carol") -> httpx.Response:
    return await ask(service, "POST", FREEZE, OFF, token_of(name))


async def test_one_person_has_a_bounded_number_of_requests_that_wait(office: Service) -> None:
    first = await requested(office, FREEZE, OFF)
    for _ in range(MAX_PENDING - 1):
        await requested(office, FREEZE, OFF, by="Carol")
    reply = await send(office)
    assert (reply.status_code, reply.json()["code"]) == (429, "too_many_approvals"), reply.text
    assert 3500 < int(reply.headers["Retry-After"]) <= 3600
    assert len(await rows(office, "SELECT 1 FROM approvals")) == MAX_PENDING
    assert len(await rows(office, "SELECT 1 FROM alerts")) == MAX_PENDING
    assert (await send(office, "bob")).status_code == 202, "each person has the same number"

    assert (await decide(office, first, "withdraw", by="carol")).status_code == 200
    assert (await send(office)).status_code == 202
    assert (await send(office)).status_code == 429
    async with office.database.connection() as conn:
        await conn.execute("UPDATE approvals SET expires_at = now()")
    assert (await send(office)).status_code == 202, "what has expired does not wait"


async def test_the_number_holds_for_all_replicas_together(
    office: Service, replica: Service
) -> None:
    for _ in range(MAX_PENDING - 2):
        await requested(office, FREEZE, OFF)
    replies: list[int] = []

    async def attempt(service: Service) -> None:
        replies.append((await send(service)).status_code)

    async with trio.open_nursery() as nursery:
        for service in (office, replica) * 3:
            nursery.start_soon(attempt, service)
    assert sorted(replies) == [202, 202, 429, 429, 429, 429]

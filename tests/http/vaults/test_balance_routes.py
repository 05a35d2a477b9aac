"""The balance route answers from memory, never older than what a client has heard."""

from __future__ import annotations

from dataclasses import replace

import httpx
import pytest
import trio
from solders.keypair import Keypair

from cvms.nursery.ledger.outbox_messages import balance_message, row_message
from cvms.nursery.wiring.replica_tasks import build_broadcaster
from cvms.store.messaging import outbox
from cvms.store.vaults.vaults import VaultRow
from tests.harness.service import Json, Service, frame, running, subscribe
from tests.http.websocket.test_endpoint import opened
from tests.store.examples import store_vault, vault_row

OWNER = str(Keypair().pubkey())
PATH = f"/api/vault/balance/{OWNER}"
ROW = vault_row(owner=OWNER)


async def write(service: Service, row: VaultRow, *, announced: bool = True) -> None:
    async with service.database.transaction() as conn:
        await store_vault(conn, row)
        if announced:
            await outbox.append(conn, [balance_message(row, before=None)])


async def ask(service: Service, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await service.http.get(service.url + PATH, headers=named)


async def read(service: Service, **headers: str) -> Json:
    reply = await ask(service, **headers)
    assert reply.status_code == 200, reply.text
    body: Json = reply.json()
    return body


async def test_the_second_reply_is_cached_and_otherwise_equal(database_url: str) -> None:
    async with running(database_url) as service:
        await write(service, ROW)
        with service.resources.replies.followed():
            await build_broadcaster(service.resources).run_once()
            first, second = await ask(service), await ask(service)
            assert first.json()["cached"] is False
            assert second.json() == first.json() | {"cached": True}
            names = ("ETag", "Cache-Control", "Content-Type")
            assert [second.headers[name] for name in names] == [
                first.headers[name] for name in names
            ]
            again = await ask(service, If_None_Match=first.headers["ETag"])
            assert (again.status_code, again.content) == (304, b"")


async def test_a_cached_reply_with_strings_has_a_validator_of_its_own(database_url: str) -> None:
    async with running(database_url) as service:
        await write(service, ROW)
        with service.resources.replies.followed():
            await build_broadcaster(service.resources).run_once()
            await ask(service)
            strings = {"Accept": "application/json; amounts=string"}
            plain, exact = await ask(service), await ask(service, **strings)
            assert plain.json()["cached"] is exact.json()["cached"] is True
            assert (plain.json()["balance"], exact.json()["balance"]) == (ROW.total, str(ROW.total))
            etags = [reply.headers["ETag"] for reply in (plain, exact)]
            replies = [
                await ask(service, If_None_Match=etag, **headers)
                for headers in ({}, strings)
                for etag in etags
            ]
            assert [reply.status_code for reply in replies] == [304, 200, 200, 304]
            assert {reply.headers["Vary"] for reply in replies} == {"Accept"}


async def test_without_a_task_that_follows_the_outbox_nothing_is_cached(database_url: str) -> None:
    async with running(database_url) as service:
        await write(service, ROW)
        assert [(await read(service))["cached"] for _ in range(3)] == [False] * 3


async def test_a_cache_of_no_bytes_is_off(database_url: str) -> None:
    async with running(database_url, reply_cache_bytes=0) as service:
        await write(service, ROW)
        with service.resources.replies.followed():
            await build_broadcaster(service.resources).run_once()
            assert [(await read(service))["cached"] for _ in range(3)] == [False] * 3


async def test_a_client_names_the_slot_that_it_has_seen(database_url: str) -> None:
    async with running(database_url) as service:
        await write(service, ROW)
        with service.resources.replies.followed():
            await build_broadcaster(service.resources).run_once()
            await read(service)
            await write(service, replace(ROW, slot=ROW.slot + 1), announced=False)
            assert (await read(service, X_Min_Slot=str(ROW.slot)))["cached"] is True
            newer = await read(service, X_Min_Slot=str(ROW.slot + 1))
            assert (newer["cached"], newer["slot"]) == (False, ROW.slot + 1)
            assert (await read(service))["slot"] == ROW.slot + 1


@pytest.mark.parametrize("slot", ["", "-1", "1.0", "٣", "9" * 20, "1, 2"])
async def test_a_malformed_slot_is_refused(database_url: str, slot: str) -> None:
    async with running(database_url) as service:
        reply = await service.http.get(service.url + PATH, headers={b"X-Min-Slot": slot.encode()})
        assert (reply.status_code, reply.json()["code"]) == (400, "invalid_request")


async def test_a_subscriber_has_seen_nothing_newer_than_the_route_shows(database_url: str) -> None:
    """Its snapshot is of the database, which may be ahead of what this process has heard."""
    async with running(database_url) as service:
        await write(service, ROW)
        with service.resources.replies.followed():
            await build_broadcaster(service.resources).run_once()
            await read(service)
            assert (await read(service))["cached"] is True
            await write(service, replace(ROW, slot=ROW.slot + 1))
            async with opened(service) as socket:
                shown = await subscribe(socket, "vault_balance_update", owner=OWNER)
                assert shown["snapshot"]["slot"] == ROW.slot + 1
                assert (await read(service))["slot"] == ROW.slot + 1


async def test_whoever_hears_of_a_change_reads_it(database_url: str) -> None:
    async with running(database_url) as service, trio.open_nursery() as nursery:
        await write(service, ROW)
        broadcaster = build_broadcaster(service.resources)
        await broadcaster.run_once()
        nursery.start_soon(broadcaster.run)
        async with opened(service) as socket:
            await subscribe(socket, "vault_balance_update", owner=OWNER)
            for slot in range(ROW.slot + 1, ROW.slot + 30):
                await read(service)
                await write(service, replace(ROW, slot=slot))
                assert (await frame(socket))["data"]["slot"] == slot
                assert (await read(service))["slot"] == slot
        nursery.cancel_scope.cancel()


async def test_a_closed_vault_is_not_found_from_memory(database_url: str) -> None:
    async with running(database_url) as service:
        await write(service, ROW)
        broadcaster = build_broadcaster(service.resources)
        with service.resources.replies.followed():
            await broadcaster.run_once()
            await read(service)
            async with service.database.transaction() as conn:
                await store_vault(conn, replace(ROW, slot=ROW.slot + 1, state={"closed": True}))
                await outbox.append(conn, [row_message(OWNER, slot=ROW.slot + 1)])
            await broadcaster.run_once()
            assert (await ask(service)).status_code == 404

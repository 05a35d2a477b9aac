"""What anybody downloads verifies, by the command and without the service's help."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
import trio
from solders.keypair import Keypair

from cvms.proofs.log_entry import SIGNED, verify_log
from cvms.store.postgres.database import Database
from tests.harness.service import Service
from tests.http.admin.test_admin_routes import ask, token
from tests.nursery.reconciliation.test_reconciler import two_vaults
from tests.nursery.scheduled.test_proof_publisher import publisher, settled
from tests.nursery.world import World, address


async def cvms_verify(*arguments: object) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "cvms.cli", "verify", *map(str, arguments)]
    with trio.fail_after(60):
        return await trio.run_process(
            command, capture_stdout=True, capture_stderr=True, check=False
        )


async def made_two(world: World) -> Keypair:
    """Publish two entries; return the owner of a vault that is in both."""
    alice, _ = await two_vaults(world)
    for _ in range(2):
        await world.act(alice, world.deposit(alice, 5))
        await settled(world)
        assert await publisher(world).run_once() is not None
    return alice


async def test_a_downloaded_proof_verifies_with_the_command(
    front: Service, world: World, tmp_path: Path
) -> None:
    alice = await made_two(world)
    file = tmp_path / "proof.json"
    reply = await front.get(f"/api/proofs/latest/{address(alice)}")
    file.write_bytes(reply.content)
    entry = json.loads(reply.json()["entry"]["text"])
    known = ("--program", entry["program"], "--mint", entry["mint"])
    pinned = (*known, "--key", reply.json()["entry"]["key"], "--strict")
    done = await cvms_verify(file, "--rpc", world.chain.rpc_url, "--service", front.url, *pinned)
    assert done.returncode == 0, done
    lines = done.stdout.decode().splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["ok", name]
        for name in (
            *("inclusion", "deployment", "key", "log", "reserves_file"),
            *("chain", "stale", "reserves", "left_out"),
        )
    ]

    # The same from files, without the service.
    (tmp_path / "log").write_bytes((await front.get("/api/proofs/log")).content)
    reserves = await front.get(f"/api/proofs/{entry['slot']}/reserves")
    (tmp_path / "reserves").write_bytes(reserves.content)
    given = ("--log", tmp_path / "log", "--reserves", tmp_path / "reserves")
    done = await cvms_verify(file, "--rpc", world.chain.rpc_url, *given, *pinned)
    assert done.returncode == 0, done

    proof = reply.json()
    proof["balances"] |= {"total": "528", "available": "528"}
    file.write_text(json.dumps(proof))
    done = await cvms_verify(file, *given)
    assert done.returncode == 1
    assert done.stdout.split()[:2] == [b"failed", b"inclusion"]
    done = await cvms_verify(tmp_path / "nothing", *given)
    assert done.returncode == 2
    assert b"cannot read" in done.stderr


async def test_the_log_is_listed_in_pages_and_whole(front: Service, world: World) -> None:
    await made_two(world)
    newest = (await front.get("/api/proofs?limit=1")).json()
    assert newest["next_before"] == 2
    older = (await front.get("/api/proofs?limit=1&before=2")).json()
    assert older["next_before"] is None
    log = await front.get("/api/proofs/log")
    assert log.headers["content-type"] == "application/x-ndjson"
    entries = [SIGNED.decode(line) for line in log.content.splitlines()]
    assert [each.text for each in entries] == [
        each["text"] for each in (*older["entries"], *newest["entries"])
    ]
    verify_log(entries)
    slot = entries[0].read().slot
    assert (await front.get(f"/api/proofs/{slot}")).json() == older["entries"][0]
    assert (await front.get("/api/proofs/latest")).json() == newest["entries"][0]


async def test_nothing_is_proven_before_the_first_entry_or_of_strangers(
    front: Service, world: World
) -> None:
    assert (await front.get("/api/proofs")).json() == {"entries": [], "next_before": None}
    log = await front.get("/api/proofs/log")
    assert (log.status_code, log.content) == (200, b"")
    for path in ("latest", "7", "x", "-1", "99999999999999999999", "latest/reserves"):
        reply = await front.get(f"/api/proofs/{path}")
        assert (reply.status_code, reply.json()["code"]) == (404, "not_found"), path
    await made_two(world)
    reply = await front.get(f"/api/proofs/latest/{Keypair().pubkey()}")
    assert (reply.status_code, reply.json()["code"]) == (404, "not_found")
    assert "held nothing" in reply.json()["detail"]


async def test_a_proof_that_cannot_be_made_again_is_a_conflict(
    front: Service, world: World
) -> None:
    alice = await made_two(world)
    await world.execute("UPDATE balance_history SET total = 1, available = 1 WHERE total = 537")
    reply = await front.get(f"/api/proofs/latest/{address(alice)}")
    assert (reply.status_code, reply.json()["code"]) == (409, "conflict")


async def test_a_stranger_opens_no_connections_to_the_database(
    front: Service, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond those of the pool, which are counted. The route is public."""
    alice = await made_two(world)

    def dedicated(*_: object, **options: object) -> None:
        raise AssertionError("a connection outside the pool")

    monkeypatch.setattr(Database, "dedicated", dedicated)
    reply = await front.get(f"/api/proofs/latest/{address(alice)}")
    assert reply.status_code == 200


async def test_only_the_newest_files_are_kept(front: Service, world: World) -> None:
    await made_two(world)
    newest, oldest = (await front.get("/api/proofs")).json()["entries"]
    await world.execute(
        "DELETE FROM proof_reserves WHERE file = (SELECT file FROM proof_entries WHERE number = 1)"
    )
    slots = [json.loads(each["text"])["slot"] for each in (newest, oldest)]
    replies = [await front.get(f"/api/proofs/{slot}/reserves") for slot in slots]
    assert [each.status_code for each in replies] == [200, 404]
    assert "not kept" in replies[1].json()["detail"]


async def test_an_administrator_asks_for_an_entry(front: Service, world: World) -> None:
    alice = await made_two(world)
    await world.act(alice, world.deposit(alice, 5))
    await settled(world)
    refused = await ask(front, "POST", "/api/admin/proofs")
    assert refused.status_code == 401
    reply = await ask(front, "POST", "/api/admin/proofs", bearer=token())
    assert (reply.status_code, reply.json()) == (202, {"queued": True})
    assert await publisher(world, interval=timedelta(days=1)).run_once() is not None
    trail = await ask(front, "GET", "/api/admin/audit", bearer=token())
    assert "proof_requested" in trail.text


async def test_a_file_of_reserves_that_loses_a_part_does_not_end_as_if_it_were_whole(
    front: Service, world: World
) -> None:
    """Its parts are deleted once 48 entries are newer, while a slow client may still read."""
    await made_two(world)
    # As if the file had had another part, with a third line.
    more = ('"accounts":2', '"accounts":3')
    await world.execute("UPDATE proof_entries SET text = replace(text, %s, %s)", *more)
    with pytest.raises(httpx.RemoteProtocolError):
        await front.get("/api/proofs/latest/reserves")


async def test_the_file_of_an_entry_without_vaults_is_empty(front: Service, world: World) -> None:
    await settled(world)
    await world.execute("DELETE FROM balance_history")
    assert await publisher(world).run_once() is not None
    reply = await front.get("/api/proofs/latest/reserves")
    assert (reply.status_code, reply.content) == (200, b"")

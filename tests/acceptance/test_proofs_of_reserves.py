"""From a deposit on `cvms dev` to a proof that three verifiers accept, and that none can bend."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
import trio

from cvms.config.loader import load_programs
from cvms.demo import Addresses, run_demo
from tests.acceptance.test_dev import LEFT_BY_DEMO, PORTS
from tests.clients.verifier import build_verifier, verify
from tests.harness.processes import HANG_SECONDS, cvms
from tests.http.pages.verification import RESULT, choose, shown, visit
from tests.http.service_info.browser import browsing

pytestmark = pytest.mark.slow(seconds=35)

FILES = {"proof": "proof.json", "logs": "log.ndjson", "reserves": "reserves.ndjson"}
WITH_A_NODE = ["chain", "reserves", "stale"]


async def test_what_dev_publishes_is_verified_by_command_by_page_and_by_the_second_verifier(
    tmp_path: Path,
) -> None:
    programs = load_programs({})
    often = {"PROOF_SECONDS": "1"}
    async with cvms("dev", *PORTS, folder=tmp_path, environ=often) as dev:
        url, rpc_url = await dev.line("Service"), await dev.line("RPC")
        output: list[str] = []
        await run_demo(Addresses(url=url, rpc_url=rpc_url, programs=programs), say=output.append)
        slot = await _published(url, LEFT_BY_DEMO)
        proof = await _saved(url, slot, tmp_path)
        key = json.loads(proof.read_text())["entry"]["key"]
        expected = {"key": key, "program": str(programs.vault), "mint": str(programs.mint)}
        options = [f"--{name}={value}" for name, value in expected.items()]
        options += [f"--rpc={rpc_url}", f"--service={url}"]
        bent = tmp_path / "bent.json"
        bent.write_text(_bent(proof.read_text()))

        assert await _by_command(proof, *options) == (0, [])
        assert await _by_command(bent, *options) == (1, ["inclusion"])
        verifier = await trio.to_thread.run_sync(build_verifier, tmp_path / "verifier")
        done, checks, errors = await trio.to_thread.run_sync(verify, verifier, proof, *options)
        assert (done, set(checks.values()), errors) == (0, {"ok"}, "")
        done, checks, errors = await trio.to_thread.run_sync(verify, verifier, bent, *options)
        assert (done, checks["inclusion"], errors) == (1, "failed", "")

        async with browsing(tmp_path / "browser", "about:blank", width=1280) as tab:
            visitor = await visit(tab, f"{url}/verify")
            for field, name in FILES.items():
                await choose(tab, field, tmp_path / name)
            for field, value in expected.items():
                await visitor.type(field, value)
            await visitor.press("Verify")
            assert await visitor.until(RESULT) == "No check fails"
            assert await shown(tab, "not checked") == WITH_A_NODE
            await choose(tab, "proof", bent)
            await visitor.press("Verify")
            assert await visitor.until(RESULT) == "The proof fails"
            assert await shown(tab, "failed") == ["inclusion"]


async def _published(url: str, total: int) -> int:
    """Wait for an entry whose liabilities are `total`, and return its slot."""
    async with httpx.AsyncClient(base_url=url) as client:
        with trio.fail_after(HANG_SECONDS):
            while True:
                reply = await client.get("/api/proofs/latest")
                if reply.status_code == httpx.codes.OK:
                    entry = json.loads(reply.json()["text"])
                    if entry["liabilities"]["total"] == str(total):
                        return int(entry["slot"])
                await trio.sleep(0.2)


async def _saved(url: str, slot: int, folder: Path) -> Path:
    """Save what the service publishes of an entry; return the proof of its first vault."""
    async with httpx.AsyncClient(base_url=f"{url}/api/proofs/") as client:
        reserves = (await client.get(f"{slot}/reserves")).raise_for_status().text
        owner = json.loads(reserves.splitlines()[0])["owner"]
        log = (await client.get("log")).raise_for_status().text
        proof = (await client.get(f"{slot}/{owner}")).raise_for_status().text
    for name, text in zip(FILES.values(), (proof, log, reserves), strict=True):
        (folder / name).write_text(text)
    return folder / FILES["proof"]


def _bent(text: str) -> str:
    """Return a proof with one unit more for its owner."""
    proof = json.loads(text)
    for name in ("total", "available"):
        proof["balances"][name] = str(int(proof["balances"][name]) + 1)
    return json.dumps(proof)


async def _by_command(proof: Path, *options: str) -> tuple[int, list[str]]:
    """Return the exit status of `cvms verify`, and the checks that are not ok."""
    async with cvms("verify", str(proof), *options, folder=proof.parent) as command:
        with trio.fail_after(HANG_SECONDS):
            status = await command.process.wait()
        rows = [line.split()[:2] for line in command.printed]
    return status, [name for outcome, name in rows if outcome != "ok"]

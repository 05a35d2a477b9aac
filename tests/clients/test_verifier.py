"""The verifier in TypeScript: against the recorded examples, published files and a chain."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import trio
from solders.pubkey import Pubkey

from cvms.chain.program.addresses import vault_address
from tests.clients.publication import Publication, everything_is_final, publication_of
from tests.clients.static_files import static_files
from tests.clients.typescript import run
from tests.clients.verifier import build_verifier, verify
from tests.harness.localnet import Localnet
from tests.harness.service import Service
from tests.http.vaults.proofs.test_proof_routes import made_two
from tests.http.wallets import USDT, deposit, sent, with_vault
from tests.nursery.scheduled.test_auto_compound import lender
from tests.nursery.world import World, address
from tests.paths import DOCS

VECTORS = DOCS / "proofs" / "vectors.json"
NOT_CHECKED = "not checked"


@pytest.fixture(scope="session")
def verifier(builds: Path) -> Path:
    return build_verifier(builds / "verifier")


def test_it_finds_in_each_example_what_is_wrong_there(verifier: Path) -> None:
    run("npm", "test", cwd=verifier, environ={"CVMS_VECTORS": str(VECTORS)})


def test_the_exit_status_says_whether_a_check_failed(verifier: Path, tmp_path: Path) -> None:
    examples = json.loads(VECTORS.read_text())
    proofs = {each["name"]: each["proof"] for each in examples["vectors"]}
    proof = tmp_path / "proof.json"
    proof.write_text(json.dumps(proofs["one vault"]))
    status, checks, _ = verify(verifier, proof, "--key", examples["key"])
    assert (status, checks["signature"], checks["key"]) == (0, "ok", "ok")
    assert checks["log"] == checks["reserves_file"] == checks["chain"] == NOT_CHECKED

    assert verify(verifier, proof, "--key", examples["mint"])[1]["key"] == "failed"
    proof.write_text(json.dumps(proofs["another salt"]))
    status, checks, _ = verify(verifier, proof)
    assert (status, checks["inclusion"], checks["key"]) == (1, "failed", NOT_CHECKED)

    for arguments, complaint in [
        ([], "give one file, the inclusion proof"),
        ([str(proof), "--key", "0Il"], "--key 0Il is no address"),
        ([str(proof), "--rpc", "ftp://x"], "--rpc ftp://x is no URL"),
        ([str(proof), "--max-age", "1h"], "--max-age 1h is no number of minutes"),
        ([str(tmp_path / "none.json")], "none.json cannot be read"),
    ]:
        status, _, errors = verify(verifier, *arguments)
        assert (status, complaint in errors, "usage: node" in errors) == (2, True, True), errors


async def test_a_chain_shows_what_the_published_files_do_not(
    verifier: Path, front: Service, localnet: Localnet, tmp_path: Path
) -> None:
    wallet, empty = await with_vault(front, amount=7 * USDT), await with_vault(front)
    # Anybody may send tokens to the account of an empty vault, which does not count them.
    dust = [str(vault_address(localnet.programs, empty.pubkey())), str(localnet.programs.mint)]
    await front.rpc.call("surfnet_setTokenAccount", [*dust, {"amount": 3}])
    honest = await publication_of(front.rpc, localnet.programs, wallet.pubkey())

    async def outcomes(published: Publication, name: str) -> tuple[int, dict[str, str]]:
        """Verify with the published files and the node; return all outcomes but `ok`."""
        proof = published.write(tmp_path / name)
        expected = ["--key", published.key.pubkey(), "--program", localnet.programs.vault]
        expected += ["--mint", localnet.programs.mint, "--rpc", localnet.rpc_url]
        with static_files(tmp_path / name) as service:
            status, checks, errors = await trio.to_thread.run_sync(
                verify, verifier, proof, "--service", service, *expected
            )
        assert errors == ""
        return status, {check: each for check, each in checks.items() if each != "ok"}

    for owner in (wallet, empty):
        await sent(front, owner, await deposit(front, owner, USDT))
    await everything_is_final(front.rpc)
    assert await outcomes(honest, "later") == (0, {})

    more = {"amount": str(7 * USDT + 1)}
    assert await outcomes(honest.changed(line=more), "more") == (1, {"reserves": "failed"})
    for part in ("blockhash", "genesis"):
        elsewhere = honest.changed(entry={part: str(Pubkey([7] * 32))})
        unknown = {"stale": NOT_CHECKED, "reserves": NOT_CHECKED}
        assert await outcomes(elsewhere, part) == (1, {"chain": "failed"} | unknown)

    other = await with_vault(front, amount=USDT)
    both = await publication_of(front.rpc, localnet.programs, other.pubkey())
    assert await outcomes(both, "left out") == (1, {"left_out": "failed"})
    for owner in (wallet, empty):
        await sent(front, owner, await deposit(front, owner, USDT))
    await everything_is_final(front.rpc)
    assert await outcomes(both, "left out, and moved") == (1, {"left_out": "failed"})
    later = {"absoluteTimestamp": (int(time.time()) + 86_400) * 1_000}
    await front.rpc.call("surfnet_timeTravel", [later])
    await everything_is_final(front.rpc)
    assert await outcomes(honest, "old") == (1, {"stale": "failed"})


async def test_what_the_service_publishes_passes_every_check(
    verifier: Path, front: Service, localnet: Localnet, tmp_path: Path
) -> None:
    world = World(localnet.running, front.resources)
    owner = await lender(world)
    await made_two(world)
    proof = tmp_path / "proof.json"
    proof.write_bytes((await front.get(f"/api/proofs/latest/{address(owner)}")).content)
    signed = json.loads(proof.read_text())["entry"]
    assert json.loads(signed["text"])["reserves"]["pools"] != "0"
    expected = ["--key", signed["key"], "--program", localnet.programs.vault]
    expected += ["--mint", localnet.programs.mint, "--rpc", localnet.rpc_url]
    status, checks, errors = await trio.to_thread.run_sync(
        verify, verifier, proof, "--service", front.url, *expected
    )
    assert (status, set(checks.values()), errors) == (0, {"ok"}, ""), checks

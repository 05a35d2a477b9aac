"""Each import contract of pyproject.toml holds, and breaks on an import that it forbids."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.paths import ROOT

TOP = "cvms: imports point down"
CHANNELS_ONLY = "cvms.http: of nursery it imports the channels only"
NURSERY = "cvms.nursery: imports point down"
HTTP = "cvms.http: imports point down"
CHAIN = "cvms.chain: imports point down"
STORE = "cvms.store: imports point down"
LOCALNET = "cvms.localnet: imports point down"
NO_LOCALNET = "cvms.localnet: production does not run on it"
NO_CLIENT = "cvms.client: the service does not use its own client"
START = "cvms.nursery.run: only the command line starts the service"

# The contract, the module that gets an import, and what it imports.
FORBIDDEN = [
    (CHANNELS_ONLY, "cvms.http.app", "cvms.nursery.reconciliation.healer"),
    (CHANNELS_ONLY, "cvms.http.app", "cvms.nursery.indexing.apply_batch"),
    (CHANNELS_ONLY, "cvms.http.app", "cvms.nursery.submission.operator_submissions"),
    (CHANNELS_ONLY, "cvms.signing.operator_key", "cvms.nursery.submission.submitter"),
    (CHANNELS_ONLY, "cvms.signing.operator_key", "cvms.http.operations.plans"),
    (TOP, "cvms.chain.rpc.rpc_client", "cvms.store.postgres.database"),
    (TOP, "cvms.store.index.cursor", "cvms.chain.types"),
    (TOP, "cvms.store.redis.rate_limiter", "cvms.config.settings"),
    (TOP, "cvms.store.index.cursor", "cvms.nursery.channels.hub"),
    (TOP, "cvms.bootstrap.run", "cvms.dev.chain_setup"),
    (TOP, "cvms.nursery.wiring.resources", "cvms.bootstrap.run"),
    (TOP, "cvms.nursery.wiring.resources", "cvms.cli.commands"),
    (TOP, "cvms.localnet.node.node", "cvms.chain.types"),
    (TOP, "cvms.client.client", "cvms.http.framework.schemas"),
    (NO_CLIENT, "cvms.http.app", "cvms.client.client"),
    (NO_LOCALNET, "cvms.nursery.run", "cvms.localnet"),
    (NO_LOCALNET, "cvms.http.app", "cvms.localnet.node.node"),
    (START, "cvms.nursery.supervision.worker_processes", "cvms.nursery.run"),
    (NURSERY, "cvms.nursery.channels.hub", "cvms.nursery.delivery.broadcaster"),
    (NURSERY, "cvms.nursery.indexing.indexer", "cvms.nursery.reconciliation.reconciler"),
    (HTTP, "cvms.http.pages.page_routes", "cvms.http.admin.admin_routes"),
    (HTTP, "cvms.http.framework.edge", "cvms.http.auth.siws"),
    (HTTP, "cvms.http.auth.siws", "cvms.http.server.server"),
    (CHAIN, "cvms.chain.rpc.rpc_client", "cvms.chain.program.accounts"),
    (CHAIN, "cvms.chain.program.accounts", "cvms.chain.pubsub.websocket"),
    (STORE, "cvms.store.postgres.pool", "cvms.store.vaults.vaults"),
    (STORE, "cvms.store.index.cursor", "cvms.store.security.nonces"),
    (LOCALNET, "cvms.localnet.vm.machine", "cvms.localnet.ledger.clock"),
    (LOCALNET, "cvms.localnet.http_port", "cvms.localnet.pubsub.delivery"),
]

CONTAINERS = {
    "cvms": TOP,
    "cvms.nursery": NURSERY,
    "cvms.http": HTTP,
    "cvms.chain": CHAIN,
    "cvms.store": STORE,
    "cvms.localnet": LOCALNET,
}


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the package's source and its contracts."""
    folder = tmp_path_factory.mktemp("contracts")
    only_source = shutil.ignore_patterns("__pycache__", "*.so", "*.json", "*.sql")
    shutil.copytree(ROOT / "cvms", folder / "cvms", ignore=only_source)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


@contextmanager
def appended(path: Path, line: str) -> Iterator[None]:
    before = path.read_text()
    path.write_text(f"{before}\n{line}\n")
    try:
        yield
    finally:
        path.write_text(before)


def broken_contracts(folder: Path) -> set[str]:
    """Return the names of the contracts that `lint-imports` reports as broken."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-logo"]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    broken = set(re.findall(r"^(.+) BROKEN\b", run.stdout, re.MULTILINE))
    assert bool(broken) == bool(run.returncode), run.stdout + run.stderr
    return broken


def test_the_contracts_hold(scratch: Path) -> None:
    assert broken_contracts(scratch) == set()


@pytest.mark.parametrize(
    ("contract", "importer", "imported"),
    FORBIDDEN,
    ids=[f"{importer}->{imported}" for _, importer, imported in FORBIDDEN],
)
def test_a_forbidden_import_breaks_its_contract(
    scratch: Path, contract: str, importer: str, imported: str
) -> None:
    module = (scratch / importer.replace(".", "/")).with_suffix(".py")
    with appended(module, f"import {imported}"):
        assert contract in broken_contracts(scratch)


def test_a_new_package_needs_a_layer(scratch: Path) -> None:
    newcomers = [scratch / package.replace(".", "/") / "newcomer" for package in CONTAINERS]
    for newcomer in newcomers:
        newcomer.mkdir()
        (newcomer / "__init__.py").touch()
    try:
        assert broken_contracts(scratch) == set(CONTAINERS.values())
    finally:
        for newcomer in newcomers:
            shutil.rmtree(newcomer)


def test_every_contract_is_seen_to_break() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    names = {contract["name"] for contract in settings["contracts"]}
    assert names == {contract for contract, _, _ in FORBIDDEN}

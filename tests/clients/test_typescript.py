"""The TypeScript client, as it is published, against the vectors and a real service."""

from __future__ import annotations

from tests.clients.typescript import Package
from tests.clients.vectors import VECTORS
from tests.harness.localnet import Localnet
from tests.harness.service import Served


async def test_the_client_is_what_the_vectors_say(package: Package) -> None:
    await package.node_test("vectors.test.mjs", CVMS_VECTORS=str(VECTORS))


async def test_the_client_moves_tokens_and_follows_events(
    package: Package, system: Served, localnet: Localnet
) -> None:
    await package.node_test("service.test.mjs", **surroundings(system, localnet))


def surroundings(system: Served, localnet: Localnet) -> dict[str, str]:
    """Return the environment that tells the client's tests where the service and the chain are."""
    return {
        "CVMS_URL": system.url,
        "CVMS_RPC_URL": localnet.rpc_url,
        "CVMS_MINT": str(localnet.programs.mint),
    }

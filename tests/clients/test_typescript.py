"""The TypeScript client, as it is published, against the vectors and a real service."""

from __future__ import annotations

import re

from tests.clients.static_files import static_files
from tests.clients.typescript import SOURCE, Package, chromium
from tests.clients.vectors import VECTORS
from tests.harness.localnet import Localnet
from tests.harness.service import Served, whole_service
from tests.paths import DOCS


async def test_the_client_is_what_the_vectors_say(package: Package) -> None:
    await package.node_test("vectors.test.mjs", CVMS_VECTORS=str(VECTORS))


async def test_a_stream_survives_its_connections(package: Package) -> None:
    await package.node_test("stream.test.mjs")


async def test_the_client_moves_tokens_and_follows_events(
    package: Package, system: Served, localnet: Localnet
) -> None:
    await package.node_test("service.test.mjs", **surroundings(system, localnet))


async def test_the_example_page_works_in_chromium(
    package: Package, database_url: str, localnet: Localnet
) -> None:
    await package.run("node", "scripts/example.mjs")
    settings = localnet.settings | {"cors_origins": ("http://127.0.0.1:*",)}
    with static_files(package.folder / "example") as page_url:
        async with whole_service(database_url, **settings) as system:
            await package.node_test(
                "example.test.mjs",
                **surroundings(system, localnet),
                CVMS_PAGE_URL=page_url,
                CVMS_CHROMIUM=chromium(),
                CVMS_VECTORS=str(VECTORS),
            )


def test_the_page_shows_the_function_of_the_example() -> None:
    source = (SOURCE / "example" / "movements.ts").read_text()
    [shown] = re.findall(r"```ts\n(.*?)```", (DOCS / "websocket.md").read_text(), re.DOTALL)
    assert shown in source.replace("export ", "")


def surroundings(system: Served, localnet: Localnet) -> dict[str, str]:
    """Return the environment that tells the client's tests where the service and the chain are."""
    return {
        "CVMS_URL": system.url,
        "CVMS_RPC_URL": localnet.rpc_url,
        "CVMS_MINT": str(localnet.programs.mint),
    }

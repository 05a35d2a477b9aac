"""The document passes a linter, and a TypeScript client made of it moves money."""

from __future__ import annotations

import pytest

from tests.generated_clients.workshop import AMOUNT, SOURCES, Workshop
from tests.harness.installed_tools import node_modules

pytestmark = pytest.mark.slow(seconds=40)


async def test_redocly_finds_nothing_in_the_document(workshop: Workshop) -> None:
    redocly = node_modules(SOURCES) / ".bin" / "redocly"
    workshop.copy("redocly.yaml")
    found = await workshop.run(redocly, "lint", "--format=json", workshop.document)
    assert '"problems": []' in found


async def test_the_client_of_hey_api_deposits_and_withdraws(workshop: Workshop) -> None:
    modules = node_modules(SOURCES)
    workshop.copy("wallet.ts", "tsconfig.json", "package.json")
    workshop.copy("hey_api/generate.mjs", "hey_api/vault_life.ts")
    (workshop.folder / "node_modules").symlink_to(modules)
    await workshop.run("node", "generate.mjs", workshop.document, "generated")
    await workshop.run(modules / ".bin" / "tsc")
    printed = await workshop.run("node", "vault_life.js")
    assert printed == f"balance {AMOUNT - 1_000_000}\n"

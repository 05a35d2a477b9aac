"""Clients of more generators, generated, compiled and run: `make clients`.

`CLIENT_TOOLS` is the folder with openapi-generator-cli.jar and the environment of
openapi-python-client; the Makefile fills it with the versions that it pins.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.generated_clients.workshop import AMOUNT, SOURCES, Workshop
from tests.harness.installed_tools import node_modules

LEFT = f"balance {AMOUNT - 1_000_000}\n"


@pytest.fixture
def tools() -> Path:
    return Path(os.environ["CLIENT_TOOLS"])


async def test_openapi_typescript_with_openapi_fetch(workshop: Workshop) -> None:
    modules = node_modules(SOURCES)
    workshop.copy("wallet.ts", "tsconfig.json", "package.json")
    workshop.copy("openapi_fetch/generate.mjs", "openapi_fetch/vault_life.ts")
    (workshop.folder / "node_modules").symlink_to(modules)
    await workshop.run("node", "generate.mjs", workshop.document, "schema.d.ts")
    await workshop.run(modules / ".bin" / "tsc")
    assert await workshop.run("node", "vault_life.js") == LEFT


async def test_openapi_python_client(workshop: Workshop, tools: Path) -> None:
    programs = tools / "python" / "bin"
    workshop.copy("python/generator.yaml")
    await workshop.run(
        programs / "openapi-python-client",
        "generate",
        "--path",
        workshop.document,
        "--meta=none",
        "--output-path=cvms_client",
        "--config=generator.yaml",
        "--fail-on-warning",
    )
    workshop.copy("python/vault_life.py")
    assert await workshop.run(programs / "python", "vault_life.py") == LEFT


async def test_openapi_generator_for_go(workshop: Workshop, tools: Path) -> None:
    await generate(workshop, tools, "go", "packageName=cvms,isGoSubmodule=false,withGoMod=false")
    workshop.copy("go/main.go", "go/go.mod")
    shutil.rmtree(workshop.folder / "client" / "test")
    assert await workshop.run("go", "run", ".") == LEFT


async def test_openapi_generator_for_java(workshop: Workshop, tools: Path) -> None:
    options = (
        "groupId=cvms,artifactId=cvms-client,openApiNullable=false,invokerPackage=cvms.client,"
        "apiPackage=cvms.client.api,modelPackage=cvms.client.model,library=native"
    )
    await generate(workshop, tools, "java", options)
    client = workshop.folder / "client"
    workshop.copy("java/VaultLife.java")
    maven = ("mvn", "--quiet", "--batch-mode", "-Dmaven.test.skip=true")
    classpath = workshop.folder / "classpath"
    await workshop.run(
        *maven,
        "compile",
        "dependency:build-classpath",
        f"-Dmdep.outputFile={classpath}",
        within=client,
    )
    classes = f"{client / 'target' / 'classes'}:{classpath.read_text()}"
    assert await workshop.run("java", "-cp", classes, "VaultLife.java") == LEFT


async def generate(workshop: Workshop, tools: Path, language: str, options: str) -> None:
    await workshop.run(
        "java",
        "-jar",
        tools / "openapi-generator-cli.jar",
        "generate",
        f"--input-spec={workshop.document}",
        f"--generator-name={language}",
        "--output=client",
        f"--additional-properties={options}",
    )

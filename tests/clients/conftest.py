"""Fixtures of the service's own tests, and the TypeScript client as it is published."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from tests.clients.typescript import Package, build_package
from tests.harness.service import Service
from tests.http.conftest import front, service, system

__all__ = ["front", "service", "system"]


@pytest.fixture(scope="session")
def builds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of what is built once for each test process."""
    return tmp_path_factory.mktemp("typescript")


@pytest.fixture
async def package(builds: Path, service: Service) -> Package:
    """The TypeScript client, built with the service's OpenAPI document, packed and installed."""
    document = (await service.get("/openapi.json")).content
    return await trio.to_thread.run_sync(build_package, builds, document)

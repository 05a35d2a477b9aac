"""What the scenarios share: the process that servers are forked from."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.scenario.servers import Zygote, zygote


@pytest.fixture(scope="session")
def servers() -> Iterator[Zygote]:
    with zygote() as started:
        yield started

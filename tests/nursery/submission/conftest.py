"""Fixtures of the tests of submissions."""

from __future__ import annotations

import pytest

from tests.nursery.world import World


@pytest.fixture
async def paused(world: World) -> World:
    """A world in which blocks are produced only by the test."""
    world.chain.chain.pause()
    return world

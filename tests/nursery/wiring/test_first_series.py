"""The lists of what is known at the start name what is built later."""

from __future__ import annotations

from cvms.nursery.wiring.first_series import read_build
from cvms.nursery.wiring.leader_tasks import LEADER_TASKS, TIMED_TASKS, leader_tasks
from tests.nursery.world import World


async def test_the_leaders_tasks_are_known_before_there_is_a_leader(world: World) -> None:
    built = [name for name, _ in leader_tasks(world.resources)]
    assert set(built) == {*LEADER_TASKS} - {"alert_webhooks"}  # of which none is configured
    assert set(TIMED_TASKS) <= set(LEADER_TASKS)


def test_sources_in_place_are_a_checkout() -> None:
    version, revision = read_build()
    assert version
    assert revision == "checkout"

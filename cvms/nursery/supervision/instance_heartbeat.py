"""Heartbeat of this process, by which operators see which processes there are."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cvms.nursery.channels.operations_overview import installed_version
from cvms.nursery.channels.status_board import StatusBoard
from cvms.store.messaging import instances
from cvms.store.messaging.instances import Instance
from cvms.store.postgres.database import Database

HEARTBEAT_SECONDS = 10.0


def instance_name() -> str:
    """Return the name of this process, which is also its name as the leader."""
    return f"{platform.node()}:{os.getpid()}"


@dataclass(slots=True, kw_only=True, eq=False)
class InstanceHeartbeat:
    """Stores that this process is alive, and whether it is ready."""

    database: Database
    board: StatusBoard
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    async def run_once(self) -> None:
        """Store one heartbeat. Raises DatabaseUnavailable."""
        instance = Instance(
            instance=instance_name(),
            host=platform.node(),
            version=installed_version(),
            ready=self.board.ready,
            started_at=self.started_at,
        )
        async with self.database.transaction() as conn:
            await instances.beat(conn, instance)

"""Listener for the notifications that replicas send to their leader."""

from __future__ import annotations

from dataclasses import dataclass

from cvms.nursery.channels.reconcile_requests import ReconcileQueue
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.channels.wakeups import SubmitWakeup
from cvms.store.messaging.leader_notifications import RECONCILE, SUBMIT
from cvms.store.postgres.database import Database
from cvms.store.postgres.listen import listen


@dataclass(slots=True, kw_only=True, eq=False)
class LeaderNotifications:
    """Wakes the leader's tasks when any replica has work for them."""

    database: Database
    submit_wake: SubmitWakeup
    reconcile_queue: ReconcileQueue
    board: StatusBoard

    async def run(self) -> None:
        """Listen until cancelled. Raises DatabaseUnavailable."""
        async with listen(self.database, SUBMIT, RECONCILE) as listener:
            while True:
                self.board.task_succeeded("calls")
                notification = await listener.receive()
                if notification.channel == SUBMIT:
                    self.submit_wake.wake()
                else:
                    self.reconcile_queue.request(notification.payload or None)

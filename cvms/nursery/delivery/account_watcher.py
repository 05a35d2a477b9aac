"""Subscriptions to the on-chain accounts that clients of this replica watch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import structlog
import trio

from cvms.chain.backoff import Backoff
from cvms.chain.pubsub.account_subscription import fetch_accounts, watch_accounts
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Commitment
from cvms.errors import ChainUnavailable, RpcError
from cvms.metrics import Metrics
from cvms.nursery.channels.account_registry import AccountRegistry
from cvms.nursery.channels.status_board import StatusBoard

log = structlog.get_logger(__name__)

POLL_SECONDS = 60.0
"""Every account is fetched this often, in case a notification was lost."""
MIN_RETRY_SECONDS, MAX_RETRY_SECONDS = 0.25, 5.0


@dataclass(slots=True, kw_only=True, eq=False)
class AccountSubscriptions:
    """Holds one subscription for each account, however many clients watch it."""

    rpc: RpcClient
    ws_urls: Sequence[str]
    registry: AccountRegistry
    board: StatusBoard
    metrics: Metrics

    async def run(self) -> None:
        """Watch until cancelled. During an outage of the chain, notify clients and retry."""
        self.metrics.rpc.watched_accounts.set_function(lambda: len(self.registry))
        watch = partial(
            watch_accounts, self.ws_urls, self.registry, commitment=Commitment.CONFIRMED
        )
        try:
            async with trio.open_nursery() as tasks:
                tasks.start_soon(watch)
                tasks.start_soon(self._fetch)
                while True:
                    self.board.task_succeeded("accounts")
                    await trio.sleep(POLL_SECONDS)
                    self.registry.fetch_all()
        finally:
            self.registry.lost()  # also if this task fails: notifications have stopped

    async def _fetch(self) -> None:
        backoff = Backoff(first=MIN_RETRY_SECONDS, longest=MAX_RETRY_SECONDS)
        while True:
            keys = await self.registry.next_to_fetch()
            try:
                fetched = await fetch_accounts(self.rpc, keys, commitment=Commitment.CONFIRMED)
            except (ChainUnavailable, RpcError) as error:
                log.warning("account_fetch_failed", accounts=len(keys), reason=str(error))
                self.registry.fetch_failed(keys)
                await trio.sleep(backoff.next())
                continue
            backoff.reset()
            for account in fetched:
                self.registry.updated(account)

"""Account subscriptions: one for each account, all on one connection.

A node notifies of changes only, and loses those that happen while nobody is connected. So the
listener fetches an account once its subscription is confirmed. Only the first bytes of an account
are requested, so that a large one costs no more than others.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Protocol

import trio
from solders.pubkey import Pubkey

from cvms.chain.pubsub.log_subscription import SUBSCRIBE_SECONDS, keep_connected
from cvms.chain.pubsub.messages import Answer, Notification, SubscriptionId
from cvms.chain.pubsub.websocket import ConnectionLost, OpenStream, PubSubConnection, open_stream
from cvms.chain.rpc.responses import AccountResponse, InContext, account, read
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Account, Commitment, Lamports, Slot
from cvms.errors import RpcError

DATA_BYTES = 16 * 1024
"""The part of an account's data that is requested; our programs' accounts are smaller."""
CHECK_SECONDS = 5.0
"""Interval between checks for missing responses."""
RETRY_SECONDS = 60.0
"""Delay before a subscription that the node refused is requested again."""
DEBOUNCE_SECONDS = 0.05
"""Clients that come and go within this time cost the node nothing."""

NO_OWNER = Pubkey.default()
_SLICE = (0, DATA_BYTES + 1)  # one more byte, which says that the data are longer


@dataclass(frozen=True, slots=True)
class AccountAt:
    """An account as of `slot`, with the first DATA_BYTES of its data; empty if there is none."""

    key: Pubkey
    slot: Slot
    lamports: Lamports
    owner: Pubkey
    executable: bool
    data: bytes
    truncated: bool

    def same_state(self, other: AccountAt) -> bool:
        """Return whether both are the same but for their slots."""
        return replace(self, slot=other.slot) == other


class AccountListener(Protocol):
    """Decides which accounts are watched, and receives their state. No method may block."""

    @property
    def wanted(self) -> frozenset[Pubkey]: ...
    @property
    def change(self) -> trio.Event:
        """Event that is set when `wanted` changes, and is then replaced by a new one."""

    def subscribed(self, key: Pubkey) -> None:
        """Note that every change from now on is reported; the current state must be fetched."""

    def unsubscribed(self, key: Pubkey) -> None: ...
    def updated(self, account: AccountAt) -> None: ...
    def subscription_refused(self, key: Pubkey) -> None: ...
    def lost(self) -> None:
        """Note that the connection, and with it every subscription, is lost."""


async def fetch_accounts(
    rpc: RpcClient, keys: Sequence[Pubkey], *, commitment: Commitment
) -> list[AccountAt]:
    """Fetch the current state of the accounts. Raises ChainUnavailable or RpcError."""
    found = await rpc.get_accounts(keys, commitment=commitment, data_slice=_SLICE)
    return [_at(*each) for each in zip(keys, found.slots, found.accounts, strict=True)]


async def watch_accounts(
    urls: Sequence[str],
    listener: AccountListener,
    *,
    commitment: Commitment,
    open_stream: OpenStream = open_stream,
    jitter: Callable[[], float] = random.random,
) -> None:
    """Report the wanted accounts to `listener` until cancelled. Connect once one is wanted."""

    async def ready() -> None:
        while not listener.wanted:
            await listener.change.wait()

    async def session(connection: PubSubConnection) -> None:
        await _AccountSession(connection, listener, commitment).run()

    await keep_connected(
        urls, session, ready=ready, lost=listener.lost, open_stream=open_stream, jitter=jitter
    )


class _AccountSession:
    """The subscriptions of one connection."""

    def __init__(
        self, connection: PubSubConnection, listener: AccountListener, commitment: Commitment
    ) -> None:
        self._connection = connection
        self._listener = listener
        self._commitment = commitment
        self._requests = count(1)
        self._pending: dict[str, tuple[Pubkey, float]] = {}  # by request id: account and time
        self._refusals = 0  # that do not say of which request
        self._subscriptions: dict[Pubkey, SubscriptionId | None] = {}  # None: not confirmed yet
        self._keys: dict[SubscriptionId, Pubkey] = {}
        self._refused: dict[Pubkey, float] = {}

    async def run(self) -> None:
        """Keep the subscriptions until the connection is lost. Raises ConnectionLost."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._update_subscriptions)
            while True:
                self._handle(await self._connection.receive())

    async def _update_subscriptions(self) -> None:
        """Subscribe to accounts that are wanted and unsubscribe from the others, as they change."""
        while True:
            self._check_deadlines()
            change, wanted = self._listener.change, self._listener.wanted
            for key in wanted - self._subscriptions.keys() - self._refused.keys():
                await self._subscribe(key)
            for key in self._subscriptions.keys() - wanted:
                await self._unsubscribe(key)
            with trio.move_on_after(CHECK_SECONDS):
                await change.wait()
            await trio.sleep(DEBOUNCE_SECONDS)

    def _check_deadlines(self) -> None:
        now = trio.current_time()
        for request, (_, at) in list(self._pending.items()):
            if now - at <= SUBSCRIBE_SECONDS:
                continue
            if not self._refusals:
                reason = f"no response to a subscription within {SUBSCRIBE_SECONDS:g} s"
                raise ConnectionLost(reason)
            self._refusals -= 1
            self._refuse(request)
        for key, at in list(self._refused.items()):
            if now - at > RETRY_SECONDS:
                del self._refused[key]

    async def _subscribe(self, key: Pubkey) -> None:
        request = next(self._requests)
        self._pending[str(request)] = (key, trio.current_time())
        self._subscriptions[key] = None
        offset, length = _SLICE
        options = {
            "commitment": self._commitment,
            "encoding": "base64",
            "dataSlice": {"offset": offset, "length": length},
        }
        await self._connection.call(request, "accountSubscribe", [str(key), options])

    async def _unsubscribe(self, key: Pubkey) -> None:
        subscription = self._subscriptions[key]
        if subscription is None:
            return  # it cannot be cancelled before it is confirmed
        del self._subscriptions[key], self._keys[subscription]
        self._listener.unsubscribed(key)
        await self._connection.call(next(self._requests), "accountUnsubscribe", [subscription])

    def _handle(self, message: Answer | Notification) -> None:
        if isinstance(message, Notification):
            self._notify(message)
        elif message.request in self._pending:
            if message.subscription is None:
                self._refuse(message.request)
            else:
                self._confirm(message.request, message.subscription)
        elif message == Answer(None, None):
            self._refusals += 1

    def _refuse(self, request: str) -> None:
        key, _ = self._pending.pop(request)
        del self._subscriptions[key]
        self._refused[key] = trio.current_time()
        self._listener.subscription_refused(key)

    def _confirm(self, request: str, subscription: SubscriptionId) -> None:
        key, _ = self._pending.pop(request)
        if subscription in self._keys:  # nothing else tells whose account a notification has
            raise ConnectionLost("the node gives two accounts the same subscription")
        self._subscriptions[key] = subscription
        self._keys[subscription] = key
        self._listener.subscribed(key)

    def _notify(self, message: Notification) -> None:
        """Report a change. One that cannot be read is fetched instead."""
        key = self._keys.get(message.subscription)
        if key is None:  # cancelled, or not confirmed yet: then it is fetched anyway
            return
        try:
            decoded = read(InContext[AccountResponse], message.result, message.method)
            value = account(decoded.value, message.method)
        except RpcError:
            self._listener.subscribed(key)
            return
        self._listener.updated(_at(key, Slot(decoded.context.slot), value))


def _at(key: Pubkey, slot: Slot, account: Account | None) -> AccountAt:
    if account is None:
        return AccountAt(key, slot, Lamports(0), NO_OWNER, False, b"", False)
    return AccountAt(
        key=key,
        slot=slot,
        lamports=account.lamports,
        owner=account.owner,
        executable=account.executable,
        data=account.data[:DATA_BYTES],
        truncated=len(account.data) > DATA_BYTES,
    )

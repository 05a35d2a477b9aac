"""Accounts of the chain, live: each is subscribed to once, however many care, on one connection.

A node notifies of changes only, and loses what happens while nobody is connected: whoever listens
fetches an account once its subscription holds. Of large accounts only the first bytes are asked
for, so that nobody's account can cost more than others'.
"""

from __future__ import annotations

import binascii
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Protocol

import msgspec
import trio
from solders.pubkey import Pubkey

from cvms.chain.pubsub.log_subscription import SUBSCRIBE_SECONDS, keep_connected
from cvms.chain.pubsub.websocket import Connection, ConnectionLost, OpenStream, open_stream
from cvms.chain.rpc.responses import AccountAnswer, InContext, account, read
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Account, Commitment, Lamports, Slot
from cvms.errors import RpcError

DATA_BYTES = 16 * 1024
"""Of an account's data: every account of our programs is smaller."""
ROUND_SECONDS = 5.0
"""Between looks for answers that do not come."""
RETRY_SECONDS = 60.0
"""Until a subscription that the node refused is asked for again."""
PACE_SECONDS = 0.05
"""Clients that come and go within it cost the node nothing."""

NOBODY = Pubkey.default()
_SLICE = (0, DATA_BYTES + 1)  # one more, which tells that there is more


@dataclass(frozen=True, slots=True)
class AccountAt:
    """An account as of a slot, with its first DATA_BYTES. One that is not there holds nothing."""

    key: Pubkey
    slot: Slot
    lamports: Lamports
    owner: Pubkey
    executable: bool
    data: bytes
    truncated: bool

    def same(self, other: AccountAt) -> bool:
        """Whether only the slot differs, if anything does."""
        return replace(self, slot=other.slot) == other


class AccountListener(Protocol):
    """Who says which accounts are watched, and hears of them. Nothing here may wait."""

    @property
    def wanted(self) -> frozenset[Pubkey]: ...
    @property
    def change(self) -> trio.Event:
        """Set once `wanted` is another; then there is a new one."""

    def subscribed(self, key: Pubkey) -> None:
        """Every change from here on is heard; what it is now has to be fetched."""

    def unsubscribed(self, key: Pubkey) -> None: ...
    def updated(self, account: AccountAt) -> None: ...
    def subscription_refused(self, key: Pubkey) -> None: ...
    def lost(self) -> None:
        """No subscription holds."""


async def fetch_accounts(
    rpc: RpcClient, keys: Sequence[Pubkey], *, commitment: Commitment
) -> list[AccountAt]:
    """The accounts as they are now. Raises ChainUnavailable or RpcError."""
    got = await rpc.get_accounts(keys, commitment=commitment, data_slice=_SLICE)
    return [_at(*each) for each in zip(keys, got.slots, got.accounts, strict=True)]


async def watch_accounts(
    urls: Sequence[str],
    listener: AccountListener,
    *,
    commitment: Commitment,
    open_stream: OpenStream = open_stream,
    jitter: Callable[[], float] = random.random,
) -> None:
    """Run until cancelled. There is no connection before the first account is wanted."""

    async def when() -> None:
        while not listener.wanted:
            await listener.change.wait()

    async def session(connection: Connection) -> None:
        await _Session(connection, listener, commitment).run()

    await keep_connected(
        urls, session, when=when, lost=listener.lost, open_stream=open_stream, jitter=jitter
    )


class _Session:
    """The subscriptions of one connection."""

    def __init__(
        self, connection: Connection, listener: AccountListener, commitment: Commitment
    ) -> None:
        self._connection = connection
        self._listener = listener
        self._commitment = commitment
        self._requests = count(1)
        self._asked: dict[int, tuple[Pubkey, float]] = {}  # by request: what, and when
        self._numbers: dict[Pubkey, int | None] = {}  # None: not answered yet
        self._keys: dict[int, Pubkey] = {}
        self._refused: dict[Pubkey, float] = {}

    async def run(self) -> None:
        """Raises ConnectionLost."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._follow)
            while True:
                self._take(await self._connection.receive())

    async def _follow(self) -> None:
        """Subscribe to what is wanted and unsubscribe from what is not."""
        while True:
            self._look_at_the_time()
            change, wanted = self._listener.change, self._listener.wanted
            for key in wanted - self._numbers.keys() - self._refused.keys():
                await self._subscribe(key)
            for key in self._numbers.keys() - wanted:
                await self._unsubscribe(key)
            with trio.move_on_after(ROUND_SECONDS):
                await change.wait()
            await trio.sleep(PACE_SECONDS)

    def _look_at_the_time(self) -> None:
        now = trio.current_time()
        if any(now - at > SUBSCRIBE_SECONDS for _, at in self._asked.values()):
            raise ConnectionLost(f"no answer to a subscription within {SUBSCRIBE_SECONDS:g} s")
        for key, at in list(self._refused.items()):
            if now - at > RETRY_SECONDS:
                del self._refused[key]

    async def _subscribe(self, key: Pubkey) -> None:
        request = next(self._requests)
        self._asked[request] = (key, trio.current_time())
        self._numbers[key] = None
        offset, length = _SLICE
        options = {
            "commitment": self._commitment,
            "encoding": "base64",
            "dataSlice": {"offset": offset, "length": length},
        }
        await self._call(request, "accountSubscribe", [str(key), options])

    async def _unsubscribe(self, key: Pubkey) -> None:
        number = self._numbers[key]
        if number is None:
            return  # once it is answered
        del self._numbers[key], self._keys[number]
        self._listener.unsubscribed(key)
        await self._call(next(self._requests), "accountUnsubscribe", [number])

    async def _call(self, request: int, method: str, params: list[Any]) -> None:
        call = {"jsonrpc": "2.0", "id": request, "method": method, "params": params}
        await self._connection.send(msgspec.json.encode(call).decode())

    def _take(self, message: str | bytes) -> None:
        # What cannot be read may have been a change: only a new subscription makes up for it.
        try:
            got = msgspec.json.decode(message, type=_Message)
            if got.params is not None:
                self._notified(got.params)
            elif got.id in self._asked:
                self._answered(got)
        except (msgspec.MsgspecError, binascii.Error, RecursionError, RpcError):
            raise ConnectionLost("the node sent something unexpected") from None

    def _answered(self, answer: _Message) -> None:
        assert answer.id is not None
        key, _ = self._asked.pop(answer.id)
        if answer.result is None:
            del self._numbers[key]
            self._refused[key] = trio.current_time()
            self._listener.subscription_refused(key)
            return
        number = msgspec.convert(answer.result, int)
        self._numbers[key] = number
        self._keys[number] = key
        self._listener.subscribed(key)

    def _notified(self, params: _Params) -> None:
        key = self._keys.get(params.subscription)
        if key is not None:  # else one that we do not want any more
            method = "accountNotification"
            got = read(InContext[AccountAnswer], params.result, method)
            value = account(got.value, method)
            self._listener.updated(_at(key, Slot(got.context.slot), value))


class _Params(msgspec.Struct):
    subscription: int
    result: Any


class _Message(msgspec.Struct):
    id: int | None = None
    result: Any = None
    params: _Params | None = None


def _at(key: Pubkey, slot: Slot, account: Account | None) -> AccountAt:
    if account is None:
        return AccountAt(key, slot, Lamports(0), NOBODY, False, b"", False)
    return AccountAt(
        key=key,
        slot=slot,
        lamports=account.lamports,
        owner=account.owner,
        executable=account.executable,
        data=account.data[:DATA_BYTES],
        truncated=len(account.data) > DATA_BYTES,
    )

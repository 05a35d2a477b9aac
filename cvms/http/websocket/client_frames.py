"""The frames a WebSocket client sends: their shape, and how many bad ones it may send."""

from __future__ import annotations

from collections import deque
from typing import Annotated, Literal, get_args

import msgspec
from solders.pubkey import Pubkey

from cvms.errors import InvalidRequest
from cvms.http.framework.admin_tokens import MAX_LENGTH
from cvms.http.framework.request import MAX_AMOUNT, decode

Topic = Literal[
    "deposit_event",
    "withdraw_event",
    "lock_event",
    "unlock_event",
    "transfer_event",
    "timelock_event",
    "yield_event",
    "vault_balance_update",
    "transaction_update",
    "tvl_update",
    "analytics_update",
    "security_alert",
]
TOPICS: tuple[str, ...] = get_args(Topic)


class Frame(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a client may send; without `op` it is the short form of a subscription.

    `token` is an administrator's, for the topics that take one. `subscribe` and `unsubscribe` name
    an account of the chain, and nothing else goes with them.
    """

    op: Literal["subscribe", "unsubscribe", "ping"] = "subscribe"
    topic: Topic | None = None
    owner: Pubkey | None = None
    since: Annotated[int, msgspec.Meta(ge=0, le=MAX_AMOUNT)] | None = None
    token: Annotated[str, msgspec.Meta(max_length=MAX_LENGTH)] | None = None
    subscribe: Pubkey | None = None
    unsubscribe: Pubkey | None = None

    @property
    def account(self) -> Pubkey | None:
        """The account that is to be watched, or not any more."""
        return self.subscribe or self.unsubscribe


def parse(message: object) -> Frame:
    """A text message as a frame. Raises InvalidRequest."""
    if not isinstance(message, str):
        raise InvalidRequest("Send text frames.")
    frame = decode(message, Frame)
    if frame.account is not None:
        alone = (Frame(subscribe=frame.account), Frame(unsubscribe=frame.account))
        if frame not in alone:
            raise InvalidRequest("Name one account and nothing else.")
    elif frame.op != "ping" and frame.topic is None:
        raise InvalidRequest(f"Name a topic: {', '.join(TOPICS)}.")
    return frame


class Window:
    """Counts what happened in the last `seconds`, up to a limit. Times are trio's."""

    def __init__(self, *, limit: int, seconds: float) -> None:
        self._seconds = seconds
        self._times: deque[float] = deque(maxlen=limit)

    def full_after(self, now: float) -> bool:
        """Note one at `now`; True if with it the limit is reached within the window."""
        self._times.append(now)
        return len(self._times) == self._times.maxlen and now - self._times[0] < self._seconds

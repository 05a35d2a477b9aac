"""The frames that a WebSocket client sends, and the window that limits their number."""

from __future__ import annotations

from collections import deque
from typing import Annotated, Literal

import msgspec
from solders.pubkey import Pubkey

from cvms.errors import InvalidRequest
from cvms.http.framework.admin_tokens import MAX_LENGTH
from cvms.http.framework.request import (
    MAX_AMOUNT,
    Nonce,
    SignInMessage,
    WalletSignature,
    decode,
    field_error,
    pubkey_of,
)
from cvms.store.messaging.topics import Topic

AccountText = Annotated[str, msgspec.Meta(max_length=44)]


class Frame(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A frame from a client. Without `op`, it subscribes.

    `token` is an administrator token, for the topics that require one. `signature` takes its place
    for one vault's events: of `signer`, by default the owner, with a `nonce`. `subscribe` and
    `unsubscribe` name an account on chain; no other field may accompany them. An empty `subscribe`
    beside a `topic` is as none.
    """

    op: Literal["subscribe", "unsubscribe", "ping"] = "subscribe"
    topic: Topic | None = None
    owner: Pubkey | None = None
    since: Annotated[int, msgspec.Meta(ge=0, le=MAX_AMOUNT)] | None = None
    token: Annotated[str, msgspec.Meta(max_length=MAX_LENGTH)] | None = None
    nonce: Nonce | None = None
    signature: WalletSignature | None = None
    signer: Pubkey | None = None
    message: SignInMessage | None = None
    subscribe: AccountText | None = None
    unsubscribe: AccountText | None = None

    @property
    def account(self) -> Pubkey | None:
        """The account to subscribe to or to unsubscribe from. Raises InvalidRequest."""
        name, text = ("subscribe", self.subscribe)
        if text is None:
            name, text = ("unsubscribe", self.unsubscribe)
        try:
            return None if text is None else pubkey_of(text)
        except ValueError as error:
            raise field_error("The body", name, str(error)) from None


def parse(message: object) -> Frame:
    """Parse a text message. Raises InvalidRequest."""
    if not isinstance(message, str):
        raise InvalidRequest("Binary frames are not supported. Send text frames.")
    frame = decode(message, Frame)
    if frame.subscribe == "" and frame.topic is not None:
        frame = msgspec.structs.replace(frame, subscribe=None)
    if frame.account is not None:
        allowed = (Frame(subscribe=frame.subscribe), Frame(unsubscribe=frame.unsubscribe))
        if frame not in allowed:
            raise InvalidRequest("A frame with `subscribe` or `unsubscribe` has no other fields.")
    elif frame.op != "ping" and frame.topic is None:
        raise InvalidRequest(f"`topic` is missing; use one of {', '.join(Topic)}.")
    return frame


class Window:
    """Counts events in the last `seconds`, up to a limit. Times are on trio's clock."""

    def __init__(self, *, limit: int, seconds: float) -> None:
        self._seconds = seconds
        self._times: deque[float] = deque(maxlen=limit)

    def full_after(self, now: float) -> bool:
        """Count an event at `now`; return whether the limit is reached within the window."""
        self._times.append(now)
        return len(self._times) == self._times.maxlen and now - self._times[0] < self._seconds

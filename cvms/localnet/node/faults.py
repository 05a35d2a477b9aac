"""Faults of one node. All are off until a test in the same process switches them on."""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Literal, TypeVar

import trio

from cvms.errors import CvmsError
from cvms.localnet.types import Json


class ConnectionCut(CvmsError):
    """The connection must be closed without a reply."""


# --- calls -------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class RpcFault:
    """A fault of calls of `methods` (if empty, of every method).

    It occurs with `probability`, and `times` times at most (None is no limit).
    """

    methods: Collection[str] = ()
    probability: float = 1.0
    times: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.methods, str):  # a string is a collection of letters
            self.methods = (self.methods,)


@dataclass(slots=True, kw_only=True)
class Fail(RpcFault):
    """The call is not run and answered with this JSON-RPC error."""

    code: int = -32005
    message: str = "Node is unhealthy"
    data: Json = None


@dataclass(slots=True, kw_only=True)
class TooManyRequests(RpcFault):
    """The calls are not run and answered with HTTP 429. `Retry-After` is in seconds, or absent."""

    retry_after: int | None = 1


@dataclass(slots=True, kw_only=True)
class Slow(RpcFault):
    """The call is run after `seconds`."""

    seconds: float


@dataclass(slots=True, kw_only=True)
class Hang(RpcFault):
    """The call waits: until `lift` is called, or it is dropped when the client disconnects."""

    lifted: trio.Event = field(default_factory=trio.Event)

    def lift(self) -> None:
        """Run the waiting calls, and end the fault."""
        self.times = 0
        self.lifted.set()


@dataclass(slots=True, kw_only=True)
class Cut(RpcFault):
    """The call is not run and the connection is closed."""


@dataclass(slots=True, kw_only=True)
class Garble(RpcFault):
    """The call is run and answered with this body."""

    body: bytes = b'{"jsonrpc":"2.0","result":{"cont'


SomeRpcFault = TypeVar("SomeRpcFault", bound=RpcFault)


# --- everything else ---------------------------------------------------------------------------


@dataclass(slots=True)
class NotificationFaults:
    """Probabilities for each notification of `kinds` such as `logs` (if empty, of all kinds)."""

    drop: float = 0.0
    duplicate: float = 0.0
    swap: float = 0.0
    """It is sent after the client's next notification instead of before it."""
    delay: float = 0.0
    """Seconds from the event until the frame is sent. Later frames wait too."""
    kinds: Collection[str] = ()

    @property
    def on(self) -> bool:
        return bool(self.drop or self.duplicate or self.swap or self.delay)


@dataclass(slots=True)
class SendFaults:
    """Probabilities for each transaction that is sent to this node."""

    drop: float = 0.0
    """It never lands, but its signature is returned."""
    late: float = 0.0
    """Its signature is returned at once, and it lands `late_blocks` later if it is still valid."""
    late_blocks: int = 2
    lose_answer: float = 0.0
    """The connection is closed instead of a reply, after the transaction was handled as above."""


@dataclass(slots=True)
class HistoryFaults:
    """Gaps in the history that the node keeps."""

    first_slot: int = 0
    """Earlier blocks and transactions are unknown, as to a node that prunes its ledger."""
    unknown_cursor: Literal["error", "newest", "empty"] = "error"
    """Answer of `getSignaturesForAddress` to an unknown `before` or `until`: an error, as Agave
    since 4.2; the newest signatures, as if the cursor were not given; or no signature."""
    missing: float = 0.0
    """Probability that `getTransaction` returns null for a transaction of the newest blocks."""
    missing_blocks: int = 32
    log_bytes: int | None = None
    """Longer logs are truncated as by Agave's log collector."""
    no_inner_instructions: bool = False
    """Inner instructions are null, as if they had not been recorded."""


@dataclass(slots=True)
class NodeFaults:
    """All faults of one node. The same `seed` and the same events give the same faults."""

    seed: int = 0
    lag: int = 0
    """Blocks that the node is behind the chain, in every reply and notification."""
    refuse: bool = False
    """Connections to the RPC port are closed: new ones at once, open ones at the next call."""
    refuse_pubsub: bool = False
    """New PubSub connections are answered with HTTP 503."""
    rpc: list[RpcFault] = field(default_factory=list)
    notifications: NotificationFaults = field(default_factory=NotificationFaults)
    sends: SendFaults = field(default_factory=SendFaults)
    history: HistoryFaults = field(default_factory=HistoryFaults)
    dice: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)  # noqa: S311

    def happens(self, probability: float) -> bool:
        """Return True with this probability. A probability of 0 does not use the generator."""
        return probability > 0 and self.dice.random() < probability

    def strike(self, kind: type[SomeRpcFault], methods: Collection[str]) -> SomeRpcFault | None:
        """Return the first fault of this kind that occurs for a request, and count it."""
        for fault in self.rpc:
            if not isinstance(fault, kind) or fault.times == 0:
                continue
            if fault.methods and not set(fault.methods) & set(methods):
                continue
            if self.happens(fault.probability):
                if fault.times is not None:
                    fault.times -= 1
                return fault
        return None

    def clear(self) -> None:
        """Switch all faults off. Hanging calls are run; a lag is caught up at the next slot."""
        for fault in self.rpc:
            if isinstance(fault, Hang):
                fault.lift()
        self.rpc.clear()
        self.lag, self.refuse, self.refuse_pubsub = 0, False, False
        self.notifications = NotificationFaults()
        self.sends = SendFaults()
        self.history = HistoryFaults()

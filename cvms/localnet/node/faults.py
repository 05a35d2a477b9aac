"""What can go wrong at one node: all off unless a test, in this process, switches it on."""

from __future__ import annotations

import random
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import TypeVar

import trio

from cvms.errors import CvmsError
from cvms.localnet.types import Json


class ConnectionCut(CvmsError):
    """The connection ends here, and the client gets no answer."""


# --- calls -------------------------------------------------------------------------------------


@dataclass(slots=True, kw_only=True)
class RpcFault:
    """Strikes calls of these methods (none named: all) with this probability, so many times."""

    methods: Collection[str] = ()
    probability: float = 1.0
    times: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.methods, str):  # a collection too, but of letters
            self.methods = (self.methods,)


@dataclass(slots=True, kw_only=True)
class Fail(RpcFault):
    """The call is not run; this JSON-RPC error is the answer."""

    code: int = -32005
    message: str = "Node is unhealthy"
    data: Json = None


@dataclass(slots=True, kw_only=True)
class TooManyRequests(RpcFault):
    """HTTP 429, with `Retry-After` in seconds unless it is None; the calls are not run."""

    retry_after: int | None = 1


@dataclass(slots=True, kw_only=True)
class Slow(RpcFault):
    """The call waits so many seconds before it is run."""

    seconds: float


@dataclass(slots=True, kw_only=True)
class Hang(RpcFault):
    """No answer until `lift` is called or the client leaves; then the call is run, or not."""

    lifted: trio.Event = field(default_factory=trio.Event)

    def lift(self) -> None:
        """End it for calls that wait and for those to come."""
        self.times = 0
        self.lifted.set()


@dataclass(slots=True, kw_only=True)
class Cut(RpcFault):
    """The connection is closed, and the call is not run."""


@dataclass(slots=True, kw_only=True)
class Garble(RpcFault):
    """The call is run, and this is the answer's body."""

    body: bytes = b'{"jsonrpc":"2.0","result":{"cont'


SomeRpcFault = TypeVar("SomeRpcFault", bound=RpcFault)


# --- everything else ---------------------------------------------------------------------------


@dataclass(slots=True)
class NotificationFaults:
    """Probabilities for each notification; `kinds` such as `logs` (none named: all)."""

    drop: float = 0.0
    duplicate: float = 0.0
    swap: float = 0.0
    """It comes after the next one to the same client instead of before."""
    delay: float = 0.0
    """Seconds from the event until the frame is sent; what follows it waits too."""
    kinds: Collection[str] = ()

    @property
    def on(self) -> bool:
        return bool(self.drop or self.duplicate or self.swap or self.delay)


@dataclass(slots=True)
class SendFaults:
    """Probabilities for each transaction sent to this node."""

    drop: float = 0.0
    """It never lands, and is answered with its signature all the same."""
    late: float = 0.0
    """It is answered at once and lands `late_blocks` later, if it can be in a block then."""
    late_blocks: int = 2
    lose_answer: float = 0.0
    """The connection is cut once it has landed (or was dropped, or is on its way)."""


@dataclass(slots=True)
class HistoryFaults:
    """What the node does not know of the past."""

    first_slot: int = 0
    """Blocks and transactions of earlier slots are forgotten, as by a node that prunes."""
    missing: float = 0.0
    """Probability that `getTransaction` answers null for one of the newest blocks."""
    missing_blocks: int = 32
    log_bytes: int | None = None
    """Logs longer than this are cut as by Agave's log collector."""
    no_inner_instructions: bool = False
    """They were not recorded: null."""


@dataclass(slots=True)
class Faults:
    """The faults of one node. The same `seed` and the same events give the same faults."""

    seed: int = 0
    lag: int = 0
    """Blocks that the node is behind the chain, in whatever it answers and notifies."""
    refuse: bool = False
    """Connections to the RPC port are closed: new ones at once, open ones at their next call."""
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
        """Throw the dice; a probability of 0 does not, so it changes nothing for the others."""
        return probability > 0 and self.dice.random() < probability

    def strike(self, kind: type[SomeRpcFault], methods: Collection[str]) -> SomeRpcFault | None:
        """The first fault of this kind that strikes a request with these methods."""
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
        """All off: what hangs is answered, what lags catches up with the next slot."""
        for fault in self.rpc:
            if isinstance(fault, Hang):
                fault.lift()
        self.rpc.clear()
        self.lag, self.refuse, self.refuse_pubsub = 0, False, False
        self.notifications = NotificationFaults()
        self.sends = SendFaults()
        self.history = HistoryFaults()

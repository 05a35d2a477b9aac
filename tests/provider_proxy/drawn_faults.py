"""Provider faults by name, each drawn anew: which method, which share, which words."""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.provider_proxy.call_faults import (
    ERRORS,
    Behind,
    BlockhashNotFound,
    ErrorAnswer,
    NotReached,
    NullResult,
    TextError,
    Units,
)
from tests.provider_proxy.fault import Fault
from tests.provider_proxy.history_faults import (
    SKIPPED,
    SKIPPED_IN_STORAGE,
    BlockTimes,
    DoubledEntries,
    EmptyList,
    Holes,
    MissingEntries,
    NewestMissing,
    OtherOrder,
    ShortPages,
    UnknownCursor,
    WithoutMeta,
)
from tests.provider_proxy.pubsub_faults import (
    Chatter,
    EarlyNotifications,
    NoWebSocket,
    OtherIds,
    RefusedSubscription,
    UnreadableLogs,
)
from tests.provider_proxy.request_faults import (
    BATCH_REFUSALS,
    BatchRefusal,
    HttpRefusal,
    Page,
    Slow,
    Truncated,
)

READS = (
    "getAccountInfo",
    "getBalance",
    "getBlock",
    "getBlockHeight",
    "getEpochInfo",
    "getFirstAvailableBlock",
    "getGenesisHash",
    "getLatestBlockhash",
    "getMultipleAccounts",
    "getProgramAccounts",
    "getRecentPrioritizationFees",
    "getSignatureStatuses",
    "getSignaturesForAddress",
    "getSlot",
    "getTransaction",
)
METHODS = (*READS, "simulateTransaction", "sendTransaction")

Draw = Callable[[random.Random], list[Fault]]


def refused_method(dice: random.Random) -> list[Fault]:
    """Refuse some methods for everybody, by a status or an error."""
    methods = dice.sample(METHODS, dice.randint(1, 3))
    if dice.random() < 0.5:
        return [HttpRefusal(methods=methods, status=dice.choice((403, 405, 410)))]
    code, message = dice.choice(ERRORS)
    return [ErrorAnswer(methods=methods, code=code, message=message)]


def other_errors(dice: random.Random) -> list[Fault]:
    """Answer calls of every method by errors that say nothing about the question."""
    drawn = dice.sample(ERRORS, 3)
    return [ErrorAnswer(probability=0.15, code=code, message=text) for code, text in drawn]


def refused_batches(dice: random.Random) -> list[Fault]:
    fields = dice.choice(BATCH_REFUSALS)
    return [BatchRefusal(**fields, max_calls=dice.choice((0, 0, 5)))]


def no_answers(dice: random.Random) -> list[Fault]:
    """Answer by pages, by half of a body, and by errors that are texts."""
    return [
        Page(probability=0.15, status=dice.choice((200, 502, 503))),
        Truncated(probability=0.1),
        TextError(probability=0.1),
    ]


def lost_answers(dice: random.Random) -> list[Fault]:
    """Run a transaction, and answer as if the node had not been reached."""
    status = dice.choice((429, 500, 502))
    return [HttpRefusal(methods="sendTransaction", probability=0.5, status=status, forwards=True)]


def slow_answers(dice: random.Random) -> list[Fault]:
    return [Slow(probability=0.3, seconds=dice.random())]


def ledger_holes(dice: random.Random) -> list[Fault]:
    code = dice.choice((SKIPPED, SKIPPED_IN_STORAGE))
    return [Holes(share=dice.choice((0.1, 0.5, 1.0)), seed=dice.getrandbits(16), code=code)]


def unknown_statuses(dice: random.Random) -> list[Fault]:
    share = dice.choice((0.3, 1.0))
    return [Holes(methods="getSignatureStatuses", share=share, seed=dice.getrandbits(16))]


def null_results(dice: random.Random) -> list[Fault]:
    return [NullResult(methods=dice.sample(METHODS, 3), probability=0.5)]


def short_pages(dice: random.Random) -> list[Fault]:
    return [ShortPages(entries=dice.choice((1, 3, 10)))]


def empty_lists(dice: random.Random) -> list[Fault]:
    return [EmptyList(probability=dice.choice((0.3, 1.0)))]


def missing_entries(dice: random.Random) -> list[Fault]:
    return [MissingEntries(share=dice.choice((0.1, 0.5)), seed=dice.getrandbits(16))]


def newest_missing(dice: random.Random) -> list[Fault]:
    return [NewestMissing(entries=dice.randint(1, 5))]


def doubled_entries(dice: random.Random) -> list[Fault]:
    return [DoubledEntries(share=dice.choice((0.2, 1.0)), seed=dice.getrandbits(16))]


def other_order(dice: random.Random) -> list[Fault]:
    return [OtherOrder(order=dice.choice(("slots", "oldest", "all")), seed=dice.getrandbits(16))]


def unknown_cursor(dice: random.Random) -> list[Fault]:
    return [UnknownCursor(answers=dice.choice(("error", "newest", "empty")))]


def without_meta(dice: random.Random) -> list[Fault]:
    return [WithoutMeta(probability=dice.choice((0.3, 1.0)))]


def block_times(dice: random.Random) -> list[Fault]:
    return [BlockTimes(time=dice.choice((None, "ms", -1, 10**15, 10**25)))]


def node_behind(dice: random.Random) -> list[Fault]:
    return [Behind(slots=dice.randint(1, 8), code=dice.choice((-32016, -32603, -32005)))]


def slot_not_reached(dice: random.Random) -> list[Fault]:
    return [NotReached(probability=0.5, code=dice.choice((-32016, -32603)))]


def unknown_block_hash(dice: random.Random) -> list[Fault]:
    return [BlockhashNotFound(probability=dice.choice((0.5, 1.0)))]


def poor_simulations(dice: random.Random) -> list[Fault]:
    return [Units(units=dice.choice((None, 0, "absent")))]


def odd_pubsub(dice: random.Random) -> list[Fault]:
    name = dice.choice(("id", "null", "nothing"))
    kinds: list[Fault] = [
        Chatter(),
        OtherIds(prefix=dice.choice(("0x", "sub-"))),
        EarlyNotifications(after=dice.randint(1, 3)),
        RefusedSubscription(names_request=name),
        RefusedSubscription(methods="logsSubscribe", names_request=name, times=2),
        UnreadableLogs(),
        NoWebSocket(probability=0.5),
    ]
    return dice.sample(kinds, dice.randint(1, 3))


DRAWS: dict[str, Draw] = {
    draw.__name__: draw
    for draw in (
        refused_method,
        other_errors,
        refused_batches,
        no_answers,
        lost_answers,
        slow_answers,
        ledger_holes,
        unknown_statuses,
        null_results,
        short_pages,
        empty_lists,
        missing_entries,
        newest_missing,
        doubled_entries,
        other_order,
        unknown_cursor,
        without_meta,
        block_times,
        node_behind,
        slot_not_reached,
        unknown_block_hash,
        poor_simulations,
        odd_pubsub,
    )
}

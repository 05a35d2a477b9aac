"""Kinds of subscriptions, and the notification of each for each event of the chain."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar

from solders.account import Account
from solders.pubkey import Pubkey

from cvms.errors import RpcError
from cvms.localnet.rpc.call.view import View
from cvms.localnet.rpc.encoding.account_encoding import AccountFormat
from cvms.localnet.rpc.encoding.account_filters import AccountFilters
from cvms.localnet.types import Block, Commitment, Entry, Json

CLOSED = Account(0, b"", Pubkey.default())
"""How a closed account is shown to subscribers."""

TOO_LARGE = "error: data too large for bs58 encoding"


def at_slot(slot: int, value: Json) -> Json:
    return {"context": {"slot": slot}, "value": value}


@dataclass(slots=True)
class Subscription:
    """A subscription that ignores every event. Each kind overrides the events it needs.

    Each event method yields the results to send, in order. A `commitment` of None follows the
    slots and not their contents. Subscriptions are equal if they were asked for in equal words.
    """

    name: ClassVar[str]
    commitment: Commitment | None = None
    finished: bool = field(default=False, compare=False)

    def entries(self, entries: Iterable[Entry]) -> Iterator[Json]:
        return iter(())

    def written(self, view: View, keys: Iterable[Pubkey]) -> Iterator[Json]:
        return iter(())

    def reverted(self, view: View, keys: Iterable[Pubkey]) -> Iterator[Json]:
        return iter(())

    def slot_started(self, block: Block, root: int) -> Iterator[Json]:
        return iter(())

    def confirmed(self, block: Block) -> Iterator[Json]:
        return iter(())

    def rooted(self, block: Block) -> Iterator[Json]:
        return iter(())


@dataclass(slots=True)
class SlotSubscription(Subscription):
    name = "slot"

    def slot_started(self, block: Block, root: int) -> Iterator[Json]:
        yield {"slot": block.slot, "parent": block.parent_slot, "root": root}


@dataclass(slots=True)
class RootSubscription(Subscription):
    name = "root"

    def rooted(self, block: Block) -> Iterator[Json]:
        yield block.slot


@dataclass(slots=True)
class SlotsUpdatesSubscription(Subscription):
    """The stages of every slot, with the time of each in milliseconds."""

    name = "slotsUpdates"
    open: Block | None = field(default=None, compare=False)

    def slot_started(self, block: Block, root: int) -> Iterator[Json]:
        if self.open is not None:
            yield _update("completed", self.open)
            yield _update("frozen", self.open, stats=NO_TRANSACTIONS)
        self.open = block
        yield _update("firstShredReceived", block)
        yield _update("createdBank", block, parent=block.parent_slot)

    def confirmed(self, block: Block) -> Iterator[Json]:
        yield _update("optimisticConfirmation", block)

    def rooted(self, block: Block) -> Iterator[Json]:
        yield _update("root", block)


NO_TRANSACTIONS = {
    "numTransactionEntries": 0,
    "numSuccessfulTransactions": 0,
    "numFailedTransactions": 0,
    "maxTransactionsPerEntry": 0,
}


def _update(stage: str, block: Block, **more: Json) -> Json:
    return {"type": stage, "slot": block.slot, "timestamp": int(time.time() * 1000), **more}


@dataclass(slots=True, kw_only=True)
class LogsSubscription(Subscription):
    """Logs of every transaction, or of those whose accounts include `mentions`."""

    name = "logs"
    mentions: Pubkey | None

    def entries(self, entries: Iterable[Entry]) -> Iterator[Json]:
        for entry in entries:
            if self.mentions is None or self.mentions in entry.keys:
                logs = entry.meta["logMessages"]
                value = {"signature": entry.signature, "err": entry.err, "logs": logs}
                yield at_slot(entry.slot, value)


@dataclass(slots=True, kw_only=True)
class SignatureSubscription(Subscription):
    """Notifies once that a transaction reached the commitment, and then is finished.

    A validator that leads its slots never notifies that it has received a transaction.
    """

    name = "signature"
    signature: str
    notify_received: bool

    def entries(self, entries: Iterable[Entry]) -> Iterator[Json]:
        for entry in entries:
            if entry.signature == self.signature and not self.finished:
                self.finished = True
                yield at_slot(entry.slot, {"err": entry.err})


@dataclass(slots=True, kw_only=True)
class AccountSubscription(Subscription):
    """One account, whenever it changes."""

    name = "account"
    key: Pubkey
    shape: AccountFormat
    last_sent: Account | None = field(default=None, compare=False)

    def written(self, view: View, keys: Iterable[Pubkey]) -> Iterator[Json]:
        if self.key not in keys:
            return
        account = view.account(self.key) or CLOSED
        if account != self.last_sent:
            self.last_sent = account
            yield at_slot(view.block.slot, _rendered(view, self.shape, self.key, account))

    def reverted(self, view: View, keys: Iterable[Pubkey]) -> Iterator[Json]:
        """Send the account again after a fork dropped a write that was sent.

        (`filter_account_result` in Agave's rpc_subscriptions.)
        """
        if self.key in keys:
            self.last_sent = None
            yield from self.written(view, keys)


@dataclass(slots=True, kw_only=True)
class ProgramSubscription(Subscription):
    """Every account of a program that matches the filters, whenever it changes."""

    name = "program"
    program: Pubkey
    shape: AccountFormat
    filters: AccountFilters
    last_sent: dict[Pubkey, Account] = field(default_factory=dict, compare=False)

    def written(self, view: View, keys: Iterable[Pubkey]) -> Iterator[Json]:
        for key in keys:
            account = view.account(key)
            if account is None or account.owner != self.program:
                self.last_sent.pop(key, None)
            elif account != self.last_sent.get(key) and self.filters.match(account):
                self.last_sent[key] = account
                shown = _rendered(view, self.shape, key, account)
                yield at_slot(view.block.slot, {"pubkey": str(key), "account": shown})

    def reverted(self, view: View, keys: Iterable[Pubkey]) -> Iterator[Json]:
        """Send nothing, but allow the same write to be sent again on the new fork."""
        for key in keys:
            self.last_sent.pop(key, None)
        return iter(())


def _rendered(view: View, shape: AccountFormat, key: Pubkey, account: Account) -> Json:
    try:
        return shape.render(view, key, account)
    except RpcError:
        return AccountFormat("base64", None).render(view, key, account) | {"data": TOO_LARGE}

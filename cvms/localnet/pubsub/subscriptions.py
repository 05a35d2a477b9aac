"""What a client can subscribe to, and what it is told for each event of the chain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from solders.account import Account
from solders.pubkey import Pubkey

from cvms.errors import RpcError
from cvms.localnet.rpc.call.view import View
from cvms.localnet.rpc.encoding.account_encoding import AccountFormat
from cvms.localnet.rpc.encoding.account_filters import AccountFilters
from cvms.localnet.types import Block, Commitment, Entry, Json

CLOSED = Account(0, b"", Pubkey.default())
"""What a subscriber sees of an account that is gone."""

TOO_LARGE = "error: data too large for bs58 encoding"


def at_slot(slot: int, value: Json) -> Json:
    return {"context": {"slot": slot}, "value": value}


class Subscription(Protocol):
    """One subscription's state; each reader yields the results to notify, in order.

    `commitment` None: it follows the chain's slots, not what is in them.
    """

    @property
    def name(self) -> str: ...
    @property
    def commitment(self) -> Commitment | None: ...
    @property
    def finished(self) -> bool: ...
    def received(self, signature: str, slot: int) -> Iterator[Json]: ...
    def entries(self, entries: Iterable[Entry]) -> Iterator[Json]: ...
    def written(self, view: View, keys: Iterable[Pubkey]) -> Iterator[Json]: ...
    def reverted(self, view: View, keys: Iterable[Pubkey]) -> Iterator[Json]: ...
    def slot_started(self, block: Block, root: int) -> Iterator[Json]: ...
    def rooted(self, block: Block) -> Iterator[Json]: ...


@dataclass(slots=True)
class Quiet:
    """A subscription that nothing concerns; each kind overrides what concerns it."""

    commitment: Commitment | None = None
    finished: bool = False

    def received(self, signature: str, slot: int) -> Iterator[Json]:
        return iter(())

    def entries(self, entries: Iterable[Entry]) -> Iterator[Json]:
        return iter(())

    def written(self, view: View, keys: Iterable[Pubkey]) -> Iterator[Json]:
        return iter(())

    def reverted(self, view: View, keys: Iterable[Pubkey]) -> Iterator[Json]:
        return iter(())

    def slot_started(self, block: Block, root: int) -> Iterator[Json]:
        return iter(())

    def rooted(self, block: Block) -> Iterator[Json]:
        return iter(())


@dataclass(slots=True)
class Slots(Quiet):
    name = "slot"

    def slot_started(self, block: Block, root: int) -> Iterator[Json]:
        yield {"slot": block.slot, "parent": block.parent_slot, "root": root}


@dataclass(slots=True)
class Roots(Quiet):
    name = "root"

    def rooted(self, block: Block) -> Iterator[Json]:
        yield block.slot


@dataclass(slots=True, kw_only=True)
class Logs(Quiet):
    """Logs of every transaction, or of those with `mentions` among their accounts."""

    name = "logs"
    mentions: Pubkey | None

    def entries(self, entries: Iterable[Entry]) -> Iterator[Json]:
        for entry in entries:
            if self.mentions is None or self.mentions in entry.keys:
                logs = entry.meta["logMessages"]
                value = {"signature": entry.signature, "err": entry.err, "logs": logs}
                yield at_slot(entry.slot, value)


@dataclass(slots=True, kw_only=True)
class SignatureStatus(Quiet):
    """Tells once that a transaction reached the commitment, and is over then."""

    name = "signature"
    signature: str
    tell_received: bool

    def received(self, signature: str, slot: int) -> Iterator[Json]:
        if self.tell_received and signature == self.signature:
            yield at_slot(slot, "receivedSignature")

    def entries(self, entries: Iterable[Entry]) -> Iterator[Json]:
        for entry in entries:
            if entry.signature == self.signature and not self.finished:
                self.finished = True
                yield at_slot(entry.slot, {"err": entry.err})


@dataclass(slots=True, kw_only=True)
class OneAccount(Quiet):
    """An account whenever it changes."""

    name = "account"
    key: Pubkey
    shape: AccountFormat
    last_told: Account | None = None

    def written(self, view: View, keys: Iterable[Pubkey]) -> Iterator[Json]:
        if self.key not in keys:
            return
        account = view.account(self.key) or CLOSED
        if account != self.last_told:
            self.last_told = account
            yield at_slot(view.block.slot, _shown(view, self.shape, account))

    def reverted(self, view: View, keys: Iterable[Pubkey]) -> Iterator[Json]:
        """A node that told of a write which a fork dropped tells what the account is instead.

        (`filter_account_result` of Agave's rpc_subscriptions.)
        """
        if self.key in keys:
            self.last_told = None
            yield from self.written(view, keys)


@dataclass(slots=True, kw_only=True)
class ProgramAccounts(Quiet):
    """Every account of a program that passes the filters, whenever it changes."""

    name = "program"
    program: Pubkey
    shape: AccountFormat
    filters: AccountFilters
    last_told: dict[Pubkey, Account] = field(default_factory=dict)

    def written(self, view: View, keys: Iterable[Pubkey]) -> Iterator[Json]:
        for key in keys:
            account = view.account(key)
            if account is None or account.owner != self.program:
                self.last_told.pop(key, None)
            elif account != self.last_told.get(key) and self.filters.match(account):
                self.last_told[key] = account
                shown = _shown(view, self.shape, account)
                yield at_slot(view.block.slot, {"pubkey": str(key), "account": shown})

    def reverted(self, view: View, keys: Iterable[Pubkey]) -> Iterator[Json]:
        """Nothing is told, but the same write in the new fork is told again."""
        for key in keys:
            self.last_told.pop(key, None)
        return iter(())


def _shown(view: View, shape: AccountFormat, account: Account) -> Json:
    try:
        return shape.render(view, account)
    except RpcError:
        return AccountFormat("base64", None).render(view, account) | {"data": TOO_LARGE}

"""Expected state: the chain's history, replayed from its ledger in order of slot and index.

Nothing is read from the service, and none of its decoders is used. The amounts are summed here and
compared with the balances that each event states, so that an error of this reader is found as such.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from solders.pubkey import Pubkey

from cvms.chain.types import Programs
from cvms.localnet.ledger.chain import LocalnetChain
from cvms.localnet.ledger.sqlite_ledger import MAX_SLOT, Ledger
from cvms.localnet.types import Commitment, Entry
from tests.scenario.program_calls import Call, CannotRead, EventDecoder, calls_of, is_instruction


@dataclass(frozen=True, slots=True)
class TrueEvent:
    """An event of the program, its position and its fields."""

    signature: str
    slot: int
    time: datetime
    instruction_index: int
    ordinal: int
    name: str
    data: dict[str, Any]

    @property
    def identity(self) -> tuple[str, int, int]:
        return self.signature, self.instruction_index, self.ordinal

    @property
    def vaults(self) -> list[str]:
        return [
            self.data[name] for name in ("vault", "from_vault", "to_vault") if name in self.data
        ]


@dataclass(frozen=True, slots=True)
class Holding:
    """Balances of a vault, in token units."""

    available: int = 0
    locked: int = 0
    timelocked: int = 0
    yield_deposited: int = 0

    @property
    def total(self) -> int:
        return self.available + self.locked + self.timelocked + self.yield_deposited


@dataclass(frozen=True, slots=True)
class TrueEntry:
    """What one event changed in one owner's vault, and the balances after it."""

    event: TrueEvent
    owner: str
    vault: str
    kind: str
    amount: int
    stated_total: int | None
    total_change: int
    after: Holding


@dataclass(frozen=True, slots=True)
class Landed:
    """The slot of a transaction, and its error."""

    slot: int
    err: Any


@dataclass(slots=True)
class Truth:
    """What the tables must contain, derived from the chain alone."""

    mint: str
    program: str
    tip: int = 0
    dropped: frozenset[int] = frozenset()
    """Slots without a block. What was observed in one was dropped by a fork."""
    final_height: int = 0
    events: list[TrueEvent] = field(default_factory=list)
    entries: list[TrueEntry] = field(default_factory=list)
    mentions: list[tuple[str, int]] = field(default_factory=list)
    """Signature and slot of every transaction that names the program, including failed ones."""
    touched: dict[str, int] = field(default_factory=dict)
    """The slot of each vault's last event."""
    landed: dict[str, Landed] = field(default_factory=dict)
    messages: dict[bytes, str] = field(default_factory=dict)
    """The one signature under which each message is in a block, by the message's hash."""
    opened: dict[str, str] = field(default_factory=dict)
    """The owner of each vault that was ever opened."""
    holds_our_mint: dict[str, bool] = field(default_factory=dict)
    """Whether each vault holds our mint now."""
    ever_held_our_mint: set[str] = field(default_factory=set)
    """Vaults that have held our mint at any time."""
    offsets: dict[str, tuple[int, int]] = field(default_factory=dict)
    accounts: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    """The final account of each vault, None if it is closed."""
    tokens: dict[str, int] = field(default_factory=dict)
    """The final balance of each vault's token account."""
    holdings: dict[str, dict[int, Holding]] = field(default_factory=lambda: defaultdict(dict))
    """By owner, the balances at the end of each slot in which the vault changed."""

    def holding_at(self, owner: str, slot: int) -> Holding:
        """Return the balances of an owner's vault at the end of `slot`."""
        known = self.holdings.get(owner, {})
        last = max((at for at in known if at <= slot), default=None)
        return Holding() if last is None else known[last]


def read_truth(chain: LocalnetChain, programs: Programs) -> Truth:
    """Replay a chain on which everything is finalized."""
    truth = Truth(str(programs.mint), str(programs.vault))
    truth.tip = chain.tip.slot
    slots = chain.ledger.block_slots(0, MAX_SLOT, MAX_SLOT)
    truth.dropped = frozenset(range(truth.tip)) - frozenset(slots)
    truth.final_height = chain.bank(Commitment.FINALIZED).height
    replay = _Replay(truth)
    for entry, time in history(chain.ledger):
        truth.landed[entry.signature] = Landed(entry.slot, entry.err)
        if entry.message_hash in truth.messages:
            raise CannotRead(f"the chain holds the message of {entry.signature} twice")
        truth.messages[entry.message_hash] = entry.signature
        if programs.vault in entry.keys:
            truth.mentions.append((entry.signature, entry.slot))
        for call in calls_of(entry, programs.vault):
            replay.run(entry, time, call)
    decoder = EventDecoder()
    for vault in truth.opened:
        account = chain.accounts.latest(Pubkey.from_string(vault))
        is_there = account is not None and account.owner == programs.vault
        fields = decoder.account("CollateralVault", bytes(account.data)) if is_there else None  # type: ignore[union-attr]
        truth.accounts[vault] = fields
        if fields is not None:
            token = chain.accounts.latest(Pubkey.from_string(fields["token_account"]))
            # SPL Token: mint, owner, then the amount in eight bytes.
            truth.tokens[vault] = int.from_bytes(token.data[64:72], "little") if token else 0
    return truth


def history(ledger: Ledger) -> Iterator[tuple[Entry, datetime]]:
    """Yield every transaction of the chain with its block's time."""
    for slot in ledger.block_slots(0, MAX_SLOT, MAX_SLOT):
        block = ledger.block(slot)
        assert block is not None
        for entry in ledger.entries_in(slot):
            yield entry, datetime.fromtimestamp(block.time, UTC)


@dataclass(frozen=True, slots=True)
class _Rule:
    """How an event changes a vault: its kind in the history, and the fields of its numbers."""

    kind: str
    amount: str = "amount"
    total: str | None = None
    moves: tuple[tuple[str, int], ...] = ()
    states: tuple[tuple[str, str], ...] = ()
    """Balances that the event states, to compare our sums with."""


_AVAILABLE = ("available", "new_available_balance")
_LOCKED = ("locked", "new_locked_balance")
_YIELD = ("yield_deposited", "new_yield_balance")
_TOTAL = ("total", "new_total_balance")
_RULES = {
    "DepositEvent": _Rule(
        "deposit",
        total="new_total_balance",
        moves=(("available", 1),),
        states=(_TOTAL, _AVAILABLE),
    ),
    "WithdrawEvent": _Rule(
        "withdraw",
        total="new_total_balance",
        moves=(("available", -1),),
        states=(_TOTAL, _AVAILABLE),
    ),
    "EmergencyWithdrawEvent": _Rule(
        "emergency_withdraw",
        total="new_total_balance",
        states=(_TOTAL, _AVAILABLE, _LOCKED),
    ),
    "LockEvent": _Rule(
        "lock", moves=(("available", -1), ("locked", 1)), states=(_AVAILABLE, _LOCKED)
    ),
    "UnlockEvent": _Rule(
        "unlock", moves=(("available", 1), ("locked", -1)), states=(_AVAILABLE, _LOCKED)
    ),
    "TimelockScheduledEvent": _Rule("timelock", moves=(("available", -1), ("timelocked", 1))),
    "TimelocksReleasedEvent": _Rule(
        "timelock_release", "released_total", moves=(("available", 1), ("timelocked", -1))
    ),
    "YieldDepositEvent": _Rule(
        "yield_deposit",
        moves=(("available", -1), ("yield_deposited", 1)),
        states=(_AVAILABLE, _YIELD),
    ),
    "YieldWithdrawEvent": _Rule(
        "yield_withdraw",
        moves=(("available", 1), ("yield_deposited", -1)),
        states=(_AVAILABLE, _YIELD),
    ),
    "YieldCompoundEvent": _Rule(
        "yield_compound", "compounded_amount", moves=(("yield_deposited", 1),), states=(_YIELD,)
    ),
}
_TRANSFER = (
    ("from_vault", "transfer_out", -1, "from_new_total_balance"),
    ("to_vault", "transfer_in", 1, "to_new_total_balance"),
)
_TRANSFERRED = {
    "from_vault": (
        ("locked", "from_new_locked_balance"),
        ("available", "from_new_available_balance"),
    ),
    "to_vault": (("available", "to_new_available_balance"),),
}


class _Replay:
    """Applies the program's calls, one after another."""

    def __init__(self, truth: Truth) -> None:
        self._truth = truth
        self._decoder = EventDecoder()
        self._transfer: TrueEvent
        self._now: dict[str, Holding] = {}
        self._sums: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])

    def run(self, entry: Entry, time: datetime, call: Call) -> None:
        if is_instruction(call.data, "initialize_vault"):
            owner, vault, _, mint = call.accounts[:4]
            self._truth.opened[vault] = owner
            self._set_mint(vault, mint)
        for ordinal, data in call.fields:
            decoded = self._decoder.event(data)
            if decoded is None:
                continue
            index = call.instruction_index
            event = TrueEvent(entry.signature, entry.slot, time, index, ordinal, *decoded)
            self._truth.events.append(event)
            self._truth.touched |= dict.fromkeys(event.vaults, event.slot)
            self._apply(event)

    def _set_mint(self, vault: str, mint: str) -> None:
        self._truth.holds_our_mint[vault] = ours = mint == self._truth.mint
        if ours:
            self._truth.ever_held_our_mint.add(vault)

    def _apply(self, event: TrueEvent) -> None:
        data = event.data
        if event.name == "UpdateUsdtMintEvent":
            self._set_mint(data["vault"], data["new_mint"])
        elif event.name == "VaultClosedEvent":
            self._close(data["vault"])
        elif event.name == "TransferEvent":
            self._transfer = event
            self._unlock(event)
            for side, kind, sign, total in _TRANSFER:
                rule = _Rule(kind, total=total, moves=(("available", sign),))
                self._move(event, data[side], rule, data["amount"])
        elif event.name == "CollateralTransferredEvent":
            # The service records these with the transfer.
            self._transfer.data.update({name: data[name] for name in ("caller", "from_locked")})
            self._compare(event)
        elif (rule := _RULES.get(event.name)) is not None:  # type: ignore[assignment]
            self._move(event, data["vault"], rule, data[rule.amount])

    def _unlock(self, event: TrueEvent) -> None:
        """A transfer takes what is locked first."""
        vault, amount = event.data["from_vault"], event.data["amount"]
        locked = self._now.get(self._truth.opened[vault], Holding()).locked
        if self._truth.holds_our_mint[vault] and locked:
            rule = _Rule("unlock", moves=(("available", 1), ("locked", -1)))
            self._move(event, vault, rule, min(locked, amount))

    def _compare(self, event: TrueEvent) -> None:
        """Check the balances that a transfer left, if they are of our mint."""
        for side, states in _TRANSFERRED.items():
            vault = event.data[side]
            if self._truth.holds_our_mint[vault]:
                self._check(event, self._now[self._truth.opened[vault]], states)

    @staticmethod
    def _check(event: TrueEvent, after: Holding, states: tuple[tuple[str, str], ...]) -> None:
        for name, states_it in states:
            if getattr(after, name) != event.data[states_it]:
                raise CannotRead(f"{event}: {name} should be {event.data[states_it]}: {after}")

    def _close(self, vault: str) -> None:
        owner = self._truth.opened[vault]
        if self._truth.holds_our_mint[vault] and self._now.get(owner, Holding()) != Holding():
            raise CannotRead(f"the vault of {owner} was closed while it held tokens")
        deposited, withdrawn = self._sums[owner]
        self._truth.offsets[owner] = deposited, withdrawn

    def _move(self, event: TrueEvent, vault: str, rule: _Rule, amount: int) -> None:
        owner = self._truth.opened[vault]
        if not self._truth.holds_our_mint[vault]:
            self._offset(owner, rule.kind, amount)
            return
        before = self._now.get(owner, Holding())
        after = self._after(before, rule, amount)
        self._check(event, after, rule.states)
        if rule.total and after.total != event.data[rule.total]:
            raise CannotRead(f"{event}: the total differs from the sum of the history: {after}")
        self._now[owner] = self._truth.holdings[owner][event.slot] = after
        self._sum(owner, rule.kind, amount)
        self._truth.entries.append(
            TrueEntry(
                event,
                owner,
                vault,
                rule.kind,
                amount,
                event.data[rule.total] if rule.total else None,
                after.total - before.total,
                after,
            )
        )

    @staticmethod
    def _after(before: Holding, rule: _Rule, amount: int) -> Holding:
        if rule.kind == "emergency_withdraw":
            # The available balance is withdrawn first, then the locked one.
            from_available = min(before.available, amount)
            return replace(
                before,
                available=before.available - from_available,
                locked=before.locked - (amount - from_available),
            )
        moved = {name: getattr(before, name) + sign * amount for name, sign in rule.moves}
        return replace(before, **moved)

    def _sum(self, owner: str, kind: str, amount: int) -> None:
        if kind == "deposit":
            self._sums[owner][0] += amount
        elif kind in {"withdraw", "emergency_withdraw"}:
            self._sums[owner][1] += amount

    def _offset(self, owner: str, kind: str, amount: int) -> None:
        """Count what the account of another mint sums up and the history leaves out."""
        deposited, withdrawn = self._truth.offsets.get(owner, (0, 0))
        if kind == "deposit":
            self._truth.offsets[owner] = deposited - amount, withdrawn
        elif kind in {"withdraw", "emergency_withdraw"}:
            self._truth.offsets[owner] = deposited, withdrawn - amount

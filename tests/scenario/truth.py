"""The truth: the chain's own history, replayed from its ledger in the order of slots and indexes.

Nothing of the service is asked, and none of its decoders is used. The amounts are added up here and
held against the balances that each event states, so that an error of this reader shows as one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from solders.pubkey import Pubkey

from cvms.chain.types import Programs
from cvms.localnet.ledger.chain import LocalnetChain
from cvms.localnet.ledger.sqlite_ledger import MAX_SLOT, Ledger
from cvms.localnet.types import Commitment, Entry
from tests.scenario.program_calls import Call, CannotRead, Vocabulary, calls_of, is_instruction


@dataclass(frozen=True, slots=True)
class TrueEvent:
    """An event of the program, where it stands and what it says."""

    signature: str
    slot: int
    time: datetime
    instruction_index: int
    ordinal: int
    name: str
    data: Mapping[str, Any]

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
    """What a vault holds. Units of the token."""

    available: int = 0
    locked: int = 0
    timelocked: int = 0
    earning: int = 0

    @property
    def total(self) -> int:
        return self.available + self.locked + self.timelocked + self.earning


@dataclass(frozen=True, slots=True)
class TrueLine:
    """What one event did to one owner's vault, and what the vault held after it."""

    event: TrueEvent
    owner: str
    vault: str
    kind: str
    amount: int
    stated_total: int | None
    growth: int
    after: Holding


@dataclass(frozen=True, slots=True)
class Landed:
    """Where a transaction is, and how it ended."""

    slot: int
    err: Any


@dataclass(slots=True)
class Truth:
    """What the books have to say, by the chain alone."""

    mint: str
    program: str
    tip: int = 0
    dropped: frozenset[int] = frozenset()
    """Slots without a block: what was seen in one was dropped by a fork."""
    final_height: int = 0
    events: list[TrueEvent] = field(default_factory=list)
    lines: list[TrueLine] = field(default_factory=list)
    mentions: list[tuple[str, int]] = field(default_factory=list)
    """Every transaction that names the program, failed ones too: signature and slot."""
    touched: dict[str, int] = field(default_factory=dict)
    """By vault: the slot of its last event."""
    landed: dict[str, Landed] = field(default_factory=dict)
    messages: dict[bytes, str] = field(default_factory=dict)
    """By a message's hash, the one signature under which it is in a block."""
    opened: dict[str, str] = field(default_factory=dict)
    """Vaults that were ever opened, with their owners."""
    ours: dict[str, bool] = field(default_factory=dict)
    """Whether a vault holds our mint."""
    counted: set[str] = field(default_factory=set)
    """Vaults that held our mint at any time."""
    offsets: dict[str, tuple[int, int]] = field(default_factory=dict)
    accounts: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    """The vaults' accounts as they are at the end; None for a closed one."""
    tokens: dict[str, int] = field(default_factory=dict)
    """What the vaults' token accounts hold at the end."""
    holdings: dict[str, dict[int, Holding]] = field(default_factory=lambda: defaultdict(dict))
    """By owner: what the vault held at the end of each slot in which it moved."""

    def held(self, owner: str, slot: int) -> Holding:
        """What the vault of `owner` held at the end of `slot`."""
        known = self.holdings.get(owner, {})
        last = max((each for each in known if each <= slot), default=None)
        return Holding() if last is None else known[last]


def read_truth(chain: LocalnetChain, programs: Programs) -> Truth:
    """Replay a chain on which everything is final."""
    truth = Truth(str(programs.mint), str(programs.vault))
    truth.tip = chain.tip.slot
    there = chain.ledger.block_slots(0, MAX_SLOT, MAX_SLOT)
    truth.dropped = frozenset(range(truth.tip)) - frozenset(there)
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
    words = Vocabulary()
    for vault in truth.opened:
        account = chain.accounts.latest(Pubkey.from_string(vault))
        is_there = account is not None and account.owner == programs.vault
        fields = words.account("CollateralVault", bytes(account.data)) if is_there else None  # type: ignore[union-attr]
        truth.accounts[vault] = fields
        if fields is not None:
            held = chain.accounts.latest(Pubkey.from_string(fields["token_account"]))
            # SPL Token: mint, owner, then the amount in eight bytes.
            truth.tokens[vault] = int.from_bytes(held.data[64:72], "little") if held else 0
    return truth


def history(ledger: Ledger) -> Iterator[tuple[Entry, datetime]]:
    """Every transaction of the chain with its block's time."""
    for slot in ledger.block_slots(0, MAX_SLOT, MAX_SLOT):
        block = ledger.block(slot)
        assert block is not None
        for entry in ledger.entries_in(slot):
            yield entry, datetime.fromtimestamp(block.time, UTC)


@dataclass(frozen=True, slots=True)
class _Rule:
    """How an event moves a vault: its kind in the history, and where its numbers are."""

    kind: str
    amount: str = "amount"
    total: str | None = None
    moves: tuple[tuple[str, int], ...] = ()
    states: tuple[tuple[str, str], ...] = ()
    """Balances that the event states, to hold our sums against."""


_AVAILABLE = ("available", "new_available_balance")
_LOCKED = ("locked", "new_locked_balance")
_EARNING = ("earning", "new_yield_balance")
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
        moves=(("available", -1), ("earning", 1)),
        states=(_AVAILABLE, _EARNING),
    ),
    "YieldWithdrawEvent": _Rule(
        "yield_withdraw",
        moves=(("available", 1), ("earning", -1)),
        states=(_AVAILABLE, _EARNING),
    ),
    "YieldCompoundEvent": _Rule(
        "yield_compound", "compounded_amount", moves=(("earning", 1),), states=(_EARNING,)
    ),
}
_TRANSFER = (
    ("from_vault", "transfer_out", -1, "from_new_total_balance"),
    ("to_vault", "transfer_in", 1, "to_new_total_balance"),
)


class _Replay:
    """Runs the program's calls through, one after another."""

    def __init__(self, truth: Truth) -> None:
        self._truth = truth
        self._words = Vocabulary()
        self._now: dict[str, Holding] = {}
        self._sums: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0])

    def run(self, entry: Entry, time: datetime, call: Call) -> None:
        if is_instruction(call.data, "initialize_vault"):
            owner, vault, _, mint = call.accounts[:4]
            self._truth.opened[vault] = owner
            self._holds(vault, mint)
        for ordinal, data in call.fields:
            said = self._words.event(data)
            if said is None:
                continue
            index = call.instruction_index
            event = TrueEvent(entry.signature, entry.slot, time, index, ordinal, *said)
            self._truth.events.append(event)
            self._truth.touched |= dict.fromkeys(event.vaults, event.slot)
            self._apply(event)

    def _holds(self, vault: str, mint: str) -> None:
        self._truth.ours[vault] = ours = mint == self._truth.mint
        if ours:
            self._truth.counted.add(vault)

    def _apply(self, event: TrueEvent) -> None:
        data = event.data
        if event.name == "UpdateUsdtMintEvent":
            self._holds(data["vault"], data["new_mint"])
        elif event.name == "VaultClosedEvent":
            self._close(data["vault"])
        elif event.name == "TransferEvent":
            for side, kind, sign, total in _TRANSFER:
                rule = _Rule(kind, total=total, moves=(("available", sign),))
                self._move(event, data[side], rule)
        elif (rule := _RULES.get(event.name)) is not None:  # type: ignore[assignment]
            self._move(event, data["vault"], rule)

    def _close(self, vault: str) -> None:
        owner = self._truth.opened[vault]
        if self._truth.ours[vault] and self._now.get(owner, Holding()) != Holding():
            raise CannotRead(f"the vault of {owner} was closed with something in it")
        deposited, withdrawn = self._sums[owner]
        self._truth.offsets[owner] = deposited, withdrawn

    def _move(self, event: TrueEvent, vault: str, rule: _Rule) -> None:
        owner, amount = self._truth.opened[vault], event.data[rule.amount]
        if not self._truth.ours[vault]:
            self._leave_out(owner, rule.kind, amount)
            return
        before = self._now.get(owner, Holding())
        after = self._after(before, event, rule)
        for name, states in rule.states:
            if getattr(after, name) != event.data[states]:
                raise CannotRead(f"{event}: {name} should be {event.data[states]}: {after}")
        if rule.total and after.total != event.data[rule.total]:
            raise CannotRead(f"{event}: the total is not what the history adds up to: {after}")
        self._now[owner] = self._truth.holdings[owner][event.slot] = after
        self._sum(owner, rule.kind, amount)
        self._truth.lines.append(
            TrueLine(
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
    def _after(before: Holding, event: TrueEvent, rule: _Rule) -> Holding:
        if rule.kind == "emergency_withdraw":
            # What is available goes first, then what is locked.
            amount = event.data["amount"]
            of_available = min(before.available, amount)
            return replace(
                before,
                available=before.available - of_available,
                locked=before.locked - (amount - of_available),
            )
        amount = event.data[rule.amount]
        moved = {name: getattr(before, name) + sign * amount for name, sign in rule.moves}
        return replace(before, **moved)

    def _sum(self, owner: str, kind: str, amount: int) -> None:
        if kind == "deposit":
            self._sums[owner][0] += amount
        elif kind in {"withdraw", "emergency_withdraw"}:
            self._sums[owner][1] += amount

    def _leave_out(self, owner: str, kind: str, amount: int) -> None:
        """An account over another mint counts what the history does not."""
        deposited, withdrawn = self._truth.offsets.get(owner, (0, 0))
        if kind == "deposit":
            self._truth.offsets[owner] = deposited - amount, withdrawn
        elif kind in {"withdraw", "emergency_withdraw"}:
            self._truth.offsets[owner] = deposited, withdrawn - amount

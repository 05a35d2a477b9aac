"""The history of each generated vault in closed form: every balance is known without the rows.

All vaults repeat the same steps, in units of their own size, and stop after a number of steps that
differs by up to two. So books of any size need no memory, and agree: each balance is the sum of the
history.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from solana.constants import SYSTEM_PROGRAM_ID
from solders.pubkey import Pubkey

from cvms.chain.program.accounts import TimelockEntry, Vault
from cvms.chain.program.addresses import token_account, vault_address
from cvms.chain.types import Programs, Slot
from cvms.nursery.ledger.vault_rows import vault_row
from cvms.store.vaults.history import EFFECTS, Kind
from cvms.store.vaults.vaults import VaultRow

STEPS: Sequence[tuple[Kind, int]] = (
    (Kind.DEPOSIT, 100),
    (Kind.LOCK, 40),
    (Kind.UNLOCK, 10),
    (Kind.TIMELOCK, 20),
    (Kind.WITHDRAW, 10),
    (Kind.DEPOSIT, 30),
    (Kind.TIMELOCK_RELEASE, 20),
    (Kind.LOCK, 5),
    (Kind.WITHDRAW, 15),
    (Kind.UNLOCK, 15),
    (Kind.YIELD_DEPOSIT, 10),
    (Kind.YIELD_WITHDRAW, 10),
)
BALANCES = ("total", "available", "locked", "timelocked", "yield_deposited")
EVENTS: Mapping[Kind, str] = {
    Kind.DEPOSIT: "DepositEvent",
    Kind.WITHDRAW: "WithdrawEvent",
    Kind.LOCK: "LockEvent",
    Kind.UNLOCK: "UnlockEvent",
    Kind.TIMELOCK: "TimelockScheduledEvent",
    Kind.TIMELOCK_RELEASE: "TimelocksReleasedEvent",
    Kind.YIELD_DEPOSIT: "YieldDepositEvent",
    Kind.YIELD_WITHDRAW: "YieldWithdrawEvent",
}
SPREAD = 5
"""Vaults differ in their number of lines: two fewer to two more than the mean."""
FIRST_SLOT = 300_000_000
PERIOD = timedelta(days=365)
"""From the first line to the last."""
SLOT = timedelta(milliseconds=400)
IN_A_YEAR = timedelta(days=365)
"""When a timelock that is still open matures."""
SIGNATURE_ALPHABET = bytes.maketrans(b"+/=0OIl", b"ABCDEFG")


@dataclass(frozen=True, slots=True)
class Sums:
    """What a vault holds and has counted after some steps, in units of its size."""

    total: int = 0
    available: int = 0
    locked: int = 0
    timelocked: int = 0
    yield_deposited: int = 0
    deposited: int = 0
    withdrawn: int = 0

    def after(self, kind: Kind, amount: int) -> Sums:
        effect = EFFECTS[kind]
        held = {name: getattr(self, name) + getattr(effect, name) * amount for name in BALANCES}
        return Sums(
            **held,
            deposited=self.deposited + amount * (kind is Kind.DEPOSIT),
            withdrawn=self.withdrawn + amount * (kind is Kind.WITHDRAW),
        )


@dataclass(frozen=True, slots=True)
class Books:
    """`vaults` vaults with `lines` lines of history in the year before `end`."""

    vaults: int
    lines: int
    end: datetime
    programs: Programs

    def __post_init__(self) -> None:
        if self.lines < self.vaults * SPREAD:
            raise ValueError(f"at least {SPREAD} lines for each vault")

    @property
    def rounds(self) -> int:
        """The most lines of any vault. In each round, every vault with lines left has one."""
        return self.lines // self.vaults + SPREAD // 2

    def steps(self, number: int) -> int:
        """Return the number of lines of a vault."""
        return self.lines // self.vaults - SPREAD // 2 + number % SPREAD

    def sums(self) -> list[Sums]:
        """Return the sums after each number of steps, from none on."""
        found = [Sums()]
        for kind, amount in itertools.islice(itertools.cycle(STEPS), self.rounds):
            found.append(found[-1].after(kind, amount))
        return found

    def line(self, number: int, done: int) -> int:
        """Return the number of the line of a vault in the round `done`, in the chain's order."""
        return done * self.vaults + number

    def slot(self, line: int) -> int:
        """Return the slot of a line. No two lines share one."""
        return FIRST_SLOT + line * (PERIOD // SLOT) // self._places

    def time(self, line: int) -> datetime:
        return self.end - PERIOD * ((self._places - line) / self._places)

    @property
    def _places(self) -> int:
        return self.rounds * self.vaults

    @property
    def head(self) -> int:
        return self.slot(self._places)

    def owner(self, number: int) -> Pubkey:
        return Pubkey(hashlib.sha256(b"owner %d" % number).digest())

    def addresses(self, number: int) -> tuple[str, str]:
        """Return a vault's owner and its address."""
        owner = self.owner(number)
        return str(owner), str(vault_address(self.programs, owner))

    def account(self, number: int) -> Vault:
        """Return the vault's account after all of its steps."""
        owner, held = self.owner(number), self.sums()[self.steps(number)]
        unit, address = size(number), vault_address(self.programs, owner)
        return plain_vault(
            owner=owner,
            token_account=token_account(address, self.programs.mint),
            usdt_mint=self.programs.mint,
            total_balance=held.total * unit,
            locked_balance=held.locked * unit,
            available_balance=held.available * unit,
            total_deposited=held.deposited * unit,
            total_withdrawn=held.withdrawn * unit,
            yield_deposited_balance=held.yield_deposited * unit,
            created_at=int((self.end - PERIOD).timestamp()),
            timelocks=tuple(self._timelocks(held.timelocked * unit)),
        )

    def row(self, number: int) -> VaultRow:
        """Return the vault's row, as of its last line."""
        account = self.account(number)
        slot = self.slot(self.line(number, self.steps(number) - 1))
        return vault_row(vault_address(self.programs, account.owner), account, Slot(slot))

    @property
    def unlock_time(self) -> int:
        return int((self.end + IN_A_YEAR).timestamp())

    def _timelocks(self, amount: int) -> list[TimelockEntry]:
        return [TimelockEntry(amount=amount, unlock_time=self.unlock_time)] if amount else []


def plain_vault(**fields: Any) -> Vault:
    """Return an account with these fields, and with nothing in those that are not given."""
    nothing: dict[str, Any] = {
        "locked_balance": 0,
        "total_withdrawn": 0,
        "yield_deposited_balance": 0,
        "yield_accrued_balance": 0,
        "last_compounded_at": 0,
        "active_yield_program": SYSTEM_PROGRAM_ID,
        "created_at": 0,
        "bump": 255,
        "multisig_threshold": 0,
        "multisig_signers": (),
        "delegates": (),
        "timelocks": (),
        "min_withdraw_delay_seconds": 0,
        "pending_withdrawals": (),
        "withdraw_whitelist": (),
        "rate_window_seconds": 0,
        "rate_limit_amount": 0,
        "last_withdrawal_window_start": 0,
        "withdrawn_in_window": 0,
        "yield_kept": 0,
        "transfer_allowance": 0,
        "transferred_in_window": 0,
        "transfer_window_start": 0,
        "requested_total": 0,
        "exit_at": 0,
        "delegate_timelocks": 0,
        "_reserved": bytes(8),
    }
    return Vault(**(nothing | fields))


def books(vaults: int, lines: int, programs: Programs) -> Books:
    """Return the books whose last line is of a few minutes ago."""
    now = datetime.now(UTC).replace(microsecond=0)
    return Books(vaults=vaults, lines=lines, end=now - timedelta(minutes=5), programs=programs)


def size(number: int) -> int:
    """Return the unit of a vault's amounts, from a hundred to a hundred million."""
    return int(10 ** (2 + number % 7)) * (1 + number % 89)


def signature(line: int) -> str:
    """Return 88 characters as of a signature, different for each line."""
    digest = hashlib.sha512(b"line %d" % line).digest()
    return base64.b64encode(digest).translate(SIGNATURE_ALPHABET).decode()

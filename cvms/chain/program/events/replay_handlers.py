"""Handlers of the replay: the events that each instruction logs, and its effect on the vault.

Source: the handlers in program/collateral_vault/src/instructions.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import fields, replace

from solders.pubkey import Pubkey
from spl.token.constants import TOKEN_PROGRAM_ID

from cvms.chain.program.accounts import TimelockEntry
from cvms.chain.program.addresses import caller_address
from cvms.chain.program.events import events as chain
from cvms.chain.program.events import guard_events as guards
from cvms.chain.program.events.events import Event, TransactionType
from cvms.chain.program.events.replay_state import (
    Accounts,
    Handler,
    Replay,
    ReplayedVault,
    new_event,
)
from cvms.errors import NotRebuilt

TOKEN_TRANSFER = b"\3"
"""First byte of the token program's Transfer, before the amount."""


def _movement(
    kind: type[Event],
    transaction_type: TransactionType,
    *,
    releases: bool = False,
    **signs: int,
) -> Handler:
    """Return the handler of an instruction that moves its amount between the vault's balances.

    `releases`: it first releases the mature timelocks. `signs`: see ReplayedVault.moved.
    """

    def handle(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
        vault, amount = accounts["vault"], _amount(data)
        if releases:
            yield from replay.release_matured(vault)
        state = replay.move(vault, **{name: sign * amount for name, sign in signs.items()})
        yield _balance_event(kind, replay, accounts, state, amount)
        yield replay.transaction_event(vault, transaction_type, amount)

    return handle


def _emergency_withdraw(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    vault, amount = accounts["vault"], _amount(data)
    seized = max(0, amount - (replay.state(vault).available or 0))
    state = replay.move(vault, total=-amount, available=seized - amount, locked=-seized)
    yield _balance_event(chain.EmergencyWithdrawEvent, replay, accounts, state, amount)
    yield replay.transaction_event(vault, TransactionType.EmergencyWithdrawal, amount)


def _balance_event(
    kind: type[Event], replay: Replay, accounts: Accounts, state: ReplayedVault, amount: int
) -> Event:
    """Return an event whose fields are among these."""
    values = {
        "vault": accounts["vault"],
        "owner": state.owner,
        "authority": accounts.get("authority"),
        "program": accounts.get("yield_program"),
        "amount": amount,
        "compounded_amount": amount,
        "new_total_balance": state.total,
        "new_available_balance": state.available,
        "new_locked_balance": state.locked,
        "new_yield_balance": state.earning,
        "last_compounded_at": replay.now,
    }
    return new_event(kind, **{field.name: values[field.name] for field in fields(kind)})


def _transfer(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    source, destination, amount = accounts["from_vault"], accounts["to_vault"], _amount(data)
    locked = replay.state(source).locked
    from_locked = min(amount, locked or 0)
    sender = replay.move(source, total=-amount, available=from_locked - amount, locked=-from_locked)
    recipient = replay.move(destination, total=amount, available=amount)
    yield new_event(
        chain.TransferEvent,
        from_vault=source,
        to_vault=destination,
        amount=amount,
        from_new_total_balance=sender.total,
        to_new_total_balance=recipient.total,
    )
    yield replay.transaction_event(source, TransactionType.Transfer, amount)
    yield new_event(
        chain.CollateralTransferredEvent,
        from_vault=source,
        to_vault=destination,
        caller=_caller(replay, accounts),
        amount=amount,
        from_locked=None if locked is None else from_locked,
        from_new_locked_balance=sender.locked,
        from_new_available_balance=sender.available,
        to_new_available_balance=recipient.available,
    )


def _caller(replay: Replay, accounts: Accounts) -> Pubkey | None:
    """Return the program that called; source: caller.rs."""
    named = accounts["caller_program"]
    signs = caller_address(named, replay.program) in replay.remaining
    return named if signs else replay.top_level


def _schedule(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    vault, (amount, duration) = accounts["vault"], struct.unpack("<Qq", data)
    if replay.now is None:
        raise NotRebuilt("the end of a timelock is unknown without the block's time")
    state = replay.move(vault, available=-amount)
    entry = TimelockEntry(amount, replay.now + duration)
    state = replace(state, timelocks=(*state.timelocks, entry))
    replay.put(vault, state)
    yield new_event(
        chain.TimelockScheduledEvent,
        vault=vault,
        owner=state.owner,
        amount=amount,
        unlock_time=entry.unlock_time,
        remaining_timelocks=len(state.timelocks),
    )


def _release(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    yield from replay.release_matured(accounts["vault"])


def _cancel_timelock(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    vault, (amount, unlock_time) = accounts["vault"], struct.unpack("<Qq", data)
    state, entry = replay.state(vault), TimelockEntry(amount, unlock_time)
    if replay.now is None or (state.min_delay and unlock_time > replay.now):
        raise NotRebuilt("whether a timelock is released depends on who scheduled it")
    rest = list(state.timelocks)
    if entry in rest:
        rest.remove(entry)
    state = replace(state.moved(available=amount), timelocks=tuple(rest))
    replay.put(vault, state)
    yield new_event(
        guards.TimelockCancelledEvent,
        vault=vault,
        owner=state.owner,
        amount=amount,
        unlock_time=unlock_time,
        new_unlock_time=min(unlock_time, replay.now),
        new_available_balance=state.available,
        remaining_timelocks=len(rest),
    )


def _release_unclaimed(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    vault = accounts["vault"]
    amount = replay.state(vault).locked
    if replay.remaining or amount is None:
        raise NotRebuilt("what the position summaries claim is not in the instruction")
    state = replay.move(vault, available=amount, locked=-amount)
    yield _balance_event(guards.CollateralReleasedEvent, replay, accounts, state, amount)


def _open(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    vault, owner = accounts["vault"], accounts["user"]
    replay.put(vault, ReplayedVault(owner, (0, 0, 0, 0)))
    tokens, mint = accounts["vault_token_account"], accounts["usdt_mint"]
    yield chain.VaultInitializedEvent(vault, owner, tokens, mint)


def _close(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    vault, owner = accounts["vault"], accounts["user"]
    if amount := _tokens_sent(replay, accounts["vault_token_account"]):
        yield _swept(vault, owner, amount, replay.remaining[0])
    yield chain.VaultClosedEvent(vault=vault, owner=owner)


def _sweep(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    amount = _tokens_sent(replay, accounts["token_account"])
    recipient = accounts["recipient_token_account"]
    yield _swept(accounts["vault"], accounts["owner"], amount, recipient)


def _swept(vault: Pubkey, owner: Pubkey, amount: int | None, recipient: Pubkey) -> Event:
    return new_event(
        chain.SweptEvent, vault=vault, owner=owner, mint=None, amount=amount, recipient=recipient
    )


def _tokens_sent(replay: Replay, source: Pubkey) -> int | None:
    """Return the amount of the token transfer that follows, None if none does."""
    call = replay.following
    if call is None or call.program_id != TOKEN_PROGRAM_ID or call.data[:1] != TOKEN_TRANSFER:
        return None
    return _amount(call.data[1:]) if call.accounts[0] == source else None


def _update_mint(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    new = accounts["new_mint"]
    yield new_event(chain.UpdateUsdtMintEvent, vault=accounts["vault"], old_mint=None, new_mint=new)


def _request(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    yield new_event(
        chain.WithdrawRequestedEvent,
        vault=accounts["vault"],
        owner=accounts["owner"],
        amount=_amount(data),
        requested_at=replay.now,
        executable_at=None,
        remaining_pending=None,
    )


# Others are in replay_guards.py, or log nothing.
HANDLERS: Mapping[str, Handler] = {
    "initialize_vault": _open,
    "deposit": _movement(chain.DepositEvent, TransactionType.Deposit, total=1, available=1),
    "withdraw": _movement(
        chain.WithdrawEvent, TransactionType.Withdrawal, releases=True, total=-1, available=-1
    ),
    "emergency_withdraw": _emergency_withdraw,
    "lock_collateral": _movement(chain.LockEvent, TransactionType.Lock, available=-1, locked=1),
    "unlock_collateral": _movement(
        chain.UnlockEvent, TransactionType.Unlock, available=1, locked=-1
    ),
    "transfer_collateral": _transfer,
    "schedule_timelock": _schedule,
    "release_timelocks": _release,
    "cancel_timelock": _cancel_timelock,
    "release_unclaimed": _release_unclaimed,
    "sweep": _sweep,
    "request_withdraw": _request,
    "update_usdt_mint": _update_mint,
    "close_vault": _close,
    "yield_deposit": _movement(
        chain.YieldDepositEvent, TransactionType.YieldDeposit, available=-1, earning=1
    ),
    "yield_withdraw": _movement(
        chain.YieldWithdrawEvent, TransactionType.YieldWithdraw, available=1, earning=-1
    ),
    "compound_yield": _movement(
        chain.YieldCompoundEvent, TransactionType.YieldCompound, total=1, earning=1
    ),
}


def _amount(data: bytes) -> int:
    [amount] = struct.unpack("<Q", data)
    return int(amount)

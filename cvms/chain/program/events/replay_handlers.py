"""Handlers of the replay: the events that each instruction logs, and its effect on the vault.

Source: the handlers in program/collateral_vault/src/instructions.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from solders.pubkey import Pubkey

from cvms.chain.program.accounts import TimelockEntry
from cvms.chain.program.events import events as chain
from cvms.chain.program.events.events import Event, TransactionType
from cvms.chain.program.events.replay_state import Replay, ReplayedVault, new_event
from cvms.errors import NotRebuilt

Accounts = Mapping[str, Pubkey]
Handler = Callable[[Replay, Accounts, bytes], Iterator[Event]]


def _deposit(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    vault, amount = accounts["vault"], _amount(data)
    state = replay.move(vault, total=amount, available=amount)
    yield new_event(
        chain.DepositEvent,
        vault=vault,
        owner=state.owner,
        amount=amount,
        new_total_balance=state.total,
        new_available_balance=state.available,
    )
    yield replay.transaction_event(vault, TransactionType.Deposit, amount)


def _withdraw(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    vault, amount = accounts["vault"], _amount(data)
    yield from replay.release_matured(vault)
    state = replay.move(vault, total=-amount, available=-amount)
    yield new_event(
        chain.WithdrawEvent,
        vault=vault,
        owner=state.owner,
        amount=amount,
        new_total_balance=state.total,
        new_available_balance=state.available,
    )
    yield replay.transaction_event(vault, TransactionType.Withdrawal, amount)


def _emergency_withdraw(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    vault, amount = accounts["vault"], _amount(data)
    seized = max(0, amount - (replay.state(vault).available or 0))
    state = replay.move(vault, total=-amount, available=seized - amount, locked=-seized)
    yield new_event(
        chain.EmergencyWithdrawEvent,
        vault=vault,
        owner=state.owner,
        authority=accounts["authority"],
        amount=amount,
        new_total_balance=state.total,
        new_available_balance=state.available,
        new_locked_balance=state.locked,
    )
    yield replay.transaction_event(vault, TransactionType.EmergencyWithdrawal, amount)


def _lock(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    vault, amount = accounts["vault"], _amount(data)
    state = replay.move(vault, available=-amount, locked=amount)
    yield _lock_event(chain.LockEvent, vault, state, amount)
    yield replay.transaction_event(vault, TransactionType.Lock, amount)


def _unlock(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    vault, amount = accounts["vault"], _amount(data)
    state = replay.move(vault, available=amount, locked=-amount)
    yield _lock_event(chain.UnlockEvent, vault, state, amount)
    yield replay.transaction_event(vault, TransactionType.Unlock, amount)


def _lock_event(kind: type[Event], vault: Pubkey, state: ReplayedVault, amount: int) -> Event:
    return new_event(
        kind,
        vault=vault,
        owner=state.owner,
        amount=amount,
        new_locked_balance=state.locked,
        new_available_balance=state.available,
    )


def _transfer(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    source, destination, amount = accounts["from_vault"], accounts["to_vault"], _amount(data)
    sender = replay.move(source, total=-amount, available=-amount)
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


def _yield_deposit(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    vault, amount = accounts["vault"], _amount(data)
    state = replay.move(vault, available=-amount, earning=amount)
    yield _yield_event(chain.YieldDepositEvent, accounts, state, amount)
    yield replay.transaction_event(vault, TransactionType.YieldDeposit, amount)


def _yield_withdraw(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    vault, amount = accounts["vault"], _amount(data)
    state = replay.move(vault, available=amount, earning=-amount)
    yield _yield_event(chain.YieldWithdrawEvent, accounts, state, amount)
    yield replay.transaction_event(vault, TransactionType.YieldWithdraw, amount)


def _yield_event(kind: type[Event], accounts: Accounts, state: ReplayedVault, amount: int) -> Event:
    return new_event(
        kind,
        vault=accounts["vault"],
        owner=state.owner,
        program=accounts["yield_program"],
        amount=amount,
        new_yield_balance=state.earning,
        new_available_balance=state.available,
    )


def _compound(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    vault, amount = accounts["vault"], _amount(data)
    state = replay.move(vault, total=amount, earning=amount)
    yield new_event(
        chain.YieldCompoundEvent,
        vault=vault,
        owner=state.owner,
        program=accounts["yield_program"],
        compounded_amount=amount,
        new_yield_balance=state.earning,
        last_compounded_at=replay.now,
    )
    yield replay.transaction_event(vault, TransactionType.YieldCompound, amount)


def _open(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    replay.put(accounts["vault"], ReplayedVault(accounts["user"], (0, 0, 0, 0)))
    yield from ()


def _close(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    yield chain.VaultClosedEvent(vault=accounts["vault"], owner=accounts["user"])


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


def _min_delay(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    [seconds] = struct.unpack("<q", data)
    yield chain.WithdrawMinDelaySetEvent(accounts["vault"], accounts["owner"], seconds)


def _rate_limit(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    window, limit = struct.unpack("<IQ", data)
    yield chain.WithdrawRateLimitSetEvent(accounts["vault"], accounts["owner"], window, limit)


def _whitelist(added: bool) -> Handler:
    def handle(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
        yield new_event(
            chain.WithdrawWhitelistUpdatedEvent,
            vault=accounts["vault"],
            owner=accounts["owner"],
            address=_key(data),
            added=added,
            new_len=None,
        )

    return handle


def _authority(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    [programs] = struct.unpack_from("<I", data)
    option = data[4 + 32 * programs :]
    yield chain.VaultAuthorityInitializedEvent(
        accounts["governance"], programs, freeze=option[:2] == b"\1\1"
    )


def _flag(kind: Callable[[bool], Event]) -> Handler:
    def handle(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
        yield kind(data == b"\1")

    return handle


def _program(kind: Callable[[Pubkey], Event]) -> Handler:
    def handle(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
        yield kind(_key(data))

    return handle


# Other instructions log nothing.
HANDLERS: Mapping[str, Handler] = {
    "initialize_vault": _open,
    "deposit": _deposit,
    "withdraw": _withdraw,
    "emergency_withdraw": _emergency_withdraw,
    "lock_collateral": _lock,
    "unlock_collateral": _unlock,
    "transfer_collateral": _transfer,
    "schedule_timelock": _schedule,
    "release_timelocks": _release,
    "request_withdraw": _request,
    "set_withdraw_min_delay": _min_delay,
    "set_withdraw_rate_limit": _rate_limit,
    "add_withdraw_whitelist": _whitelist(True),
    "remove_withdraw_whitelist": _whitelist(False),
    "initialize_vault_authority": _authority,
    "add_authorized_program": _program(chain.AuthorizedProgramAddedEvent),
    "remove_authorized_program": _program(chain.AuthorizedProgramRemovedEvent),
    "set_freeze_flag": _flag(chain.FreezeFlagSetEvent),
    "set_cpi_enforced": _flag(chain.CpiEnforcedSetEvent),
    "update_usdt_mint": _update_mint,
    "close_vault": _close,
    "yield_deposit": _yield_deposit,
    "yield_withdraw": _yield_withdraw,
    "compound_yield": _compound,
}


def _amount(data: bytes) -> int:
    [amount] = struct.unpack("<Q", data)
    return int(amount)


def _key(data: bytes) -> Pubkey:
    if len(data) != 32:
        raise NotRebuilt("the argument is not a public key")
    return Pubkey.from_bytes(data)

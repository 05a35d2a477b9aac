"""Which events each instruction logs, in which order, and what it does to the vault.

(Source: the handlers in program/collateral_vault/src/instructions.)
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from solders.pubkey import Pubkey

from cvms.chain.program.accounts import TimelockEntry
from cvms.chain.program.events import events as chain
from cvms.chain.program.events.events import Event, TransactionType
from cvms.chain.program.events.replay_state import Replay, ReplayedVault, made
from cvms.errors import NotRebuilt

Accounts = Mapping[str, Pubkey]
Handler = Callable[[Replay, Accounts, bytes], Iterator[Event]]


def _deposit(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    vault, amount = accounts["vault"], _amount(data)
    held = replay.move(vault, total=amount, available=amount)
    yield made(
        chain.DepositEvent,
        vault=vault,
        owner=held.owner,
        amount=amount,
        new_total_balance=held.total,
        new_available_balance=held.available,
    )
    yield replay.recorded(vault, TransactionType.Deposit, amount)


def _withdraw(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    vault, amount = accounts["vault"], _amount(data)
    yield from replay.release_matured(vault)
    held = replay.move(vault, total=-amount, available=-amount)
    yield made(
        chain.WithdrawEvent,
        vault=vault,
        owner=held.owner,
        amount=amount,
        new_total_balance=held.total,
        new_available_balance=held.available,
    )
    yield replay.recorded(vault, TransactionType.Withdrawal, amount)


def _emergency_withdraw(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    vault, amount = accounts["vault"], _amount(data)
    seized = max(0, amount - (replay.holder(vault).available or 0))
    held = replay.move(vault, total=-amount, available=seized - amount, locked=-seized)
    yield made(
        chain.EmergencyWithdrawEvent,
        vault=vault,
        owner=held.owner,
        authority=accounts["authority"],
        amount=amount,
        new_total_balance=held.total,
        new_available_balance=held.available,
        new_locked_balance=held.locked,
    )
    yield replay.recorded(vault, TransactionType.EmergencyWithdrawal, amount)


def _lock(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    vault, amount = accounts["vault"], _amount(data)
    held = replay.move(vault, available=-amount, locked=amount)
    yield _lock_event(chain.LockEvent, vault, held, amount)
    yield replay.recorded(vault, TransactionType.Lock, amount)


def _unlock(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    vault, amount = accounts["vault"], _amount(data)
    held = replay.move(vault, available=amount, locked=-amount)
    yield _lock_event(chain.UnlockEvent, vault, held, amount)
    yield replay.recorded(vault, TransactionType.Unlock, amount)


def _lock_event(kind: type[Event], vault: Pubkey, held: ReplayedVault, amount: int) -> Event:
    return made(
        kind,
        vault=vault,
        owner=held.owner,
        amount=amount,
        new_locked_balance=held.locked,
        new_available_balance=held.available,
    )


def _transfer(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    giver, taker, amount = accounts["from_vault"], accounts["to_vault"], _amount(data)
    gave = replay.move(giver, total=-amount, available=-amount)
    took = replay.move(taker, total=amount, available=amount)
    yield made(
        chain.TransferEvent,
        from_vault=giver,
        to_vault=taker,
        amount=amount,
        from_new_total_balance=gave.total,
        to_new_total_balance=took.total,
    )
    yield replay.recorded(giver, TransactionType.Transfer, amount)


def _schedule(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    vault, (amount, duration) = accounts["vault"], struct.unpack("<Qq", data)
    if replay.now is None:
        raise NotRebuilt("without the block's time, nothing tells when a timelock ends")
    held = replay.move(vault, available=-amount)
    entry = TimelockEntry(amount, replay.now + duration)
    held = replace(held, timelocks=(*held.timelocks, entry))
    replay.put(vault, held)
    yield made(
        chain.TimelockScheduledEvent,
        vault=vault,
        owner=held.owner,
        amount=amount,
        unlock_time=entry.unlock_time,
        remaining_timelocks=len(held.timelocks),
    )


def _release(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    yield from replay.release_matured(accounts["vault"])


def _yield_deposit(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    vault, amount = accounts["vault"], _amount(data)
    held = replay.move(vault, available=-amount, earning=amount)
    yield _yield_event(chain.YieldDepositEvent, accounts, held, amount)
    yield replay.recorded(vault, TransactionType.YieldDeposit, amount)


def _yield_withdraw(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    vault, amount = accounts["vault"], _amount(data)
    held = replay.move(vault, available=amount, earning=-amount)
    yield _yield_event(chain.YieldWithdrawEvent, accounts, held, amount)
    yield replay.recorded(vault, TransactionType.YieldWithdraw, amount)


def _yield_event(kind: type[Event], accounts: Accounts, held: ReplayedVault, amount: int) -> Event:
    return made(
        kind,
        vault=accounts["vault"],
        owner=held.owner,
        program=accounts["yield_program"],
        amount=amount,
        new_yield_balance=held.earning,
        new_available_balance=held.available,
    )


def _compound(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    vault, amount = accounts["vault"], _amount(data)
    held = replay.move(vault, total=amount, earning=amount)
    yield made(
        chain.YieldCompoundEvent,
        vault=vault,
        owner=held.owner,
        program=accounts["yield_program"],
        compounded_amount=amount,
        new_yield_balance=held.earning,
        last_compounded_at=replay.now,
    )
    yield replay.recorded(vault, TransactionType.YieldCompound, amount)


def _open(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    replay.put(accounts["vault"], ReplayedVault(accounts["user"], (0, 0, 0, 0)))
    yield from ()


def _close(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    yield chain.VaultClosedEvent(vault=accounts["vault"], owner=accounts["user"])


def _update_mint(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    new = accounts["new_mint"]
    yield made(chain.UpdateUsdtMintEvent, vault=accounts["vault"], old_mint=None, new_mint=new)


def _request(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    yield made(
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
    window, most = struct.unpack("<IQ", data)
    yield chain.WithdrawRateLimitSetEvent(accounts["vault"], accounts["owner"], window, most)


def _whitelist(added: bool) -> Handler:
    def handle(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
        yield made(
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


# Instructions that are not here log nothing.
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
        raise NotRebuilt("no key where one should be")
    return Pubkey.from_bytes(data)

"""Handlers of the replay: the events that each instruction logs, and its effect on the vault.

Source: the handlers in program/collateral_vault/src/instructions.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace

from solders.pubkey import Pubkey

from cvms.chain.program.accounts import TimelockEntry
from cvms.chain.program.events import events as chain
from cvms.chain.program.events.events import Event, TransactionType
from cvms.chain.program.events.replay_state import Replay, ReplayedVault, new_event
from cvms.errors import NotRebuilt

Accounts = Mapping[str, Pubkey]
Handler = Callable[[Replay, Accounts, bytes], Iterator[Event]]


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


def _key(data: bytes) -> Pubkey:
    if len(data) != 32:
        raise NotRebuilt("the argument is not a public key")
    return Pubkey.from_bytes(data)

"""Handlers of the replay for what owners and governance set, which moves no tokens.

Source: the handlers in program/collateral_vault/src/instructions.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from solders.pubkey import Pubkey

from cvms.chain import borsh
from cvms.chain.program.events import authority_events as authority
from cvms.chain.program.events import events as chain
from cvms.chain.program.events import guard_events as guards
from cvms.chain.program.events.events import Event
from cvms.chain.program.events.replay_state import Accounts, Handler, Replay, new_event
from cvms.chain.program.guard_changes import (
    GuardChange,
    Multisig,
    TransferAllowance,
    WhitelistAddition,
    WithdrawMinDelay,
    WithdrawRateLimit,
)
from cvms.errors import NotRebuilt

DAY = 24 * 60 * 60
EXIT_WAIT = 7 * DAY
PAUSE_REST = 7 * DAY


def _set(kind: type[GuardChange]) -> Handler:
    """Return the handler of an instruction whose arguments are a change of guards."""

    def handle(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
        change = borsh.decode(kind, data, trailing=False)
        yield _changed(replay, accounts["vault"], accounts["owner"], change)

    return handle


def _disable_multisig(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    yield _changed(replay, accounts["vault"], accounts["owner"], Multisig((), 0))


def _changed(replay: Replay, vault: Pubkey, owner: Pubkey, change: GuardChange) -> Event:
    """Return the event of a change that takes effect."""
    match change:
        case Multisig(signers, threshold):
            return guards.MultisigSetEvent(vault, owner, threshold, signers)
        case WithdrawMinDelay(seconds):
            replay.put(vault, replace(replay.state(vault), min_delay=seconds))
            return chain.WithdrawMinDelaySetEvent(vault, owner, seconds)
        case WithdrawRateLimit(window, limit):
            return chain.WithdrawRateLimitSetEvent(vault, owner, window, limit)
        case WhitelistAddition(address):
            return _whitelisted(vault, owner, address, added=True)
        case TransferAllowance(amount):
            return guards.TransferAllowanceSetEvent(vault, owner, amount)


def _whitelisted(vault: Pubkey, owner: Pubkey, address: Pubkey, *, added: bool) -> Event:
    return new_event(
        chain.WithdrawWhitelistUpdatedEvent,
        vault=vault,
        owner=owner,
        address=address,
        added=added,
        new_len=None,
    )


def _remove_from_whitelist(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    yield _whitelisted(accounts["vault"], accounts["owner"], _key(data), added=False)


def _delegate(kind: Callable[[Pubkey, Pubkey, Pubkey], Event]) -> Handler:
    def handle(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
        yield kind(accounts["vault"], accounts["owner"], _key(data))

    return handle


def _request_change(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    change = borsh.decode_as(GuardChange, data)
    replay.requested[accounts["guard_change"]] = change
    yield new_event(
        guards.GuardChangeRequestedEvent,
        vault=accounts["vault"],
        owner=accounts["owner"],
        executable_at=None,
        change=change,
    )


def _apply_change(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    vault, owner, change = accounts["vault"], accounts["owner"], _requested(replay, accounts)
    yield _changed(replay, vault, owner, change)
    yield guards.GuardChangeAppliedEvent(vault, owner, change)


def _cancel_change(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    vault, owner = accounts["vault"], accounts["owner"]
    change = _requested(replay, accounts)
    yield guards.GuardChangeCancelledEvent(vault, owner, accounts["authority"], change)


def _requested(replay: Replay, accounts: Accounts) -> GuardChange:
    if (change := replay.requested.get(accounts["guard_change"])) is None:
        raise NotRebuilt("the requested change of guards is unknown")
    return change


def _cancel_request(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    amount, executable_at = struct.unpack("<Qq", data)
    yield new_event(
        guards.WithdrawRequestCancelledEvent,
        vault=accounts["vault"],
        owner=accounts["owner"],
        amount=amount,
        executable_at=executable_at,
        remaining_pending=None,
    )


def _request_exit(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    yield new_event(
        guards.ExitRequestedEvent,
        vault=accounts["vault"],
        owner=accounts["owner"],
        exit_at=replay.moment(EXIT_WAIT),
    )


def _initialize_authority(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    [programs] = struct.unpack_from("<I", data)
    option = data[4 + 32 * programs :]
    yield chain.VaultAuthorityInitializedEvent(
        accounts["governance"], programs, freeze=option[:2] == b"\1\1"
    )


def _propose(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    yield authority.GovernanceProposedEvent(accounts["authority"], _key(data))


def _accept(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    new = accounts["new_governance"]
    yield new_event(authority.GovernanceAcceptedEvent, old_governance=None, new_governance=new)


def _pause(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    [seconds] = struct.unpack("<q", data)
    yield new_event(
        authority.WithdrawalsPausedEvent,
        paused_until=replay.moment(seconds) if seconds else 0,
        pause_allowed_at=replay.moment(seconds + PAUSE_REST) if seconds else None,
    )


def _limit_transfers(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    yield new_event(
        authority.TransferLimitsSetEvent,
        vault_daily=None,
        total_daily=None,
        pending_vault_daily=None,
        pending_total_daily=None,
        pending_at=None,
    )


def _flag(kind: Callable[[bool], Event]) -> Handler:
    def handle(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
        yield kind(data == b"\1")

    return handle


def _program(kind: Callable[[Pubkey], Event]) -> Handler:
    def handle(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
        yield kind(_key(data))

    return handle


def _risk_level(replay: Replay, accounts: Accounts, data: bytes) -> Iterator[Event]:
    [level] = struct.unpack("<B", data)
    yield authority.RiskLevelSetEvent(level)


GUARD_HANDLERS: Mapping[str, Handler] = {
    "set_vault_multisig": _set(Multisig),
    "disable_vault_multisig": _disable_multisig,
    "set_withdraw_min_delay": _set(WithdrawMinDelay),
    "set_withdraw_rate_limit": _set(WithdrawRateLimit),
    "add_withdraw_whitelist": _set(WhitelistAddition),
    "remove_withdraw_whitelist": _remove_from_whitelist,
    "set_transfer_allowance": _set(TransferAllowance),
    "add_delegate": _delegate(guards.DelegateAddedEvent),
    "remove_delegate": _delegate(guards.DelegateRemovedEvent),
    "request_guard_change": _request_change,
    "apply_guard_change": _apply_change,
    "cancel_guard_change": _cancel_change,
    "cancel_withdraw_request": _cancel_request,
    "request_exit": _request_exit,
    "initialize_vault_authority": _initialize_authority,
    "propose_governance": _propose,
    "accept_governance": _accept,
    "pause_withdrawals": _pause,
    "set_transfer_limits": _limit_transfers,
    "add_authorized_program": _program(chain.AuthorizedProgramAddedEvent),
    "remove_authorized_program": _program(chain.AuthorizedProgramRemovedEvent),
    "add_yield_program": _program(authority.YieldProgramAddedEvent),
    "remove_yield_program": _program(authority.YieldProgramRemovedEvent),
    "set_freeze_flag": _flag(chain.FreezeFlagSetEvent),
    "set_cpi_enforced": _flag(chain.CpiEnforcedSetEvent),
    "set_risk_level": _risk_level,
}


def _key(data: bytes) -> Pubkey:
    if len(data) != 32:
        raise NotRebuilt("the argument is not a public key")
    return Pubkey.from_bytes(data)

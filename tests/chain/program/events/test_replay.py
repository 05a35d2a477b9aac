"""Events of instructions whose logs are incomplete."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs
from solders.instruction import Instruction
from solders.pubkey import Pubkey
from spl.token.constants import TOKEN_PROGRAM_ID

from cvms.chain.program import instructions
from cvms.chain.program.accounts import TimelockEntry
from cvms.chain.program.addresses import (
    caller_address,
    guard_change_address,
    token_account,
    vault_address,
)
from cvms.chain.program.events import authority_events as authority
from cvms.chain.program.events import events as chain
from cvms.chain.program.events import guard_events as guards
from cvms.chain.program.events.events import Event, TransactionType
from cvms.chain.program.events.replay import ReplayedVault, replay_events
from cvms.chain.program.guard_changes import (
    GuardChange,
    Multisig,
    TransferAllowance,
    WhitelistAddition,
    WithdrawMinDelay,
    WithdrawRateLimit,
)
from cvms.chain.rpc.responses import RawInstruction, TransactionRecord
from cvms.chain.types import Lamports, Slot
from cvms.config.loader import load_programs
from cvms.errors import NotRebuilt

PROGRAMS = load_programs({})
OWNER, BOB, KEY, MULTISIG = (Pubkey.new_unique() for _ in range(4))
VAULT, OTHER = vault_address(PROGRAMS, OWNER), vault_address(PROGRAMS, BOB)
NOW, DAY = 1_800_000_000, 24 * 60 * 60
UNKNOWN: Any = None
BEFORE = ReplayedVault(OWNER, (1_000, 600, 300, 0), (TimelockEntry(100, NOW + DAY),))


def raw(instruction: Instruction, *, index: int = 0, inner: int | None = None) -> RawInstruction:
    accounts = tuple(meta.pubkey for meta in instruction.accounts)
    return RawInstruction(index, inner, instruction.program_id, accounts, instruction.data)


def replayed(
    *executed: RawInstruction,
    before: ReplayedVault = BEFORE,
    requested: dict[Pubkey, GuardChange] | None = None,
    now: int | None = NOW,
) -> list[Event]:
    record = TransactionRecord("s", Slot(1), now, None, None, [], list(executed), Lamports(5000))
    states = {VAULT: before, OTHER: ReplayedVault(BOB, (0, 0, 0, 0))}
    events = replay_events(
        record, PROGRAMS.vault, before=states, logged=[], requested=requested or {}
    )
    assert [each.ordinal for each in events] == list(range(len(events)))
    return [each.event for each in events]


CHANGES = [
    (Multisig((OWNER, KEY), 2), guards.MultisigSetEvent(VAULT, OWNER, 2, (OWNER, KEY))),
    (WithdrawMinDelay(60), chain.WithdrawMinDelaySetEvent(VAULT, OWNER, 60)),
    (WithdrawRateLimit(60, 5), chain.WithdrawRateLimitSetEvent(VAULT, OWNER, 60, 5)),
    (
        WhitelistAddition(KEY),
        chain.WithdrawWhitelistUpdatedEvent(VAULT, OWNER, KEY, True, UNKNOWN),
    ),
    (TransferAllowance(9), guards.TransferAllowanceSetEvent(VAULT, OWNER, 9)),
]


@pytest.mark.parametrize(("change", "event"), CHANGES)
def test_a_change_of_guards_is_replayed_from_its_request(change: GuardChange, event: Event) -> None:
    request, apply, cancel = (
        raw(instructions.request_guard_change(PROGRAMS, owner=OWNER, change=change)),
        raw(instructions.apply_guard_change(PROGRAMS, owner=OWNER, change=change)),
        raw(instructions.cancel_guard_change(PROGRAMS, authority=KEY, owner=OWNER, change=change)),
    )
    requested = guards.GuardChangeRequestedEvent(VAULT, OWNER, UNKNOWN, change)
    applied = guards.GuardChangeAppliedEvent(VAULT, OWNER, change)
    cancelled = guards.GuardChangeCancelledEvent(VAULT, OWNER, KEY, change)
    assert replayed(request) == [requested]
    known = {guard_change_address(PROGRAMS.vault, VAULT, change): change}
    assert replayed(apply, requested=known) == [event, applied]
    assert replayed(cancel, requested=known) == [cancelled]
    for unknown in (apply, cancel):
        with pytest.raises(NotRebuilt, match="requested change"):
            replayed(unknown)


SIMPLE: list[tuple[Instruction, Event]] = [
    (
        instructions.disable_vault_multisig(PROGRAMS, owner=OWNER),
        guards.MultisigSetEvent(VAULT, OWNER, 0, ()),
    ),
    (
        instructions.set_vault_multisig(PROGRAMS, owner=OWNER, signers=[KEY], threshold=1),
        guards.MultisigSetEvent(VAULT, OWNER, 1, (KEY,)),
    ),
    (
        instructions.add_delegate(PROGRAMS, owner=OWNER, delegate=KEY),
        guards.DelegateAddedEvent(VAULT, OWNER, KEY),
    ),
    (
        instructions.remove_delegate(PROGRAMS, owner=OWNER, delegate=KEY),
        guards.DelegateRemovedEvent(VAULT, OWNER, KEY),
    ),
    (
        instructions.set_transfer_allowance(PROGRAMS, owner=OWNER, amount=7),
        guards.TransferAllowanceSetEvent(VAULT, OWNER, 7),
    ),
    (
        instructions.cancel_withdraw_request(PROGRAMS, owner=OWNER, amount=7, executable_at=9),
        guards.WithdrawRequestCancelledEvent(VAULT, OWNER, 7, 9, UNKNOWN),
    ),
    (
        instructions.request_exit(PROGRAMS, owner=OWNER),
        guards.ExitRequestedEvent(VAULT, OWNER, NOW + 7 * DAY),
    ),
    (
        instructions.propose_governance(PROGRAMS, authority=OWNER, proposed=KEY),
        authority.GovernanceProposedEvent(OWNER, KEY),
    ),
    (
        instructions.accept_governance(PROGRAMS, new_governance=KEY),
        authority.GovernanceAcceptedEvent(UNKNOWN, KEY),
    ),
    (
        instructions.pause_withdrawals(PROGRAMS, governance=OWNER, seconds=60),
        authority.WithdrawalsPausedEvent(NOW + 60, NOW + 60 + 7 * DAY),
    ),
    (
        instructions.pause_withdrawals(PROGRAMS, governance=OWNER, seconds=0),
        authority.WithdrawalsPausedEvent(0, UNKNOWN),
    ),
    (
        instructions.add_yield_program(PROGRAMS, governance=OWNER, program=KEY),
        authority.YieldProgramAddedEvent(KEY),
    ),
    (
        instructions.remove_yield_program(PROGRAMS, governance=OWNER, program=KEY),
        authority.YieldProgramRemovedEvent(KEY),
    ),
    (
        instructions.set_risk_level(PROGRAMS, governance=OWNER, risk_level=3),
        authority.RiskLevelSetEvent(3),
    ),
    (
        instructions.set_transfer_limits(PROGRAMS, governance=OWNER, vault_daily=1, total_daily=2),
        authority.TransferLimitsSetEvent(UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN, UNKNOWN),
    ),
    (
        instructions.initialize_vault(PROGRAMS, OWNER),
        chain.VaultInitializedEvent(
            VAULT, OWNER, token_account(VAULT, PROGRAMS.mint), PROGRAMS.mint
        ),
    ),
]


@pytest.mark.parametrize(("given", "event"), SIMPLE, ids=lambda each: type(each).__name__)
def test_what_is_set_is_replayed_from_the_arguments(given: Instruction, event: Event) -> None:
    assert replayed(raw(given)) == [event]


def transfer(amount: int, *remaining: Pubkey, inner: int | None = 0) -> RawInstruction:
    built = instructions.transfer_collateral(
        PROGRAMS,
        caller_program=PROGRAMS.position_manager,
        from_owner=OWNER,
        to_owner=BOB,
        amount=amount,
    )
    call = raw(built, inner=inner)
    return structs.replace(call, accounts=(*call.accounts, *remaining))


def called_by(program: Pubkey) -> RawInstruction:
    return RawInstruction(0, None, program, (), b"")


def test_a_transfer_takes_what_is_locked_first() -> None:
    manager = called_by(PROGRAMS.position_manager)
    *_, small = replayed(manager, transfer(200))
    assert small == chain.CollateralTransferredEvent(
        VAULT, OTHER, PROGRAMS.position_manager, 200, 200, 100, 600, 200
    )
    moved, recorded, large = replayed(manager, transfer(500))
    assert moved == chain.TransferEvent(VAULT, OTHER, 500, 500, 500)
    assert recorded == chain.TransactionEvent(VAULT, OWNER, TransactionType.Transfer, 500, NOW)
    assert large == chain.CollateralTransferredEvent(
        VAULT, OTHER, PROGRAMS.position_manager, 500, 300, 0, 400, 500
    )


def test_the_caller_of_a_transfer_is_the_top_level_program_unless_another_signs() -> None:
    manager = PROGRAMS.position_manager
    signature = caller_address(manager, PROGRAMS.vault)
    for remaining, caller in (((), MULTISIG), ((signature,), manager)):
        *_, event = replayed(called_by(MULTISIG), transfer(1, *remaining, inner=1))
        assert isinstance(event, chain.CollateralTransferredEvent)
        assert event.caller == caller


def cancel(amount: int, unlock_time: int) -> RawInstruction:
    return raw(
        instructions.cancel_timelock(PROGRAMS, owner=OWNER, amount=amount, unlock_time=unlock_time)
    )


def test_a_cancelled_timelock_is_released_at_once_without_a_delay() -> None:
    assert replayed(cancel(100, NOW + DAY)) == [
        guards.TimelockCancelledEvent(VAULT, OWNER, 100, NOW + DAY, NOW, 700, 0)
    ]


def test_with_a_delay_only_a_due_timelock_shows_what_becomes_of_it() -> None:
    delayed = replace(BEFORE, min_delay=60, timelocks=(TimelockEntry(5, NOW),))
    assert replayed(cancel(5, NOW), before=delayed) == [
        guards.TimelockCancelledEvent(VAULT, OWNER, 5, NOW, NOW, 605, 0)
    ]
    set_delay = raw(instructions.set_withdraw_min_delay(PROGRAMS, owner=OWNER, seconds=60))
    for executed, before in (
        ([cancel(100, NOW + DAY)], replace(BEFORE, min_delay=60)),
        ([set_delay, cancel(100, NOW + DAY)], BEFORE),
    ):
        with pytest.raises(NotRebuilt, match="who scheduled"):
            replayed(*executed, before=before)


def test_what_no_program_claims_is_released_and_what_a_summary_claims_is_unknown() -> None:
    build = instructions.release_unclaimed
    assert replayed(raw(build(PROGRAMS, owner=OWNER, position_summaries=[]))) == [
        guards.CollateralReleasedEvent(VAULT, OWNER, 300, 0, 900)
    ]
    with pytest.raises(NotRebuilt, match="summaries"):
        replayed(raw(build(PROGRAMS, owner=OWNER, position_summaries=[KEY])))


def tokens_sent(source: Pubkey, amount: int, program: Pubkey = TOKEN_PROGRAM_ID) -> RawInstruction:
    data = b"\3" + amount.to_bytes(8, "little")
    return RawInstruction(0, 0, program, (source, KEY, VAULT), data)


def test_swept_tokens_are_those_that_the_token_program_moves() -> None:
    sweep = raw(
        instructions.sweep(PROGRAMS, owner=OWNER, token_account=BOB, recipient_token_account=KEY)
    )
    assert replayed(sweep, tokens_sent(BOB, 17)) == [
        chain.SweptEvent(VAULT, OWNER, UNKNOWN, 17, KEY)
    ]
    for other in (tokens_sent(KEY, 17), tokens_sent(BOB, 17, program=MULTISIG)):
        assert replayed(sweep, other) == [chain.SweptEvent(VAULT, OWNER, UNKNOWN, UNKNOWN, KEY)]


def test_a_closing_sweeps_only_if_tokens_were_left() -> None:
    closed = chain.VaultClosedEvent(VAULT, OWNER)
    close = raw(instructions.close_vault(PROGRAMS, OWNER, surplus_account=KEY))
    assert replayed(close) == [closed]
    left = tokens_sent(token_account(VAULT, PROGRAMS.mint), 3)
    assert replayed(close, left) == [chain.SweptEvent(VAULT, OWNER, UNKNOWN, 3, KEY), closed]


def test_arguments_that_are_none_are_not_replayed() -> None:
    build = instructions.request_guard_change(PROGRAMS, owner=OWNER, change=WithdrawMinDelay(1))
    cut = structs.replace(raw(build), data=build.data[:-1])
    with pytest.raises(NotRebuilt, match="request_guard_change"):
        replayed(cut)

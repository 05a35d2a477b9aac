"""Replay of a transaction's events from its instructions, for when its logs are incomplete.

The program logs the same events for the same instruction, in the same order, so each event gets the
identity that complete logs would give it. Fields that the instruction does not determine follow
from the vault's earlier state, and are None where that does not determine them either.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from functools import cache

from solders.pubkey import Pubkey

from cvms.chain.program.events.events import Event
from cvms.chain.program.events.log_parser import LoggedEvent
from cvms.chain.program.events.replay_guards import GUARD_HANDLERS
from cvms.chain.program.events.replay_handlers import HANDLERS
from cvms.chain.program.events.replay_state import Replay, ReplayedVault
from cvms.chain.program.guard_changes import GuardChange
from cvms.chain.program.idl import load_idl
from cvms.chain.rpc.responses import RawInstruction, TransactionRecord
from cvms.errors import DecodeError, NotRebuilt

__all__ = ["ReplayedVault", "replay_events"]


def replay_events(
    record: TransactionRecord,
    program: Pubkey,
    *,
    before: Mapping[Pubkey, ReplayedVault],
    logged: Sequence[LoggedEvent],
    requested: Mapping[Pubkey, GuardChange] = {},
) -> list[LoggedEvent]:
    """Return every event of a successful transaction, in order; those in `logged` unchanged.

    `before` is the state of its vaults, `requested` their requested changes of guards by the
    addresses of the requests. Raises NotRebuilt when the program may have logged an event
    that the instructions do not determine.
    """
    if program in record.account_keys and not any(
        each.program_id == program for each in record.instructions
    ):
        raise NotRebuilt("the node does not return the inner instructions that called the program")
    replay = Replay(program, record.block_time, before, requested, logged)
    return list(_events(record, program, replay))


def _events(record: TransactionRecord, program: Pubkey, replay: Replay) -> Iterator[LoggedEvent]:
    following = [*record.instructions[1:], None]
    for instruction, replay.following in zip(record.instructions, following, strict=True):
        if instruction.inner_index is None:
            replay.next = (instruction.index, 0)
            replay.top_level = instruction.program_id
        if instruction.program_id != program:
            continue
        for event in _events_of(instruction, replay):
            index, ordinal = replay.next
            yield replay.logged.get(replay.next) or LoggedEvent(index, ordinal, event)
            replay.next = (index, ordinal + 1)


def _events_of(instruction: RawInstruction, replay: Replay) -> Iterator[Event]:
    name, accounts = _named(instruction)
    replay.remaining = instruction.accounts[len(accounts) :]
    if (handle := HANDLERS.get(name) or GUARD_HANDLERS.get(name)) is None:
        return
    try:
        yield from handle(replay, accounts, instruction.data[8:])
    except (KeyError, struct.error, DecodeError) as error:
        raise NotRebuilt(f"{name} without {error}") from error


def _named(instruction: RawInstruction) -> tuple[str, dict[str, Pubkey]]:
    """Return the instruction's name and its accounts by name; an unknown one's name is empty."""
    name, accounts = _layouts().get(instruction.data[:8], ("", ()))
    return name, dict(zip(accounts, instruction.accounts, strict=False))


@cache
def _layouts() -> dict[bytes, tuple[str, tuple[str, ...]]]:
    return {
        bytes(each.discriminator): (each.name, tuple(slot.name for slot in each.accounts))
        for each in load_idl("collateral_vault").instructions
    }

"""Parser of a program's events in a transaction's logs, which any program can write to.

Only the runtime writes lines of the forms `Program <id> invoke [n]`, `Program <id> success`,
`Program <id> failed: …` and `Program data: …`; a program's own lines begin with `Program log: `.
So frames are tracked by matching whole lines, and data count only while the program is the
innermost frame. Source: Agave `program-runtime/src/stable_log.rs` and `svm-log-collector`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass

from solders.pubkey import Pubkey

from cvms.chain.program.addresses import PRECOMPILES
from cvms.chain.program.events.events import Event, decode_event
from cvms.errors import DecodeError

_ID = r"([1-9A-HJ-NP-Za-km-z]{32,44})"
_INVOKE = re.compile(rf"Program {_ID} invoke \[(\d{{1,3}})\]")
_SUCCESS = re.compile(rf"Program {_ID} success")
_FAILED = re.compile(rf"Program {_ID} failed: (?s:.*)")
_LOG = "Program log: "
_DATA = "Program data: "
_TRUNCATED = "Log truncated"


@dataclass(frozen=True, slots=True)
class LoggedEvent:
    """An event. (instruction_index, ordinal) identify it within its transaction, permanently.

    `ordinal` counts the data fields that the program logged in that top-level instruction, from 0.
    Fields that are no known event count too, so that a later version assigns the same numbers.
    """

    instruction_index: int
    ordinal: int
    event: Event


@dataclass(frozen=True, slots=True)
class ProgramLogs:
    """Events of a transaction. `truncated`: there may be more of them; `problem` says why."""

    events: tuple[LoggedEvent, ...]
    truncated: bool
    problem: str | None = None


class _Unreliable(Exception):
    """The runtime cannot have written these lines, so no further line can be attributed."""


def parse_events(
    logs: Sequence[str], program: Pubkey, *, top_level_programs: Sequence[Pubkey] | None = None
) -> ProgramLogs:
    """Return the events that `program` emitted at any depth; none of a failed transaction.

    `top_level_programs` are the program ids of the transaction's instructions. Without them an
    index counts frames, and is too low after a precompile (ed25519, secp256k1), which logs none:
    callers that store an index must pass them.
    """
    reader = _LogReader(str(program), top_level_programs)
    try:
        for line in logs:
            reader.read(line)
        reader.finish()
    except _Unreliable as problem:
        return ProgramLogs(tuple(reader.events), truncated=True, problem=str(problem))
    if reader.failed:
        return ProgramLogs((), truncated=False)
    return ProgramLogs(tuple(reader.events), reader.problem is not None, reader.problem)


class _LogReader:
    """Tracks the frames line by line."""

    def __init__(self, program: str, top_level_programs: Sequence[Pubkey] | None) -> None:
        self.events: list[LoggedEvent] = []
        self.failed = False
        self.problem: str | None = None
        self._program = program
        self._top_level = top_level_programs
        self._frames: list[str] = []
        self._next_index = 0
        self._index = 0
        self._ordinal = 0

    def read(self, line: str) -> None:
        if line.startswith(_LOG):
            return
        if line == _TRUNCATED:
            # Shorter lines may still follow, with unmarked gaps.
            raise _Unreliable("the log is truncated")
        if line.startswith(_DATA):
            if self._frames and self._frames[-1] == self._program:
                for text in line[len(_DATA) :].split(" "):
                    self._data(text)
        elif match := _INVOKE.fullmatch(line):
            self._invoke(match[1], int(match[2]))
        elif match := _SUCCESS.fullmatch(line):
            self._leave(match[1])
        elif match := _FAILED.fullmatch(line):
            # A failed frame fails the whole transaction.
            self._leave(match[1])
            self.failed = True

    def finish(self) -> None:
        if self._frames:
            raise _Unreliable(f"the frame of {self._frames[-1]} does not end")
        if self._top_level is not None and not self.failed:
            rest = self._top_level[self._next_index :]
            if any(program not in PRECOMPILES for program in rest):
                raise _Unreliable("fewer frames than instructions")

    def _invoke(self, program: str, depth: int) -> None:
        if depth != len(self._frames) + 1:
            raise _Unreliable(f"depth {depth} after depth {len(self._frames)}")
        if depth == 1:
            self._enter_instruction(program)
        self._frames.append(program)

    def _enter_instruction(self, program: str) -> None:
        if self._top_level is not None:
            while self._is_precompile(self._next_index):
                self._next_index += 1
            known = self._next_index < len(self._top_level)
            if not known or str(self._top_level[self._next_index]) != program:
                raise _Unreliable(f"no instruction for the frame of {program}")
        self._index, self._ordinal = self._next_index, 0
        self._next_index += 1

    def _is_precompile(self, index: int) -> bool:
        assert self._top_level is not None
        return index < len(self._top_level) and self._top_level[index] in PRECOMPILES

    def _leave(self, program: str) -> None:
        if not self._frames or self._frames[-1] != program:
            raise _Unreliable(f"the frame of {program} ends where it did not begin")
        self._frames.pop()

    def _data(self, text: str) -> None:
        ordinal, self._ordinal = self._ordinal, self._ordinal + 1
        try:
            event = decode_event(base64.b64decode(text, validate=True))
        except (binascii.Error, ValueError, DecodeError) as error:
            self.problem = f"data field {ordinal} of instruction {self._index}: {error}"
            return
        if event is not None:
            self.events.append(LoggedEvent(self._index, ordinal, event))

"""Events in logs that any program can write to."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from solders.compute_budget import ID as COMPUTE_BUDGET_PROGRAM
from solders.pubkey import Pubkey
from spl.token.constants import TOKEN_PROGRAM_ID

from cvms.chain.program.addresses import PRECOMPILES
from cvms.chain.program.events.events import DepositEvent, Event, VaultClosedEvent
from cvms.chain.program.events.log_parser import ProgramLogs, parse_events
from tests.chain.made_up import encode_event, unhurried

OURS = Pubkey.from_string("5qgA2qcz6zXYiJJkomV1LJv8UhKueyNsqeCWJd6jC9pT")
OTHER = Pubkey.from_string("EMHew6227FX9PUhDGKwc8FHsEASZf5Fd4GWryuEXokT")
ED25519 = Pubkey.from_string("Ed25519SigVerify111111111111111111111111111")


def deposit(amount: int) -> DepositEvent:
    return DepositEvent(OURS, OTHER, amount, amount, amount)


def encoded(event: Event) -> str:
    return base64.b64encode(encode_event(event)).decode()


def data(*events: Event) -> str:
    return "Program data: " + " ".join(encoded(event) for event in events)


def frame(program: Pubkey, *body: str, depth: int = 1, end: str = "success") -> list[str]:
    return [f"Program {program} invoke [{depth}]", *body, f"Program {program} {end}"]


def events_in(logs: ProgramLogs) -> list[tuple[int, int, Event]]:
    return [(each.instruction_index, each.ordinal, each.event) for each in logs.events]


def test_events_are_numbered_by_instruction_and_within_it() -> None:
    logs = [
        *frame(COMPUTE_BUDGET_PROGRAM),
        *frame(
            OURS,
            "Program log: Instruction: Deposit",
            *frame(TOKEN_PROGRAM_ID, "Program log: Instruction: Transfer", depth=2),
            data(deposit(1)),
            data(deposit(2)),
            f"Program {OURS} consumed 4242 of 200000 compute units",
        ),
        *frame(OURS, data(deposit(3))),
    ]
    got = parse_events(logs, OURS)
    assert events_in(got) == [(1, 0, deposit(1)), (1, 1, deposit(2)), (2, 0, deposit(3))]
    assert not got.truncated


def test_our_frames_inside_another_program_count() -> None:
    inner = frame(OURS, data(deposit(1)), depth=2)
    logs = frame(OTHER, *inner, "Program log: between", *frame(OURS, data(deposit(2)), depth=2))
    assert events_in(parse_events(logs, OURS)) == [(0, 0, deposit(1)), (0, 1, deposit(2))]


def test_data_in_anothers_frame_is_not_ours_whatever_it_looks_like() -> None:
    forged = data(deposit(10**12))
    logs = [
        forged,
        *frame(OTHER, forged, f"Program log: Program {OURS} invoke [1]", forged),
        *frame(OURS, *frame(TOKEN_PROGRAM_ID, forged, depth=2)),
        forged,
    ]
    assert parse_events(logs, OURS) == ProgramLogs((), truncated=False)


@pytest.mark.parametrize(
    "line",
    [
        f"Program log: Program {OURS} invoke [2]",
        f"Program log: \nProgram {OURS} invoke [2]",
        f"Program log: x\nProgram {OURS} invoke [2]\n",
        f"Program log: {OTHER} success",
        f"Program return: {OURS} AQ==",
        "Program log: Log truncated",
        f" Program {OURS} invoke [2]",
        f"Program {OURS} invoke [2] ",
    ],
)
def test_a_line_a_program_wrote_opens_and_closes_nothing(line: str) -> None:
    logs = [*frame(OTHER, line, data(deposit(9))), *frame(OURS, data(deposit(1)))]
    assert parse_events(logs, OURS) == parse_events(
        [*frame(OTHER), *frame(OURS, data(deposit(1)))], OURS
    )
    assert events_in(parse_events(logs, OURS)) == [(1, 0, deposit(1))]


def test_a_failed_transaction_yields_nothing() -> None:
    logs = [
        *frame(OURS, data(deposit(1))),
        *frame(OURS, data(deposit(2)), end="failed: custom program error: 0x1772"),
    ]
    assert parse_events(logs, OURS) == ProgramLogs((), truncated=False)
    crashed = frame(OURS, data(deposit(1)), "Program failed to complete: exceeded CUs meter")
    crashed[-1] = f"Program {OURS} failed: Program failed to complete"
    assert parse_events(crashed, OURS).events == ()


def test_a_truncated_log_gives_what_came_before_and_says_so() -> None:
    logs = [
        *frame(OURS, data(deposit(1))),
        f"Program {OURS} invoke [1]",
        "Log truncated",
        data(deposit(2)),
    ]
    got = parse_events(logs, OURS)
    assert events_in(got) == [(0, 0, deposit(1))]
    assert got.truncated


@pytest.mark.parametrize(
    "logs",
    [
        [f"Program {OURS} invoke [1]"],
        [f"Program {OURS} invoke [2]"],
        [f"Program {OURS} invoke [1]", f"Program {OTHER} success"],
        [f"Program {OURS} success"],
        frame(OURS, depth=2),
        frame(OURS, *frame(TOKEN_PROGRAM_ID, depth=3)),
        [f"Program {OURS} invoke [1]", f"Program {OURS} invoke [1]"],
    ],
    ids=[
        "never ends",
        "starts deep",
        "ends as another",
        "ends unbegun",
        "is deep",
        "skips a depth",
        "depth stays",
    ],
)
def test_frames_that_do_not_balance_are_flagged(logs: list[str]) -> None:
    assert parse_events(logs, OURS).truncated


@pytest.mark.parametrize(
    "text", ["!!!", "eA", encoded(deposit(1))[:-8], "é", ""], ids=lambda text: repr(text[:6])
)
def test_unreadable_data_of_the_program_are_flagged_and_the_rest_is_kept(text: str) -> None:
    good = deposit(5)
    got = parse_events(frame(OURS, data(good), f"Program data: {text}", data(good)), OURS)
    if text == "":  # nothing is not an event of ours, and nothing is missing
        assert not got.truncated
    else:
        assert got.truncated
    assert events_in(got) == [(0, 0, good), (0, 2, good)]


def test_each_field_of_a_data_line_is_read() -> None:
    closed = VaultClosedEvent(OURS, OTHER)
    got = parse_events(frame(OURS, data(deposit(1), closed)), OURS)
    assert events_in(got) == [(0, 0, deposit(1)), (0, 1, closed)]


def test_an_event_of_a_later_version_keeps_its_number() -> None:
    unknown = "Program data: " + base64.b64encode(b"from the future").decode()
    got = parse_events(frame(OURS, unknown, data(deposit(1))), OURS)
    assert events_in(got) == [(0, 1, deposit(1))]
    assert not got.truncated


def test_an_instruction_that_writes_no_logs_is_counted_when_the_programs_are_known() -> None:
    logs = [*frame(OTHER), *frame(OURS, data(deposit(1)))]
    programs = [ED25519, OTHER, *PRECOMPILES, OURS, ED25519]
    index = programs.index(OURS)
    got = parse_events(logs, OURS, top_level_programs=programs)
    assert events_in(got) == [(index, 0, deposit(1))]
    assert not got.truncated


@pytest.mark.parametrize("programs", [[OTHER], [OURS, OTHER], [], [ED25519]])
def test_frames_that_do_not_fit_the_instructions_are_flagged(programs: list[Pubkey]) -> None:
    logs = frame(OURS, data(deposit(1)))
    assert parse_events(logs, OURS, top_level_programs=programs).truncated


lines = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        [
            *frame(OURS, data(deposit(1))),
            *frame(OTHER, depth=2),
            *frame(OURS, depth=2, end="failed: no"),
            "Log truncated",
            "Program data: ",
        ]
    ),
)


@unhurried
@given(st.lists(lines, max_size=30))
def test_no_log_breaks_the_reader(logs: list[str]) -> None:
    got = parse_events(logs, OURS)
    assert all(each.event == deposit(1) for each in got.events)


@unhurried
@given(st.lists(st.text(max_size=20), max_size=5), st.integers(0, 3))
def test_nothing_another_program_says_adds_or_removes_an_event(said: list[str], at: int) -> None:
    noise = [f"Program log: {text}" for text in said]
    body = [data(deposit(1)), *frame(OTHER, depth=2), data(deposit(2))]
    body[at:at] = noise
    assert events_in(parse_events(frame(OURS, *body), OURS)) == [
        (0, 0, deposit(1)),
        (0, 1, deposit(2)),
    ]

"""Errors carry the name that the failing program gives them."""

from __future__ import annotations

from typing import Any

import pytest
from solana.constants import SYSTEM_PROGRAM_ID
from solders.pubkey import Pubkey
from spl.token.constants import ASSOCIATED_TOKEN_PROGRAM_ID, TOKEN_PROGRAM_ID

from cvms.chain.program.program_errors import failing_program, program_error, to_program_error
from cvms.chain.types import Programs
from cvms.errors import Conflict, CvmsError, ProgramRefused, TransactionExpired
from tests.chain.program.idl_borsh import idl


def failed(*programs: Pubkey, code: int = 0) -> list[str]:
    """Return the logs of nested frames, outermost first, that all fail."""
    lines = [f"Program {each} invoke [{depth}]" for depth, each in enumerate(programs, 1)]
    return lines + [
        f"Program {each} failed: custom program error: {code:#x}" for each in reversed(programs)
    ]


def custom(code: int, index: int = 0) -> dict[str, Any]:
    return {"InstructionError": [index, {"Custom": code}]}


def refused(outcome: CvmsError) -> tuple[int | None, str, str]:
    assert isinstance(outcome, ProgramRefused)
    return outcome.code, outcome.name, outcome.msg


@pytest.mark.parametrize(("name", "count"), [("collateral_vault", 26), ("position_manager", 17)])
def test_every_error_of_an_idl_is_found_by_its_code(
    programs: Programs, name: str, count: int
) -> None:
    program = programs.vault if name == "collateral_vault" else programs.position_manager
    errors = idl(name)["errors"]
    assert [entry["code"] for entry in errors] == list(range(6000, 6000 + count))
    for entry in errors:
        code = entry["code"]
        outcome = to_program_error(custom(code), failed(program, code=code), programs)
        assert refused(outcome) == (code, entry["name"], entry["msg"])


def test_an_error_about_guards_and_limits_says_what_to_do(programs: Programs) -> None:
    for entry in idl("collateral_vault")["errors"][17:]:
        said = str(to_program_error(custom(entry["code"]), [], programs))
        assert said.startswith(f"{entry['name']}: {entry['msg']}. ")
        assert said.endswith(".")
    logs = failed(programs.position_manager, code=6021)
    assert str(to_program_error(custom(6021), logs, programs)).startswith("Custom: ")


def test_the_innermost_failing_program_names_the_error(programs: Programs) -> None:
    logs = failed(programs.vault, TOKEN_PROGRAM_ID, code=1)
    assert failing_program(logs) == TOKEN_PROGRAM_ID
    assert refused(to_program_error(custom(1), logs, programs)) == (
        1,
        "InsufficientFunds",
        "Insufficient funds",
    )


@pytest.mark.parametrize(
    ("program", "code", "name"),
    [
        (SYSTEM_PROGRAM_ID, 1, "ResultWithNegativeLamports"),
        (ASSOCIATED_TOKEN_PROGRAM_ID, 0, "InvalidOwner"),
        (TOKEN_PROGRAM_ID, 17, "AccountFrozen"),
    ],
)
def test_a_code_means_what_its_program_says(
    programs: Programs, program: Pubkey, code: int, name: str
) -> None:
    assert program_error(program, code, programs).name == name


def test_frameworks_codes_have_anchors_names(programs: Programs) -> None:
    assert program_error(programs.vault, 2006, programs).name == "ConstraintSeeds"
    duplicate = program_error(programs.vault, 2040, programs)
    assert duplicate.name == "ConstraintDuplicateMutableAccount"
    assert program_error(programs.position_manager, 3012, programs).name == "AccountNotInitialized"


def test_a_forged_log_line_does_not_choose_the_table(programs: Programs) -> None:
    forged = f"Program log: Program {TOKEN_PROGRAM_ID} failed: custom program error: 0x1"
    logs = [forged, *failed(programs.vault, code=6001)]
    assert failing_program(logs) == programs.vault
    assert refused(to_program_error(custom(6001), logs, programs))[1] == "Unauthorized"


def test_without_logs_the_code_is_taken_for_the_vault_programs(programs: Programs) -> None:
    assert refused(to_program_error(custom(6012), [], programs))[1] == "OpenPositionsExist"


def test_another_programs_code_is_given_as_it_is(programs: Programs) -> None:
    stranger = Pubkey.new_unique()
    code, name, msg = refused(to_program_error(custom(255), failed(stranger, code=255), programs))
    assert (code, name) == (255, "Custom")
    assert str(stranger) in msg
    assert "0xff" in msg


@pytest.mark.parametrize(
    ("err", "name", "msg"),
    [
        ("InsufficientFundsForFee", "InsufficientFundsForFee", "Insufficient funds for fee"),
        ({"InstructionError": [2, "MissingRequiredSignature"]}, "MissingRequiredSignature", None),
        ({"InstructionError": [0, {"BorshIoError": "Unknown"}]}, "BorshIoError", None),
        ({"InsufficientFundsForRent": {"account_index": 1}}, "InsufficientFundsForRent", None),
        ({"InstructionError": "odd"}, "InstructionError", None),
        ({"two": 1, "names": 2}, "Unknown", None),
        (17, "Unknown", None),
    ],
    ids=str,
)
def test_other_errors_keep_their_name(
    programs: Programs, err: Any, name: str, msg: str | None
) -> None:
    code, found, sentence = refused(to_program_error(err, [], programs))
    assert (code, found) == (None, name)
    assert msg is None or sentence == msg


def test_an_expired_and_a_landed_transaction_are_no_refusals(programs: Programs) -> None:
    assert isinstance(to_program_error("BlockhashNotFound", [], programs), TransactionExpired)
    assert isinstance(to_program_error("AlreadyProcessed", [], programs), Conflict)


def test_only_the_last_lines_of_the_logs_are_kept(programs: Programs) -> None:
    logs = [f"Program log: {number}" for number in range(1000)]
    outcome = to_program_error(custom(6000), logs, programs)
    assert isinstance(outcome, ProgramRefused)
    assert outcome.logs == tuple(logs[-20:])

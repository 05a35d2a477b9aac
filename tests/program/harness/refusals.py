"""Assertions on a refusal as clients see it: Anchor's error number and log line."""

from tests.program.harness.idl import Idl
from tests.program.harness.ledger import VAULT_IDL, Outcome

FRAMEWORK = {
    "InstructionFallbackNotFound": (101, "Fallback functions are not supported"),
    "InstructionDidNotDeserialize": (
        102,
        "The program could not deserialize the given instruction",
    ),
    "ConstraintMut": (2000, "A mut constraint was violated"),
    "ConstraintSeeds": (2006, "A seeds constraint was violated"),
    "ConstraintAssociated": (2009, "An associated constraint was violated"),
    "ConstraintTokenMint": (2014, "A token mint constraint was violated"),
    "ConstraintTokenOwner": (2015, "A token owner constraint was violated"),
    "ConstraintDuplicateMutableAccount": (
        2040,
        "A duplicate mutable account constraint was violated",
    ),
    "AccountDiscriminatorMismatch": (
        3002,
        "Account discriminator did not match what was expected",
    ),
    "AccountDidNotDeserialize": (3003, "Failed to deserialize the account"),
    "AccountNotEnoughKeys": (3005, "Not enough account keys given to the instruction"),
    "AccountOwnedByWrongProgram": (
        3007,
        "The given account is owned by a different program than expected",
    ),
    "InvalidProgramId": (3008, "Program ID was not as expected"),
    "AccountNotSigner": (3010, "The given account did not sign"),
    "AccountNotInitialized": (
        3012,
        "The program expected this account to be already initialized",
    ),
    "AccountSysvarMismatch": (
        3015,
        "The given public key does not match the required sysvar",
    ),
}


def assert_refused(outcome: Outcome, name: str, *, idl: Idl = VAULT_IDL) -> None:
    """Assert that the outcome is error `name` of Anchor or of the program that `idl` describes."""
    own = {error["name"]: (code, error["msg"]) for code, error in idl.errors.items()}
    code, message = (FRAMEWORK | own)[name]
    line = (
        f"Program log: AnchorError occurred. Error Code: {name}. "
        f"Error Number: {code}. Error Message: {message}."
    )
    assert outcome.error == code, outcome
    assert line in outcome.logs

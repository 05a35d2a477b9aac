"""Transaction errors in a validator's JSON and text forms."""

from __future__ import annotations

import json
from functools import cache
from importlib import resources

from solders.transaction_status import TransactionErrorType, TransactionStatus

from cvms.localnet.types import Json


def error_json(error: TransactionErrorType) -> Json:
    """Return Solana's serde form, such as `{"InstructionError": [0, {"Custom": 6002}]}`."""
    status = TransactionStatus(
        slot=0, confirmations=None, status=None, err=error, confirmation_status=None
    )
    return json.loads(status.to_json())["err"]


def error_text(error: Json) -> str:
    """Return the text with which a validator's simulation failure ends."""
    if isinstance(error, str):
        return _texts()["transaction"].get(error, error)
    [(name, value)] = error.items()
    match name:
        case "InstructionError":
            return f"Error processing Instruction {value[0]}: {_instruction_text(value[1])}"
        case "DuplicateInstruction":
            return f"Transaction contains a duplicate instruction ({value}) that is not allowed"
        case "InsufficientFundsForRent":
            index = value["account_index"]
            return f"Transaction results in an account ({index}) with insufficient funds for rent"
        case _:
            index = value["account_index"]
            return (
                f"Execution of the program referenced by account at index {index} "
                "is temporarily restricted."
            )


def _instruction_text(error: Json) -> str:
    if isinstance(error, str):
        return _texts()["instruction"].get(error, error)
    return f"custom program error: {error['Custom']:#x}"


@cache
def _texts() -> dict[str, dict[str, str]]:
    """Return the texts of transaction and instruction errors. Source: Agave's error types."""
    texts: dict[str, dict[str, str]] = json.loads(
        resources.files(__package__).joinpath("error_texts.json").read_bytes()
    )
    return texts

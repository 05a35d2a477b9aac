"""The exact interface: names, lengths, arguments and log lines."""

from typing import Any

import pytest
from solders.instruction import Instruction
from solders.pubkey import Pubkey

from tests.program.harness import ledger as chain
from tests.program.harness.ledger import PROGRAM, VAULT_IDL, Ledger, readonly
from tests.program.harness.refusals import assert_refused

ARGUMENTS: dict[str, dict[str, Any]] = {
    "initialize": {},
    "initialize_vault": {},
    "deposit": {"amount": 1},
    "withdraw": {"amount": 1},
    "initialize_vault_authority": {"authorized_programs": [PROGRAM], "freeze": True},
    "add_delegate": {"delegate": PROGRAM},
    "remove_delegate": {"delegate": PROGRAM},
    "get_vault_info": {},
    "lock_collateral": {"amount": 1},
    "unlock_collateral": {"amount": 1},
    "transfer_collateral": {"amount": 1},
    "add_authorized_program": {"program": PROGRAM},
    "remove_authorized_program": {"program": PROGRAM},
    "add_yield_program": {"program": PROGRAM},
    "remove_yield_program": {"program": PROGRAM},
    "set_freeze_flag": {"freeze": True},
    "set_cpi_enforced": {"cpi_enforced": True},
    "set_risk_level": {"risk_level": 1},
    "emergency_withdraw": {"amount": 1},
    "set_vault_multisig": {"signers": [PROGRAM], "threshold": 1},
    "disable_vault_multisig": {},
    "schedule_timelock": {"amount": 1, "duration_seconds": 1},
    "release_timelocks": {},
    "request_withdraw": {"amount": 1},
    "set_withdraw_min_delay": {"seconds": 1},
    "set_withdraw_rate_limit": {"window_seconds": 1, "max_amount": 1},
    "add_withdraw_whitelist": {"address": PROGRAM},
    "remove_withdraw_whitelist": {"address": PROGRAM},
    "set_transfer_allowance": {"amount": 1},
    "request_guard_change": {"change": ("WithdrawMinDelay", {"seconds": 1})},
    "apply_guard_change": {},
    "cancel_guard_change": {},
    "update_usdt_mint": {},
    "close_vault": {},
    "yield_deposit": {"amount": 1},
    "yield_withdraw": {"amount": 1},
    "compound_yield": {"compounded_amount": 1},
    "cancel_withdraw_request": {"amount": 1, "executable_at": 1},
    "cancel_timelock": {"amount": 1, "unlock_time": 1},
    "request_exit": {},
    "release_unclaimed": {},
    "sweep": {},
    "propose_governance": {"proposed": PROGRAM},
    "accept_governance": {},
    "pause_withdrawals": {"seconds": 1},
    "set_transfer_limits": {"vault_daily": 1, "total_daily": 1},
}


def bare(ledger: Ledger, data: bytes) -> chain.Outcome:
    """Run the program with this data and no accounts."""
    payer = ledger.wallet()
    return ledger.send(Instruction(PROGRAM, data, []), payer)


def test_the_program_has_every_instruction_of_the_interface() -> None:
    assert ARGUMENTS.keys() == VAULT_IDL.instructions.keys()
    assert len(ARGUMENTS) == 46


@pytest.mark.parametrize("name", ARGUMENTS)
def test_an_instruction_logs_its_name_first(ledger: Ledger, name: str) -> None:
    outcome = bare(ledger, VAULT_IDL.instruction_data(name, ARGUMENTS[name]))
    title = "".join(word.capitalize() for word in name.split("_"))
    assert outcome.logs[1] == f"Program log: Instruction: {title}"
    assert_refused(outcome, "AccountNotEnoughKeys")


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments_that_end_early_or_late_are_refused(ledger: Ledger, name: str) -> None:
    data = VAULT_IDL.instruction_data(name, ARGUMENTS[name])
    for length in range(8, len(data)):
        assert_refused(bare(ledger, data[:length]), "InstructionDidNotDeserialize")
    assert_refused(bare(ledger, data + b"\0"), "InstructionDidNotDeserialize")


@pytest.mark.parametrize(
    "arguments",
    [
        (2**32 - 1).to_bytes(4, "little"),
        (2**27).to_bytes(4, "little") + b"\0",  # 2^27 keys are 2^32 bytes
        (1).to_bytes(4, "little") + bytes(31),
        bytes(4) + b"\2",
        bytes(4) + b"\1\2",
    ],
)
def test_hostile_arguments_are_refused(ledger: Ledger, arguments: bytes) -> None:
    discriminator = bytes(VAULT_IDL.instructions["initialize_vault_authority"]["discriminator"])
    assert_refused(bare(ledger, discriminator + arguments), "InstructionDidNotDeserialize")


@pytest.mark.parametrize("data", [b"", b"\xf2", bytes(7), bytes(8), b"\xff" * 64])
def test_unknown_instructions_are_refused(ledger: Ledger, data: bytes) -> None:
    assert_refused(bare(ledger, data), "InstructionFallbackNotFound")


@pytest.mark.parametrize(
    ("count", "error"),
    [
        (128, None),
        (129, "InstructionErrorFieldless.InvalidArgument"),
        (200, "InstructionErrorFieldless.InvalidArgument"),
    ],
)
def test_more_accounts_than_the_program_can_hold_are_refused(
    ledger: Ledger, count: int, error: str | None
) -> None:
    info = chain.get_vault_info(ledger.owner().pubkey())
    metas = [*info.accounts, *[readonly(chain.MINT)] * (count - len(info.accounts))]
    outcome = ledger.send(Instruction(PROGRAM, bytes(info.data), metas), ledger.wallet())
    assert outcome.error == error


def test_get_vault_info_succeeds_only_for_vaults(ledger: Ledger) -> None:
    owner, payer = ledger.owner(), ledger.wallet()
    ledger.must(chain.get_vault_info(owner.pubkey()), payer)
    outcome = ledger.send(chain.get_vault_info(payer.pubkey()), payer)
    assert_refused(outcome, "AccountNotInitialized")


def test_accounts_have_the_length_of_their_fields_with_every_vector_full() -> None:
    keys = [Pubkey.default()]
    timelocks = [{"amount": 0, "unlock_time": 0}] * 64
    pending = [{"amount": 0, "requested_at": 0, "executable_at": 0}] * 64
    full: dict[str, Any] = {
        "multisig_signers": keys * 10,
        "delegates": keys * 16,
        "timelocks": timelocks,
    }
    full |= {"pending_withdrawals": pending, "withdraw_whitelist": keys * 32}
    assert length_of("CollateralVault", full) == chain.VAULT_LENGTH
    lists = {"authorized_programs": keys * 64, "yield_whitelist": keys * 64}
    assert length_of("VaultAuthority", lists) == chain.AUTHORITY_LENGTH


def length_of(name: str, vectors: dict[str, Any]) -> int:
    fields = {field["name"]: field["type"] for field in VAULT_IDL.types[name]["fields"]}
    values: dict[str, Any] = dict.fromkeys(fields, 0)
    values |= {field: Pubkey.default() for field, kind in fields.items() if kind == "pubkey"}
    reserved = {
        field: bytes(kind["array"][1]) for field, kind in fields.items() if field == "_reserved"
    }
    return len(VAULT_IDL.encode_account(name, values | reserved | vectors))

"""Governance's hand-over, pause and transfer limits, as instructions and as what they store."""

from typing import Any

from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

from tests.program.harness.instructions import build
from tests.program.harness.ledger import (
    VAULT_IDL,
    Ledger,
    program_data_address,
    readonly,
    transfer_limits_address,
)

HOUR = 60 * 60
DAY = 24 * HOUR
NOBODY = Pubkey.default()
LIMITS = AccountMeta(transfer_limits_address(), is_signer=False, is_writable=True)
"""The limits' account as a remaining account of a transfer."""


def propose(governance: Pubkey, proposed: Pubkey, /) -> Instruction:
    return build("propose_governance", governance, proposed=proposed)


def recover(
    upgrade_authority: Pubkey, proposed: Pubkey, /, *, program_data: Pubkey | None = None
) -> Instruction:
    """Return the proposal by the upgrade authority, which names the program-data account."""
    remaining = [readonly(program_data or program_data_address())]
    return build("propose_governance", upgrade_authority, remaining=remaining, proposed=proposed)


def accept(proposed: Pubkey, /) -> Instruction:
    return build("accept_governance", proposed)


def pause(governance: Pubkey, seconds: int, /) -> Instruction:
    return build("pause_withdrawals", governance, seconds=seconds)


def limit_transfers(governance: Pubkey, vault_daily: int, total_daily: int, /) -> Instruction:
    return build(
        "set_transfer_limits", governance, vault_daily=vault_daily, total_daily=total_daily
    )


def transfer_limits(ledger: Ledger) -> dict[str, Any]:
    return VAULT_IDL.decode_account("TransferLimits", ledger.data(transfer_limits_address()))


def change_limits(ledger: Ledger, **fields: Any) -> None:
    """Write fields of the transfer limits to values that no instruction under test can produce."""
    state = transfer_limits(ledger) | fields
    account = ledger.svm.get_account(transfer_limits_address())
    assert account is not None
    data = VAULT_IDL.encode_account("TransferLimits", state)
    ledger.put(transfer_limits_address(), account.owner, data)

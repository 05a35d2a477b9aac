"""A builder of any vault program instruction that fills in accounts by name."""

from collections.abc import Sequence
from typing import Any

from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

from tests.program.harness.ledger import (
    MINT,
    POSITION_MANAGER,
    VAULT_IDL,
    authority_address,
    instruction,
    token_address,
    transfer_limits_address,
    vault_address,
)


def build(
    name: str,
    owner: Pubkey,
    /,
    *,
    authority: Pubkey | None = None,
    remaining: Sequence[AccountMeta] = (),
    accounts: dict[str, Pubkey] | None = None,
    **arguments: Any,
) -> Instruction:
    """Return the instruction on `owner`'s vault, by `authority` (governance where it must sign).

    `accounts` replaces accounts that would be filled in and adds those that cannot be.
    """
    vault, authority = vault_address(owner), authority or owner
    payer_of_deposit = authority if name == "deposit" else owner
    known = {
        "authority": authority,
        "governance": authority,
        "new_governance": authority,
        "owner": owner,
        "user": owner,
        "vault": vault,
        "vault_authority": authority_address(),
        "transfer_limits": transfer_limits_address(),
        "vault_token_account": token_address(vault),
        "user_token_account": token_address(payer_of_deposit),
        "token_account": token_address(vault),
        "recipient_token_account": token_address(owner),
        "usdt_mint": MINT,
        "caller_program": POSITION_MANAGER,
    }
    wanted = {given["name"] for given in VAULT_IDL.instructions[name]["accounts"]}
    substitutes = accounts or {}
    assert substitutes.keys() <= wanted, f"{name} has no account {substitutes.keys() - wanted}"
    return instruction(name, arguments, known | substitutes, remaining)

"""The position manager beside the vault program, and its instructions by name."""

from collections.abc import Mapping
from typing import Any

from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.paths import PROGRAMS
from tests.program.harness.ledger import (
    POSITION_IDL,
    POSITION_MANAGER,
    PROGRAM,
    Ledger,
    authority_address,
    caller_address,
    readonly,
    summary_address,
    token_address,
    vault_address,
)

ELF = PROGRAMS / "position_manager.so"
INSTRUCTIONS = Pubkey.from_string("Sysvar1nstructions1111111111111111111111111")
SUMMARY_LENGTH = 96


def with_position_manager(ledger: Ledger) -> Ledger:
    """Deploy the position manager and make it the only authorized program."""
    ledger.svm.add_program(POSITION_MANAGER, ELF.read_bytes())
    ledger.change_authority(authorized_programs=[POSITION_MANAGER])
    return ledger


def trader(ledger: Ledger, *, deposited: int = 0) -> Keypair:
    """Create the owner of a vault with a position summary."""
    owner = ledger.owner(deposited=deposited)
    ledger.must(init_position_summary(owner.pubkey(), payer=owner.pubkey()), owner)
    return owner


def summary_of(ledger: Ledger, owner: Pubkey) -> dict[str, Any]:
    data = ledger.data(summary_address(vault_address(owner)))
    assert len(data) == SUMMARY_LENGTH
    return POSITION_IDL.decode_account("PositionSummaryAccount", data)


def instruction(
    name: str, arguments: dict[str, Any], accounts: Mapping[str, Pubkey]
) -> Instruction:
    metas = []
    for given in POSITION_IDL.instructions[name]["accounts"]:
        address = accounts.get(given["name"]) or Pubkey.from_string(given["address"])
        metas.append(AccountMeta(address, given.get("signer", False), given.get("writable", False)))
    data = POSITION_IDL.instruction_data(name, arguments)
    return Instruction(POSITION_MANAGER, data, metas)


def init_position_summary(owner: Pubkey, /, *, payer: Pubkey, **substitutes: Pubkey) -> Instruction:
    vault = vault_address(owner)
    accounts = {"payer": payer, "vault": vault, "position_summary": summary_address(vault)}
    return instruction("init_position_summary", {}, accounts | substitutes)


def change_position(
    name: str, owner: Pubkey, amount: int, /, *, authority: Pubkey | None, **substitutes: Pubkey
) -> Instruction:
    vault = vault_address(owner)
    accounts = {
        "caller_program": POSITION_MANAGER,
        "vault_authority": authority_address(),
        "vault": vault,
        "position_summary": summary_address(vault),
        "collateral_vault_program": PROGRAM,
        "authority": authority or owner,
    }
    return instruction(name, {"amount": amount}, accounts | substitutes)


def open_position(
    owner: Pubkey, amount: int, /, *, authority: Pubkey | None = None, **substitutes: Pubkey
) -> Instruction:
    return change_position("open_position", owner, amount, authority=authority, **substitutes)


def close_position(
    owner: Pubkey, amount: int, /, *, authority: Pubkey | None = None, **substitutes: Pubkey
) -> Instruction:
    return change_position("close_position", owner, amount, authority=authority, **substitutes)


def settle_position_summary(owner: Pubkey, /, **substitutes: Pubkey) -> Instruction:
    vault = vault_address(owner)
    accounts = {"vault": vault, "position_summary": summary_address(vault)}
    return instruction("settle_position_summary", {}, accounts | substitutes)


def extended(given: Instruction, *remaining: AccountMeta) -> Instruction:
    """Return the instruction with more accounts at its end."""
    return Instruction(given.program_id, bytes(given.data), [*given.accounts, *remaining])


def wrapped(given: Instruction) -> Instruction:
    """Return the instruction with the caller PDA, for a program that calls the position manager."""
    return extended(given, readonly(caller_address()))


def at_vault_program(given: Instruction, program: Pubkey, *owners: Pubkey) -> Instruction:
    """Return the instruction for another vault program, where these owners have their vaults."""
    places = {
        PROGRAM: program,
        authority_address(): authority_address(program),
        caller_address(): caller_address(vault_program=program),
    }
    for owner in owners:
        here, there = vault_address(owner), vault_address(owner, program)
        places |= {here: there, token_address(here): token_address(there)}
        places[summary_address(here)] = summary_address(there)
    metas = [
        AccountMeta(places.get(meta.pubkey, meta.pubkey), meta.is_signer, meta.is_writable)
        for meta in given.accounts
    ]
    program_id = places.get(given.program_id, given.program_id)
    return Instruction(program_id, bytes(given.data), metas)


def rebalance_collateral(
    governance: Pubkey, giver: Pubkey, taker: Pubkey, amount: int, /, **substitutes: Pubkey
) -> Instruction:
    """Return an instruction that moves `amount` from `giver`'s vault to `taker`'s."""
    accounts = {
        "caller_program": POSITION_MANAGER,
        "vault_authority": authority_address(),
        "from_vault": vault_address(giver),
        "to_vault": vault_address(taker),
        "from_vault_token_account": token_address(vault_address(giver)),
        "to_vault_token_account": token_address(vault_address(taker)),
        "collateral_vault_program": PROGRAM,
        "authority": governance,
    }
    return instruction("rebalance_collateral", {"amount": amount}, accounts | substitutes)

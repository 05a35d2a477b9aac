"""Each builder against the IDL: discriminator, account order, flags, addresses, arguments."""

from __future__ import annotations

from typing import Any

import pytest
from solders.instruction import Instruction
from solders.pubkey import Pubkey
from solders.token.associated import get_associated_token_address

from cvms.chain import instructions
from cvms.chain.addresses import ASSOCIATED_TOKEN_PROGRAM, SYSTEM_PROGRAM, TOKEN_PROGRAM
from cvms.chain.types import Programs
from tests.chain.idl_borsh import idl

OWNER, AUTHORITY, DELEGATE, RECIPIENT, COSIGNER = (Pubkey.new_unique() for _ in range(5))
SUMMARIES = [Pubkey.new_unique(), Pubkey.new_unique()]
U64 = (1234).to_bytes(8, "little")


def built(programs: Programs) -> dict[str, tuple[Instruction, bytes, dict[str, Pubkey]]]:
    """By name: the instruction, its arguments' bytes, and who is in its named places."""
    vault = instructions.vault_address(programs, OWNER)
    vault_tokens = instructions.token_account(vault, programs.mint)
    authority_tokens = instructions.token_account(AUTHORITY, programs.mint)
    keys = b"\2\0\0\0" + b"".join(map(bytes, SUMMARIES))
    return {
        "initialize_vault_authority": (
            instructions.initialize_vault_authority(
                programs, governance=AUTHORITY, authorized_programs=SUMMARIES, freeze=False
            ),
            keys + b"\1\0",
            {"governance": AUTHORITY},
        ),
        "initialize_vault": (
            instructions.initialize_vault(programs, OWNER),
            b"",
            {
                "user": OWNER,
                "vault": vault,
                "vault_token_account": vault_tokens,
                "usdt_mint": programs.mint,
            },
        ),
        "deposit": (
            instructions.deposit(programs, authority=AUTHORITY, owner=OWNER, amount=1234),
            U64,
            {
                "authority": AUTHORITY,
                "owner": OWNER,
                "vault": vault,
                "user_token_account": authority_tokens,
                "vault_token_account": vault_tokens,
            },
        ),
        "withdraw": (
            instructions.withdraw(
                programs,
                authority=AUTHORITY,
                owner=OWNER,
                recipient_token_account=RECIPIENT,
                position_summaries=SUMMARIES,
                amount=1234,
                extra_signers=[COSIGNER],
            ),
            U64,
            {
                "authority": AUTHORITY,
                "owner": OWNER,
                "vault": vault,
                "vault_authority": instructions.vault_authority_address(programs),
                "vault_token_account": vault_tokens,
                "user_token_account": RECIPIENT,
            },
        ),
        "add_delegate": (
            instructions.add_delegate(programs, owner=OWNER, delegate=DELEGATE),
            bytes(DELEGATE),
            {"owner": OWNER, "vault": vault},
        ),
        "remove_delegate": (
            instructions.remove_delegate(programs, owner=OWNER, delegate=DELEGATE),
            bytes(DELEGATE),
            {"owner": OWNER, "vault": vault},
        ),
    }


NAMES = (
    "initialize_vault_authority",
    "initialize_vault",
    "deposit",
    "withdraw",
    "add_delegate",
    "remove_delegate",
)


@pytest.mark.parametrize("name", NAMES)
def test_an_instruction_is_what_the_idl_says(name: str, programs: Programs) -> None:
    instruction, arguments, places = built(programs)[name]
    [entry] = [each for each in idl("collateral_vault")["instructions"] if each["name"] == name]
    assert instruction.program_id == programs.vault
    assert instruction.data == bytes(entry["discriminator"]) + arguments
    slots: list[dict[str, Any]] = entry["accounts"]
    for slot, meta in zip(slots, instruction.accounts[: len(slots)], strict=True):
        assert meta.is_writable == slot.get("writable", False), slot["name"]
        assert meta.is_signer == slot.get("signer", False), slot["name"]
        if "address" in slot:
            assert str(meta.pubkey) == slot["address"]
        elif slot["name"] in places:
            assert meta.pubkey == places[slot["name"]], slot["name"]


def test_a_withdrawal_lists_position_summaries_then_cosigners(programs: Programs) -> None:
    instruction, _, _ = built(programs)["withdraw"]
    remaining = [(m.pubkey, m.is_signer, m.is_writable) for m in instruction.accounts[7:]]
    assert remaining == [
        *((summary, False, False) for summary in SUMMARIES),
        (COSIGNER, True, False),
    ]


@pytest.mark.parametrize(
    ("freeze", "flag"), [(None, b"\0"), (False, b"\1\0"), (True, b"\1\1")], ids=str
)
def test_the_freeze_flag_is_an_option(programs: Programs, freeze: bool | None, flag: bytes) -> None:
    instruction = instructions.initialize_vault_authority(programs, governance=OWNER, freeze=freeze)
    assert instruction.data[8:] == b"\0\0\0\0" + flag


@pytest.mark.parametrize("amount", [-1, 2**64])
def test_an_amount_outside_64_bits_is_refused(programs: Programs, amount: int) -> None:
    with pytest.raises(ValueError, match="range"):
        instructions.deposit(programs, authority=OWNER, owner=OWNER, amount=amount)


def test_a_token_account_is_the_associated_one_and_creating_it_twice_is_allowed(
    programs: Programs,
) -> None:
    address = instructions.token_account(OWNER, programs.mint)
    assert address == get_associated_token_address(OWNER, programs.mint)
    create = instructions.create_token_account(payer=AUTHORITY, owner=OWNER, mint=programs.mint)
    assert create.program_id == ASSOCIATED_TOKEN_PROGRAM
    assert create.data == b"\1"
    assert [meta.pubkey for meta in create.accounts] == [
        AUTHORITY,
        address,
        OWNER,
        programs.mint,
        SYSTEM_PROGRAM,
        TOKEN_PROGRAM,
    ]
    assert [meta.is_signer for meta in create.accounts] == [True, *[False] * 5]
    assert [meta.is_writable for meta in create.accounts] == [True, True, *[False] * 4]

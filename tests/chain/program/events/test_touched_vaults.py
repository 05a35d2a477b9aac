"""Vaults to fetch again after a transaction."""

from __future__ import annotations

from typing import Any

import pytest
from solders.instruction import Instruction
from solders.pubkey import Pubkey

from cvms.chain.borsh import discriminator
from cvms.chain.program import instructions
from cvms.chain.program.addresses import token_account, vault_address
from cvms.chain.program.events.touched_vaults import (
    ClosedVault,
    OpenedVault,
    touched_vaults,
    vault_lifecycle,
)
from cvms.chain.rpc.responses import RawInstruction, TransactionRecord
from cvms.chain.types import Lamports, Programs, Slot
from tests.chain.program.idl_borsh import idl

OWNER = Pubkey.new_unique()


def record(*given: RawInstruction, err: Any = None) -> TransactionRecord:
    return TransactionRecord("s", Slot(1), None, err, [], [], list(given), Lamports(5000))


def raw(
    program: Pubkey, name: str, accounts: list[Pubkey], inner: int | None = None
) -> RawInstruction:
    return RawInstruction(0, inner, program, tuple(accounts), discriminator("global", name))


def test_a_deposit_touches_the_owners_vault(programs: Programs) -> None:
    deposit = instructions.deposit(programs, authority=OWNER, owner=OWNER, amount=1)
    accounts = tuple(meta.pubkey for meta in deposit.accounts)
    executed = RawInstruction(0, None, programs.vault, accounts, deposit.data)
    vault = vault_address(programs, OWNER)
    assert touched_vaults(record(executed), programs) == {vault}
    assert touched_vaults(record(executed, err="AccountInUse"), programs) == set()


def test_every_instruction_that_writes_a_vault_touches_it(programs: Programs) -> None:
    for entry in idl("collateral_vault")["instructions"]:
        accounts = [Pubkey.new_unique() for _ in entry["accounts"]]
        expected = {
            account
            for account, slot in zip(accounts, entry["accounts"], strict=True)
            if slot["name"] in ("vault", "from_vault", "to_vault") and slot.get("writable")
        }
        executed = raw(programs.vault, entry["name"], accounts)
        assert touched_vaults(record(executed), programs) == expected, entry["name"]


def test_inner_instructions_count_and_other_programs_do_not(programs: Programs) -> None:
    accounts = [Pubkey.new_unique() for _ in range(8)]
    transfer = raw(programs.vault, "transfer_collateral", accounts, inner=3)
    foreign = raw(programs.position_manager, "transfer_collateral", accounts[::-1])
    assert touched_vaults(record(foreign, transfer), programs) == {accounts[3], accounts[4]}


@pytest.mark.parametrize("name", ["open_position", "close_position"])
def test_a_position_touches_its_vault_even_without_inner_instructions(
    programs: Programs, name: str
) -> None:
    built: Instruction = getattr(instructions, name)(
        programs, authority=OWNER, owner=OWNER, amount=1
    )
    accounts = tuple(meta.pubkey for meta in built.accounts)
    executed = RawInstruction(0, None, programs.position_manager, accounts, built.data)
    vault = vault_address(programs, OWNER)
    assert touched_vaults(record(executed), programs) == {vault}
    assert touched_vaults(record(executed, err="AccountInUse"), programs) == set()


def test_rebalancing_touches_both_vaults_with_and_without_inner_instructions(
    programs: Programs,
) -> None:
    other = Pubkey.new_unique()
    rebalance = instructions.rebalance_collateral(
        programs, authority=OWNER, from_owner=OWNER, to_owner=other, amount=1
    )
    transfer = instructions.transfer_collateral(
        programs,
        caller_program=programs.position_manager,
        from_owner=OWNER,
        to_owner=other,
        amount=1,
    )
    top, inner = (
        RawInstruction(0, index, each.program_id, tuple(m.pubkey for m in each.accounts), each.data)
        for index, each in [(None, rebalance), (0, transfer)]
    )
    vaults = {vault_address(programs, each) for each in (OWNER, other)}
    assert touched_vaults(record(top), programs) == vaults
    assert touched_vaults(record(top, inner), programs) == vaults


def test_a_new_position_summary_touches_no_vault(programs: Programs) -> None:
    summary = instructions.init_position_summary(programs, payer=OWNER, owner=OWNER)
    accounts = tuple(meta.pubkey for meta in summary.accounts)
    executed = RawInstruction(0, None, programs.position_manager, accounts, summary.data)
    assert touched_vaults(record(executed), programs) == set()


def test_too_few_accounts_and_unknown_instructions_touch_nothing(programs: Programs) -> None:
    short = raw(programs.vault, "deposit", [OWNER])
    unknown = raw(programs.vault, "no_such_thing", [OWNER] * 5)
    empty = RawInstruction(0, None, programs.vault, (OWNER,) * 5, b"")
    assert touched_vaults(record(short, unknown, empty), programs) == set()


def test_a_vault_is_opened_with_the_mint_that_its_instruction_names(programs: Programs) -> None:
    initialize = instructions.initialize_vault(programs, OWNER)
    accounts = tuple(meta.pubkey for meta in initialize.accounts)
    executed = RawInstruction(0, 2, programs.vault, accounts, initialize.data)
    vault = vault_address(programs, OWNER)
    assert vault_lifecycle(record(executed), programs) == [
        OpenedVault(
            owner=OWNER,
            vault=vault,
            token_account=token_account(vault, programs.mint),
            mint=programs.mint,
        )
    ]
    assert vault_lifecycle(record(executed, err="AccountInUse"), programs) == []
    short = raw(programs.vault, "initialize_vault", [OWNER])
    assert vault_lifecycle(record(short), programs) == []


def test_openings_and_closings_are_listed_in_order(programs: Programs) -> None:
    def executed(instruction: Instruction) -> RawInstruction:
        accounts = tuple(meta.pubkey for meta in instruction.accounts)
        return RawInstruction(0, None, instruction.program_id, accounts, instruction.data)

    initialize = executed(instructions.initialize_vault(programs, OWNER))
    close = executed(instructions.close_vault(programs, OWNER))
    vault = vault_address(programs, OWNER)
    opened = OpenedVault(OWNER, vault, initialize.accounts[2], programs.mint)
    changes = vault_lifecycle(record(initialize, close, initialize), programs)
    assert changes == [opened, ClosedVault(vault), opened]
    assert vault_lifecycle(record(close, err="AccountInUse"), programs) == []
    elsewhere = RawInstruction(0, None, OWNER, close.accounts, close.data)
    assert vault_lifecycle(record(elsewhere), programs) == []

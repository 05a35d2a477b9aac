"""Assertions on what an instruction does to a vault."""

from typing import Any

from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.program.harness.ledger import Event, Ledger, vault_address
from tests.program.harness.refusals import assert_refused


def changes(
    ledger: Ledger, owner: Pubkey, instruction: Instruction, *signers: Keypair, **fields: Any
) -> tuple[Event, ...]:
    """Send the instruction, assert that exactly `fields` of the vault change, return the events."""
    before = ledger.vault(owner)
    unmoved = [name for name, value in fields.items() if before[name] == value]
    assert not unmoved, f"{unmoved} had that value before"
    outcome = ledger.must(instruction, *signers)
    assert ledger.vault(owner) == before | fields
    return outcome.events


def refused(
    ledger: Ledger, owner: Pubkey, instruction: Instruction, *signers: Keypair, error: str
) -> None:
    """Assert that the instruction fails with `error`, without an event or a change of holdings."""
    before = _holdings(ledger, owner)
    outcome = ledger.send(instruction, *signers)
    assert_refused(outcome, error)
    assert outcome.events == ()
    assert _holdings(ledger, owner) == before


def _holdings(ledger: Ledger, owner: Pubkey) -> tuple[bytes, int, int]:
    vault = vault_address(owner)
    return ledger.data(vault), ledger.tokens(vault), ledger.tokens(owner)

"""Only the upgrade authority replaces a program's code: the loader asks for its signature."""

import pytest
from solders.keypair import Keypair

from cvms.chain.program.upgradeable_loader import PROGRAM_DATA_HEADER
from tests.program.harness.ledger import Ledger, program_data_address
from tests.program.harness.loader import open_loader
from tests.program.harness.puppet import ELF as PUPPET_ELF


def test_nobody_but_the_upgrade_authority_replaces_the_code(ledger: Ledger) -> None:
    owner, thief = open_loader(ledger), open_loader(ledger)
    program, elf = Keypair().pubkey(), PUPPET_ELF.read_bytes()
    owner.deploy(program, elf)

    def code() -> bytes:
        return ledger.data(program_data_address(program))[PROGRAM_DATA_HEADER:]

    changed = elf[:-1] + bytes([elf[-1] ^ 1])
    with pytest.raises(AssertionError, match="IncorrectAuthority"):
        thief.upgrade(program, changed)
    assert code() == elf
    owner.upgrade(program, changed)
    assert code() == changed

"""Programs that are deployed already, with the keys of their deployment."""

from __future__ import annotations

import pytest
from solana.constants import SYSTEM_PROGRAM_ID
from solders.keypair import Keypair

from cvms.bootstrap.key_files import key_in
from cvms.chain.program.bundled_programs import PROGRAM_SETTINGS, bundled_elf
from cvms.localnet.ledger.program_deployment import deploy
from tests.bootstrap.deployer import Deployer


@pytest.fixture
def deployed(deployer: Deployer) -> Deployer:
    """The programs of this package, with the keys and the settings of their deployment."""
    keys = deployer.folder / "keys"
    owner = key_in(keys / "upgrade_authority.json").saved().address
    deployer.put(key_in(keys / "operator.json").saved().address, SYSTEM_PROGRAM_ID, b"")
    for name, setting in PROGRAM_SETTINGS.items():
        program = Keypair().pubkey()
        deploy(deployer.running.chain, program, bundled_elf(name), authority=owner)
        with deployer.env_file.open("a") as settings:
            settings.write(f"{setting}={program}\n")
    return deployer

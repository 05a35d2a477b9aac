import pytest
from solders.keypair import Keypair

from tests.program.harness.ledger import Ledger
from tests.program.harness.venues import Venue, open_venue


@pytest.fixture
def ledger() -> Ledger:
    """A chain with the program and the mint, nothing initialized."""
    return Ledger()


@pytest.fixture
def governance(ledger: Ledger) -> Keypair:
    """The governance key of an authority that lists no programs."""
    keypair = ledger.wallet()
    ledger.initialize_authority(keypair)
    return keypair


@pytest.fixture
def governed(ledger: Ledger, governance: Keypair) -> Ledger:
    """A chain on which vaults can be opened and emptied."""
    assert ledger.authority()["governance"] == governance.pubkey()
    return ledger


@pytest.fixture
def venue(governed: Ledger, governance: Keypair) -> Venue:
    """The pool of a whitelisted yield program that pays five percent a year."""
    return open_venue(governed, governance)

import pytest
from solders.keypair import Keypair

from tests.program.harness.guard_changes import DAY, WEEK, min_delay, multisig, rate_limit
from tests.program.harness.ledger import START, Ledger, signer, withdraw


@pytest.fixture
def owner(governed: Ledger) -> Keypair:
    """The owner of 1,000 in a vault without guards, opened a second ago."""
    governed.set_time(START - 1)
    owner = governed.owner(deposited=1_000)
    governed.set_time(START)
    return owner


@pytest.fixture
def cosigners(governed: Ledger, owner: Keypair) -> list[Keypair]:
    """Two of these three sign for the vault."""
    keypairs = [governed.wallet() for _ in range(3)]
    governed.must(multisig(keypairs, 2).at_once(owner), owner)
    return keypairs


@pytest.fixture
def guarded(governed: Ledger, owner: Keypair, cosigners: list[Keypair]) -> Keypair:
    """The owner of a vault with a rate limit partly used up, a multisig, and a delay."""
    one, two, _ = cosigners
    governed.must(rate_limit(DAY, 100).at_once(owner), owner)
    remove = withdraw(owner.pubkey(), 40, remaining=[signer(one.pubkey()), signer(two.pubkey())])
    governed.must(remove, owner, one, two)
    governed.must(min_delay(WEEK + DAY).at_once(owner), owner)
    return owner

"""Only the upgrade authority initializes the authority, and replaces a governance key."""

from typing import Any

import pytest
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.program.harness.governing import NOBODY, accept, propose, recover
from tests.program.harness.instructions import build
from tests.program.harness.ledger import (
    PROGRAM,
    SYSTEM,
    UPGRADEABLE_LOADER,
    Ledger,
    authority_address,
    govern,
    initialize_vault_authority,
    program_data_address,
    readonly,
)
from tests.program.harness.puppet import PUPPET, with_puppet
from tests.program.harness.refusals import assert_refused

BUFFER, PROGRAM_STATE, PROGRAM_DATA = 1, 2, 3


def program_data(
    authority: Pubkey | None, *, tag: int = PROGRAM_DATA, left: Pubkey = NOBODY
) -> bytes:
    """Return the start of a loader's account. `left` are the bytes of a removed authority."""
    option = b"\0" + bytes(left) if authority is None else b"\1" + bytes(authority)
    return tag.to_bytes(4, "little") + bytes(8) + option + b"code"


def initialize(key: Pubkey, *data: Pubkey) -> Instruction:
    arguments: dict[str, Any] = {"authorized_programs": [], "freeze": None}
    remaining = [readonly(each) for each in data]
    return build("initialize_vault_authority", key, remaining=remaining, **arguments)


# Initialization


def test_a_stranger_who_is_faster_does_not_become_governance(ledger: Ledger) -> None:
    """Deployment and initialization are two transactions: anyone can send one in between."""
    deployer, stranger = ledger.wallet(), ledger.wallet()
    ledger.set_upgrade_authority(deployer.pubkey())
    outcome = ledger.send(initialize_vault_authority(stranger.pubkey()), stranger)
    assert_refused(outcome, "NotUpgradeAuthority")
    ledger.must(initialize_vault_authority(deployer.pubkey()), deployer)
    assert ledger.authority()["governance"] == deployer.pubkey()


def test_the_program_data_account_is_needed(ledger: Ledger) -> None:
    deployer = ledger.wallet()
    ledger.set_upgrade_authority(deployer.pubkey())
    outcome = ledger.send(initialize(deployer.pubkey()), deployer)
    assert_refused(outcome, "AccountNotEnoughKeys")
    assert ledger.data(authority_address()) == b""


def test_a_program_without_an_upgrade_authority_is_not_initialized(ledger: Ledger) -> None:
    """The loader leaves the key of a removed authority behind: it counts no more."""
    former = ledger.wallet()
    data = program_data(None, left=former.pubkey())
    ledger.put(program_data_address(), UPGRADEABLE_LOADER, data)
    outcome = ledger.send(initialize_vault_authority(former.pubkey()), former)
    assert_refused(outcome, "NotUpgradeAuthority")


@pytest.mark.parametrize(
    ("at", "owner", "tag"),
    [
        ("elsewhere", UPGRADEABLE_LOADER, PROGRAM_DATA),
        ("of the attacker's program", UPGRADEABLE_LOADER, PROGRAM_DATA),
        ("right", SYSTEM, PROGRAM_DATA),
        ("right", PROGRAM, PROGRAM_DATA),
        ("right", UPGRADEABLE_LOADER, BUFFER),
        ("right", UPGRADEABLE_LOADER, PROGRAM_STATE),
        ("right", UPGRADEABLE_LOADER, 0),
    ],
)
def test_no_other_account_names_the_upgrade_authority(
    ledger: Ledger, at: str, owner: Pubkey, tag: int
) -> None:
    thief = ledger.wallet()
    address = {
        "elsewhere": Keypair().pubkey(),
        "of the attacker's program": program_data_address(PUPPET),
        "right": program_data_address(),
    }[at]
    with_puppet(ledger)
    ledger.put(address, owner, program_data(thief.pubkey(), tag=tag))
    outcome = ledger.send(initialize(thief.pubkey(), address), thief)
    assert_refused(outcome, "NotUpgradeAuthority")
    assert ledger.data(authority_address()) == b""


def test_the_program_account_itself_does_not_name_it(ledger: Ledger) -> None:
    thief = ledger.wallet()
    for address in (PROGRAM, thief.pubkey(), Keypair().pubkey()):
        outcome = ledger.send(initialize(thief.pubkey(), address), thief)
        assert_refused(outcome, "NotUpgradeAuthority")


# Recovery


@pytest.fixture
def deployer(governed: Ledger) -> Keypair:
    """The upgrade authority, which is not governance."""
    deployer = governed.wallet()
    governed.set_upgrade_authority(deployer.pubkey())
    return deployer


def test_the_upgrade_authority_replaces_a_leaked_key_in_one_transaction(
    governed: Ledger, governance: Keypair, deployer: Keypair
) -> None:
    """The thief has proposed himself. Nothing comes between the proposal and its acceptance."""
    thief, new = governed.wallet(), governed.wallet()
    governed.must(propose(governance.pubkey(), thief.pubkey()), governance)
    steps = [recover(deployer.pubkey(), new.pubkey()), accept(new.pubkey())]
    outcome = governed.send(steps, deployer, new)
    assert outcome.error is None, outcome
    authority = governed.authority()
    assert (authority["governance"], authority["pending_governance"]) == (new.pubkey(), NOBODY)
    proposed = {"authority": deployer.pubkey(), "proposed": new.pubkey()}
    accepted = {"old_governance": governance.pubkey(), "new_governance": new.pubkey()}
    assert outcome.events == (
        ("GovernanceProposedEvent", proposed),
        ("GovernanceAcceptedEvent", accepted),
    )
    for taken in (accept(thief.pubkey()), govern("set_freeze_flag", thief.pubkey(), value=True)):
        assert_refused(governed.send(taken, thief), "Unauthorized")
    for lost in (
        propose(governance.pubkey(), thief.pubkey()),
        govern("set_freeze_flag", governance.pubkey(), value=True),
    ):
        assert_refused(governed.send(lost, governance), "Unauthorized")
    governed.must(govern("set_freeze_flag", new.pubkey(), value=True), new)


def test_a_thief_who_comes_between_two_transactions_of_the_recovery_wins_nothing_lasting(
    governed: Ledger, governance: Keypair, deployer: Keypair
) -> None:
    thief, new = governed.wallet(), governed.wallet()
    governed.must(recover(deployer.pubkey(), new.pubkey()), deployer)
    governed.must(propose(governance.pubkey(), thief.pubkey()), governance)
    assert_refused(governed.send(accept(new.pubkey()), new), "Unauthorized")
    governed.must(accept(thief.pubkey()), thief)
    steps = [recover(deployer.pubkey(), new.pubkey()), accept(new.pubkey())]
    assert governed.send(steps, deployer, new).error is None
    assert governed.authority()["governance"] == new.pubkey()


def test_the_upgrade_authority_may_name_itself(governed: Ledger, deployer: Keypair) -> None:
    steps = [recover(deployer.pubkey(), deployer.pubkey()), accept(deployer.pubkey())]
    assert governed.send(steps, deployer).error is None
    assert governed.authority()["governance"] == deployer.pubkey()


def test_nobody_else_recovers(governed: Ledger, deployer: Keypair) -> None:
    thief = governed.wallet()
    assert_refused(governed.send(propose(thief.pubkey(), thief.pubkey()), thief), "Unauthorized")
    given = recover(thief.pubkey(), thief.pubkey())
    assert_refused(governed.send(given, thief), "NotUpgradeAuthority")
    fake = Keypair().pubkey()
    governed.put(fake, UPGRADEABLE_LOADER, program_data(thief.pubkey()))
    given = recover(thief.pubkey(), thief.pubkey(), program_data=fake)
    assert_refused(governed.send(given, thief), "NotUpgradeAuthority")
    assert_refused(
        governed.send(propose(deployer.pubkey(), thief.pubkey()), deployer), "Unauthorized"
    )
    assert governed.authority()["pending_governance"] == NOBODY


def test_the_upgrade_authority_governs_only_after_it_took_over(
    governed: Ledger, deployer: Keypair
) -> None:
    given = govern("set_freeze_flag", deployer.pubkey(), value=True)
    assert_refused(governed.send(given, deployer), "Unauthorized")

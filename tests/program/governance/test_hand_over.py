"""Governance moves to another key in two steps: it proposes, and the other key accepts."""

import pytest
from solders.keypair import Keypair

from tests.program.harness.governing import NOBODY, accept, propose
from tests.program.harness.ledger import Ledger, govern
from tests.program.harness.refusals import assert_refused


@pytest.fixture
def successor(governed: Ledger) -> Keypair:
    return governed.wallet()


def test_governance_passes_on_when_the_proposed_key_accepts(
    governed: Ledger, governance: Keypair, successor: Keypair
) -> None:
    before = governed.authority()
    outcome = governed.must(propose(governance.pubkey(), successor.pubkey()), governance)
    assert governed.authority() == before | {"pending_governance": successor.pubkey()}
    event = {"authority": governance.pubkey(), "proposed": successor.pubkey()}
    assert outcome.events == (("GovernanceProposedEvent", event),)

    outcome = governed.must(accept(successor.pubkey()), successor)
    assert governed.authority() == before | {"governance": successor.pubkey()}
    event = {"old_governance": governance.pubkey(), "new_governance": successor.pubkey()}
    assert outcome.events == (("GovernanceAcceptedEvent", event),)


def test_the_old_key_governs_until_then_and_no_longer(
    governed: Ledger, governance: Keypair, successor: Keypair
) -> None:
    old, new = governance.pubkey(), successor.pubkey()
    governed.must(propose(old, new), governance)
    governed.must(govern("set_risk_level", old, value=1), governance)
    outcome = governed.send(govern("set_risk_level", new, value=2), successor)
    assert_refused(outcome, "Unauthorized")
    governed.must(accept(new), successor)
    outcome = governed.send(govern("set_risk_level", old, value=3), governance)
    assert_refused(outcome, "Unauthorized")
    governed.must(govern("set_risk_level", new, value=4), successor)


def test_only_the_proposed_key_accepts(
    governed: Ledger, governance: Keypair, successor: Keypair
) -> None:
    """Before a proposal nobody does: the stored key is zeros, with which nobody signs."""
    thief = governed.wallet()
    for each in (thief, governance, successor):
        assert_refused(governed.send(accept(each.pubkey()), each), "Unauthorized")
    governed.must(propose(governance.pubkey(), successor.pubkey()), governance)
    for each in (thief, governance):
        assert_refused(governed.send(accept(each.pubkey()), each), "Unauthorized")
    governed.must(accept(successor.pubkey()), successor)


def test_an_acceptance_counts_once(
    governed: Ledger, governance: Keypair, successor: Keypair
) -> None:
    governed.must(propose(governance.pubkey(), successor.pubkey()), governance)
    governed.must(accept(successor.pubkey()), successor)
    governed.must(propose(successor.pubkey(), governance.pubkey()), successor)
    governed.must(accept(governance.pubkey()), governance)
    assert_refused(governed.send(accept(successor.pubkey()), successor), "Unauthorized")


def test_a_proposal_is_replaced_or_cancelled(
    governed: Ledger, governance: Keypair, successor: Keypair
) -> None:
    key, other = governance.pubkey(), governed.wallet()
    governed.must(propose(key, successor.pubkey()), governance)
    governed.must(propose(key, other.pubkey()), governance)
    assert_refused(governed.send(accept(successor.pubkey()), successor), "Unauthorized")
    outcome = governed.must(propose(key, NOBODY), governance)
    event = {"authority": key, "proposed": NOBODY}
    assert outcome.events == (("GovernanceProposedEvent", event),)
    assert_refused(governed.send(accept(other.pubkey()), other), "Unauthorized")


def test_a_proposed_key_proposes_nobody(
    governed: Ledger, governance: Keypair, successor: Keypair
) -> None:
    governed.must(propose(governance.pubkey(), successor.pubkey()), governance)
    outcome = governed.send(propose(successor.pubkey(), Keypair().pubkey()), successor)
    assert_refused(outcome, "Unauthorized")

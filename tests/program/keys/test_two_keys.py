"""What two leaked keys cost together. docs/security.md says so."""

from solders.keypair import Keypair

from tests.program.harness.guard_changes import DAY, min_delay
from tests.program.harness.instructions import build
from tests.program.harness.ledger import Ledger, add_delegate
from tests.program.harness.puppet import PUPPET
from tests.program.harness.venues import move, refused
from tests.program.yields.hostile import POCKET, order, take, whitelist_hostile_program


def test_governance_and_a_delegate_do_not_lend_to_a_thief(
    governed: Ledger, governance: Keypair
) -> None:
    """An operator may hold both keys, and lose both."""
    owner, delegate = governed.owner(deposited=1_000), governed.wallet()
    governed.must(add_delegate(owner.pubkey(), delegate.pubkey()), owner)
    governed.must(min_delay(DAY).at_once(owner), owner)
    limit = build(
        "set_transfer_limits",
        owner.pubkey(),
        authority=governance.pubkey(),
        vault_daily=10,
        total_daily=10,
    )
    governed.must(limit, governance)
    whitelist_hostile_program(governed, governance)
    given = order(governed, "yield_deposit", owner, take(owner, 1_000), amount=1_000)
    through = given.accounts[5:]
    by_delegate = move(
        "yield_deposit",
        owner.pubkey(),
        1_000,
        program=PUPPET,
        through=through,
        authority=delegate.pubkey(),
    )
    refused(governed, by_delegate, delegate, error="Unauthorized")
    assert governed.tokens_at(POCKET) == 0

"""What is lent comes back, whatever else governance has listed."""

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.program.harness.ledger import PROGRAM, TOKEN, Ledger, vault_address
from tests.program.harness.venues import Venue, assert_balances_match_tokens, whitelist


@pytest.mark.parametrize("obstacle", [PROGRAM, TOKEN, None])
def test_no_entry_of_the_yield_list_keeps_what_is_lent(
    governed: Ledger, governance: Keypair, venue: Venue, obstacle: Pubkey | None
) -> None:
    """The entry owns accounts that the yield program needs; None is the owner of SPL Token."""
    owner = venue.enter(governed.owner(deposited=1_000))
    key = owner.pubkey()
    governed.must(venue.move("yield_deposit", key, 400), owner)
    program = governed.svm.get_account(TOKEN)
    assert program is not None
    whitelist(governed, governance, obstacle or program.owner)
    governed.must(venue.move("yield_withdraw", key, 400), owner)
    vault = governed.vault(key)
    assert (vault["available_balance"], vault["yield_deposited_balance"]) == (1_000, 0)
    assert governed.tokens(vault_address(key)) == 1_000
    assert_balances_match_tokens(governed, key)

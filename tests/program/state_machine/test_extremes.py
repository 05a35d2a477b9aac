from solders.keypair import Keypair

from tests.program.harness.instructions import build
from tests.program.harness.ledger import Ledger, govern, vault_address

from .model import U64
from .names import key


def test_yield_kept_in_the_vault_is_not_counted_twice_when_the_sum_exceeds_64_bits(
    governed: Ledger, governance: Keypair
) -> None:
    program = key("pool")
    governed.must(govern("add_yield_program", governance.pubkey(), value=program), governance)
    owner = governed.owner(deposited=U64)
    given = {"yield_program": program}
    governed.must(build("yield_deposit", owner.pubkey(), accounts=given, amount=2**63), owner)

    governed.must(build("emergency_withdraw", owner.pubkey(), amount=1), owner)

    assert governed.tokens(vault_address(owner.pubkey())) == U64 - 1
    assert governed.vault(owner.pubkey())["total_balance"] == U64 - 1

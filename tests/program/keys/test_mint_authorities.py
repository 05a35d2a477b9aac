"""Who freezes the mint's token accounts stops payments of a vault, and takes nothing."""

from solders.instruction import Instruction

from tests.program.harness import positions
from tests.program.harness.ledger import (
    MINT,
    TOKEN,
    Ledger,
    readonly,
    signer,
    summary_address,
    token_address,
    vault_address,
    withdraw,
)
from tests.program.harness.venues import writable

MINT_TO, FREEZE, THAW = 7, 10, 11


def test_a_frozen_vault_pays_nothing_until_it_is_thawed(governed: Ledger) -> None:
    positions.with_position_manager(governed)
    owner, issuer = positions.trader(governed, deposited=100), governed.wallet()
    key, vault = owner.pubkey(), vault_address(owner.pubkey())
    tokens = token_address(vault)
    authority = b"\1\0\0\0" + bytes(issuer.pubkey())
    governed.put(MINT, TOKEN, authority + governed.data(MINT)[36:46] + authority)

    def by_issuer(tag: int) -> Instruction:
        accounts = [writable(tokens), readonly(MINT), signer(issuer.pubkey())]
        return Instruction(TOKEN, bytes([tag]), accounts)

    pay = withdraw(key, 100, remaining=[readonly(summary_address(vault))])
    governed.must(by_issuer(FREEZE), issuer)
    before = governed.vault(key)
    outcome = governed.send(pay, owner)
    assert any("Error: Account is frozen" in line for line in outcome.logs)
    assert governed.vault(key) == before
    governed.must(positions.open_position(key, 60), owner)
    governed.must(positions.close_position(key, 60), owner)
    governed.must(by_issuer(THAW), issuer)
    governed.must(pay, owner)


def test_minted_tokens_change_no_balance(governed: Ledger) -> None:
    owner, issuer = governed.owner(deposited=100), governed.wallet()
    key, tokens = owner.pubkey(), token_address(vault_address(owner.pubkey()))
    authority = b"\1\0\0\0" + bytes(issuer.pubkey())
    governed.put(MINT, TOKEN, authority + governed.data(MINT)[36:46] + bytes(36))
    before = governed.vault(key)
    accounts = [writable(MINT), writable(tokens), signer(issuer.pubkey())]
    mint = Instruction(TOKEN, bytes([MINT_TO]) + (50).to_bytes(8, "little"), accounts)
    governed.must(mint, issuer)
    assert governed.vault(key) == before
    assert governed.tokens_at(tokens) == 150

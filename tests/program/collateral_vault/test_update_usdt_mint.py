"""Governance gives an empty vault another mint."""

import pytest
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.program.harness.effects import changes, refused
from tests.program.harness.instructions import build
from tests.program.harness.ledger import (
    MINT,
    TOKEN,
    Ledger,
    mint_data,
    token_address,
    token_data,
    vault_address,
    withdraw,
    without,
)

NEW_MINT = Keypair().pubkey()


@pytest.fixture
def owner(governed: Ledger) -> Keypair:
    """The owner of an empty vault, on a chain with a second mint."""
    governed.put(NEW_MINT, TOKEN, mint_data())
    owner = governed.owner(deposited=10)
    governed.must(withdraw(owner.pubkey(), 10), owner)
    return owner


def update(
    owner: Keypair, by: Keypair, mint: Pubkey = NEW_MINT, /, **accounts: Pubkey
) -> Instruction:
    tokens = token_address(vault_address(owner.pubkey()), mint)
    return build(
        "update_usdt_mint",
        owner.pubkey(),
        authority=by.pubkey(),
        accounts={"new_mint": mint, "vault_token_account": tokens} | accounts,
    )


def test_the_vault_works_with_its_new_mint_and_no_longer_with_the_old(
    governed: Ledger, governance: Keypair, owner: Keypair
) -> None:
    key, vault = owner.pubkey(), vault_address(owner.pubkey())
    tokens = token_address(vault, NEW_MINT)
    events = changes(
        governed,
        key,
        update(owner, governance),
        governance,
        usdt_mint=NEW_MINT,
        token_account=tokens,
    )
    fields = {"vault": vault, "old_mint": MINT, "new_mint": NEW_MINT}
    assert events == (("UpdateUsdtMintEvent", fields),)
    assert governed.data(tokens) == token_data(vault, 0, NEW_MINT)

    refused(governed, key, build("deposit", key, amount=1), owner, error="ConstraintAssociated")
    own = governed.put_tokens(key, 50, mint=NEW_MINT)
    accounts = {"user_token_account": own, "vault_token_account": tokens}
    governed.must(build("deposit", key, accounts=accounts, amount=50), owner)
    old = accounts | {"user_token_account": token_address(key)}
    to_old = build("withdraw", key, accounts=old, amount=20)
    refused(governed, key, to_old, owner, error="ConstraintTokenMint")
    governed.must(build("withdraw", key, accounts=accounts, amount=20), owner)
    governed.must(build("emergency_withdraw", key, accounts=accounts, amount=30), owner)
    assert (governed.tokens_at(own), governed.tokens_at(tokens)) == (50, 0)
    governed.must(build("close_vault", key, accounts={"vault_token_account": tokens}), owner)


def test_a_vault_may_return_to_its_first_mint_and_token_account(
    governed: Ledger, governance: Keypair, owner: Keypair
) -> None:
    governed.must(update(owner, governance), governance)
    governed.must(update(owner, governance, MINT), governance)
    governed.must(update(owner, governance, MINT), governance)  # repeating it is no error
    vault = governed.vault(owner.pubkey())
    assert vault["usdt_mint"] == MINT
    assert vault["token_account"] == token_address(vault_address(owner.pubkey()))
    governed.must(build("deposit", owner.pubkey(), amount=1), owner)


def test_an_existing_token_account_of_the_new_mint_is_used(
    governed: Ledger, governance: Keypair, owner: Keypair
) -> None:
    vault = vault_address(owner.pubkey())
    governed.put_tokens(vault, 7, mint=NEW_MINT)
    governed.must(update(owner, governance), governance)
    assert governed.vault(owner.pubkey())["total_balance"] == 0  # direct transfers do not count


def test_governance_pays_for_the_new_token_account(
    governed: Ledger, governance: Keypair, owner: Keypair
) -> None:
    rent = governed.svm.minimum_balance_for_rent_exemption(165)
    payer = governed.wallet()
    before = governed.svm.get_balance(governance.pubkey()) or 0
    governed.must(update(owner, governance), payer, governance)
    assert governed.svm.get_balance(governance.pubkey()) == before - rent


def test_a_vault_that_holds_anything_keeps_its_mint(
    governed: Ledger, governance: Keypair, owner: Keypair
) -> None:
    key = owner.pubkey()
    governed.must(build("deposit", key, amount=10), owner)
    change = update(owner, governance)
    refused(governed, key, change, governance, error="NonZeroBalance")
    governed.must(build("schedule_timelock", key, amount=10, duration_seconds=9), owner)
    refused(governed, key, change, governance, error="NonZeroBalance")


def test_only_governance_changes_a_vaults_mint(
    governed: Ledger, governance: Keypair, owner: Keypair
) -> None:
    for other in (owner, governed.wallet()):
        refused(governed, owner.pubkey(), update(owner, other), other, error="Unauthorized")
    whole, payer = update(owner, governance), governed.wallet()
    unsigned = without(whole, signer=0)
    refused(governed, owner.pubkey(), unsigned, payer, error="AccountNotSigner")
    for at in range(4):
        fixed = without(whole, writable=at)
        refused(governed, owner.pubkey(), fixed, payer, governance, error="ConstraintMut")


def test_the_token_account_is_the_vaults_for_the_new_mint(
    governed: Ledger, governance: Keypair, owner: Keypair
) -> None:
    key, vault = owner.pubkey(), vault_address(owner.pubkey())
    for tokens in (
        token_address(vault),
        token_address(key, NEW_MINT),
        governed.put_tokens(vault, 0, mint=NEW_MINT, address=Keypair().pubkey()),
    ):
        wrong = update(owner, governance, vault_token_account=tokens)
        refused(governed, key, wrong, governance, error="ConstraintAssociated")


def test_an_account_that_is_no_mint_of_the_token_program_is_refused(
    governed: Ledger, governance: Keypair, owner: Keypair
) -> None:
    key, unknown, uninitialised, forged = owner.pubkey(), *(Keypair().pubkey() for _ in range(3))
    governed.put(uninitialised, TOKEN, bytes(82))
    governed.put(forged, key, mint_data())
    for mint, error in (
        (unknown, "InvalidTokenProgramOwner"),
        (forged, "InvalidTokenProgramOwner"),
        (uninitialised, "AccountNotInitialized"),
        (token_address(key), "AccountNotInitialized"),
    ):
        refused(governed, key, update(owner, governance, mint), governance, error=error)


def test_a_token_account_that_no_longer_belongs_to_the_vault_is_refused(
    governed: Ledger, governance: Keypair, owner: Keypair
) -> None:
    """A vault never gives its token account away, but SPL Token permits it: write it directly."""
    key = owner.pubkey()
    address = token_address(vault_address(key), NEW_MINT)
    governed.put(address, TOKEN, token_data(key, 0, NEW_MINT))
    before = governed.vault(key)
    outcome = governed.send(update(owner, governance), governance)
    assert outcome.error == 0  # the associated token program's InvalidOwner
    assert any("owner does not match address derivation" in line for line in outcome.logs)
    assert governed.vault(key) == before


def test_only_the_programs_of_the_interface_are_accepted(
    governed: Ledger, governance: Keypair, owner: Keypair
) -> None:
    for name in ("system_program", "token_program", "associated_token_program"):
        wrong = update(owner, governance, **{name: owner.pubkey()})
        refused(governed, owner.pubkey(), wrong, governance, error="InvalidProgramId")

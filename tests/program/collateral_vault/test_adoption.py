"""A vault adopts a token account only while nobody else may spend from it or close it."""

import pytest
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.program.harness.instructions import build
from tests.program.harness.ledger import (
    MINT,
    TOKEN,
    Ledger,
    deposit,
    initialize_vault,
    mint_data,
    token_address,
    token_data,
    vault_address,
)
from tests.program.harness.refusals import assert_refused

NEW_MINT = Keypair().pubkey()
SHARED = {"delegate": 72, "close authority": 129}
FOREIGN = bytes(31) + b"\1"
"""A key most of whose bytes are zero, as are those of an account that has none."""


@pytest.fixture
def owner(governed: Ledger) -> Keypair:
    """The owner of an empty vault, on a chain with a second mint."""
    governed.put(NEW_MINT, TOKEN, mint_data())
    return governed.owner()


def put_shared(ledger: Ledger, vault: Pubkey, mint: Pubkey, at: int) -> Pubkey:
    """Write the vault's token account with a foreign key at this position."""
    data = token_data(vault, 0, mint)
    data = data[:at] + b"\1\0\0\0" + FOREIGN + data[at + 36 :]
    address = token_address(vault, mint)
    ledger.put(address, TOKEN, data)
    return address


def update(owner: Keypair, governance: Keypair) -> Instruction:
    tokens = token_address(vault_address(owner.pubkey()), NEW_MINT)
    accounts = {"new_mint": NEW_MINT, "vault_token_account": tokens}
    key = governance.pubkey()
    return build("update_usdt_mint", owner.pubkey(), authority=key, accounts=accounts)


@pytest.mark.parametrize("shared", SHARED)
def test_a_vault_does_not_open_with_a_shared_account(governed: Ledger, shared: str) -> None:
    wallet = governed.wallet()
    vault = vault_address(wallet.pubkey())
    tokens = put_shared(governed, vault, MINT, SHARED[shared])
    outcome = governed.send(initialize_vault(wallet.pubkey()), wallet)
    assert_refused(outcome, "ForeignTokenAuthority")
    assert governed.data(vault) == b""
    governed.put(tokens, TOKEN, token_data(vault, 0))
    governed.must(initialize_vault(wallet.pubkey()), wallet)


@pytest.mark.parametrize("amount", [slice(64, 72), slice(121, 129)], ids=["own", "delegated"])
def test_no_amount_looks_like_a_shared_account(governed: Ledger, amount: slice) -> None:
    """The amounts stand before the delegate and before the close authority."""
    wallet = governed.wallet()
    vault = vault_address(wallet.pubkey())
    data = bytearray(token_data(vault, 0))
    data[amount] = b"\xff" * 8
    governed.put(token_address(vault), TOKEN, bytes(data))
    governed.must(initialize_vault(wallet.pubkey()), wallet)


@pytest.mark.parametrize("shared", SHARED)
def test_a_vault_that_was_opened_with_a_shared_account_takes_no_deposit(
    governed: Ledger, shared: str
) -> None:
    """The first release opened such vaults."""
    owner = governed.owner(usdt=5)
    vault = vault_address(owner.pubkey())
    put_shared(governed, vault, MINT, SHARED[shared])
    outcome = governed.send(deposit(owner.pubkey(), 5), owner)
    assert_refused(outcome, "ForeignTokenAuthority")
    governed.put_tokens(vault, 0)
    governed.must(deposit(owner.pubkey(), 5), owner)


@pytest.mark.parametrize("shared", SHARED)
def test_a_vault_does_not_change_to_a_shared_account(
    governed: Ledger, governance: Keypair, owner: Keypair, shared: str
) -> None:
    vault = vault_address(owner.pubkey())
    before = governed.vault(owner.pubkey())
    tokens = put_shared(governed, vault, NEW_MINT, SHARED[shared])
    outcome = governed.send(update(owner, governance), governance)
    assert_refused(outcome, "ForeignTokenAuthority")
    assert governed.vault(owner.pubkey()) == before
    governed.put(tokens, TOKEN, token_data(vault, 0, NEW_MINT))
    governed.must(update(owner, governance), governance)


def test_the_owner_sweeps_an_account_with_a_delegate_away(
    governed: Ledger, governance: Keypair, owner: Keypair
) -> None:
    """Then the vault takes a new account at the same address."""
    vault = vault_address(owner.pubkey())
    tokens = put_shared(governed, vault, NEW_MINT, SHARED["delegate"])
    recipient = governed.put_tokens(owner.pubkey(), 0, mint=NEW_MINT)
    accounts = {"token_account": tokens, "recipient_token_account": recipient}
    governed.must(build("sweep", owner.pubkey(), accounts=accounts), owner)
    governed.must(update(owner, governance), governance)
    assert governed.data(tokens) == token_data(vault, 0, NEW_MINT)


def test_opening_a_vault_is_told(governed: Ledger) -> None:
    wallet = governed.wallet()
    vault = vault_address(wallet.pubkey())
    fields = {
        "vault": vault,
        "owner": wallet.pubkey(),
        "token_account": token_address(vault),
        "usdt_mint": MINT,
    }
    outcome = governed.must(initialize_vault(wallet.pubkey()), wallet)
    assert outcome.events == (("VaultInitializedEvent", fields),)

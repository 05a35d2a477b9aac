"""Closing a vault: only an empty one; all rent returns to its owner and nothing is left."""

import pytest
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer

from tests.program.harness.effects import refused
from tests.program.harness.instructions import build
from tests.program.harness.ledger import (
    MINT,
    START,
    SYSTEM,
    TOKEN,
    VAULT_LENGTH,
    Ledger,
    add_delegate,
    initialize_vault,
    mint_data,
    signer,
    token_address,
    token_data,
    vault_address,
    withdraw,
    without,
)
from tests.program.harness.refusals import assert_refused
from tests.program.harness.venues import writable


@pytest.fixture
def owner(governed: Ledger) -> Keypair:
    """The owner of a vault that once held tokens."""
    owner = governed.owner(deposited=10)
    governed.must(withdraw(owner.pubkey(), 10), owner)
    return owner


def close(owner: Keypair) -> Instruction:
    return build("close_vault", owner.pubkey())


def balance(ledger: Ledger, address: Pubkey) -> int:
    return ledger.svm.get_balance(address) or 0


def test_the_rent_of_both_accounts_goes_to_the_owner(governed: Ledger, owner: Keypair) -> None:
    vault = vault_address(owner.pubkey())
    both = (vault, token_address(vault))
    rents = [
        governed.svm.minimum_balance_for_rent_exemption(length) for length in (VAULT_LENGTH, 165)
    ]
    assert [balance(governed, each) for each in both] == rents
    payer, before = governed.wallet(), balance(governed, owner.pubkey())
    outcome = governed.must(close(owner), payer, owner)
    assert balance(governed, owner.pubkey()) == before + sum(rents)
    for each in both:
        assert balance(governed, each) == 0
        assert governed.data(each) == b""
    assert outcome.events == (("VaultClosedEvent", {"vault": vault, "owner": owner.pubkey()}),)


def test_a_closed_vault_accepts_no_instruction(governed: Ledger, owner: Keypair) -> None:
    governed.must(close(owner), owner)
    for name in ("close_vault", "release_timelocks", "disable_vault_multisig"):
        outcome = governed.send(build(name, owner.pubkey()), owner)
        assert_refused(outcome, "AccountNotInitialized")


@pytest.mark.parametrize("within_one_transaction", [True, False])
def test_a_reopened_vault_starts_empty(
    governed: Ledger, governance: Keypair, owner: Keypair, within_one_transaction: bool
) -> None:
    key = owner.pubkey()
    fill(governed, governance, owner)
    governed.set_time(START + 5)
    both = [close(owner), initialize_vault(key)]
    for batch in [both] if within_one_transaction else [[each] for each in both]:
        outcome = governed.send(batch, owner)
        assert outcome.error is None, outcome
    fresh = governed.owner()
    opened, new = governed.vault(key), governed.vault(fresh.pubkey())
    own = {"owner", "token_account", "bump"}
    assert opened == new | {name: opened[name] for name in own}
    assert opened["owner"] == key
    governed.put_tokens(key, 3)
    governed.must(build("deposit", key, amount=3), owner)
    governed.must(withdraw(key, 3), owner)


def fill(ledger: Ledger, governance: Keypair, owner: Keypair) -> None:
    """Set every field that an empty vault can have set."""
    key, other = owner.pubkey(), Keypair().pubkey()
    ledger.put_tokens(key, 7)
    for instruction in (
        add_delegate(key, other),
        build("add_withdraw_whitelist", key, address=other),
        build("request_exit", key),
        build("deposit", key, amount=7),
        build("set_vault_multisig", key, signers=[other], threshold=1),
        build("set_withdraw_min_delay", key, seconds=9),
        build("request_withdraw", key, amount=7),
        build("set_withdraw_rate_limit", key, window_seconds=5, max_amount=5),
    ):
        ledger.must(instruction, owner)
    back = build("emergency_withdraw", key, authority=governance.pubkey(), amount=7)
    ledger.must(back, governance)


def test_lamports_sent_back_at_once_do_not_revive_a_vault(governed: Ledger, owner: Keypair) -> None:
    vault = vault_address(owner.pubkey())
    amount = governed.svm.minimum_balance_for_rent_exemption(0)
    back = transfer(TransferParams(from_pubkey=owner.pubkey(), to_pubkey=vault, lamports=amount))
    outcome = governed.send([close(owner), back], owner)
    assert outcome.error is None, outcome
    revived = governed.svm.get_account(vault)
    assert revived is not None
    assert (bytes(revived.data), revived.lamports) == (b"", amount)
    assert revived.owner == SYSTEM
    assert_refused(governed.send(close(owner), owner), "AccountNotInitialized")
    governed.must(initialize_vault(owner.pubkey()), owner)  # nor do they prevent a new vault


def test_a_vault_that_holds_anything_cannot_be_closed(
    governed: Ledger, governance: Keypair
) -> None:
    owner = governed.owner(deposited=10)
    key, program = owner.pubkey(), Keypair().pubkey()
    refused(governed, key, close(owner), owner, error="NonZeroBalance")
    governed.must(build("schedule_timelock", key, amount=4, duration_seconds=0), owner)
    whitelist = build("add_yield_program", key, authority=governance.pubkey(), program=program)
    governed.must(whitelist, governance)
    lend = build("yield_deposit", key, accounts={"yield_program": program}, amount=3)
    governed.must(lend, owner)
    governed.must(withdraw(key, 3 + 4), owner)  # the timelock has matured
    refused(governed, key, close(owner), owner, error="NonZeroBalance")
    back = build("yield_withdraw", key, accounts={"yield_program": program}, amount=3)
    governed.must(back, owner)
    refused(governed, key, close(owner), owner, error="NonZeroBalance")
    governed.must(withdraw(key, 3), owner)
    governed.must(close(owner), owner)


def send_directly(ledger: Ledger, owner: Keypair, amount: int) -> None:
    """Have a stranger send tokens to the vault's token account without a deposit."""
    stranger = ledger.wallet(usdt=amount)
    metas = [
        writable(token_address(stranger.pubkey())),
        writable(token_address(vault_address(owner.pubkey()))),
        signer(stranger.pubkey()),
    ]
    ledger.must(Instruction(TOKEN, b"\3" + amount.to_bytes(8, "little"), metas), stranger)


def close_to(owner: Keypair, recipient: Pubkey, *cosigners: Pubkey) -> Instruction:
    remaining = [writable(recipient), *map(signer, cosigners)]
    return build("close_vault", owner.pubkey(), remaining=remaining)


def test_tokens_sent_without_a_deposit_go_to_the_owner(governed: Ledger, owner: Keypair) -> None:
    """Anyone can send them. Without an account for them the vault stays open."""
    key, vault = owner.pubkey(), vault_address(owner.pubkey())
    send_directly(governed, owner, 7)
    refused(governed, key, close(owner), owner, error="NonZeroBalance")
    before = governed.tokens(key)
    outcome = governed.must(close_to(owner, token_address(key)), owner)
    assert governed.tokens(key) == before + 7
    assert governed.data(vault) == governed.data(token_address(vault)) == b""
    swept = {"vault": vault, "owner": key, "mint": MINT, "amount": 7}
    assert outcome.events == (
        ("SweptEvent", swept | {"recipient": token_address(key)}),
        ("VaultClosedEvent", {"vault": vault, "owner": key}),
    )


def test_the_account_for_surplus_tokens_is_the_owners(governed: Ledger, owner: Keypair) -> None:
    key, mint = owner.pubkey(), Keypair().pubkey()
    send_directly(governed, owner, 7)
    governed.put(mint, TOKEN, mint_data())
    forged = Keypair().pubkey()
    governed.put(forged, key, token_data(key, 0))
    for recipient, error in (
        (token_address(governed.wallet().pubkey()), "ConstraintTokenOwner"),
        (token_address(vault_address(key)), "ConstraintTokenOwner"),
        (governed.put_tokens(key, 0, mint=mint), "ConstraintTokenMint"),
        (forged, "InvalidTokenProgramOwner"),
        (key, "InvalidTokenProgramOwner"),
    ):
        refused(governed, key, close_to(owner, recipient), owner, error=error)
    fixed = without(close_to(owner, token_address(key)), writable=4)
    refused(governed, key, fixed, owner, error="ConstraintMut")


def test_balances_keep_a_vault_open_whatever_account_is_given(
    governed: Ledger, owner: Keypair
) -> None:
    key = owner.pubkey()
    governed.must(build("deposit", key, amount=1), owner)
    given = close_to(owner, token_address(key))
    refused(governed, key, given, owner, error="NonZeroBalance")


def test_under_a_multisig_surplus_tokens_need_its_signers(governed: Ledger, owner: Keypair) -> None:
    key, cosigner = owner.pubkey(), governed.wallet()
    given = build("set_vault_multisig", key, signers=[cosigner.pubkey()], threshold=1)
    governed.must(given, owner)
    send_directly(governed, owner, 7)
    recipient = token_address(key)
    refused(governed, key, close_to(owner, recipient), owner, error="Unauthorized")
    governed.must(close_to(owner, recipient, cosigner.pubkey()), owner, cosigner)
    assert governed.data(vault_address(key)) == b""


def test_only_the_owner_closes_a_vault(
    governed: Ledger, governance: Keypair, owner: Keypair
) -> None:
    delegate = governed.wallet()
    governed.must(add_delegate(owner.pubkey(), delegate.pubkey()), owner)
    for other in (delegate, governed.wallet(), governance):
        theirs = build("close_vault", owner.pubkey(), accounts={"user": other.pubkey()})
        refused(governed, owner.pubkey(), theirs, other, error="ConstraintSeeds")
    payer = governed.wallet()
    unsigned = without(close(owner), signer=0)
    refused(governed, owner.pubkey(), unsigned, payer, error="AccountNotSigner")
    for at in range(3):
        fixed = without(close(owner), writable=at)
        refused(governed, owner.pubkey(), fixed, payer, owner, error="ConstraintMut")


def test_under_multisig_the_owner_still_closes_an_empty_vault(
    governed: Ledger, governance: Keypair, owner: Keypair
) -> None:
    fill(governed, governance, owner)
    governed.must(close(owner), owner)


def test_no_other_token_account_is_closed_in_its_place(governed: Ledger, owner: Keypair) -> None:
    key, vault = owner.pubkey(), vault_address(owner.pubkey())
    second = governed.put_tokens(vault, 0, address=Keypair().pubkey())
    other = token_address(vault_address(governed.owner().pubkey()))
    for account in (second, other, token_address(key)):
        wrong = build("close_vault", key, accounts={"vault_token_account": account})
        refused(governed, key, wrong, owner, error="ConstraintAssociated")
    wrong = build("close_vault", key, accounts={"token_program": vault})
    refused(governed, key, wrong, owner, error="InvalidProgramId")

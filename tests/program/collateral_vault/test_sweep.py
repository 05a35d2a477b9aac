"""The owner takes out tokens that are beyond the vault's balances, and nothing else."""

import pytest
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.program.harness.effects import refused
from tests.program.harness.instructions import build
from tests.program.harness.ledger import (
    MINT,
    START,
    TOKEN,
    Ledger,
    add_delegate,
    mint_data,
    signer,
    token_address,
    token_data,
    vault_address,
    withdraw,
    without,
)
from tests.program.harness.refusals import assert_refused
from tests.program.harness.venues import Venue, writable

OTHER_MINT = Keypair().pubkey()
NATIVE_MINT = Pubkey.from_string("So11111111111111111111111111111111111111112")
DAY = 24 * 60 * 60


@pytest.fixture
def owner(governed: Ledger) -> Keypair:
    """The owner of 1000 units in a vault that holds 1070 tokens, on a chain with a second mint."""
    governed.put(OTHER_MINT, TOKEN, mint_data())
    owner = governed.owner(deposited=1_000)
    send_directly(governed, owner, 70)
    return owner


def send_directly(ledger: Ledger, owner: Keypair, amount: int) -> None:
    """Have a stranger send tokens to the vault's token account without a deposit."""
    stranger = ledger.wallet(usdt=amount)
    metas = [
        writable(token_address(stranger.pubkey())),
        writable(token_address(vault_address(owner.pubkey()))),
        signer(stranger.pubkey()),
    ]
    ledger.must(Instruction(TOKEN, b"\3" + amount.to_bytes(8, "little"), metas), stranger)


def sweep(owner: Keypair, *cosigners: Pubkey, **accounts: Pubkey) -> Instruction:
    remaining = tuple(map(signer, cosigners))
    return build("sweep", owner.pubkey(), remaining=remaining, accounts=accounts)


def other(ledger: Ledger, owner: Keypair, amount: int, mint: Pubkey = OTHER_MINT) -> Instruction:
    """Return the sweep of the vault's associated token account of another mint."""
    tokens = ledger.put_tokens(vault_address(owner.pubkey()), amount, mint=mint)
    recipient = ledger.put_tokens(owner.pubkey(), 0, mint=mint)
    return sweep(owner, token_account=tokens, recipient_token_account=recipient)


def swept(owner: Keypair, amount: int, mint: Pubkey = MINT) -> tuple[tuple[str, object], ...]:
    fields = {
        "vault": vault_address(owner.pubkey()),
        "owner": owner.pubkey(),
        "mint": mint,
        "amount": amount,
        "recipient": token_address(owner.pubkey(), mint),
    }
    return (("SweptEvent", fields),)


# The vault's own token account


def test_what_exceeds_the_balances_goes_to_the_owner(governed: Ledger, owner: Keypair) -> None:
    before = governed.vault(owner.pubkey())
    outcome = governed.must(sweep(owner), owner)
    assert outcome.events == swept(owner, 70)
    assert governed.tokens(owner.pubkey()) == 70
    assert governed.tokens(vault_address(owner.pubkey())) == 1_000
    assert governed.vault(owner.pubkey()) == before


def test_the_second_sweep_finds_nothing(governed: Ledger, owner: Keypair) -> None:
    governed.must(sweep(owner), owner)
    refused(governed, owner.pubkey(), sweep(owner), owner, error="InvalidAmount")
    send_directly(governed, owner, 1)
    assert governed.must(sweep(owner), owner).events == swept(owner, 1)


def test_locked_and_timelocked_tokens_stay(governed: Ledger, owner: Keypair) -> None:
    key = owner.pubkey()
    governed.must(build("schedule_timelock", key, amount=300, duration_seconds=9), owner)
    governed.must(build("set_withdraw_min_delay", key, seconds=9), owner)
    governed.must(build("request_withdraw", key, amount=100), owner)
    governed.change_vault(key, available_balance=200, locked_balance=500)
    governed.must(sweep(owner), owner)
    assert governed.tokens(vault_address(key)) == 1_000
    refused(governed, key, sweep(owner), owner, error="InvalidAmount")


def test_what_is_lent_is_not_expected_in_the_account(
    governed: Ledger, venue: Venue, owner: Keypair
) -> None:
    key, vault = owner.pubkey(), vault_address(owner.pubkey())
    venue.enter(owner)
    governed.must(venue.move("yield_deposit", key, 400), owner)
    assert governed.must(sweep(owner), owner).events == swept(owner, 70)
    assert governed.tokens(vault) == 600
    governed.must(venue.move("yield_withdraw", key, 400), owner)
    refused(governed, key, sweep(owner), owner, error="InvalidAmount")


def test_yield_that_never_left_the_account_stays(
    governed: Ledger, venue: Venue, owner: Keypair
) -> None:
    key, vault = owner.pubkey(), vault_address(owner.pubkey())
    venue.enter(owner)
    governed.must(venue.move("yield_deposit", key, 300), owner)
    kept = build("yield_deposit", key, accounts={"yield_program": venue.program}, amount=100)
    governed.must(kept, owner)
    governed.must(sweep(owner), owner)
    assert governed.tokens(vault) == 700
    refused(governed, key, sweep(owner), owner, error="InvalidAmount")


def test_missing_tokens_are_detected(governed: Ledger, owner: Keypair) -> None:
    governed.put_tokens(vault_address(owner.pubkey()), 999)
    refused(governed, owner.pubkey(), sweep(owner), owner, error="InvariantViolation")


def test_missing_tokens_of_yield_that_never_left_are_detected(
    governed: Ledger, owner: Keypair
) -> None:
    lent = {"available_balance": 600, "yield_deposited_balance": 400, "yield_kept": 400}
    governed.change_vault(owner.pubkey(), **lent)
    governed.put_tokens(vault_address(owner.pubkey()), 999)
    refused(governed, owner.pubkey(), sweep(owner), owner, error="InvariantViolation")


def test_more_yield_that_never_left_than_there_is_yield_is_refused(
    governed: Ledger, owner: Keypair
) -> None:
    """A difference that wrapped would be as much as all there is, and free it."""
    everything = 2**64 - 1
    state = {"total_balance": everything, "available_balance": everything, "yield_kept": 1}
    governed.change_vault(owner.pubkey(), **state)
    governed.put_tokens(vault_address(owner.pubkey()), everything)
    refused(governed, owner.pubkey(), sweep(owner), owner, error="InvariantViolation")


def test_balances_that_do_not_add_up_are_refused(governed: Ledger, owner: Keypair) -> None:
    governed.change_vault(owner.pubkey(), total_balance=999)
    refused(governed, owner.pubkey(), sweep(owner), owner, error="InvariantViolation")


# Other token accounts


def test_another_account_is_emptied_and_closed(governed: Ledger, owner: Keypair) -> None:
    before, given = governed.vault(owner.pubkey()), other(governed, owner, 33)
    rent = governed.svm.minimum_balance_for_rent_exemption(165)
    lamports = governed.svm.get_balance(owner.pubkey()) or 0
    outcome = governed.must(given, governed.wallet(), owner)
    assert outcome.events == swept(owner, 33, OTHER_MINT)
    assert governed.tokens_at(token_address(owner.pubkey(), OTHER_MINT)) == 33
    tokens = token_address(vault_address(owner.pubkey()), OTHER_MINT)
    assert governed.data(tokens) == b""
    assert governed.svm.get_balance(owner.pubkey()) == lamports + rent
    assert governed.vault(owner.pubkey()) == before
    assert_refused(governed.send(given, owner), "InvalidTokenProgramOwner")


def test_a_second_account_of_the_vaults_mint_is_another_one(
    governed: Ledger, owner: Keypair
) -> None:
    vault = vault_address(owner.pubkey())
    second = governed.put_tokens(vault, 5, address=Keypair().pubkey())
    assert governed.must(sweep(owner, token_account=second), owner).events == swept(owner, 5)
    assert governed.tokens(vault) == 1_070
    assert governed.data(second) == b""


def test_an_empty_account_is_closed_for_its_rent(governed: Ledger, owner: Keypair) -> None:
    outcome = governed.must(other(governed, owner, 0), owner)
    assert outcome.events == swept(owner, 0, OTHER_MINT)
    assert governed.data(token_address(vault_address(owner.pubkey()), OTHER_MINT)) == b""


def test_wrapped_sol_arrives_as_wrapped_sol(governed: Ledger, owner: Keypair) -> None:
    rent = governed.svm.minimum_balance_for_rent_exemption(165)
    for wallet, amount in ((vault_address(owner.pubkey()), 7_000), (owner.pubkey(), 0)):
        data = token_data(wallet, amount, NATIVE_MINT)
        data = data[:109] + b"\1\0\0\0" + rent.to_bytes(8, "little") + data[121:]
        governed.put(token_address(wallet, NATIVE_MINT), TOKEN, data, rent + amount)
    tokens = token_address(vault_address(owner.pubkey()), NATIVE_MINT)
    recipient = token_address(owner.pubkey(), NATIVE_MINT)
    given = sweep(owner, token_account=tokens, recipient_token_account=recipient)
    governed.must(given, owner)
    assert governed.tokens_at(recipient) == 7_000
    assert governed.svm.get_balance(recipient) == rent + 7_000
    assert governed.data(tokens) == b""


def test_the_account_of_an_earlier_mint_is_another_one(
    governed: Ledger, governance: Keypair, owner: Keypair
) -> None:
    key, vault = owner.pubkey(), vault_address(owner.pubkey())
    governed.must(withdraw(key, 1_000), owner)
    tokens = token_address(vault, OTHER_MINT)
    accounts = {"new_mint": OTHER_MINT, "vault_token_account": tokens}
    by = governance.pubkey()
    governed.must(build("update_usdt_mint", key, authority=by, accounts=accounts), governance)
    assert governed.must(sweep(owner), owner).events == swept(owner, 70)
    assert governed.data(token_address(vault)) == b""
    own = governed.put_tokens(key, 0, mint=OTHER_MINT)
    new = sweep(owner, token_account=tokens, recipient_token_account=own)
    assert_refused(governed.send(new, owner), "InvalidAmount")
    assert governed.data(tokens) == token_data(vault, 0, OTHER_MINT)


@pytest.mark.parametrize("amount", [0, 33])
def test_an_account_that_another_key_closes_stays_open(
    governed: Ledger, owner: Keypair, amount: int
) -> None:
    given = other(governed, owner, amount)
    tokens = token_address(vault_address(owner.pubkey()), OTHER_MINT)
    data = governed.data(tokens)
    data = data[:129] + b"\1\0\0\0" + bytes(Keypair().pubkey())
    governed.put(tokens, TOKEN, data)
    if amount:
        governed.must(given, owner)
        assert governed.data(tokens) == data[:64] + bytes(8) + data[72:]
    refused(governed, owner.pubkey(), given, owner, error="InvalidAmount")


def test_a_delegate_on_the_account_does_not_hinder(governed: Ledger, owner: Keypair) -> None:
    given = other(governed, owner, 33)
    tokens = token_address(vault_address(owner.pubkey()), OTHER_MINT)
    data = governed.data(tokens)
    delegate = b"\1\0\0\0" + bytes(Keypair().pubkey())
    governed.put(tokens, TOKEN, data[:72] + delegate + data[108:121] + bytes([9]) + data[122:])
    governed.must(given, owner)
    assert governed.data(tokens) == b""


def test_while_tokens_are_lent_their_receipts_stay(
    governed: Ledger, venue: Venue, owner: Keypair
) -> None:
    key = owner.pubkey()
    venue.enter(owner)
    governed.must(venue.move("yield_deposit", key, 400), owner)
    given = other(governed, owner, 33)
    refused(governed, key, given, owner, error="NonZeroBalance")
    governed.must(venue.move("yield_withdraw", key, 399), owner)
    refused(governed, key, given, owner, error="NonZeroBalance")
    governed.must(venue.move("yield_withdraw", key, 1), owner)
    kept = build("yield_deposit", key, accounts={"yield_program": venue.program}, amount=100)
    governed.must(kept, owner)  # stays in the vault's account, so nothing is lent
    governed.must(given, owner)


# Who may sweep, from where, and to where


def test_only_the_owner_sweeps(governed: Ledger, governance: Keypair, owner: Keypair) -> None:
    key, delegate, payer = owner.pubkey(), governed.wallet(), governed.wallet()
    governed.must(add_delegate(key, delegate.pubkey()), owner)
    for by in (delegate, governance):
        given = build("sweep", key, accounts={"owner": by.pubkey()})
        refused(governed, key, given, by, error="ConstraintSeeds")
    unsigned = without(sweep(owner), signer=0)
    refused(governed, key, unsigned, payer, error="AccountNotSigner")
    for at in (0, 3, 4):
        fixed = without(sweep(owner), writable=at)
        refused(governed, key, fixed, payer, owner, error="ConstraintMut")


def test_under_a_multisig_the_owner_and_enough_signers_sign(
    governed: Ledger, owner: Keypair
) -> None:
    """A stolen owner's key alone takes nothing out, nor do the signers without the owner."""
    key = owner.pubkey()
    signers = [governed.wallet() for _ in range(2)]
    keys = [each.pubkey() for each in signers]
    governed.must(build("set_vault_multisig", key, signers=keys, threshold=2), owner)
    for given, by in (
        (sweep(owner), [owner]),
        (sweep(owner, keys[0]), [owner, signers[0]]),
        (sweep(owner, keys[0], keys[0]), [owner, signers[0]]),
        (other(governed, owner, 5), [owner]),
    ):
        refused(governed, key, given, *by, error="Unauthorized")
    without_owner = without(sweep(owner, *keys), signer=0)
    refused(governed, key, without_owner, *signers, error="AccountNotSigner")
    governed.must(sweep(owner, *keys), owner, *signers)


def test_a_pause_stops_sweeps(governed: Ledger, owner: Keypair) -> None:
    governed.change_authority(withdrawals_paused_until=START + DAY)
    refused(governed, owner.pubkey(), sweep(owner), owner, error="WithdrawalsPaused")
    refused(governed, owner.pubkey(), other(governed, owner, 5), owner, error="WithdrawalsPaused")
    governed.set_time(START + DAY)
    governed.must(sweep(owner), owner)


def test_a_freeze_does_not(governed: Ledger, owner: Keypair) -> None:
    governed.change_authority(freeze=True)
    governed.must(sweep(owner), owner)


def test_the_recipient_is_an_account_of_the_owner_and_the_mint(
    governed: Ledger, owner: Keypair
) -> None:
    key, vault = owner.pubkey(), vault_address(owner.pubkey())
    stranger = governed.wallet().pubkey()
    forged = Keypair().pubkey()
    governed.put(forged, stranger, token_data(key, 0))
    second = governed.put_tokens(vault, 1, address=Keypair().pubkey())
    wrong_mint = governed.put_tokens(key, 0, mint=OTHER_MINT)
    for recipient, error in (
        (token_address(stranger), "ConstraintTokenOwner"),
        (token_address(vault), "ConstraintTokenOwner"),
        (second, "ConstraintTokenOwner"),
        (wrong_mint, "ConstraintTokenMint"),
        (forged, "InvalidTokenProgramOwner"),
        (key, "InvalidTokenProgramOwner"),
        (MINT, "AccountNotInitialized"),
    ):
        refused(governed, key, sweep(owner, recipient_token_account=recipient), owner, error=error)


def test_the_account_is_one_of_the_vault(governed: Ledger, owner: Keypair) -> None:
    key = owner.pubkey()
    forged = Keypair().pubkey()
    governed.put(forged, key, token_data(vault_address(key), 5))
    victims = token_address(vault_address(governed.owner(deposited=9).pubkey()))
    for account, error in (
        (victims, "ConstraintTokenOwner"),
        (token_address(key), "ConstraintTokenOwner"),
        (forged, "InvalidTokenProgramOwner"),
        (vault_address(key), "InvalidTokenProgramOwner"),
        (MINT, "AccountNotInitialized"),
    ):
        refused(governed, key, sweep(owner, token_account=account), owner, error=error)


def test_the_vault_the_authority_and_the_program_are_checked(
    governed: Ledger, owner: Keypair
) -> None:
    key, victim = owner.pubkey(), governed.owner(deposited=9)
    for name, account, error in (
        ("vault", vault_address(victim.pubkey()), "ConstraintSeeds"),
        ("vault", Keypair().pubkey(), "AccountNotInitialized"),
        ("vault_authority", vault_address(key), "AccountDiscriminatorMismatch"),
        ("token_program", key, "InvalidProgramId"),
    ):
        refused(governed, key, sweep(owner, **{name: account}), owner, error=error)

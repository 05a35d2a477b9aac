"""The vault's token accounts beside its own one, in the hands of a hostile yield program."""

from collections.abc import Callable

import pytest
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.program.harness.instructions import build
from tests.program.harness.ledger import (
    MINT,
    TOKEN,
    Ledger,
    govern,
    mint_data,
    readonly,
    signer,
    token_address,
    token_data,
    vault_address,
    withdraw,
)
from tests.program.harness.puppet import PUPPET, When, puppet_call
from tests.program.harness.venues import (
    assert_balances_match_tokens,
    lend_to_another,
    refused,
    writable,
)
from tests.program.yields.hostile import (
    AMOUNT,
    HANDS,
    approve,
    burn,
    close,
    honest,
    honest_compound,
    order,
    pay,
    recreate,
    set_authority,
    take,
    transfer,
    whitelist_hostile_program,
)

both = pytest.mark.parametrize("name", ["yield_deposit", "yield_withdraw"])
OTHER_MINT = Keypair().pubkey()
HELD = 50
DELEGATE, CLOSE_AUTHORITY = 72, 129

Attack = Callable[[Keypair, Pubkey], Instruction]


@pytest.fixture
def owner(governed: Ledger, governance: Keypair) -> Keypair:
    """The owner of 1000 units, 400 of them with the hostile program, and a second mint."""
    whitelist_hostile_program(governed, governance)
    governed.put(OTHER_MINT, TOKEN, mint_data(supply=1_000))
    governed.put_tokens(HANDS, 100, mint=OTHER_MINT)
    owner = governed.owner(deposited=1_000)
    governed.must(order(governed, "yield_deposit", owner, take(owner, 400), amount=400), owner)
    return owner


@pytest.fixture
def receipts(governed: Ledger, owner: Keypair) -> Pubkey:
    """The vault's token account of the second mint, with 50 units."""
    return governed.put_tokens(vault_address(owner.pubkey()), HELD, mint=OTHER_MINT)


def spend(owner: Keypair, tokens: Pubkey, amount: int = HELD) -> Instruction:
    vault = vault_address(owner.pubkey())
    return transfer(tokens, token_address(HANDS, OTHER_MINT), vault, amount)


def burned(owner: Keypair, tokens: Pubkey, amount: int) -> Instruction:
    return burn(tokens, OTHER_MINT, vault_address(owner.pubkey()), amount)


def share(ledger: Ledger, tokens: Pubkey, at: int) -> None:
    """Write the program's key into the delegate (72) or the close authority (129)."""
    data = ledger.data(tokens)
    data = data[:at] + b"\1\0\0\0" + bytes(HANDS) + data[at + 36 :]
    if at == DELEGATE:
        data = data[:121] + HELD.to_bytes(8, "little") + data[129:]
    ledger.put(tokens, TOKEN, data)


# The accounts that the vault will use later


@pytest.mark.parametrize("way", ["another mint", "closed and opened"])
@pytest.mark.parametrize("shared", [approve, set_authority], ids=["may spend", "may close"])
def test_a_yield_program_cannot_prepare_the_theft_of_a_later_deposit(
    governed: Ledger, governance: Keypair, owner: Keypair, way: str, shared: Callable[..., object]
) -> None:
    """It shares the vault's account of a mint that the vault only later deposits."""
    key, vault = owner.pubkey(), vault_address(owner.pubkey())
    tokens, pocket = token_address(vault, OTHER_MINT), token_address(HANDS, OTHER_MINT)
    theft = approve(owner, 2**63, tokens) if shared is approve else set_authority(owner, 3, tokens)
    commands = (take(owner, AMOUNT), recreate(owner, OTHER_MINT), theft)
    governed.send(order(governed, "yield_deposit", owner, *commands), owner)

    lent = governed.vault(key)["yield_deposited_balance"]
    governed.must(order(governed, "yield_withdraw", owner, pay(owner, lent), amount=lent), owner)
    governed.must(withdraw(key, 1_000), owner)
    accounts = {"vault_token_account": tokens}
    if way == "another mint":
        given = build(
            "update_usdt_mint",
            key,
            authority=governance.pubkey(),
            accounts=accounts | {"new_mint": OTHER_MINT},
        )
        governed.must(given, governance)
    else:
        governed.must(build("close_vault", key), owner)
        opened = build("initialize_vault", key, accounts=accounts | {"usdt_mint": OTHER_MINT})
        governed.must(opened, owner)
    own = governed.put_tokens(key, 500, mint=OTHER_MINT)
    accounts |= {"user_token_account": own}
    governed.must(build("deposit", key, amount=500, accounts=accounts), owner)

    before = governed.tokens_at(pocket)
    governed.send(puppet_call(governed, transfer(tokens, pocket, HANDS, 500)), owner)
    assert governed.tokens_at(pocket) == before
    governed.must(build("withdraw", key, amount=500, accounts=accounts), owner)
    governed.must(build("close_vault", key, accounts={"vault_token_account": tokens}), owner)


@both
@pytest.mark.parametrize(
    "attack",
    [lambda owner, tokens: approve(owner, 1, tokens), lambda o, t: set_authority(o, 3, t)],
    ids=["may spend", "may close"],
)
def test_an_account_created_in_the_call_is_the_vaults_alone(
    governed: Ledger, owner: Keypair, name: str, attack: Attack
) -> None:
    tokens = token_address(vault_address(owner.pubkey()), OTHER_MINT)
    commands = (honest(name, owner), recreate(owner, OTHER_MINT))
    given = order(governed, name, owner, *commands, attack(owner, tokens))
    refused(governed, given, owner, error="InvariantViolation")
    governed.must(order(governed, name, owner, *commands), owner)


# The accounts that the vault has


@both
@pytest.mark.parametrize(
    "attack",
    [
        spend,
        lambda owner, tokens: spend(owner, tokens, 1),
        lambda owner, tokens: approve(owner, 1, tokens),
        lambda owner, tokens: set_authority(owner, 3, tokens),
        lambda owner, tokens: set_authority(owner, 2, tokens),
    ],
    ids=["spends", "spends one", "may spend", "may close", "owns"],
)
def test_what_the_vault_has_of_another_mint_stays(
    governed: Ledger, owner: Keypair, receipts: Pubkey, name: str, attack: Attack
) -> None:
    given = order(governed, name, owner, honest(name, owner), attack(owner, receipts))
    refused(governed, given, owner, error="InvariantViolation")


@both
def test_an_account_that_receives_tokens_is_kept(
    governed: Ledger, owner: Keypair, receipts: Pubkey, name: str
) -> None:
    gift = transfer(token_address(HANDS, OTHER_MINT), receipts, HANDS, 7)
    governed.must(order(governed, name, owner, honest(name, owner), gift), owner)
    assert governed.tokens_at(receipts) == HELD + 7
    assert_balances_match_tokens(governed, owner.pubkey())


@both
def test_an_empty_account_is_not_closed(governed: Ledger, owner: Keypair, name: str) -> None:
    tokens = governed.put_tokens(vault_address(owner.pubkey()), 0, mint=OTHER_MINT)
    given = order(governed, name, owner, honest(name, owner), close(owner, tokens))
    refused(governed, given, owner, error="InvariantViolation")


def test_a_recreated_account_keeps_its_lamports(governed: Ledger, owner: Keypair) -> None:
    tokens = governed.put_tokens(vault_address(owner.pubkey()), 0, mint=OTHER_MINT)
    rent, data = governed.svm.get_balance(tokens), governed.data(tokens)
    assert rent is not None
    commands = (take(owner, AMOUNT), close(owner, tokens), recreate(owner, OTHER_MINT))
    governed.put(tokens, TOKEN, data, rent + 1)
    given = order(governed, "yield_deposit", owner, *commands)
    refused(governed, given, owner, error="InvariantViolation")
    governed.put(tokens, TOKEN, data, rent)
    governed.must(given, owner)


@both
@pytest.mark.parametrize("held", [True, False], ids=["held before", "created"])
def test_a_frozen_account_is_a_changed_one(
    governed: Ledger, owner: Keypair, name: str, held: bool
) -> None:
    """The program is the mint's freeze authority."""
    mint, vault = Keypair().pubkey(), vault_address(owner.pubkey())
    governed.put(mint, TOKEN, mint_data()[:46] + b"\1\0\0\0" + bytes(HANDS))
    tokens = token_address(vault, mint)
    if held:
        governed.put_tokens(vault, 5, mint=mint)
    accounts = [writable(tokens), readonly(mint), signer(HANDS)]
    freeze = Instruction(TOKEN, b"\x0a", accounts)
    commands = (honest(name, owner), recreate(owner, mint))
    given = order(governed, name, owner, *commands, freeze)
    refused(governed, given, owner, error="InvariantViolation")
    governed.must(order(governed, name, owner, *commands), owner)


@both
@pytest.mark.parametrize("at", [DELEGATE, CLOSE_AUTHORITY], ids=["may spend", "may close"])
def test_an_authority_from_earlier_does_not_block_the_call(
    governed: Ledger, owner: Keypair, receipts: Pubkey, name: str, at: int
) -> None:
    """Otherwise what was lent could not come back. It takes nothing within the call."""
    share(governed, receipts, at)
    through = (writable(receipts),)
    governed.must(order(governed, name, owner, honest(name, owner), also=through), owner)
    if at == DELEGATE:
        theft = transfer(receipts, token_address(HANDS, OTHER_MINT), HANDS, 1)
        given = order(governed, name, owner, honest(name, owner), theft)
        refused(governed, given, owner, error="InvariantViolation")


# Burns, as of receipts that are redeemed


def test_the_active_program_burns_its_receipts_when_it_gives_back(
    governed: Ledger, owner: Keypair, receipts: Pubkey
) -> None:
    commands = (pay(owner, AMOUNT), burned(owner, receipts, 30))
    governed.must(order(governed, "yield_withdraw", owner, *commands), owner)
    assert governed.tokens_at(receipts) == HELD - 30
    assert_balances_match_tokens(governed, owner.pubkey())


@pytest.mark.parametrize("unlisted", [True, False], ids=["unlisted", "listed"])
def test_the_active_program_burns_all_of_them_with_the_last_of_what_is_lent(
    governed: Ledger, governance: Keypair, owner: Keypair, receipts: Pubkey, unlisted: bool
) -> None:
    if unlisted:
        governed.must(govern("remove_yield_program", governance.pubkey(), value=PUPPET), governance)
    commands = (pay(owner, 400), burned(owner, receipts, HELD))
    governed.must(order(governed, "yield_withdraw", owner, *commands, amount=400), owner)
    assert governed.tokens_at(receipts) == 0


def test_a_deposit_burns_no_receipts(governed: Ledger, owner: Keypair, receipts: Pubkey) -> None:
    commands = (take(owner, AMOUNT), burned(owner, receipts, 1))
    given = order(governed, "yield_deposit", owner, *commands)
    refused(governed, given, owner, error="InvariantViolation")


def test_receipts_of_an_earlier_program_survive_the_first_deposit_in_another_one(
    governed: Ledger, governance: Keypair
) -> None:
    """A receipt is a share in a pool: what the vault no longer has goes to its other holders."""
    whitelist_hostile_program(governed, governance)
    governed.put(OTHER_MINT, TOKEN, mint_data(supply=1_000))
    owner = governed.owner(deposited=1_000)
    receipts = governed.put_tokens(vault_address(owner.pubkey()), HELD, mint=OTHER_MINT)
    theft = take(owner, 1), burned(owner, receipts, HELD)
    given = order(governed, "yield_deposit", owner, *theft, amount=1)
    refused(governed, given, owner, error="InvariantViolation")
    governed.must(order(governed, "yield_deposit", owner, take(owner, 1), amount=1), owner)


@pytest.mark.parametrize("call", ["claim", "deposit"])
def test_compounding_burns_no_receipts(
    governed: Ledger, owner: Keypair, receipts: Pubkey, call: str
) -> None:
    theft = When(call, (burned(owner, receipts, 1),))
    given = order(governed, "compound_yield", owner, *honest_compound(owner), theft)
    refused(governed, given, owner, error="InvariantViolation")
    also = (writable(receipts), writable(OTHER_MINT))
    commands = honest_compound(owner)
    governed.must(order(governed, "compound_yield", owner, *commands, also=also), owner)


def test_a_program_that_is_not_the_active_one_burns_no_receipts(
    governed: Ledger, owner: Keypair, receipts: Pubkey
) -> None:
    """It is listed, and gives back what an old vault lent to it as well."""
    lend_to_another(governed, owner.pubkey(), Keypair().pubkey())
    commands = (pay(owner, AMOUNT), burned(owner, receipts, 1))
    given = order(governed, "yield_withdraw", owner, *commands)
    refused(governed, given, owner, error="InvariantViolation")
    also = (writable(receipts), writable(OTHER_MINT))
    honestly = order(governed, "yield_withdraw", owner, pay(owner, AMOUNT), also=also)
    governed.must(honestly, owner)


def test_more_than_was_burned_does_not_leave(
    governed: Ledger, owner: Keypair, receipts: Pubkey
) -> None:
    commands = (pay(owner, AMOUNT), burned(owner, receipts, 30), spend(owner, receipts, 1))
    given = order(governed, "yield_withdraw", owner, *commands)
    refused(governed, given, owner, error="InvariantViolation")


def test_a_burn_counts_once_for_several_accounts(
    governed: Ledger, owner: Keypair, receipts: Pubkey
) -> None:
    vault = vault_address(owner.pubkey())
    second = governed.put_tokens(vault, HELD, mint=OTHER_MINT, address=Keypair().pubkey())
    first = (pay(owner, AMOUNT), burned(owner, receipts, 30))
    stolen = order(governed, "yield_withdraw", owner, *first, spend(owner, second, 30))
    refused(governed, stolen, owner, error="InvariantViolation")
    both_burned = order(governed, "yield_withdraw", owner, *first, burned(owner, second, 20))
    governed.must(both_burned, owner)


def test_a_burn_of_another_mint_does_not_count(
    governed: Ledger, owner: Keypair, receipts: Pubkey
) -> None:
    third, vault = Keypair().pubkey(), vault_address(owner.pubkey())
    governed.put(third, TOKEN, mint_data(supply=100))
    tokens = governed.put_tokens(vault, 100, mint=third)
    commands = (pay(owner, AMOUNT), burn(tokens, third, vault, 50), spend(owner, receipts))
    given = order(governed, "yield_withdraw", owner, *commands)
    refused(governed, given, owner, error="InvariantViolation")
    redeemed = (pay(owner, AMOUNT), burn(tokens, third, vault, 50), burned(owner, receipts, 30))
    governed.must(order(governed, "yield_withdraw", owner, *redeemed), owner)


def test_an_issue_of_more_receipts_is_no_burn(
    governed: Ledger, owner: Keypair, receipts: Pubkey
) -> None:
    mint = mint_data(supply=1_000)
    governed.put(OTHER_MINT, TOKEN, b"\1\0\0\0" + bytes(HANDS) + mint[36:])
    accounts = [writable(OTHER_MINT), writable(token_address(HANDS, OTHER_MINT)), signer(HANDS)]
    issue = Instruction(TOKEN, b"\7" + (1).to_bytes(8, "little"), accounts)
    stolen = (pay(owner, AMOUNT), issue, spend(owner, receipts))
    given = order(governed, "yield_withdraw", owner, *stolen)
    refused(governed, given, owner, error="InvariantViolation")
    honestly = order(governed, "yield_withdraw", owner, pay(owner, AMOUNT), issue)
    governed.must(honestly, owner)


def test_an_account_that_is_passed_twice_counts_once(
    governed: Ledger, owner: Keypair, receipts: Pubkey
) -> None:
    twice = (writable(receipts), writable(receipts), writable(OTHER_MINT))
    given = (pay(owner, AMOUNT), burned(owner, receipts, 40))
    governed.must(order(governed, "yield_withdraw", owner, *given, also=twice), owner)
    assert governed.tokens_at(receipts) == HELD - 40


def test_a_burn_of_the_vaults_own_mint_pays_for_nothing(governed: Ledger, owner: Keypair) -> None:
    """It would pass for what leaves a second account."""
    vault = vault_address(owner.pubkey())
    governed.put(MINT, TOKEN, mint_data(supply=10_000))
    second = governed.put_tokens(vault, HELD, address=Keypair().pubkey())
    given = order(
        governed,
        "yield_withdraw",
        owner,
        pay(owner, 2 * AMOUNT),
        burn(token_address(vault), MINT, vault, AMOUNT),
        take(owner, AMOUNT, second),
    )
    refused(governed, given, owner, error="InvariantViolation")


# Limits


@both
def test_eight_other_accounts_are_passed_on_and_no_more(
    governed: Ledger, owner: Keypair, name: str
) -> None:
    vault = vault_address(owner.pubkey())
    for count, accepted in ((9, False), (8, True)):
        accounts = [
            governed.put_tokens(vault, 1, mint=OTHER_MINT, address=Keypair().pubkey())
            for _ in range(count)
        ]
        also = tuple(map(writable, accounts))
        given = order(governed, name, owner, honest(name, owner), also=also)
        if accepted:
            governed.must(given, owner)
        else:
            outcome = refused(governed, given, owner, error=None)
            assert outcome.error == "InstructionErrorFieldless.InvalidArgument"


def test_the_eighth_account_is_checked_too(governed: Ledger, owner: Keypair) -> None:
    vault = vault_address(owner.pubkey())
    accounts = [
        governed.put_tokens(vault, 1, mint=OTHER_MINT, address=Keypair().pubkey()) for _ in range(8)
    ]
    also = tuple(map(writable, accounts))
    for each in (accounts[0], accounts[7]):
        commands = (take(owner, AMOUNT), spend(owner, each, 1))
        given = order(governed, "yield_deposit", owner, *commands, also=also)
        refused(governed, given, owner, error="InvariantViolation")


def test_readonly_accounts_cannot_change_and_do_not_count(governed: Ledger, owner: Keypair) -> None:
    vault = vault_address(owner.pubkey())
    accounts = [
        governed.put_tokens(vault, 1, mint=OTHER_MINT, address=Keypair().pubkey()) for _ in range(9)
    ]
    also = tuple(map(readonly, accounts))
    governed.must(order(governed, "yield_deposit", owner, take(owner, AMOUNT), also=also), owner)


def test_the_programs_own_account_is_none_of_the_vaults_whatever_it_holds(
    governed: Ledger, owner: Keypair
) -> None:
    own, data = Keypair().pubkey(), token_data(vault_address(owner.pubkey()), 5, OTHER_MINT)
    governed.put(own, PUPPET, data)
    also = (writable(own),)
    governed.must(order(governed, "yield_deposit", owner, take(owner, AMOUNT), also=also), owner)


def test_accounts_of_others_do_not_matter(governed: Ledger, owner: Keypair) -> None:
    """Nor do a token account that is not initialized, and a mint."""
    blank = Keypair().pubkey()
    governed.put(blank, TOKEN, bytes(165))
    gift = transfer(token_address(HANDS, OTHER_MINT), token_address(HANDS, OTHER_MINT), HANDS, 1)
    given = order(governed, "yield_deposit", owner, take(owner, AMOUNT), gift)
    governed.must(given, owner)
    also = (writable(blank), writable(OTHER_MINT))
    governed.must(order(governed, "yield_deposit", owner, take(owner, AMOUNT), also=also), owner)

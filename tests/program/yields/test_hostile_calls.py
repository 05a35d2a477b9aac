"""A whitelisted yield program turns hostile and holds the vault's signature."""

from collections.abc import Callable

import pytest
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.program.harness.instructions import build
from tests.program.harness.ledger import (
    SYSTEM,
    TOKEN,
    Ledger,
    Outcome,
    get_vault_info,
    token_address,
    vault_address,
)
from tests.program.harness.puppet import PUPPET, Fail, puppet_call, write_script
from tests.program.harness.venues import (
    assert_balances_match_tokens,
    move,
    refused,
    writable,
)
from tests.program.yields.hostile import (
    AMOUNT,
    HANDS,
    POCKET,
    approve,
    close,
    honest,
    order,
    pay,
    recreate,
    set_authority,
    take,
    transfer,
    whitelist_hostile_program,
)

NAMES = ("yield_deposit", "yield_withdraw", "compound_yield")
every = pytest.mark.parametrize("name", NAMES)
both = pytest.mark.parametrize("name", NAMES[:2])


@pytest.fixture
def owner(governed: Ledger, governance: Keypair) -> Keypair:
    """The owner of 1000 units, 400 of them with the hostile program."""
    whitelist_hostile_program(governed, governance)
    owner = governed.owner(deposited=1_000)
    governed.must(order(governed, "yield_deposit", owner, take(owner, 400), amount=400), owner)
    return owner


# The amount that moves


@both
def test_exactly_the_amount_may_move(governed: Ledger, owner: Keypair, name: str) -> None:
    """The case that every refusal below varies."""
    governed.must(order(governed, name, owner, honest(name, owner)), owner)
    assert_balances_match_tokens(governed, owner.pubkey())


@both
@pytest.mark.parametrize("by", [-1, +1], ids=["less", "more"])
def test_one_unit_less_or_more_is_refused(
    governed: Ledger, owner: Keypair, name: str, by: int
) -> None:
    command = (take if name == "yield_deposit" else pay)(owner, AMOUNT + by)
    refused(governed, order(governed, name, owner, command), owner, error="InvariantViolation")


@every
def test_a_program_that_moves_nothing_is_refused(
    governed: Ledger, owner: Keypair, name: str
) -> None:
    refused(governed, order(governed, name, owner), owner, error="InvariantViolation")


@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("yield_deposit", pay),
        ("yield_withdraw", take),
        ("compound_yield", pay),  # comes in, and does not go out again
        ("compound_yield", take),
    ],
)
def test_tokens_do_not_move_the_wrong_way(
    governed: Ledger, owner: Keypair, name: str, command: Callable[[Keypair, int], Instruction]
) -> None:
    given = order(governed, name, owner, command(owner, AMOUNT))
    refused(governed, given, owner, error="InvariantViolation")


@both
def test_only_the_net_amount_must_match(governed: Ledger, owner: Keypair, name: str) -> None:
    commands = (take(owner, 300), pay(owner, 300), honest(name, owner))
    governed.must(order(governed, name, owner, *commands), owner)
    assert_balances_match_tokens(governed, owner.pubkey())


def test_locked_tokens_are_not_taken_in_place_of_available_ones(
    governed: Ledger, owner: Keypair
) -> None:
    governed.change_vault(owner.pubkey(), available_balance=10, locked_balance=590)
    given = order(governed, "yield_deposit", owner, take(owner, 20), amount=10)
    refused(governed, given, owner, error="InvariantViolation")
    given = order(governed, "yield_deposit", owner, take(owner, 20), amount=20)
    refused(governed, given, owner, error="InsufficientFunds")


# Changes of the token account other than its amount


@both
@pytest.mark.parametrize(
    ("command", "error"),
    [
        (lambda owner: approve(owner, 1), "InvariantViolation"),
        (lambda owner: set_authority(owner, 3), "InvariantViolation"),
        (lambda owner: set_authority(owner, 2), "ConstraintTokenOwner"),
    ],
    ids=["may spend", "may close", "owns"],
)
def test_nobody_else_may_spend_close_or_own_the_vaults_tokens_afterwards(
    governed: Ledger,
    owner: Keypair,
    name: str,
    command: Callable[[Keypair], Instruction],
    error: str,
) -> None:
    given = order(governed, name, owner, honest(name, owner), command(owner))
    refused(governed, given, owner, error=error)


def test_an_emptied_token_account_is_not_closed(governed: Ledger, owner: Keypair) -> None:
    given = order(governed, "yield_deposit", owner, take(owner, 600), close(owner), amount=600)
    refused(governed, given, owner, error="InvalidTokenProgramOwner")


def test_a_recreated_token_account_is_identical_to_the_lamport(
    governed: Ledger, owner: Keypair
) -> None:
    tokens = token_address(vault_address(owner.pubkey()))
    rent = governed.svm.get_balance(tokens)
    assert rent is not None
    commands = (take(owner, 600), close(owner), recreate(owner))

    governed.put(tokens, TOKEN, governed.data(tokens), rent + 1)
    given = order(governed, "yield_deposit", owner, *commands, amount=600)
    refused(governed, given, owner, error="InvariantViolation")

    governed.put(tokens, TOKEN, governed.data(tokens), rent)
    before = governed.data(tokens)
    governed.must(order(governed, "yield_deposit", owner, *commands, amount=600), owner)
    assert governed.data(tokens) == before[:64] + bytes(8) + before[72:]
    assert governed.svm.get_balance(tokens) == rent


# Signatures other than the vault's


def stolen(ledger: Ledger, victim: Keypair) -> Instruction:
    return transfer(token_address(victim.pubkey()), POCKET, victim.pubkey(), 1)


@every
def test_no_signature_but_the_vaults_is_passed_on(
    governed: Ledger, owner: Keypair, name: str
) -> None:
    """The authority signs the transaction and is among the program's accounts."""
    governed.put_tokens(owner.pubkey(), 5)
    theft = stolen(governed, owner)
    governed.must(puppet_call(governed, theft), owner)  # succeeds with the signature
    outcome = refused(governed, order(governed, name, owner, theft), owner, error=None)
    assert_escalated(outcome, owner.pubkey())


@every
def test_a_cosigners_signature_is_not_passed_on(
    governed: Ledger, owner: Keypair, name: str
) -> None:
    cosigner = governed.wallet(usdt=5)
    keys = [owner.pubkey(), cosigner.pubkey()]
    governed.must(build("set_vault_multisig", keys[0], signers=keys, threshold=2), owner)
    given = order(governed, name, owner, stolen(governed, cosigner))
    extra = AccountMeta(cosigner.pubkey(), True, False)
    with_cosigner = Instruction(given.program_id, bytes(given.data), [*given.accounts, extra])
    outcome = refused(governed, with_cosigner, owner, cosigner, error=None)
    assert_escalated(outcome, cosigner.pubkey())


@every
def test_another_vault_does_not_sign(governed: Ledger, owner: Keypair, name: str) -> None:
    other = governed.owner(deposited=100)
    vault = vault_address(other.pubkey())
    theft = take(other, 20)
    *accounts, script = write_script(governed, theft, signing_later=[vault])
    own = writable(token_address(vault_address(owner.pubkey())))
    through = [*accounts, own, script]
    given = move(name, owner.pubkey(), AMOUNT, program=PUPPET, through=through)
    assert_escalated(refused(governed, given, owner, error=None), vault)


@every
def test_one_vault_does_not_sign_for_the_tokens_of_another(
    governed: Ledger, owner: Keypair, name: str
) -> None:
    others = token_address(vault_address(governed.owner(deposited=100).pubkey()))
    theft = transfer(others, POCKET, vault_address(owner.pubkey()), 20)
    outcome = refused(governed, order(governed, name, owner, theft), owner, error=None)
    assert outcome.error == 4  # SPL Token: the owner does not match


def assert_escalated(outcome: Outcome, address: Pubkey) -> None:
    assert outcome.error == "InstructionErrorFieldless.PrivilegeEscalation"
    assert f"{address}'s signer privilege escalated" in outcome.logs


# Other attacks


@every
def test_a_yield_program_cannot_call_back(governed: Ledger, owner: Keypair, name: str) -> None:
    key = owner.pubkey()
    vault = vault_address(key)
    back = (
        get_vault_info(key),
        build("release_timelocks", key, authority=HANDS),
        move("yield_deposit", key, AMOUNT, program=PUPPET, authority=vault),
    )
    for call in back:
        given = order(governed, name, owner, honest(name, owner), call)
        refused(governed, given, owner, error="InvalidProgramId")


@every
def test_the_vaults_rent_cannot_be_taken(governed: Ledger, owner: Keypair, name: str) -> None:
    vault = vault_address(owner.pubkey())
    data = b"\2\0\0\0" + (1).to_bytes(8, "little")
    theft = Instruction(SYSTEM, data, [AccountMeta(vault, True, True), writable(HANDS)])
    outcome = refused(governed, order(governed, name, owner, theft), owner, error=None)
    assert "Transfer: `from` must not carry data" in outcome.logs


@every
def test_the_programs_own_error_comes_through(governed: Ledger, owner: Keypair, name: str) -> None:
    given = order(governed, name, owner, honest(name, owner), Fail(7_777))
    assert refused(governed, given, owner, error=None).error == 7_777

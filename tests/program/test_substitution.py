"""No account can stand in for another: wrong, foreign, forged, swapped, or without its rights."""

from collections.abc import Callable
from typing import Any

import pytest
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from . import ledger as chain
from .ledger import PROGRAM, TOKEN, VAULT_IDL, Ledger, token_address, vault_address
from .refusals import assert_refused

Build = Callable[..., Instruction]
Substitute = Callable[[Ledger, Pubkey], Pubkey]


def deposit(owner: Pubkey, /, **substitutes: Pubkey) -> Instruction:
    return chain.deposit(owner, 5, **substitutes)


def withdraw(owner: Pubkey, /, **substitutes: Any) -> Instruction:
    return chain.withdraw(owner, 5, **substitutes)


def add_delegate(owner: Pubkey, /, **substitutes: Pubkey) -> Instruction:
    return chain.add_delegate(owner, TOKEN, **substitutes)


def remove_delegate(owner: Pubkey, /, **substitutes: Pubkey) -> Instruction:
    return chain.remove_delegate(owner, DELEGATE, **substitutes)


DELEGATE = Keypair().pubkey()
ON_A_VAULT: list[Build] = [deposit, withdraw, add_delegate, remove_delegate]
WITH_AN_OWNER: list[Build] = [deposit, withdraw]
PROGRAMS = ["system_program", "token_program", "associated_token_program"]


def ready_owner(ledger: Ledger) -> Keypair:
    """An owner for whom each of the instructions above succeeds."""
    owner = ledger.owner(usdt=5, deposited=5)
    ledger.must(chain.add_delegate(owner.pubkey(), DELEGATE), owner)
    return owner


@pytest.mark.parametrize("build", ON_A_VAULT)
def test_with_the_right_accounts_it_succeeds(governed: Ledger, build: Build) -> None:
    owner = ready_owner(governed)
    governed.must(build(owner.pubkey()), owner)


# The vault


def other_owners_vault(ledger: Ledger, _: Pubkey) -> Pubkey:
    return vault_address(ledger.owner(deposited=100).pubkey())


def vault_never_created(ledger: Ledger, _: Pubkey) -> Pubkey:
    return vault_address(ledger.wallet().pubkey())


def vault_address_with_dust(ledger: Ledger, _: Pubkey) -> Pubkey:
    address = vault_address(ledger.wallet().pubkey())
    ledger.put(address, chain.SYSTEM, b"", 1)
    return address


def put_elsewhere(ledger: Ledger, owner: Pubkey, data: bytes) -> Pubkey:
    address = Keypair().pubkey()
    ledger.put(address, owner, data)
    return address


def same_bytes_elsewhere(ledger: Ledger, owner: Pubkey) -> Pubkey:
    return put_elsewhere(ledger, PROGRAM, ledger.data(vault_address(owner)))


def same_bytes_of_another_program(ledger: Ledger, owner: Pubkey) -> Pubkey:
    return put_elsewhere(ledger, chain.POSITION_MANAGER, ledger.data(vault_address(owner)))


def account_of_zeros(ledger: Ledger, _: Pubkey) -> Pubkey:
    return put_elsewhere(ledger, PROGRAM, bytes(chain.VAULT_LENGTH))


def account_of_one_byte(ledger: Ledger, _: Pubkey) -> Pubkey:
    return put_elsewhere(ledger, PROGRAM, b"\x13")


def authority_account(_: Ledger, __: Pubkey) -> Pubkey:
    return chain.authority_address()


def vault_cut_short(ledger: Ledger, owner: Pubkey) -> Pubkey:
    return put_elsewhere(ledger, PROGRAM, ledger.data(vault_address(owner))[:-1])


@pytest.mark.parametrize("build", ON_A_VAULT)
@pytest.mark.parametrize(
    ("substitute", "refusal"),
    [
        (other_owners_vault, "ConstraintSeeds"),
        (vault_never_created, "AccountNotInitialized"),
        (vault_address_with_dust, "AccountNotInitialized"),
        (same_bytes_elsewhere, "ConstraintSeeds"),
        (same_bytes_of_another_program, "AccountOwnedByWrongProgram"),
        (account_of_zeros, "AccountDiscriminatorMismatch"),
        (account_of_one_byte, "AccountDiscriminatorMismatch"),
        (authority_account, "AccountDiscriminatorMismatch"),
        (vault_cut_short, "AccountDidNotDeserialize"),
    ],
)
def test_nothing_stands_in_for_the_vault(
    governed: Ledger, build: Build, substitute: Substitute, refusal: str
) -> None:
    owner = ready_owner(governed)
    vault = substitute(governed, owner.pubkey())
    assert_refused(governed.send(build(owner.pubkey(), vault=vault), owner), refusal)


@pytest.mark.parametrize("build", WITH_AN_OWNER)
def test_naming_another_owner_does_not_open_their_vault(governed: Ledger, build: Build) -> None:
    owner, other = ready_owner(governed), ready_owner(governed)
    outcome = governed.send(build(owner.pubkey(), owner=other.pubkey()), owner)
    assert_refused(outcome, "ConstraintSeeds")


@pytest.mark.parametrize("build", [add_delegate, remove_delegate])
def test_a_stranger_cannot_change_anothers_delegates(governed: Ledger, build: Build) -> None:
    owner, stranger = ready_owner(governed), governed.wallet()
    outcome = governed.send(build(owner.pubkey(), owner=stranger.pubkey()), stranger)
    assert_refused(outcome, "ConstraintSeeds")
    assert governed.vault(owner.pubkey())["delegates"] == [DELEGATE]


@pytest.mark.parametrize("build", [add_delegate, remove_delegate])
def test_a_delegate_cannot_change_the_delegates(governed: Ledger, build: Build) -> None:
    owner, delegate = ready_owner(governed), governed.wallet()
    governed.must(chain.add_delegate(owner.pubkey(), delegate.pubkey()), owner)
    outcome = governed.send(build(owner.pubkey(), owner=delegate.pubkey()), delegate)
    assert_refused(outcome, "ConstraintSeeds")


# Token accounts


def other_vaults_tokens(ledger: Ledger, _: Pubkey) -> Pubkey:
    return token_address(vault_address(ledger.owner(deposited=100).pubkey()))


def own_wallets_tokens(_: Ledger, owner: Pubkey) -> Pubkey:
    return token_address(owner)


def second_account_of_the_vault(ledger: Ledger, owner: Pubkey) -> Pubkey:
    return ledger.put_tokens(vault_address(owner), 100, address=Keypair().pubkey())


@pytest.mark.parametrize("build", WITH_AN_OWNER)
@pytest.mark.parametrize(
    "substitute", [other_vaults_tokens, own_wallets_tokens, second_account_of_the_vault]
)
def test_nothing_stands_in_for_the_vaults_token_account(
    governed: Ledger, build: Build, substitute: Substitute
) -> None:
    owner = ready_owner(governed)
    account = substitute(governed, owner.pubkey())
    outcome = governed.send(build(owner.pubkey(), vault_token_account=account), owner)
    assert_refused(outcome, "ConstraintAssociated")


@pytest.mark.parametrize("build", WITH_AN_OWNER)
@pytest.mark.parametrize(
    ("forge", "refusal"),
    [
        (lambda vault: (TOKEN, chain.token_data(DELEGATE, 100)), "ConstraintTokenOwner"),
        (lambda vault: (TOKEN, chain.token_data(vault, 100, DELEGATE)), "ConstraintTokenMint"),
        (lambda vault: (PROGRAM, chain.token_data(vault, 100)), "InvalidTokenProgramOwner"),
        (lambda vault: (TOKEN, bytes(165)), "AccountNotInitialized"),
    ],
    ids=["another wallet's", "another mint's", "another program's", "not initialised"],
)
def test_the_vaults_token_account_is_read_not_believed(
    governed: Ledger,
    build: Build,
    forge: Callable[[Pubkey], tuple[Pubkey, bytes]],
    refusal: str,
) -> None:
    owner = ready_owner(governed)
    vault = vault_address(owner.pubkey())
    governed.put(token_address(vault), *forge(vault))
    assert_refused(governed.send(build(owner.pubkey()), owner), refusal)


def vaults_own_tokens(_: Ledger, owner: Pubkey) -> Pubkey:
    return token_address(vault_address(owner))


def tokens_of_another_mint(ledger: Ledger, owner: Pubkey) -> Pubkey:
    return ledger.put_tokens(owner, 100, mint=Keypair().pubkey())


def forged_tokens(ledger: Ledger, owner: Pubkey) -> Pubkey:
    return put_elsewhere(ledger, PROGRAM, chain.token_data(owner, 100))


def wallet_itself(_: Ledger, owner: Pubkey) -> Pubkey:
    return owner


def mint_account(_: Ledger, __: Pubkey) -> Pubkey:
    return chain.MINT


def tokens_not_initialised(ledger: Ledger, _: Pubkey) -> Pubkey:
    return put_elsewhere(ledger, TOKEN, bytes(165))


@pytest.mark.parametrize("build", WITH_AN_OWNER)
@pytest.mark.parametrize(
    ("substitute", "refusal"),
    [
        (vaults_own_tokens, "ConstraintTokenOwner"),
        (second_account_of_the_vault, "ConstraintTokenOwner"),
        (tokens_of_another_mint, "ConstraintTokenMint"),
        (forged_tokens, "InvalidTokenProgramOwner"),
        (wallet_itself, "InvalidTokenProgramOwner"),
        (mint_account, "AccountNotInitialized"),
        (tokens_not_initialised, "AccountNotInitialized"),
    ],
)
def test_nothing_stands_in_for_the_users_token_account(
    governed: Ledger, build: Build, substitute: Substitute, refusal: str
) -> None:
    owner = ready_owner(governed)
    account = substitute(governed, owner.pubkey())
    outcome = governed.send(build(owner.pubkey(), user_token_account=account), owner)
    assert_refused(outcome, refusal)


# The authority


def authority_bytes_elsewhere(ledger: Ledger, _: Pubkey) -> Pubkey:
    return put_elsewhere(ledger, PROGRAM, ledger.data(chain.authority_address()))


def authority_bytes_of_another_program(ledger: Ledger, _: Pubkey) -> Pubkey:
    return put_elsewhere(ledger, TOKEN, ledger.data(chain.authority_address()))


def own_vault(_: Ledger, owner: Pubkey) -> Pubkey:
    return vault_address(owner)


@pytest.mark.parametrize(
    ("substitute", "refusal"),
    [
        (authority_bytes_elsewhere, "ConstraintSeeds"),
        (authority_bytes_of_another_program, "AccountOwnedByWrongProgram"),
        (own_vault, "AccountDiscriminatorMismatch"),
        (vault_never_created, "AccountNotInitialized"),
    ],
)
def test_nothing_stands_in_for_the_authority(
    governed: Ledger, substitute: Substitute, refusal: str
) -> None:
    owner = ready_owner(governed)
    account = substitute(governed, owner.pubkey())
    outcome = governed.send(withdraw(owner.pubkey(), vault_authority=account), owner)
    assert_refused(outcome, refusal)


def test_without_an_authority_nothing_is_withdrawn(ledger: Ledger) -> None:
    owner = ledger.owner(deposited=5)
    assert_refused(ledger.send(withdraw(owner.pubkey()), owner), "AccountNotInitialized")


def test_an_authority_whose_lists_are_longer_than_they_may_be_is_refused(
    governed: Ledger,
) -> None:
    owner = ready_owner(governed)
    data = governed.data(chain.authority_address())
    for count in (65, 2**32 - 1):
        hostile = data[:40] + count.to_bytes(4, "little") + data[44:]
        governed.put(chain.authority_address(), PROGRAM, hostile)
        outcome = governed.send(withdraw(owner.pubkey()), owner)
        assert_refused(outcome, "AccountDidNotDeserialize")


# Every instruction: programs, rights, missing accounts, any account in any other's place


def initialize_vault_authority(governance: Pubkey, /, **substitutes: Pubkey) -> Instruction:
    accounts = {"governance": governance, "vault_authority": chain.authority_address()}
    arguments: dict[str, Any] = {"authorized_programs": [], "freeze": None}
    return chain.instruction("initialize_vault_authority", arguments, accounts | substitutes)


def initialize(_: Pubkey, /, **substitutes: Pubkey) -> Instruction:
    return chain.instruction("initialize", {}, substitutes)


EVERY: list[Build] = [
    *ON_A_VAULT,
    initialize_vault_authority,
    chain.initialize_vault,
    chain.get_vault_info,
    initialize,
]


def ready(ledger: Ledger, build: Build) -> Keypair:
    """A wallet for which the instruction succeeds."""
    if build in {chain.initialize_vault, initialize_vault_authority, initialize}:
        return ledger.wallet()
    governance = ledger.wallet()
    ledger.must(chain.initialize_vault_authority(governance.pubkey()), governance)
    return ready_owner(ledger)


def positions(build: Build, right: str) -> list[int]:
    accounts = VAULT_IDL.instructions[build.__name__]["accounts"]
    return [at for at, account in enumerate(accounts) if account.get(right)]


CASES = {
    right: [(build, at) for build in EVERY for at in positions(build, right)]
    for right in ("signer", "writable", "address")
}


@pytest.mark.parametrize(("build", "at"), CASES["signer"])
def test_who_must_sign_must_sign(ledger: Ledger, build: Build, at: int) -> None:
    wallet, payer = ready(ledger, build), ledger.wallet()
    unsigned = chain.without(build(wallet.pubkey()), signer=at)
    assert_refused(ledger.send(unsigned, payer), "AccountNotSigner")


@pytest.mark.parametrize(("build", "at"), CASES["writable"])
def test_what_is_written_must_be_writable(ledger: Ledger, build: Build, at: int) -> None:
    wallet, payer = ready(ledger, build), ledger.wallet()
    readonly = chain.without(build(wallet.pubkey()), writable=at)
    assert_refused(ledger.send(readonly, payer, wallet), "ConstraintMut")


@pytest.mark.parametrize(("build", "at"), CASES["address"])
def test_no_other_program_or_sysvar_is_called_or_read(
    ledger: Ledger, build: Build, at: int
) -> None:
    wallet = ready(ledger, build)
    account = VAULT_IDL.instructions[build.__name__]["accounts"][at]["name"]
    impostor = Keypair().pubkey()
    ledger.svm.add_program(impostor, chain.ELF.read_bytes())
    outcome = ledger.send(build(wallet.pubkey(), **{account: impostor}), wallet)
    assert_refused(outcome, "AccountSysvarMismatch" if account == "rent" else "InvalidProgramId")


@pytest.mark.parametrize("build", EVERY)
def test_a_missing_account_is_refused(ledger: Ledger, build: Build) -> None:
    wallet, payer = ready(ledger, build), ledger.wallet()
    whole = build(wallet.pubkey())
    for count in range(len(whole.accounts)):
        cut = Instruction(PROGRAM, bytes(whole.data), whole.accounts[:count])
        signers = [payer, wallet] if any(meta.is_signer for meta in cut.accounts) else [payer]
        assert_refused(ledger.send(cut, *signers), "AccountNotEnoughKeys")


@pytest.mark.parametrize("build", EVERY)
def test_no_account_serves_in_two_places(ledger: Ledger, build: Build) -> None:
    wallet, payer = ready(ledger, build), ledger.wallet()
    names = [account["name"] for account in VAULT_IDL.instructions[build.__name__]["accounts"]]
    whole = build(wallet.pubkey())
    addresses = [meta.pubkey for meta in whole.accounts]
    for name, meant in zip(names, addresses, strict=True):
        for other in set(addresses) - {meant}:
            swapped = build(wallet.pubkey(), **{name: other})
            at = names.index(name)
            if swapped.accounts[at].is_signer:
                swapped = chain.without(swapped, signer=at)  # nobody holds that key
            needed = {meta.pubkey for meta in swapped.accounts if meta.is_signer}
            signers = [payer, wallet] if wallet.pubkey() in needed else [payer]
            outcome = ledger.send(swapped, *signers)
            assert isinstance(outcome.error, int), (name, outcome)
            assert outcome.error >= 100, (name, outcome)

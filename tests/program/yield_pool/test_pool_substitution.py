"""No account of a yield pool can be substituted or lack its rights."""

from collections.abc import Callable

import pytest
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.program.harness import ledger as chain
from tests.program.harness import pools as pools_of
from tests.program.harness.ledger import (
    MINT,
    PROGRAM,
    SYSTEM,
    TOKEN,
    YIELD_IDL,
    Ledger,
    token_address,
)
from tests.program.harness.pools import (
    PER_TOKEN_UNIT,
    YIELD_POOL,
    Pools,
    claim,
    deposit,
    fund_reserve,
    initialize_pool,
    open_position,
    pool_address,
    position_address,
    refused,
    reserve_address,
    set_rate,
    withdraw,
)

Forge = Callable[[Pools, Keypair], Pubkey]


@pytest.fixture
def pools(ledger: Ledger) -> Pools:
    """A pool with a funded reserve."""
    pools = pools_of.with_yield_pool(ledger)
    pools.fund(1_000)
    return pools


def saver(pools: Pools) -> Keypair:
    """An owner who may deposit, withdraw or claim 5, beside another one in the pool."""
    pools.saver(deposited=1_000)
    owner = pools.saver(usdt=5, deposited=5)
    pools.change_position(owner.pubkey(), accrued=5 * PER_TOKEN_UNIT)
    return owner


def other_pool(pools: Pools) -> Pools:
    """Another admin's pool of the same mint, with deposits and a reserve."""
    admin = pools.ledger.wallet()
    pools.ledger.must(initialize_pool(admin.pubkey(), 1), admin)
    other = Pools(pools.ledger, admin)
    other.fund(1_000)
    other.saver(deposited=1_000)
    return other


# Every instruction, as its authorized signer sends it


def initialized(_: Pools, wallet: Keypair, /, **substitutes: Pubkey) -> Instruction:
    return initialize_pool(wallet.pubkey(), 1, **substitutes)


def rate_set(pools: Pools, wallet: Keypair, /, **substitutes: Pubkey) -> Instruction:
    return set_rate(wallet.pubkey(), pools.pool, 1, **substitutes)


def funded(pools: Pools, wallet: Keypair, /, **substitutes: Pubkey) -> Instruction:
    return fund_reserve(wallet.pubkey(), pools.pool, 5, **substitutes)


def opened(pools: Pools, wallet: Keypair, /, **substitutes: Pubkey) -> Instruction:
    accounts = {"payer": wallet.pubkey()} | substitutes
    return open_position(PROGRAM, pools.pool, **accounts)


def deposited(pools: Pools, wallet: Keypair, /, **substitutes: Pubkey) -> Instruction:
    return deposit(wallet.pubkey(), pools.pool, 5, **substitutes)


def withdrawn(pools: Pools, wallet: Keypair, /, **substitutes: Pubkey) -> Instruction:
    return withdraw(wallet.pubkey(), pools.pool, 5, **substitutes)


def claimed(pools: Pools, wallet: Keypair, /, **substitutes: Pubkey) -> Instruction:
    return claim(wallet.pubkey(), pools.pool, 5, **substitutes)


Build = Callable[..., Instruction]
EVERY: dict[str, Build] = {
    "initialize_pool": initialized,
    "set_rate": rate_set,
    "fund_reserve": funded,
    "open_position": opened,
    "deposit": deposited,
    "withdraw": withdrawn,
    "claim": claimed,
}
OF_AN_OWNER: list[Build] = [deposited, withdrawn, claimed]
WITH_A_POOL: list[Build] = [rate_set, funded, opened, *OF_AN_OWNER]
WITH_A_RESERVE: list[Build] = [funded, *OF_AN_OWNER]


def ready(pools: Pools, build: Build) -> Keypair:
    """Return the wallet for which the instruction succeeds."""
    if build is rate_set:
        return pools.admin
    return pools.ledger.wallet(usdt=5) if build in {initialized, funded, opened} else saver(pools)


def places(name: str, right: str) -> list[int]:
    accounts = YIELD_IDL.instructions[name]["accounts"]
    return [at for at, account in enumerate(accounts) if account.get(right)]


def cases(right: str) -> list[tuple[str, int]]:
    return [(name, at) for name in EVERY for at in places(name, right)]


@pytest.mark.parametrize("build", EVERY.values())
def test_an_instruction_with_the_right_accounts_succeeds(pools: Pools, build: Build) -> None:
    wallet = ready(pools, build)
    pools.ledger.must(build(pools, wallet), wallet)


@pytest.mark.parametrize(("name", "at"), cases("signer"))
def test_a_missing_signature_is_refused(pools: Pools, name: str, at: int) -> None:
    wallet, payer = ready(pools, EVERY[name]), pools.ledger.wallet()
    unsigned = chain.without(EVERY[name](pools, wallet), signer=at)
    refused(pools.ledger.send(unsigned, payer), "AccountNotSigner")


@pytest.mark.parametrize(("name", "at"), cases("writable"))
def test_a_written_account_must_be_writable(pools: Pools, name: str, at: int) -> None:
    wallet, payer = ready(pools, EVERY[name]), pools.ledger.wallet()
    readonly = chain.without(EVERY[name](pools, wallet), writable=at)
    refused(pools.ledger.send(readonly, payer, wallet), "ConstraintMut")


@pytest.mark.parametrize(("name", "at"), cases("address"))
def test_no_other_program_is_called(pools: Pools, name: str, at: int) -> None:
    wallet = ready(pools, EVERY[name])
    account = YIELD_IDL.instructions[name]["accounts"][at]["name"]
    impostor = Keypair().pubkey()
    pools.ledger.svm.add_program(impostor, pools_of.ELF.read_bytes())
    outcome = pools.ledger.send(EVERY[name](pools, wallet, **{account: impostor}), wallet)
    refused(outcome, "InvalidProgramId")


@pytest.mark.parametrize("build", EVERY.values())
def test_a_missing_account_is_refused(pools: Pools, build: Build) -> None:
    wallet, payer = ready(pools, build), pools.ledger.wallet()
    whole = build(pools, wallet)
    for count in range(len(whole.accounts)):
        cut = Instruction(YIELD_POOL, bytes(whole.data), whole.accounts[:count])
        signers = [payer, wallet] if any(meta.is_signer for meta in cut.accounts) else [payer]
        refused(pools.ledger.send(cut, *signers), "AccountNotEnoughKeys")


@pytest.mark.parametrize("name", EVERY)
def test_no_account_can_be_passed_in_two_places(pools: Pools, name: str) -> None:
    wallet, payer = ready(pools, EVERY[name]), pools.ledger.wallet()
    slots = [account["name"] for account in YIELD_IDL.instructions[name]["accounts"]]
    addresses = [meta.pubkey for meta in EVERY[name](pools, wallet).accounts]
    for at, (slot, meant) in enumerate(zip(slots, addresses, strict=True)):
        for other in set(addresses) - {meant}:
            swapped = EVERY[name](pools, wallet, **{slot: other})
            if swapped.accounts[at].is_signer:
                swapped = chain.without(swapped, signer=at)  # nobody has a key for that account
            needed = {meta.pubkey for meta in swapped.accounts if meta.is_signer}
            signers = [payer, wallet] if wallet.pubkey() in needed else [payer]
            outcome = pools.ledger.send(swapped, *signers)
            assert isinstance(outcome.error, int), (slot, outcome)
            assert outcome.error >= 100, (slot, outcome)


# Forged accounts: the bytes of the real one, except for what the function's name says


def copied(pools: Pools, source: Pubkey, owner: Pubkey) -> Pubkey:
    address = Keypair().pubkey()
    pools.ledger.put(address, owner, pools.ledger.data(source))
    return address


def rewritten(pools: Pools, address: Pubkey, data: bytes, owner: Pubkey = YIELD_POOL) -> Pubkey:
    pools.ledger.put(address, owner, data)
    return address


def assert_substitution_refused(
    pools: Pools, build: Build, account: str, forge: Forge, refusal: str
) -> None:
    wallet = ready(pools, build)
    fake = forge(pools, wallet)
    outcome = pools.ledger.send(build(pools, wallet, **{account: fake}), wallet)
    refused(outcome, refusal)


# The pool


def pool_elsewhere(pools: Pools, _: Keypair) -> Pubkey:
    return copied(pools, pools.pool, YIELD_POOL)


def pool_of_another_program(pools: Pools, _: Keypair) -> Pubkey:
    return rewritten(pools, pools.pool, pools.ledger.data(pools.pool), PROGRAM)


def pool_of_another_kind(pools: Pools, _: Keypair) -> Pubkey:
    return rewritten(pools, pools.pool, bytes(8) + pools.ledger.data(pools.pool)[8:])


def pool_cut_short(pools: Pools, _: Keypair) -> Pubkey:
    return rewritten(pools, pools.pool, pools.ledger.data(pools.pool)[:-1])


def pool_of_one_byte(pools: Pools, _: Keypair) -> Pubkey:
    return rewritten(pools, pools.pool, pools.ledger.data(pools.pool)[:1])


def pools_discriminator(pools: Pools, _: Keypair) -> Pubkey:
    return rewritten(pools, pools.pool, pools.ledger.data(pools.pool)[:8])


def pool_with_another_admin_written_in(pools: Pools, wallet: Keypair) -> Pubkey:
    pools.change_pool(admin=Keypair().pubkey())
    return pools.pool


def pool_with_another_mint_written_in(pools: Pools, _: Keypair) -> Pubkey:
    pools.change_pool(mint=Keypair().pubkey())
    return pools.pool


def pool_never_created(_: Pools, __: Keypair) -> Pubkey:
    return pool_address(Keypair().pubkey())


def somebodys_position(pools: Pools, _: Keypair) -> Pubkey:
    return position_address(pools.pool, pools.saver(deposited=9).pubkey())


def the_mint(_: Pools, __: Keypair) -> Pubkey:
    return MINT


@pytest.mark.parametrize("build", WITH_A_POOL)
@pytest.mark.parametrize(
    ("forge", "refusal"),
    [
        (pool_elsewhere, "ConstraintSeeds"),
        (pool_of_another_program, "AccountOwnedByWrongProgram"),
        (pool_of_another_kind, "AccountDiscriminatorMismatch"),
        (pool_cut_short, "AccountDidNotDeserialize"),
        (pool_of_one_byte, "AccountDiscriminatorMismatch"),
        (pools_discriminator, "AccountDidNotDeserialize"),
        (pool_with_another_admin_written_in, "ConstraintSeeds"),
        (pool_with_another_mint_written_in, "ConstraintSeeds"),
        (pool_never_created, "AccountNotInitialized"),
        (somebodys_position, "AccountDiscriminatorMismatch"),
        (the_mint, "AccountOwnedByWrongProgram"),
    ],
)
def test_no_account_replaces_the_pool(
    pools: Pools, build: Build, forge: Forge, refusal: str
) -> None:
    assert_substitution_refused(pools, build, "pool", forge, refusal)


def test_each_pool_accepts_only_its_own_accounts(pools: Pools) -> None:
    """With another pool in place of ours, each account of ours is a mismatch."""
    other = other_pool(pools).pool
    for build, refusal in [
        (rate_set, "Unauthorized"),
        (funded, "ConstraintSeeds"),
        (opened, "ConstraintSeeds"),
        (deposited, "ConstraintSeeds"),
        (withdrawn, "ConstraintSeeds"),
        (claimed, "ConstraintSeeds"),
    ]:
        wallet = ready(pools, build)
        refused(pools.ledger.send(build(pools, wallet, pool=other), wallet), refusal)


# The position


def position_of(pools: Pools, owner: Keypair) -> Pubkey:
    return position_address(pools.pool, owner.pubkey())


def others_position(pools: Pools, _: Keypair) -> Pubkey:
    other = pools.saver(deposited=1_000)
    pools.change_position(other.pubkey(), accrued=5 * PER_TOKEN_UNIT)
    return position_of(pools, other)


def own_position_in_another_pool(pools: Pools, owner: Keypair) -> Pubkey:
    other = other_pool(pools)
    given = open_position(owner.pubkey(), other.pool, payer=owner.pubkey())
    pools.ledger.must(given, owner)
    pools.ledger.put_tokens(owner.pubkey(), 50)
    pools.ledger.must(deposit(owner.pubkey(), other.pool, 50), owner)
    return position_address(other.pool, owner.pubkey())


def position_elsewhere(pools: Pools, owner: Keypair) -> Pubkey:
    return copied(pools, position_of(pools, owner), YIELD_POOL)


def position_of_another_program(pools: Pools, owner: Keypair) -> Pubkey:
    address = position_of(pools, owner)
    return rewritten(pools, address, pools.ledger.data(address), PROGRAM)


def position_of_another_kind(pools: Pools, owner: Keypair) -> Pubkey:
    address = position_of(pools, owner)
    return rewritten(pools, address, bytes(8) + pools.ledger.data(address)[8:])


def position_cut_short(pools: Pools, owner: Keypair) -> Pubkey:
    address = position_of(pools, owner)
    return rewritten(pools, address, pools.ledger.data(address)[:-1])


def position_of_one_byte(pools: Pools, owner: Keypair) -> Pubkey:
    address = position_of(pools, owner)
    return rewritten(pools, address, pools.ledger.data(address)[:1])


def positions_discriminator(pools: Pools, owner: Keypair) -> Pubkey:
    address = position_of(pools, owner)
    return rewritten(pools, address, pools.ledger.data(address)[:8])


def position_with_our_names_written_in(pools: Pools, owner: Keypair) -> Pubkey:
    data = pools.ledger.data(others := others_position(pools, owner))
    return rewritten(pools, others, data[:40] + bytes(owner.pubkey()) + data[72:])


def position_never_created(pools: Pools, _: Keypair) -> Pubkey:
    return position_of(pools, Keypair())


def the_pool(pools: Pools, _: Keypair) -> Pubkey:
    return pools.pool


@pytest.mark.parametrize("build", OF_AN_OWNER)
@pytest.mark.parametrize(
    ("forge", "refusal"),
    [
        (others_position, "ConstraintSeeds"),
        (own_position_in_another_pool, "ConstraintSeeds"),
        (position_elsewhere, "ConstraintSeeds"),
        (position_of_another_program, "AccountOwnedByWrongProgram"),
        (position_of_another_kind, "AccountDiscriminatorMismatch"),
        (position_cut_short, "AccountDidNotDeserialize"),
        (position_of_one_byte, "AccountDiscriminatorMismatch"),
        (positions_discriminator, "AccountDidNotDeserialize"),
        (position_with_our_names_written_in, "ConstraintSeeds"),
        (position_never_created, "AccountNotInitialized"),
        (the_pool, "AccountDiscriminatorMismatch"),
    ],
)
def test_no_account_replaces_the_position(
    pools: Pools, build: Build, forge: Forge, refusal: str
) -> None:
    assert_substitution_refused(pools, build, "position", forge, refusal)


@pytest.mark.parametrize("build", OF_AN_OWNER)
def test_a_signer_cannot_reach_another_owners_position(pools: Pools, build: Build) -> None:
    owner, thief = saver(pools), pools.saver(usdt=5)
    position = position_of(pools, owner)
    before = pools.ledger.data(position)
    outcome = pools.ledger.send(build(pools, thief, position=position), thief)
    refused(outcome, "ConstraintSeeds")
    assert pools.ledger.data(position) == before


# Token accounts


def others_tokens(pools: Pools, _: Keypair) -> Pubkey:
    return token_address(pools.ledger.wallet(usdt=50).pubkey())


def tokens_of_another_mint(pools: Pools, owner: Keypair) -> Pubkey:
    return pools.ledger.put_tokens(owner.pubkey(), 50, mint=Keypair().pubkey())


def tokens_of_another_program(pools: Pools, owner: Keypair) -> Pubkey:
    return copied(pools, token_address(owner.pubkey()), PROGRAM)


def tokens_not_initialised(pools: Pools, _: Keypair) -> Pubkey:
    return rewritten(pools, Keypair().pubkey(), bytes(165), TOKEN)


def the_pools_tokens(pools: Pools, _: Keypair) -> Pubkey:
    return token_address(pools.pool)


def the_reserve(pools: Pools, _: Keypair) -> Pubkey:
    return reserve_address(pools.pool)


NO_TOKENS_OF_ONES_OWN = [
    (others_tokens, "ConstraintTokenOwner"),
    (tokens_of_another_mint, "ConstraintTokenMint"),
    (tokens_of_another_program, "InvalidTokenProgramOwner"),
    (tokens_not_initialised, "AccountNotInitialized"),
    (the_mint, "AccountNotInitialized"),
    (the_pools_tokens, "ConstraintTokenOwner"),
    (the_reserve, "ConstraintTokenOwner"),
]


@pytest.mark.parametrize("build", WITH_A_RESERVE)
@pytest.mark.parametrize(("forge", "refusal"), NO_TOKENS_OF_ONES_OWN)
def test_no_account_replaces_the_signers_tokens(
    pools: Pools, build: Build, forge: Forge, refusal: str
) -> None:
    account = "funder_tokens" if build is funded else "owner_tokens"
    assert_substitution_refused(pools, build, account, forge, refusal)


@pytest.mark.parametrize("build", OF_AN_OWNER)
def test_any_token_account_of_the_owner_is_accepted(pools: Pools, build: Build) -> None:
    owner = saver(pools)
    second = pools.ledger.put_tokens(owner.pubkey(), 5, address=Keypair().pubkey())
    pools.ledger.must(build(pools, owner, owner_tokens=second), owner)
    assert pools.ledger.tokens_at(second) == (0 if build is deposited else 10)


@pytest.mark.parametrize("build", OF_AN_OWNER)
def test_a_delegated_token_account_does_not_count_as_the_signers(
    pools: Pools, build: Build
) -> None:
    """Otherwise a token account's delegate could turn its tokens into principal of its own."""
    owner, friend = saver(pools), pools.ledger.wallet(usdt=50)
    tokens = token_address(friend.pubkey())
    approve = Instruction(
        TOKEN,
        bytes([4]) + (50).to_bytes(8, "little"),
        [
            AccountMeta(tokens, is_signer=False, is_writable=True),
            chain.readonly(owner.pubkey()),
            chain.signer(friend.pubkey()),
        ],
    )
    pools.ledger.must(approve, friend)
    outcome = pools.ledger.send(build(pools, owner, owner_tokens=tokens), owner)
    refused(outcome, "ConstraintTokenOwner")


def other_pools_tokens(pools: Pools, _: Keypair) -> Pubkey:
    return token_address(other_pool(pools).pool)


def other_pools_reserve(pools: Pools, _: Keypair) -> Pubkey:
    return reserve_address(other_pool(pools).pool)


def second_account_of_the_pool(pools: Pools, _: Keypair) -> Pubkey:
    return pools.ledger.put_tokens(pools.pool, 1_000_000, address=Keypair().pubkey())


def the_signers_tokens(_: Pools, owner: Keypair) -> Pubkey:
    return token_address(owner.pubkey())


@pytest.mark.parametrize("build", OF_AN_OWNER)
@pytest.mark.parametrize(
    "forge",
    [the_reserve, other_pools_tokens, second_account_of_the_pool, the_signers_tokens],
)
def test_no_account_replaces_the_pools_tokens(pools: Pools, build: Build, forge: Forge) -> None:
    assert_substitution_refused(pools, build, "pool_tokens", forge, "ConstraintAssociated")


@pytest.mark.parametrize("build", WITH_A_RESERVE)
@pytest.mark.parametrize(
    "forge",
    [the_pools_tokens, other_pools_reserve, second_account_of_the_pool, the_signers_tokens],
)
def test_no_account_replaces_the_reserve(pools: Pools, build: Build, forge: Forge) -> None:
    assert_substitution_refused(pools, build, "reserve_tokens", forge, "ConstraintSeeds")


@pytest.mark.parametrize("build", OF_AN_OWNER)
def test_deposits_and_reserve_cannot_be_swapped(pools: Pools, build: Build) -> None:
    owner = saver(pools)
    deposits, reserve = token_address(pools.pool), reserve_address(pools.pool)
    swapped = build(pools, owner, pool_tokens=reserve, reserve_tokens=deposits)
    refused(pools.ledger.send(swapped, owner), "ConstraintAssociated")


FORGED_TOKENS = [
    ((TOKEN, chain.token_data(PROGRAM, 5_000)), "ConstraintTokenOwner"),
    ((PROGRAM, chain.token_data(PROGRAM, 5_000)), "InvalidTokenProgramOwner"),
    ((TOKEN, bytes(165)), "AccountNotInitialized"),
]


@pytest.mark.parametrize("address", [token_address, reserve_address])
@pytest.mark.parametrize("build", OF_AN_OWNER)
@pytest.mark.parametrize(("forged", "refusal"), FORGED_TOKENS)
def test_forged_token_accounts_of_the_pool_are_refused(
    pools: Pools,
    build: Build,
    address: Callable[[Pubkey], Pubkey],
    forged: tuple[Pubkey, bytes],
    refusal: str,
) -> None:
    owner = saver(pools)
    pools.ledger.put(address(pools.pool), *forged)
    refused(pools.ledger.send(build(pools, owner), owner), refusal)


# Creation of pools and positions


def test_a_pool_exists_only_at_its_own_address(pools: Pools) -> None:
    admin, other = pools.ledger.wallet(), pools.ledger.wallet()
    for address in (pool_address(other.pubkey()), Keypair().pubkey(), pools.pool):
        given = initialize_pool(
            admin.pubkey(),
            1,
            pool=address,
            pool_tokens=token_address(address),
            reserve_tokens=reserve_address(address),
        )
        refused(pools.ledger.send(given, admin), "ConstraintSeeds")


def test_a_new_pools_token_accounts_are_its_own(pools: Pools) -> None:
    admin = pools.ledger.wallet(usdt=5)
    for fake in (token_address(pools.pool), token_address(admin.pubkey()), Keypair().pubkey()):
        given = initialize_pool(admin.pubkey(), 1, pool_tokens=fake)
        refused(pools.ledger.send(given, admin), "ConstraintAssociated")
    for fake in (reserve_address(pools.pool), token_address(admin.pubkey()), Keypair().pubkey()):
        given = initialize_pool(admin.pubkey(), 1, reserve_tokens=fake)
        refused(pools.ledger.send(given, admin), "ConstraintSeeds")
    assert pools.ledger.data(pool_address(admin.pubkey())) == b""


@pytest.mark.parametrize(
    ("owner", "data", "refusal"),
    [
        (PROGRAM, chain.mint_data(), "InvalidTokenProgramOwner"),
        (TOKEN, chain.token_data(PROGRAM, 5), "AccountNotInitialized"),
        (TOKEN, bytes(82), "AccountNotInitialized"),
        (SYSTEM, b"", "InvalidTokenProgramOwner"),
    ],
)
def test_a_pool_needs_a_valid_mint(pools: Pools, owner: Pubkey, data: bytes, refusal: str) -> None:
    admin, mint = pools.ledger.wallet(), Keypair().pubkey()
    pools.ledger.put(mint, owner, data)
    refused(pools.ledger.send(initialize_pool(admin.pubkey(), 1, mint=mint), admin), refusal)


def test_a_position_exists_only_at_its_own_address(pools: Pools) -> None:
    payer, owner = pools.ledger.wallet(), Keypair().pubkey()
    others = position_address(pools.pool, Keypair().pubkey())
    elsewhere = position_address(other_pool(pools).pool, owner)
    for address in (others, elsewhere, reserve_address(pools.pool), Keypair().pubkey()):
        given = open_position(owner, pools.pool, payer=payer.pubkey(), position=address)
        refused(pools.ledger.send(given, payer), "ConstraintSeeds")

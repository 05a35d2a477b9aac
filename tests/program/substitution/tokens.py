"""Stand-ins for a token account and for a mint."""

from solders.pubkey import Pubkey

from tests.program.harness import ledger as chain
from tests.program.harness.ledger import (
    MINT,
    PROGRAM,
    TOKEN,
    token_address,
    token_data,
    vault_address,
)

from .standins import (
    Make,
    Role,
    as_good,
    cut_short,
    elsewhere,
    in_place,
    never_created,
    nothing,
    owners_vault,
    refused_with,
    stranger,
    zeros,
)
from .world import World

TOKEN_2022 = Pubkey.from_string("TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb")
ANOTHER_MINT = Pubkey.from_bytes(b"a mint that no vault is about...")
STATE = 108
FROZEN = 2


def frozen(data: bytes) -> bytes:
    return data[:STATE] + bytes([FROZEN]) + data[STATE + 1 :]


def longer(data: bytes) -> bytes:
    return data + b"\0"


def of_mint(data: bytes) -> bytes:
    return bytes(ANOTHER_MINT) + data[32:]


def of_wallet(data: bytes) -> bytes:
    return data[:32] + bytes(ANOTHER_MINT) + data[64:]


def tokens_of_the_wallet(world: World, _: Pubkey) -> Pubkey:
    return token_address(world.owner)


def tokens_of_another_vault(world: World, _: Pubkey) -> Pubkey:
    """The tokens of a third vault, where the instruction names two."""
    world.open_vault(world.stranger)
    return token_address(vault_address(world.stranger))


def tokens_of_another_mint(world: World, meant: Pubkey) -> Pubkey:
    """The associated account of the same wallet or vault for another mint."""
    holder = Pubkey.from_bytes(world.ledger.data(meant)[32:64])
    return world.ledger.put_tokens(holder, 100, mint=ANOTHER_MINT)


def the_mint(_: World, __: Pubkey) -> Pubkey:
    return MINT


VAULTS_TOKENS: Role = (
    refused_with(
        "ConstraintAssociated",
        the_owners_own=tokens_of_the_wallet,
        another_vaults=tokens_of_another_vault,
        a_second_account_of_the_vault=elsewhere(),
        the_vaults_account_of_another_mint=tokens_of_another_mint,
        its_bytes_with_another_program=elsewhere(owner=PROGRAM),
        an_account_not_initialised=elsewhere(zeros),
        the_mint=the_mint,
        the_vault=owners_vault,
        a_wallet=stranger,
        nothing=nothing,
    )
    | refused_with("ConstraintTokenOwner", itself_handed_to_another_wallet=in_place(of_wallet))
    | refused_with("ConstraintTokenMint", itself_of_another_mint=in_place(of_mint))
    | refused_with(
        "InvalidTokenProgramOwner",
        itself_in_the_hands_of_another_program=in_place(owner=PROGRAM),
        itself_of_the_newer_token_program=in_place(owner=TOKEN_2022),
        nothing_where_it_was=never_created,
    )
    | refused_with(
        "AccountNotInitialized",
        itself_not_initialised=in_place(zeros),
        itself_cut_short=in_place(cut_short),
        itself_too_long=in_place(longer),
    )
    | refused_with("AccountFrozen", itself_frozen=in_place(frozen))
)

# Among the accounts of a yield program, the vault's is found by its address, after those of
# programs that must not be there are refused.
TOKENS_PASSED_ON: Role = {
    name: given._replace(refusal="AccountNotEnoughKeys")
    if given.refusal == "ConstraintAssociated"
    else given
    for name, given in VAULTS_TOKENS.items()
} | refused_with(
    "AccountOwnedByWrongProgram",
    its_bytes_with_another_program=elsewhere(owner=PROGRAM),
    itself_in_the_hands_of_another_program=in_place(owner=PROGRAM),
    itself_of_the_newer_token_program=in_place(owner=TOKEN_2022),
)

# Any token account of the vault may be swept, to one of its mint.
SWEPT_TOKENS: Role = (
    VAULTS_TOKENS
    | as_good(a_second_account_of_the_vault=elsewhere())
    | refused_with(
        "ConstraintTokenOwner",
        the_owners_own=tokens_of_the_wallet,
        another_vaults=tokens_of_another_vault,
    )
    | refused_with(
        "ConstraintTokenMint",
        the_vaults_account_of_another_mint=tokens_of_another_mint,
    )
    | refused_with(
        "InvalidTokenProgramOwner",
        its_bytes_with_another_program=elsewhere(owner=PROGRAM),
        the_vault=owners_vault,
        a_wallet=stranger,
        nothing=nothing,
    )
    | refused_with(
        "AccountNotInitialized",
        an_account_not_initialised=elsewhere(zeros),
        the_mint=the_mint,
    )
)


def tokens_of(wallet: str) -> Make:
    return lambda world, _: token_address(getattr(world, wallet))


def vaults_own(world: World, _: Pubkey) -> Pubkey:
    return token_address(vault_address(world.owner))


def second_account_of_the_vault(world: World, _: Pubkey) -> Pubkey:
    return world.put(TOKEN, token_data(vault_address(world.owner), 100))


USERS_TOKENS: Role = (
    refused_with(
        "ConstraintTokenOwner",
        the_vaults_own=vaults_own,
        a_second_account_of_the_vault=second_account_of_the_vault,
    )
    | refused_with(
        "ConstraintTokenMint",
        the_same_wallets_of_another_mint=tokens_of_another_mint,
        itself_of_another_mint=in_place(of_mint),
    )
    | refused_with(
        "InvalidTokenProgramOwner",
        its_bytes_with_another_program=elsewhere(owner=PROGRAM),
        itself_in_the_hands_of_another_program=in_place(owner=PROGRAM),
        itself_of_the_newer_token_program=in_place(owner=TOKEN_2022),
        the_wallet_itself=stranger,
        the_vault=owners_vault,
        nothing_where_it_was=never_created,
        nothing=nothing,
    )
    | refused_with(
        "AccountNotInitialized",
        itself_not_initialised=in_place(zeros),
        itself_cut_short=in_place(cut_short),
        itself_too_long=in_place(longer),
        an_account_not_initialised=elsewhere(zeros),
        the_mint=the_mint,
    )
    | refused_with("AccountFrozen", itself_frozen=in_place(frozen))
)
PAYERS_TOKENS = USERS_TOKENS | refused_with(
    "OwnerMismatch",  # SPL Token's error, since the authority may spend what is approved to it
    the_owners=tokens_of("owner"),
    a_strangers=tokens_of("stranger"),
    another_vaults=tokens_of_another_vault,
    itself_handed_to_another_wallet=in_place(of_wallet),
)


def recipients_tokens(refusal: str) -> Role:
    return USERS_TOKENS | refused_with(
        refusal,
        a_strangers=tokens_of("stranger"),
        another_vault_owners=tokens_of("other"),
        the_delegates=tokens_of("delegate"),
        governances=tokens_of("governance"),
        another_vaults=tokens_of_another_vault,
        itself_handed_to_another_wallet=in_place(of_wallet),
    )


# Where the vault's token account does not exist yet


def put_tokens(holder: str, mint: Pubkey) -> Make:
    """Make an account that somebody else has created at the right address."""

    def make(world: World, meant: Pubkey) -> Pubkey:
        wallet = vault_address(getattr(world, holder))
        return world.put(TOKEN, token_data(wallet, 7, mint), meant)

    return make


def taken(world: World, meant: Pubkey) -> Pubkey:
    return world.put(PROGRAM, bytes(165), meant)


def new_tokens(holder: str, mint: Pubkey) -> Role:
    """Return stand-ins for the new token account of that owner's vault."""
    return (
        refused_with(
            "ConstraintAssociated",
            the_owners_own=tokens_of_the_wallet,
            another_vaults=lambda world, _: token_address(vault_address(world.other)),
            of_a_mint_that_it_is_not_about=lambda world, _: token_address(
                vault_address(getattr(world, holder)), ANOTHER_MINT
            ),
            a_second_account_of_the_vault=second_account_of_the_vault,
            the_vault=owners_vault,
            a_wallet=stranger,
            nothing=nothing,
        )
        | as_good(one_that_somebody_made_before=put_tokens(holder, mint))
        | refused_with("InvalidOwner", one_handed_to_another_vault=put_tokens("other", mint))
        | refused_with("IllegalOwner", an_account_of_another_program=taken)
    )


def another_mint(world: World, _: Pubkey) -> Pubkey:
    return world.put(TOKEN, chain.mint_data(), ANOTHER_MINT)


def a_token_account(world: World, _: Pubkey) -> Pubkey:
    return token_address(world.owner)


NEW_MINT: Role = (
    refused_with(
        "InvalidTokenProgramOwner",
        its_bytes_with_another_program=elsewhere(owner=PROGRAM),
        itself_in_the_hands_of_another_program=in_place(owner=PROGRAM),
        itself_of_the_newer_token_program=in_place(owner=TOKEN_2022),
        nothing_where_it_was=never_created,
        nothing=nothing,
        a_wallet=stranger,
        the_vault=owners_vault,
    )
    | refused_with(
        "AccountNotInitialized",
        a_token_account=a_token_account,
        itself_not_initialised=in_place(zeros),
        a_mint_not_initialised=elsewhere(zeros),
        itself_cut_short=in_place(cut_short),
    )
    | refused_with(
        "ConstraintAssociated", another_mint=another_mint, a_copy_of_the_mint=elsewhere()
    )
)

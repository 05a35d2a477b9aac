"""Instructions of SPL Token are those of solana-py, byte for byte."""

from __future__ import annotations

import pytest
from solders.pubkey import Pubkey
from spl.token import instructions as solana_py
from spl.token.constants import TOKEN_PROGRAM_ID
from spl.token.models import InitializeMint2Params, MintToParams

from cvms.chain.program.instructions import spl_token

PAYER, OWNER, MINT = (Pubkey.new_unique() for _ in range(3))


def test_a_token_account_is_created() -> None:
    ours = spl_token.create_token_account(payer=PAYER, owner=OWNER, mint=MINT)
    assert ours == solana_py.create_idempotent_associated_token_account(PAYER, OWNER, MINT)


def test_a_mint_is_initialized() -> None:
    wanted = InitializeMint2Params(
        decimals=6, program_id=TOKEN_PROGRAM_ID, mint=MINT, mint_authority=OWNER
    )
    ours = spl_token.initialize_mint(MINT, decimals=6, authority=OWNER)
    assert ours == solana_py.initialize_mint2(wanted)


@pytest.mark.parametrize("amount", [0, 1, 2**64 - 1])
def test_tokens_are_minted(amount: int) -> None:
    wanted = MintToParams(
        program_id=TOKEN_PROGRAM_ID, mint=MINT, dest=PAYER, mint_authority=OWNER, amount=amount
    )
    ours = spl_token.mint_tokens(MINT, recipient=PAYER, authority=OWNER, amount=amount)
    assert ours == solana_py.mint_to(wanted)

"""Token accounts, which the associated token program creates."""

from __future__ import annotations

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from cvms.chain.program.addresses import (
    ASSOCIATED_TOKEN_PROGRAM,
    SYSTEM_PROGRAM,
    TOKEN_PROGRAM,
    token_account,
)
from cvms.chain.program.instructions.encoding import readonly, signer, writable


def create_token_account(*, payer: Pubkey, owner: Pubkey, mint: Pubkey) -> Instruction:
    """Create the owner's associated token account; succeeds too when it is there already."""
    accounts = [
        signer(payer, writable=True),
        writable(token_account(owner, mint)),
        readonly(owner),
        readonly(mint),
        readonly(SYSTEM_PROGRAM),
        readonly(TOKEN_PROGRAM),
    ]
    return Instruction(ASSOCIATED_TOKEN_PROGRAM, b"\1", accounts)  # 1: CreateIdempotent

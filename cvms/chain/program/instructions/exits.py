"""Instructions with which an owner takes out what no position claims, and stray tokens."""

from __future__ import annotations

from collections.abc import Sequence

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from cvms.chain.program.instructions.encoding import readonly, signers, vault_program
from cvms.chain.types import Programs


def request_exit(
    programs: Programs, *, owner: Pubkey, extra_signers: Sequence[Pubkey] = ()
) -> Instruction:
    """Announce an exit, which takes effect after seven days and for seven days."""
    return vault_program(programs, "request_exit", signers(extra_signers), owner=owner)


def release_unclaimed(
    programs: Programs, *, owner: Pubkey, position_summaries: Sequence[Pubkey]
) -> Instruction:
    """Make locked tokens available that no summary claims, while an exit is in effect.

    `position_summaries`: as for `withdraw`.
    """
    summaries = list(map(readonly, position_summaries))
    return vault_program(programs, "release_unclaimed", summaries, owner=owner)


def sweep(
    programs: Programs,
    *,
    owner: Pubkey,
    token_account: Pubkey,
    recipient_token_account: Pubkey,
    extra_signers: Sequence[Pubkey] = (),
) -> Instruction:
    """Move tokens that the vault's balances do not count to a token account of the owner.

    `token_account` is the vault's own, or another one of the vault's address, which is then closed.
    """
    return vault_program(
        programs,
        "sweep",
        signers(extra_signers),
        owner=owner,
        token_account=token_account,
        recipient_token_account=recipient_token_account,
    )

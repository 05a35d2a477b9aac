"""Specification: the owner takes tokens that the vault holds beyond its balances."""

from collections.abc import Sequence

from .model import Events, World, authorize, require, vault_of
from .money import named


def sweep(
    world: World, *, owner: str, signer: str, cosigners: Sequence[str], mint: str, recipient: str
) -> Events:
    """Take what exceeds the balances; of another mint everything, which closes the account."""
    vault, holder = world.vault(owner, given=signer), vault_of(owner)
    authorize(vault, owner, cosigners)
    require(world.now >= world.authority.paused_until, "WithdrawalsPaused")
    require((holder, mint) in world.tokens, "InvalidTokenProgramOwner")
    amount = world.tokens[holder, mint]
    if mint == vault.mint:
        amount -= vault.total - (vault.in_yield - vault.kept)
        require(amount > 0, "InvalidAmount")
    else:
        require(vault.in_yield == vault.kept, "NonZeroBalance")
    require((recipient, mint) in world.tokens, "InvalidTokenProgramOwner")
    require(recipient == owner, "ConstraintTokenOwner")
    world.move(holder, recipient, amount, mint)
    if mint != vault.mint:
        del world.tokens[holder, mint]
    fields = {**named(vault), "mint": mint, "amount": amount, "recipient": (recipient, mint)}
    return [("SweptEvent", fields)]

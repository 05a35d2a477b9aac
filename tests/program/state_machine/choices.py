"""Draws of a step's arguments: mostly what the model allows, sometimes what it refuses."""

from collections.abc import Callable, Sequence
from typing import TypeVar

from hypothesis import strategies as st

from . import names
from .model import U64, Vault, World

T = TypeVar("T")


class Choices:
    def __init__(self, data: st.DataObject, world: World) -> None:
        self.data, self.world = data, world

    def of(self, options: Sequence[T]) -> T:
        return self.data.draw(st.sampled_from(options))

    def once_in(self, times: int) -> bool:
        """Draw True once in `times`; it comes last, so that examples shrink to False."""
        return self.of([False] * (times - 1) + [True])

    def amount(self, ceiling: int) -> int:
        """Draw at most `ceiling`, or a value at its edges or the edge of 64 bits."""
        if ceiling == 0 or self.once_in(8):
            return self.of([1, ceiling, 0, min(ceiling + 1, U64), U64])
        if self.once_in(4):
            return ceiling
        return self.data.draw(st.integers(1, ceiling))

    def owner(self, fit: Callable[[Vault], bool] = lambda _: True) -> str:
        """Draw the owner of a vault that fits, if there is one; rarely any owner."""
        fitting = [owner for owner, vault in self.world.vaults.items() if fit(vault)]
        if self.once_in(20):
            return self.of(names.OWNERS)
        return self.of(fitting or list(self.world.vaults) or names.OWNERS)

    def listed(self, candidates: list[str], listed: list[str]) -> str:
        """Draw one of the candidates, mostly one that is listed."""
        known = [each for each in candidates if each in listed]
        return self.of(candidates if self.once_in(16) else known or candidates)

    def vault(self, owner: str) -> Vault:
        """Return the owner's vault, or a new one if the owner has none."""
        return self.world.vaults.get(owner) or Vault(owner, "usdt", self.world.now)

    def signer(self, owner: str) -> str:
        """Draw the signer who claims to be the owner."""
        return self.of(names.PEOPLE) if self.once_in(24) else owner

    def governance(self) -> str:
        governance = self.world.authority.governance
        return self.of(names.PEOPLE) if self.once_in(16) else governance

    def authorized(self, owner: str) -> tuple[str, list[str]]:
        """Draw an authority and cosigners that may act on the vault; rarely some that may not."""
        vault = self.vault(owner)
        if vault.threshold == 0:
            return self.owner_or_delegate(owner), []
        signers = self.data.draw(st.permutations(vault.signers))[: vault.threshold]
        match self.of(["enough"] * 9 + ["more", "too few", "twice", "stranger", "owner"]):
            case "more":
                signers = [*signers, self.of(names.PEOPLE)]
            case "too few":
                signers = signers[1:] or [self.of(names.PEOPLE)]
            case "twice":
                signers = [signers[0]] * vault.threshold
            case "stranger":
                signers = [self.of(names.PEOPLE), *signers]
            case "owner":
                signers = [owner]
        return signers[0], signers[1:]

    def cosigners(self, owner: str) -> list[str]:
        """Draw who signs beside the owner: under multisig enough signers, and rarely too few."""
        if self.vault(owner).threshold == 0:
            return []
        authority, cosigners = self.authorized(owner)
        return [authority, *cosigners]

    def owner_or_delegate(self, owner: str) -> str:
        delegates = [who for who in self.vault(owner).delegates if who in names.PEOPLE]
        if self.once_in(16):
            return self.of(names.PEOPLE)
        return self.of([owner, *delegates])

    def mint(self, owner: str) -> str:
        return self.of(names.MINTS) if self.once_in(24) else self.vault(owner).mint

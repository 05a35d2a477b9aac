"""What a step may be drawn from: mostly what the model would allow, at times what it would not."""

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
        """The last option, so that a shrunk example is an ordinary one."""
        return self.of([False] * (times - 1) + [True])

    def amount(self, ceiling: int) -> int:
        """At most `ceiling`, but for the edges around it."""
        if ceiling == 0 or self.once_in(8):
            return self.of([1, ceiling, 0, min(ceiling + 1, U64), U64])
        if self.once_in(4):
            return ceiling
        return self.data.draw(st.integers(1, ceiling))

    def owner(self, fit: Callable[[Vault], bool] = lambda _: True) -> str:
        """Of a vault that the instruction fits, if there is one; seldom of any, open or not."""
        fitting = [owner for owner, vault in self.world.vaults.items() if fit(vault)]
        if self.once_in(20):
            return self.of(names.OWNERS)
        return self.of(fitting or list(self.world.vaults) or names.OWNERS)

    def listed(self, candidates: list[str], listed: list[str]) -> str:
        """Rather one that is listed."""
        known = [each for each in candidates if each in listed]
        return self.of(candidates if self.once_in(16) else known or candidates)

    def vault(self, owner: str) -> Vault:
        """The vault, or for who has none the vault that a new one would be."""
        return self.world.vaults.get(owner) or Vault(owner, "usdt", self.world.now)

    def signer(self, owner: str) -> str:
        """Who claims to be the owner."""
        return self.of(names.PEOPLE) if self.once_in(24) else owner

    def governance(self) -> str:
        return self.of(names.PEOPLE) if self.once_in(16) else names.GOVERNANCE

    def authorized(self, owner: str) -> tuple[str, list[str]]:
        """An authority and cosigners that may act on the vault; seldom some that may not."""
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

    def owner_or_delegate(self, owner: str) -> str:
        delegates = [who for who in self.vault(owner).delegates if who in names.PEOPLE]
        if self.once_in(16):
            return self.of(names.PEOPLE)
        return self.of([owner, *delegates])

    def mint(self, owner: str) -> str:
        return self.of(names.MINTS) if self.once_in(24) else self.vault(owner).mint

"""Versions of accounts: at each slot that is not final, and at the newest final one."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from solders.account import Account
from solders.pubkey import Pubkey

SYSVARS = Pubkey.from_string("Sysvar1111111111111111111111111111111111111")
"""The owner of the accounts that the virtual machine itself updates."""


@dataclass(frozen=True, slots=True)
class Version:
    """An account from `slot` on. None is an account without lamports."""

    slot: int
    account: Account | None


class VersionedAccounts:
    """All versions of all accounts. Accounts that were never written are read from `genesis`."""

    def __init__(self, *, genesis: Callable[[Pubkey], Account | None]) -> None:
        self._genesis = genesis
        self._versions: dict[Pubkey, list[Version]] = {}
        self._written: defaultdict[int, set[Pubkey]] = defaultdict(set)
        self._owned: defaultdict[Pubkey, set[Pubkey]] = defaultdict(set)

    def latest(self, key: Pubkey) -> Account | None:
        versions = self._versions.get(key)
        return versions[-1].account if versions else self._genesis(key)

    def at(self, key: Pubkey, slot: int) -> Account | None:
        """Return the account at the end of `slot`, or its current state in the tip."""
        versions = self._versions.get(key)
        if versions is None:
            return self._genesis(key)
        position = bisect_right(versions, slot, key=_slot)
        return versions[position - 1].account if position else None

    def pin(self, key: Pubkey) -> Account | None:
        """Return the latest version, and keep it if it is still the genesis account's."""
        account = self.latest(key)
        if account is not None and key not in self._versions and account.owner != SYSVARS:
            self.put(key, 0, account)
        return account

    def written_keys(self) -> list[Pubkey]:
        return list(self._versions)

    def put(self, key: Pubkey, slot: int, account: Account | None) -> None:
        """Record the newest version. It replaces one of the same slot."""
        versions = self._versions.setdefault(key, [])
        if versions and versions[-1].slot == slot:
            versions.pop()
        versions.append(Version(slot, account))
        self._written[slot].add(key)
        if account is not None:
            self._owned[account.owner].add(key)

    def overwrite(self, key: Pubkey, account: Account | None) -> None:
        """Set the account at every commitment, as if it had always had this value."""
        self._versions[key] = [Version(0, account)]
        if account is not None:
            self._owned[account.owner].add(key)

    def owned_by(self, program: Pubkey, slot: int) -> Iterator[tuple[Pubkey, Account]]:
        """Yield the written accounts that `program` owned at `slot`, ordered by address."""
        for key in sorted(self._owned.get(program, ()), key=bytes):
            account = self.at(key, slot)
            if account is not None and account.owner == program:
                yield key, account

    def written_in(self, slot: int) -> frozenset[Pubkey]:
        return frozenset(self._written.get(slot, ()))

    def forget_before(self, slot: int) -> Iterator[tuple[Pubkey, int]]:
        """Drop the versions that are not visible at `slot` or later.

        Yields each key that lost versions, with the slot of its oldest remaining version.
        """
        for written in [known for known in self._written if known <= slot]:
            for key in self._written.pop(written):
                versions = self._versions[key]
                kept = bisect_right(versions, slot, key=_slot) - 1
                if kept > 0:
                    self._disown(key, versions[:kept], versions[kept:])
                    del versions[:kept]
                    yield key, versions[0].slot

    def drop_after(self, slot: int) -> dict[Pubkey, Account | None]:
        """Drop versions newer than `slot`. Return the current state of each affected account."""
        restored: dict[Pubkey, Account | None] = {}
        for written in [known for known in self._written if known > slot]:
            for key in self._written.pop(written):
                versions = self._versions.get(key, [])
                kept = bisect_right(versions, slot, key=_slot)
                if kept == len(versions):
                    continue
                self._disown(key, versions[kept:], versions[:kept])
                del versions[kept:]
                restored[key] = versions[-1].account if versions else None
                if not versions:
                    del self._versions[key]
        return restored

    def _disown(self, key: Pubkey, dropped: list[Version], kept: list[Version]) -> None:
        owners = {version.account.owner for version in kept if version.account is not None}
        for version in dropped:
            if version.account is not None and version.account.owner not in owners:
                self._owned[version.account.owner].discard(key)


def _slot(version: Version) -> int:
    return version.slot

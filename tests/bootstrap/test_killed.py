"""A SIGKILL in the middle of a deployment leaves nothing behind, and nothing is paid for twice."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from solders.pubkey import Pubkey
from solders.sysvar import RENT
from spl.token.constants import TOKEN_PROGRAM_ID

from cvms.bootstrap.run import AIRDROP_SPARE
from cvms.bootstrap.transactions import IN_FLIGHT
from cvms.chain.program.upgradeable_loader import LOADER
from cvms.chain.transactions.sponsorship_policy import LAMPORTS_PER_SIGNATURE
from cvms.localnet.ledger.chain import LocalnetChain
from cvms.localnet.types import DroppedBlocks, Entry
from tests.bootstrap.deployer import Deployer
from tests.harness.processes import cvms

When = Callable[[Entry, int], bool]


def _uses(entry: Entry, program: Pubkey) -> bool:
    return program in entry.keys


KILLED: dict[str, When] = {
    "the first buffer": lambda entry, count: _uses(entry, LOADER),
    "some of its chunks": lambda entry, count: count == 100,
    "the first deployment": lambda entry, count: _uses(entry, RENT),
    "the mint": lambda entry, count: _uses(entry, TOKEN_PROGRAM_ID),
    "the vault authority": lambda entry, count: not _uses(entry, LOADER),
}
"""After which transaction of a run it is killed: given that, and how many the run has sent."""


class Killer:
    """Kills a process, by SIGKILL, within the transaction that `when` names."""

    behind = 0

    def __init__(self, when: When) -> None:
        self._when, self._count = when, 0
        self.victim = 0
        self.killed = False

    def processed(self, entry: Entry) -> None:
        self._count += 1
        if not self.killed and self._when(entry, self._count):
            self.killed = True
            os.kill(self.victim, signal.SIGKILL)

    def received(self, signature: str) -> None: ...
    def slot_started(self) -> None: ...
    def forked(self, fork: DroppedBlocks) -> None: ...
    def overwritten(self, key: Pubkey) -> None: ...


@contextmanager
def killer(chain: LocalnetChain, when: When) -> Iterator[Killer]:
    observer = Killer(when)
    chain.observers.append(observer)
    try:
        yield observer
    finally:
        chain.observers.remove(observer)


@pytest.mark.slow(seconds=40)
async def test_a_deployment_killed_at_any_point_is_continued(
    deployer: Deployer, tmp_path: Path
) -> None:
    chain, url = deployer.running.chain, deployer.running.rpc_url
    flags = ("--make-mint", "--airdrop", "--no-transfer-limits", "--yes")
    arguments = ("bootstrap", "--rpc-url", url, *flags)
    for what, when in KILLED.items():
        with killer(chain, when) as observer:
            async with cvms(*arguments, folder=tmp_path) as command:
                observer.victim = command.process.pid
                status = await command.process.wait()
        assert (observer.killed, status) == (True, -signal.SIGKILL), f"{what}: {command.log()}"
    async with cvms(*arguments, folder=tmp_path) as command:
        assert await command.process.wait() == 0, command.log()
    await deployer.bootstrap(
        make_mint=False, limits=None, unlimited=True, airdrop=False, ws_url=None
    )
    assert deployer.said[-1].strip() == "Nothing to do."
    assert await deployer.buffers() == []
    # What was on its way when a run was killed may land beside what the next run sends.
    twice = len(KILLED) * IN_FLIGHT * LAMPORTS_PER_SIGNATURE
    spare = AIRDROP_SPARE + await deployer.cluster.rent(0)
    assert spare - twice <= await deployer.balance() <= spare + 100_000

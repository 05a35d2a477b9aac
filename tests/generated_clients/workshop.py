"""A folder in which a client is generated, compiled and run against a running service."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import trio
from solders.keypair import Keypair

from tests.paths import ROOT

SOURCES = ROOT / "clients" / "generated"
AMOUNT = 2**53 + 1
"""More than an integer of 32 bits holds, and than a number of JavaScript holds exactly."""
TOOL_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Workshop:
    """`folder` is empty but for `document`; `wallet` has SOL and tokens, and no vault."""

    folder: Path
    document: Path
    url: str
    wallet: Keypair

    def copy(self, *names: str) -> None:
        """Copy files of `SOURCES` into the folder."""
        for name in names:
            shutil.copy(SOURCES / name, self.folder)

    async def run(self, *command: str | Path, within: Path | None = None, **variables: str) -> str:
        """Return what a command prints. Fails with its output if it fails."""
        environment = {
            "SERVICE_URL": self.url,
            "WALLET_SEED": bytes(self.wallet)[:32].hex(),
            "PUBLIC_KEY": bytes(self.wallet.pubkey()).hex(),
            "OWNER": str(self.wallet.pubkey()),
            "AMOUNT": str(AMOUNT),
        }
        with trio.fail_after(TOOL_SECONDS):
            done = await trio.run_process(
                [str(part) for part in command],
                cwd=within or self.folder,
                env=os.environ | environment | variables,
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
        output = done.stdout.decode()
        assert done.returncode == 0, f"{command[0]}: {output[-3000:]}{done.stderr.decode()[-3000:]}"
        return output

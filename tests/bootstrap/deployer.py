"""A person who deploys: runs commands in this process, answers them, and reads what they say."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from solders.account import Account
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from cvms.bootstrap.authority import Limits
from cvms.bootstrap.cluster import Cluster
from cvms.bootstrap.deployment import Request
from cvms.bootstrap.key_files import existing_key
from cvms.bootstrap.programs.commands import ProgramContext
from cvms.bootstrap.run import Pace, Terminal, bootstrap
from cvms.bootstrap.steps import Report
from cvms.chain.program.accounts import VaultAuthority, read_vault_authority
from cvms.chain.program.addresses import vault_authority_address
from cvms.chain.program.upgradeable_loader import LOADER
from cvms.chain.types import Commitment, Programs
from cvms.config.loader import load_programs
from cvms.localnet import Running

SOL = 1_000_000_000
LIMITS = Limits(vault=1_000_000, total=5_000_000)
PACE = Pace(poll_seconds=0.01, resend_seconds=0.2, patience=60.0)


@dataclass
class Deployer:
    """Runs commands in `folder`. `agrees` is the answer to every question, `typed` a typed line.

    `declines` is for questions in between only, as with --yes. `report` may be replaced.
    """

    running: Running
    cluster: Cluster
    folder: Path
    agrees: bool = True
    typed: str = ""
    declines: bool = False
    report: Report | None = None
    said: list[str] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)

    @property
    def terminal(self) -> Terminal:
        report = self.report or self.said.append
        return Terminal(report, self._confirm, self._ask, lambda prompt: self.typed)

    @property
    def text(self) -> str:
        return "\n".join(self.said)

    @property
    def env_file(self) -> Path:
        return self.folder / ".env"

    @property
    def settings(self) -> dict[str, str]:
        return {name: value for name, value in dotenv_values(self.env_file).items() if value}

    @property
    def programs(self) -> Programs:
        return load_programs(self.settings)

    def key(self, name: str) -> Keypair:
        return existing_key(self.folder / "keys" / f"{name}.json")

    def request(self, **changes: Any) -> Request:
        fields: dict[str, Any] = {
            "keys": self.folder / "keys",
            "env_file": self.env_file,
            "environ": self.settings,
            "rpc_url": self.running.rpc_url,
            "ws_url": self.running.ws_url,
            "limits": LIMITS,
            "make_mint": True,
        }
        return Request(**fields | changes)

    async def bootstrap(
        self, *, dry_run: bool = False, airdrop: bool = True, **changes: Any
    ) -> None:
        self.said.clear()
        await bootstrap(
            self.cluster,
            self.request(**changes),
            self.terminal,
            dry_run=dry_run,
            airdrop=airdrop,
            pace=PACE,
        )

    def command(self, **changes: Any) -> ProgramContext:
        self.said.clear()
        fields: dict[str, Any] = {
            "cluster": self.cluster,
            "keys": self.folder / "keys",
            "environ": self.settings,
            "terminal": self.terminal,
            "pace": PACE,
        }
        return ProgramContext(**fields | changes)

    async def balance(self, name: str = "operator") -> int:
        return await self.cluster.rpc.get_balance(self.key(name).pubkey())

    async def authority(self) -> VaultAuthority | None:
        account = await self.cluster.account(vault_authority_address(self.programs))
        return read_vault_authority(account, self.programs)

    async def buffers(self) -> list[Pubkey]:
        """Return the buffers that are on the chain."""
        _, found = await self.cluster.rpc.get_program_accounts(
            LOADER, data_begins=b"\1\0\0\0", commitment=Commitment.PROCESSED, data_slice=(0, 0)
        )
        return [address for address, _ in found]

    def put(self, address: Pubkey, owner: Pubkey, data: bytes) -> None:
        """Put an account on the chain."""
        self.running.chain.overwrite(address, Account(SOL, data, owner))

    def _confirm(self) -> bool:
        return self._ask("Go on?")

    def _ask(self, question: str) -> bool:
        self.questions.append(question)
        return self.agrees and not (self.declines and question.startswith("Replace"))

"""The commands of `cvms program`, as they run on a connected cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from solders.keypair import Keypair

from cvms.bootstrap.cluster import Cluster
from cvms.bootstrap.deployment import OPERATOR, UPGRADE_AUTHORITY, buffer_path
from cvms.bootstrap.key_files import KeyFile, check_private, existing_key
from cvms.bootstrap.programs.buffers import BufferUpload
from cvms.bootstrap.programs.program_steps import deployed_program
from cvms.bootstrap.programs.upgrades import (
    NewAuthority,
    ProgramRef,
    ProgramUpgrade,
    authority_step,
    described,
    find_program,
    read_elf,
)
from cvms.bootstrap.run import Funding, Pace, Terminal, carry_out, sender_for
from cvms.bootstrap.steps import Step, describe, total_cost
from cvms.bootstrap.transactions import TransactionSender
from cvms.chain.program.accounts import read_vault_authority
from cvms.chain.program.addresses import vault_authority_address
from cvms.chain.program.bundled_programs import PROGRAM_NAMES, bundled_elf
from cvms.config.loader import load_programs
from cvms.errors import ConfigurationError, StepFailed


@dataclass(frozen=True, slots=True)
class ProgramContext:
    """A connected cluster, and the keys and settings of a command."""

    cluster: Cluster
    keys: Path
    environ: Mapping[str, str]
    terminal: Terminal
    payer: Path | None = None
    authority: Path | None = None
    dry_run: bool = False
    pace: Pace = field(default_factory=Pace)

    def find(self, text: str) -> ProgramRef:
        check_private(self.keys)
        return find_program(text, self.keys, self.environ)

    def authority_key(self) -> Keypair:
        return existing_key(self.authority or self.keys / f"{UPGRADE_AUTHORITY}.json")

    def sender(self) -> TransactionSender:
        path = self.payer or self.keys / f"{OPERATOR}.json"
        programs = load_programs(self.environ)
        return sender_for(self.cluster, existing_key(path), programs, self.pace)

    async def carry_out(self, sender: TransactionSender, steps: list[Step]) -> None:
        path = self.payer or self.keys / f"{OPERATOR}.json"
        payer = KeyFile(path, sender.payer, is_new=False)
        balance = await self.cluster.rpc.get_balance(payer.address)
        funding = Funding(self.cluster, payer, airdrop=False, pace=self.pace)
        steps = [await funding.step(total_cost(steps).total, balance), *steps]
        await carry_out(
            self.cluster,
            steps,
            describe(steps),
            balance,
            self.terminal,
            folder=self.keys,
            dry_run=self.dry_run,
        )


async def show(context: ProgramContext, text: str | None) -> None:
    """Print one program, or those of this package whose ids are known."""
    texts = PROGRAM_NAMES if text is None else (text,)
    for each in texts:
        program = context.find(each)
        found = await deployed_program(context.cluster, program.address)
        for line in described(program, found):
            context.terminal.report(line)


async def upgrade(
    context: ProgramContext, text: str, *, elf: Path | None, buffer_only: bool
) -> None:
    """Upgrade a program to a file, or to this package's version. A later run goes on."""
    program = context.find(text)
    if elf is None and program.name is None:
        raise ConfigurationError(f"{text} is none of this package's programs; name a file: --elf")
    code = bundled_elf(program.name or "") if elf is None else read_elf(elf)
    sender = context.sender()
    upload = BufferUpload(
        context.cluster, sender, buffer_path(context.keys, program.title), code, program.title
    )
    authority = None if buffer_only else context.authority_key()
    upgraded = ProgramUpgrade(
        context.cluster, sender, program, upload, authority, context.terminal.report
    )
    await context.cluster.check_features()
    await context.carry_out(sender, await upgraded.steps(await sender.prices(program.address)))


async def set_authority(
    context: ProgramContext, text: str, new: NewAuthority, *, unchecked: bool
) -> None:
    """Hand a program to another authority, or to nobody. Raises StepFailed."""
    program = context.find(text)
    if new.address is None:
        await _check_final(context, program)
    sender = context.sender()
    step = await authority_step(
        context.cluster,
        sender,
        program,
        authority=context.authority_key,
        new=new,
        unchecked=unchecked,
        prices=await sender.prices(program.address),
    )
    if new.address is None and step.actions and not context.dry_run:
        typed = context.terminal.read(f"This cannot be undone. Type the id of {program.title}: ")
        if typed.strip() != str(program.address):
            raise StepFailed("that is not the program's id, so nothing was done")
    await context.carry_out(sender, [step])


async def _check_final(context: ProgramContext, program: ProgramRef) -> None:
    """Raise StepFailed while the program still needs its upgrade authority."""
    if program.name == PROGRAM_NAMES[0]:
        programs = replace(load_programs(context.environ), vault=program.address)
        account = await context.cluster.account(vault_authority_address(programs))
        if read_vault_authority(account, programs) is None:
            raise StepFailed(
                "the vault authority is not created yet, which only the upgrade authority can do; "
                "run `cvms bootstrap` first"
            )

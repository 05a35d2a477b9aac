"""`cvms program`: show the deployed programs, upgrade one, hand one to another authority."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from cvms.bootstrap.cluster import Cluster
from cvms.bootstrap.key_files import existing_key
from cvms.bootstrap.programs.buffers import BufferPlan, BufferUpload
from cvms.bootstrap.programs.program_steps import deployed_program, handed_over, wait_after
from cvms.bootstrap.steps import Cost, Prices, Report, Step
from cvms.bootstrap.transactions import Draft, TransactionSender
from cvms.chain.program import upgradeable_loader as loader
from cvms.chain.program.addresses import program_data_address
from cvms.chain.program.bundled_programs import PROGRAM_NAMES, PROGRAM_SETTINGS, bundled_elf
from cvms.chain.program.upgradeable_loader import (
    LEAST_EXTENSION,
    PROGRAM_DATA_HEADER,
    DeployedProgram,
    executable_hash,
)
from cvms.errors import ConfigurationError, StepFailed

ELF_MAGIC = b"\x7fELF"


@dataclass(frozen=True, slots=True)
class ProgramRef:
    """A program by its id, and its name if it is one of this package's."""

    address: Pubkey
    name: str | None

    @property
    def title(self) -> str:
        return self.name or str(self.address)


def find_program(text: str, keys: Path, environ: Mapping[str, str]) -> ProgramRef:
    """Return the program of a name or an id. Names are found in the settings, then in `keys`.

    Raises ConfigurationError.
    """
    known = {name: _address(name, keys, environ) for name in PROGRAM_NAMES}
    if text in known:
        if (address := known[text]) is None:
            raise ConfigurationError(
                f"the id of {text} is not known; set {PROGRAM_SETTINGS[text]}, or name its id"
            )
        return ProgramRef(address, text)
    try:
        address = Pubkey.from_string(text)
    except ValueError:
        raise ConfigurationError(
            f"{text} is no program; expected {', '.join(PROGRAM_NAMES)} or a program's id"
        ) from None
    names = [name for name, each in known.items() if each == address]
    return ProgramRef(address, names[0] if names else None)


def _address(name: str, keys: Path, environ: Mapping[str, str]) -> Pubkey | None:
    if text := environ.get(PROGRAM_SETTINGS[name]):
        try:
            return Pubkey.from_string(text)
        except ValueError:
            raise ConfigurationError(
                f"{PROGRAM_SETTINGS[name]} holds {text!r}; expected a base58 public key"
            ) from None
    path = keys / f"{name}.json"
    return existing_key(path).pubkey() if path.exists() else None


def described(program: ProgramRef, found: DeployedProgram | None) -> list[str]:
    """Return the lines that show a program."""
    if found is None:
        return [f"{program.title}", f"  id         {program.address}", "  deployed   no"]
    code = executable_hash(found.code)
    lines = [
        program.title,
        f"  id         {program.address}",
        f"  data       {program_data_address(program.address)}",
        f"  deployed   in slot {found.slot}",
        f"  authority  {found.authority or 'none: nobody can upgrade it'}",
        f"  length     {len(found.code.rstrip(bytes(1)))} bytes, room for {len(found.code)}",
        f"  hash       {code}",
    ]
    if program.name is not None:
        same = code == executable_hash(bundled_elf(program.name))
        lines.append(f"  version    {'this one' if same else 'another than this one'}")
    return lines


def read_elf(path: Path) -> bytes:
    """Return a program's file. Raises ConfigurationError if it is none."""
    try:
        elf = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}") from None
    if not elf.startswith(ELF_MAGIC):
        raise ConfigurationError(f"{path} is not an ELF file; name the .so file of a program")
    return elf


async def present_program(cluster: Cluster, program: ProgramRef) -> DeployedProgram:
    """Return a program that must be there. Raises StepFailed."""
    found = await deployed_program(cluster, program.address)
    if found is None:
        raise StepFailed(f"there is no program {program.address} on this cluster")
    return found


@dataclass(frozen=True, slots=True)
class ProgramUpgrade:
    """The upgrade of a program to the code that `upload` has.

    Without the `authority`'s key the buffer is filled and handed to the authority, which upgrades.
    """

    cluster: Cluster
    sender: TransactionSender
    program: ProgramRef
    upload: BufferUpload
    authority: Keypair | None
    report: Report

    @property
    def elf(self) -> bytes:
        return self.upload.elf

    async def steps(self, prices: Prices) -> list[Step]:
        """Return the steps that are missing. Raises StepFailed if it cannot be upgraded."""
        found = await present_program(self.cluster, self.program)
        state = f"{self.program.address}, {executable_hash(found.code)}"
        buffer = await self.upload.plan()
        payer = self.sender.payer.pubkey()
        if executable_hash(found.code) == executable_hash(self.elf):
            if buffer.found is not None and buffer.found.authority == payer:
                action = f"close the buffer {buffer.file.address}, which is left over"
                cost = Cost(fees=prices.fees())
                return [Step(self.program.title, state, (action,), cost, self.upload.close)]
            return [Step(self.program.title, f"{state}, as wanted")]
        owner = self._checked_authority(found)
        steps = [Step(self.program.title, state), *await self._extension(found, prices)]
        if self.authority is None and _belongs_to(buffer, owner) and owner != payer:
            return [*steps, self._handed_over(buffer, owner)]
        written = f"write {len(buffer.chunks)} of {buffer.chunk_count} chunks"
        cost = await self.upload.cost(buffer, prices) + Cost(fees=prices.fees(signatures=2))
        where = "not there" if buffer.found is None else str(buffer.file.address)
        last = f"upgrade to {executable_hash(self.elf)}"
        if self.authority is None:
            last = f"hand it to {owner}, which has to sign the upgrade"
        return [*steps, Step("buffer", where, (written, last), cost, self._upgrade)]

    def _checked_authority(self, found: DeployedProgram) -> Pubkey:
        owner = found.authority
        if owner is None:
            raise StepFailed(f"{self.program.address} has no upgrade authority: it is final")
        if self.authority is not None and self.authority.pubkey() != owner:
            raise StepFailed(
                f"the upgrade authority of {self.program.address} is {owner}, not "
                f"{self.authority.pubkey()}; pass its key with --authority, or --buffer-only to "
                "prepare the upgrade for it"
            )
        return owner

    async def _extension(self, found: DeployedProgram, prices: Prices) -> list[Step]:
        lacking = len(self.elf) - len(found.code)
        if lacking <= 0:
            return []
        growth = max(lacking, LEAST_EXTENSION)
        before = await self.cluster.rent(PROGRAM_DATA_HEADER + len(found.code))
        after = await self.cluster.rent(PROGRAM_DATA_HEADER + len(found.code) + growth)

        async def run() -> None:
            await self._extend(growth)

        state = f"for {len(found.code)} bytes, of {len(self.elf)}"
        cost = Cost(after - before, prices.fees())
        return [Step("room", state, (f"extend it by {growth} bytes",), cost, run)]

    async def _extend(self, growth: int) -> None:
        program, payer = self.program.address, self.sender.payer.pubkey()
        what = f"extend {self.program.title}"
        plain = loader.extend(program, payer=payer, growth=growth)
        try:
            await self.sender.send(Draft(what, (plain,)))
        except StepFailed as error:
            if error.reason != "InvalidInstructionData" or self.authority is None:
                raise
            checked = loader.extend_checked(
                program, payer=payer, authority=self.authority.pubkey(), growth=growth
            )
            await self.sender.send(Draft(what, (checked,), (self.authority,)))
        found = await present_program(self.cluster, self.program)
        await wait_after(found.slot, self.sender)

    async def _upgrade(self) -> None:
        found = await present_program(self.cluster, self.program)
        owner, payer = self._checked_authority(found), self.sender.payer.pubkey()
        plan = await self.upload.plan()
        handing: Sequence[Instruction] = []
        if owner == payer or not _belongs_to(plan, owner):
            await self.upload.run(self.report)
            plan = await self.upload.plan()
            handing = handed_over(plan.file.address, payer, owner)
        if self.authority is None:
            if handing:
                await self.sender.send(Draft("hand over the buffer", tuple(handing)))
            self.report(self._handed_over(plan, owner).waits_for)
            return
        buffer = self._complete(plan, owner)
        upgrade = loader.upgrade(self.program.address, buffer=buffer, authority=owner, refund=payer)
        draft = Draft(f"upgrade {self.program.title}", (*handing, upgrade), (self.authority,))
        try:
            await self.sender.send(draft)
        except StepFailed:
            # The transaction of a run that was killed may have been confirmed in between.
            found = await present_program(self.cluster, self.program)
            if executable_hash(found.code) != executable_hash(self.elf):
                raise
        found = await present_program(self.cluster, self.program)
        if executable_hash(found.code) != executable_hash(self.elf):
            raise StepFailed(f"{self.program.address} does not have the code of the upgrade")
        await wait_after(found.slot, self.sender)

    def _complete(self, plan: BufferPlan, owner: Pubkey) -> Pubkey:
        """Return the address of a buffer of the owner's. Raises StepFailed if it must not be used.

        The payer cannot write into it any more.
        """
        buffer = plan.file.address
        if plan.chunks or not plan.fits:
            raise StepFailed(
                f"the buffer {buffer} of {owner} holds another file; let {owner} use or close it, "
                f"then remove {self.upload.path}"
            )
        return buffer

    def _handed_over(self, plan: BufferPlan, owner: Pubkey) -> Step:
        buffer = self._complete(plan, owner)
        return Step(
            "buffer",
            f"{buffer}, complete",
            waits_for=f"{owner} has to sign the upgrade of {self.program.address}\n"
            f"  to the buffer {buffer}\n  hash {executable_hash(self.elf)}\n"
            f"  refund of the buffer's rent: {self.sender.payer.pubkey()}",
        )


def _belongs_to(plan: BufferPlan, owner: Pubkey) -> bool:
    return plan.found is not None and plan.found.authority == owner


@dataclass(frozen=True, slots=True)
class NewAuthority:
    """The next authority of a program. Without an address nobody will be able to upgrade it."""

    address: Pubkey | None
    key: Keypair | None


async def authority_step(
    cluster: Cluster,
    sender: TransactionSender,
    program: ProgramRef,
    *,
    authority: Callable[[], Keypair],
    new: NewAuthority,
    unchecked: bool,
    prices: Prices,
) -> Step:
    """Return the step that hands a program over. The new authority signs too if its key is here.

    Raises StepFailed, and ConfigurationError if it does not sign and that was not asked for.
    """
    found = await present_program(cluster, program)
    state = f"{program.address}, authority {found.authority or 'none'}"
    if found.authority == new.address:
        return Step(program.title, state)
    if found.authority is None:
        raise StepFailed(f"{program.address} has no upgrade authority: it is final")
    if new.address is not None and new.key is None and not unchecked:
        raise ConfigurationError(
            f"the key of {new.address} is not here, so it cannot sign that it exists; name its "
            "file, or pass --skip-new-authority-check if you are sure of the address"
        )
    key = authority()
    if key.pubkey() != found.authority:
        raise StepFailed(
            f"the upgrade authority of {program.address} is {found.authority}, not "
            f"{key.pubkey()}; pass its key with --authority"
        )
    data = program_data_address(program.address)
    if new.key is not None:
        step = loader.set_authority_checked(data, authority=key.pubkey(), new=new.key.pubkey())
    else:
        step = loader.set_authority(data, authority=key.pubkey(), new=new.address)
    signers = (key,) if new.key is None else (key, new.key)

    async def run() -> None:
        await sender.send(Draft(f"set the authority of {program.title}", (step,), signers))

    action = f"make {new.address} its authority"
    if new.address is None:
        action = "make it final: nobody can upgrade it ever again, nor recover governance by it"
    fees = prices.fees(signatures=1 + len(signers))
    return Step(program.title, state, (action,), Cost(fees=fees), run)

"""Deployment and upgrade of one program by the upgradeable loader."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import trio
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.system_program import CreateAccountParams, create_account

from cvms.bootstrap.cluster import Cluster
from cvms.bootstrap.programs.buffers import BufferUpload
from cvms.bootstrap.steps import Cost, Prices, Report, Step
from cvms.bootstrap.transactions import Draft, TransactionSender
from cvms.chain.program import upgradeable_loader as loader
from cvms.chain.program.addresses import program_data_address
from cvms.chain.program.upgradeable_loader import (
    LOADER,
    PROGRAM_DATA_HEADER,
    PROGRAM_LENGTH,
    DeployedProgram,
    executable_hash,
    read_program,
)
from cvms.chain.types import Commitment, Slot
from cvms.errors import DecodeError, StepFailed

HEADROOM_PERCENT = 10
"""Of a program's length, kept free for longer versions when it is deployed."""


async def deployed_program(cluster: Cluster, program: Pubkey) -> DeployedProgram | None:
    """Return the program at an id, None for none. Raises StepFailed if there is something else."""
    accounts = await cluster.accounts(program, program_data_address(program))
    try:
        return read_program(*accounts)
    except DecodeError as error:
        raise StepFailed(f"{program}: {error}") from None


@dataclass(frozen=True, slots=True)
class ProgramDeployment:
    """A program of this package, its id, and the keys that deploy it.

    `id_key` and `authority` are None where they are not here.
    """

    cluster: Cluster
    sender: TransactionSender
    name: str
    program: Pubkey
    id_key: Keypair | None
    authority: Keypair | None
    upload: BufferUpload
    report: Report

    @property
    def elf(self) -> bytes:
        return self.upload.elf

    @property
    def room(self) -> int:
        return len(self.elf) + len(self.elf) * HEADROOM_PERCENT // 100

    async def step(self, prices: Prices) -> Step:
        """Return the step that deploys the program where it is missing."""
        found = await deployed_program(self.cluster, self.program)
        buffer = await self.upload.plan()
        if found is None:
            return await self._deployment(prices)
        state = f"{self.program}, deployed in slot {found.slot}, {executable_hash(found.code)}"
        if buffer.found is not None and buffer.found.authority == self.sender.payer.pubkey():
            cost = Cost(fees=prices.fees())
            action = f"close the buffer {buffer.file.address}, which is left over"
            return Step(self.name, state, (action,), cost, self.upload.close)
        if executable_hash(found.code) != executable_hash(self.elf):
            note = f"another version than this one; `cvms program upgrade {self.name}` replaces it"
            return Step(self.name, state, waits_for=note)
        return Step(self.name, f"{state}, as in this version")

    async def _deployment(self, prices: Prices) -> Step:
        if self.id_key is None or self.authority is None:
            raise StepFailed(
                f"there is no program {self.program} ({self.name}), and its key is not here"
            )
        buffer = await self.upload.plan()
        rent = await self.cluster.rent(PROGRAM_LENGTH)
        rent += await self.cluster.rent(PROGRAM_DATA_HEADER + self.room)
        upload = await self.upload.cost(buffer, prices)
        # The loader gives the buffer's lamports back before it takes those of the program.
        fees = upload.fees + prices.fees(signatures=3)
        cost = Cost(rent=rent - buffer.lamports, fees=fees)
        actions = (
            f"write {len(buffer.chunks)} of {buffer.chunk_count} chunks into the buffer",
            f"deploy {len(self.elf)} bytes, with room for {self.room}",
        )
        return Step(self.name, f"{self.program} is not there", actions, cost, self.run)

    async def run(self) -> None:
        """Deploy the program, unless a run that was killed has done it. Raises StepFailed."""
        if await deployed_program(self.cluster, self.program) is None:
            await self._deploy()
        deployed = await deployed_program(self.cluster, self.program)
        if deployed is None or executable_hash(deployed.code) != executable_hash(self.elf):
            raise StepFailed(f"{self.program} does not have the code that was deployed")
        await wait_after(deployed.slot, self.sender)

    async def _deploy(self) -> None:
        assert self.id_key is not None
        assert self.authority is not None
        buffer = (await self.upload.run(self.report)).address
        payer, owner = self.sender.payer.pubkey(), self.authority.pubkey()
        params = CreateAccountParams(
            from_pubkey=payer,
            to_pubkey=self.program,
            lamports=await self.cluster.rent(PROGRAM_LENGTH),
            space=PROGRAM_LENGTH,
            owner=LOADER,
        )
        instructions = (
            *handed_over(buffer, payer, owner),
            create_account(params),
            loader.deploy(
                self.program, buffer=buffer, payer=payer, authority=owner, room=self.room
            ),
        )
        draft = Draft(f"deploy {self.name}", instructions, (self.id_key, self.authority))
        try:
            await self.sender.send(draft)
        except StepFailed:
            # The transaction of a run that was killed may have been confirmed in between.
            if await deployed_program(self.cluster, self.program) is None:
                raise


def handed_over(buffer: Pubkey, payer: Pubkey, authority: Pubkey) -> Sequence[Instruction]:
    """Return what makes a payer's buffer that of a program's authority, as the loader demands."""
    if payer == authority:
        return []
    return [loader.set_authority(buffer, authority=payer, new=authority)]


async def wait_after(slot: Slot, sender: TransactionSender) -> None:
    """Wait for a slot after this one: code that is changed in a slot can be used in the next.

    Raises StepFailed if none comes while the sender is patient.
    """
    with trio.move_on_after(sender.patience):
        while True:
            if await sender.rpc.get_slot(Commitment.CONFIRMED) > slot:
                return
            await trio.sleep(sender.poll_seconds)
    raise StepFailed(f"the cluster confirms no slot after {slot}; run the command again")

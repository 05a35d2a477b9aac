"""Buffers, in which a program is collected before it is deployed. An upload goes on after a break.

The key of a buffer is in a file before the buffer has any lamports, so that a later run finds it.
It stays there, for the next upload: what a killed run has sent may still arrive.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from solders.pubkey import Pubkey
from solders.system_program import CreateAccountParams, create_account

from cvms.bootstrap.cluster import Cluster
from cvms.bootstrap.key_files import KeyFile, key_in
from cvms.bootstrap.steps import Cost, Prices, Report
from cvms.bootstrap.transactions import Draft, TransactionSender
from cvms.chain.program import upgradeable_loader as loader
from cvms.chain.program.upgradeable_loader import BUFFER_HEADER, LOADER, Buffer
from cvms.errors import DecodeError, StepFailed

CHUNK = 950
"""Bytes of a program in one transaction of a single signature, of 1232 bytes at most."""
ROUNDS = 5
"""Of writing what differs. The second one finds nothing, unless the chain has forked."""
SHOWN_SHARE = 10  # progress is shown each tenth


@dataclass(frozen=True, slots=True)
class BufferPlan:
    """A buffer's key and account, and the writes that it lacks."""

    file: KeyFile
    elf: bytes
    found: Buffer | None
    lamports: int

    @property
    def fits(self) -> bool:
        return self.found is None or len(self.found.code) == len(self.elf)

    @property
    def chunk_count(self) -> int:
        return -(-len(self.elf) // CHUNK)

    @property
    def chunks(self) -> list[int]:
        """The offsets of the chunks that are missing."""
        code = self.found.code if self.found is not None and self.fits else bytes(len(self.elf))
        return differing(code, self.elf)


def differing(code: bytes, elf: bytes) -> list[int]:
    """Return the offsets of the chunks in which a buffer differs from the file."""
    offsets = range(0, len(elf), CHUNK)
    return [at for at in offsets if code[at : at + CHUNK] != elf[at : at + CHUNK]]


@dataclass(frozen=True, slots=True)
class BufferUpload:
    """The upload of a program into the buffer whose key is in `path`, and which the payer owns."""

    cluster: Cluster
    sender: TransactionSender
    path: Path
    elf: bytes
    name: str

    async def plan(self) -> BufferPlan:
        """Read what exists. Raises StepFailed if the buffer is nobody's, or somebody else's."""
        file = key_in(self.path)
        account = None if file.is_new else await self.cluster.account(file.address)
        try:
            found = loader.read_buffer(account)
        except DecodeError as error:
            raise StepFailed(f"{self.path}: {file.address}: {error}; move the file away") from None
        return BufferPlan(file, self.elf, found, account.lamports if account else 0)

    async def cost(self, plan: BufferPlan, prices: Prices) -> Cost:
        """Return what the upload costs. The rent comes back when the program is deployed."""
        fees = prices.fees(transactions=len(plan.chunks))
        if plan.found is not None and plan.fits:
            return Cost(fees=fees)
        rent = await self.cluster.rent(BUFFER_HEADER + len(self.elf))
        closing = 0 if plan.fits else prices.fees()
        return Cost(lent=rent - plan.lamports, fees=fees + closing + prices.fees(signatures=2))

    async def run(self, report: Report) -> KeyFile:
        """Fill the buffer, and return its key. Raises StepFailed."""
        plan = await self.plan()
        file = plan.file.saved()
        if not plan.fits:
            await self.close()
            plan = await self.plan()
        if plan.found is None:
            await self._create(file)
        for _ in range(ROUNDS):
            plan = await self.plan()
            if plan.found is None:
                raise StepFailed(f"the buffer {file.address} is not there; run the command again")
            self._check_authority(file.address, plan.found.authority)
            if not plan.chunks:
                return file
            await self._write(file.address, plan.chunks, report)
        raise StepFailed(f"the buffer {file.address} still differs from the file; run it again")

    async def close(self) -> None:
        """Close the buffer of another file, or of a program that is deployed; get its rent back."""
        plan = await self.plan()
        if plan.found is None:
            return
        address, payer = plan.file.address, self.sender.payer.pubkey()
        self._check_authority(address, plan.found.authority)
        close = loader.close_buffer(address, authority=payer, refund=payer)
        await self.sender.send(Draft(f"close the buffer of {self.name}", (close,)))

    def _check_authority(self, address: Pubkey, authority: Pubkey | None) -> None:
        if authority != self.sender.payer.pubkey():
            raise StepFailed(
                f"the buffer {address} ({self.path}) belongs to {authority or 'nobody'}, not to "
                f"the payer {self.sender.payer.pubkey()}; pay with that key, or move the file away"
            )

    async def _create(self, file: KeyFile) -> None:
        length, payer = BUFFER_HEADER + len(self.elf), self.sender.payer.pubkey()
        params = CreateAccountParams(
            from_pubkey=payer,
            to_pubkey=file.address,
            lamports=await self.cluster.rent(length),
            space=length,
            owner=LOADER,
        )
        instructions = (
            create_account(params),
            loader.initialize_buffer(file.address, authority=payer),
        )
        try:
            await self.sender.send(
                Draft(f"create the buffer of {self.name}", instructions, (file.key,))
            )
        except StepFailed:
            # The transaction of a run that was killed may have been confirmed in between.
            if (await self.plan()).found is None:
                raise

    async def _write(self, buffer: Pubkey, offsets: list[int], report: Report) -> None:
        payer = self.sender.payer.pubkey()
        drafts = [
            Draft(
                f"write {self.name} at {at}",
                (
                    loader.write_buffer(
                        buffer, authority=payer, offset=at, code=self.elf[at : at + CHUNK]
                    ),
                ),
            )
            for at in offsets
        ]
        written, shown = 0, max(len(drafts) // SHOWN_SHARE, 1)

        def landed() -> None:
            nonlocal written
            written += 1
            if written % shown == 0 or written == len(drafts):
                report(f"      {self.name}: {written} of {len(drafts)} chunks written")

        await self.sender.send_all(drafts, landed=landed)

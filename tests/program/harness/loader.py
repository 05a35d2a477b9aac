"""Deployments and upgrades by the upgradeable loader, in the virtual machine."""

from dataclasses import dataclass

from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.system_program import CreateAccountParams, create_account
from solders.transaction import VersionedTransaction
from solders.transaction_metadata import TransactionMetadata

from cvms.chain.program.upgradeable_loader import (
    BUFFER_HEADER,
    LEAST_EXTENSION,
    PROGRAM_DATA_HEADER,
    PROGRAM_LENGTH,
    deploy,
    extend,
    initialize_buffer,
    upgrade,
    write_buffer,
)
from tests.program.harness.ledger import (
    SOL,
    UPGRADEABLE_LOADER,
    Ledger,
    program_data_address,
)

CHUNK = 900
"""Bytes of a program that one transaction can write."""


@dataclass(frozen=True, slots=True)
class Loader:
    """The loader on a ledger, and the key that may upgrade what it deploys."""

    ledger: Ledger
    authority: Keypair

    def deploy(self, program: Pubkey, elf: bytes) -> None:
        """Deploy a program that does not exist, with room for its bytes alone."""
        buffer, key = self._fill_buffer(elf), self.authority.pubkey()
        create = self._create(program, PROGRAM_LENGTH)
        room = len(elf)
        self._send(create, deploy(program, buffer=buffer, payer=key, authority=key, room=room))
        self._next_slot()

    def upgrade(self, program: Pubkey, elf: bytes) -> None:
        """Replace a program, after making room for it where it has grown."""
        buffer, key = self._fill_buffer(elf), self.authority.pubkey()
        room = len(self.ledger.data(program_data_address(program))) - PROGRAM_DATA_HEADER
        if len(elf) > room:
            growth = max(len(elf) - room, LEAST_EXTENSION)
            self._send(extend(program, payer=key, growth=growth))
            self._next_slot()
        self._send(upgrade(program, buffer=buffer, authority=key, refund=key))
        self._next_slot()

    def _create(self, address: Pubkey, length: int) -> Instruction:
        return create_account(
            CreateAccountParams(
                from_pubkey=self.authority.pubkey(),
                to_pubkey=address,
                lamports=self.ledger.svm.minimum_balance_for_rent_exemption(length),
                space=length,
                owner=UPGRADEABLE_LOADER,
            )
        )

    def _fill_buffer(self, elf: bytes) -> Pubkey:
        buffer, key = Keypair().pubkey(), self.authority.pubkey()
        create = self._create(buffer, BUFFER_HEADER + len(elf))
        self._send(create, initialize_buffer(buffer, authority=key))
        for at in range(0, len(elf), CHUNK):
            code = elf[at : at + CHUNK]
            self._send(write_buffer(buffer, authority=key, offset=at, code=code))
        return buffer

    def _next_slot(self) -> None:
        """Start the next slot, in which a program can be called that was deployed in this one."""
        self.ledger.svm.warp_to_slot(self.ledger.svm.get_clock().slot + 1)

    def _send(self, *instructions: Instruction) -> None:
        """Run a transaction that need not be signed: nobody has the keys of the programs' ids."""
        svm = self.ledger.svm
        svm.with_sigverify(False)
        svm.expire_blockhash()
        message = MessageV0.try_compile(
            self.authority.pubkey(), instructions, [], svm.latest_blockhash()
        )
        signatures = [Signature.default()] * message.header.num_required_signatures
        result = svm.send_transaction(VersionedTransaction.populate(message, signatures))
        svm.with_sigverify(True)
        assert isinstance(result, TransactionMetadata), result


def open_loader(ledger: Ledger) -> Loader:
    """Give a new key enough to deploy programs, and return the loader for it."""
    authority = Keypair()
    ledger.svm.airdrop(authority.pubkey(), 100 * SOL)
    return Loader(ledger, authority)

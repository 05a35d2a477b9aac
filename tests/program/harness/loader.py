"""Deployments and upgrades through the upgradeable loader's own instructions."""

from collections.abc import Sequence
from dataclasses import dataclass
from struct import pack

from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.system_program import CreateAccountParams, create_account
from solders.transaction import VersionedTransaction
from solders.transaction_metadata import TransactionMetadata

from tests.program.harness.ledger import RENT, SOL, SYSTEM, Ledger, readonly, signer
from tests.program.harness.venues import writable

LOADER = Pubkey.from_string("BPFLoaderUpgradeab1e11111111111111111111111")
CLOCK = Pubkey.from_string("SysvarC1ock11111111111111111111111111111111")
BUFFER_HEADER, PROGRAM_LENGTH, PROGRAM_DATA_HEADER = 37, 36, 45
INITIALIZE_BUFFER, WRITE, DEPLOY, UPGRADE, EXTEND = 0, 1, 2, 3, 6
LEAST_EXTENSION = 10_240
CHUNK = 900
"""Bytes of a program that one transaction can write."""


def program_data_address(program: Pubkey) -> Pubkey:
    return Pubkey.find_program_address([bytes(program)], LOADER)[0]


@dataclass(frozen=True, slots=True)
class Loader:
    """The upgradeable loader of a chain, and the key that may upgrade what it deploys."""

    ledger: Ledger
    authority: Keypair

    def deploy(self, program: Pubkey, elf: bytes) -> None:
        """Deploy a program that does not exist, with room for its bytes alone."""
        buffer, data = self._fill_buffer(elf), program_data_address(program)
        accounts = [
            *(self._payer(), writable(data), writable(program), writable(buffer)),
            *map(readonly, (RENT, CLOCK, SYSTEM)),
            signer(self.authority.pubkey()),
        ]
        deployment = Instruction(LOADER, pack("<IQ", DEPLOY, len(elf)), accounts)
        self._send([self._create(program, PROGRAM_LENGTH), deployment])
        self._next_slot()

    def upgrade(self, program: Pubkey, elf: bytes) -> None:
        """Replace a program, after making room for it where it has grown."""
        buffer, data = self._fill_buffer(elf), program_data_address(program)
        growth = PROGRAM_DATA_HEADER + len(elf) - len(self.ledger.data(data))
        if growth > 0:
            accounts = [writable(data), writable(program), readonly(SYSTEM), self._payer()]
            extension = pack("<II", EXTEND, max(growth, LEAST_EXTENSION))
            self._send([Instruction(LOADER, extension, accounts)])
            self._next_slot()
        spill = writable(self.authority.pubkey())
        accounts = [
            *(writable(data), writable(program), writable(buffer), spill),
            *(readonly(RENT), readonly(CLOCK), signer(self.authority.pubkey())),
        ]
        self._send([Instruction(LOADER, pack("<I", UPGRADE), accounts)])
        self._next_slot()

    def _payer(self) -> AccountMeta:
        return AccountMeta(self.authority.pubkey(), is_signer=True, is_writable=True)

    def _create(self, address: Pubkey, length: int) -> Instruction:
        return create_account(
            CreateAccountParams(
                from_pubkey=self.authority.pubkey(),
                to_pubkey=address,
                lamports=self.ledger.svm.minimum_balance_for_rent_exemption(length),
                space=length,
                owner=LOADER,
            )
        )

    def _fill_buffer(self, elf: bytes) -> Pubkey:
        buffer, authority = Keypair().pubkey(), self.authority.pubkey()
        accounts = [writable(buffer), readonly(authority)]
        initialize = Instruction(LOADER, pack("<I", INITIALIZE_BUFFER), accounts)
        self._send([self._create(buffer, BUFFER_HEADER + len(elf)), initialize])
        for at in range(0, len(elf), CHUNK):
            part = elf[at : at + CHUNK]
            accounts = [writable(buffer), signer(authority)]
            self._send([Instruction(LOADER, pack("<IIQ", WRITE, at, len(part)) + part, accounts)])
        return buffer

    def _next_slot(self) -> None:
        """Start the next slot, in which a program can be called that was deployed in this one."""
        self.ledger.svm.warp_to_slot(self.ledger.svm.get_clock().slot + 1)

    def _send(self, instructions: Sequence[Instruction]) -> None:
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

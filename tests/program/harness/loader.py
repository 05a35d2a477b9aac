"""The upgradeable loader: its instructions, and deployments and upgrades with them."""

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

from tests.program.harness.ledger import (
    RENT,
    SOL,
    SYSTEM,
    UPGRADEABLE_LOADER,
    Ledger,
    program_data_address,
    readonly,
    signer,
)
from tests.program.harness.venues import writable

CLOCK = Pubkey.from_string("SysvarC1ock11111111111111111111111111111111")
BUFFER_HEADER, PROGRAM_LENGTH, PROGRAM_DATA_HEADER = 37, 36, 45
LEAST_EXTENSION = 10_240
CHUNK = 900
"""Bytes of a program that one transaction can write."""


def initialize_buffer(buffer: Pubkey, authority: Pubkey) -> Instruction:
    return Instruction(UPGRADEABLE_LOADER, pack("<I", 0), [writable(buffer), readonly(authority)])


def write_buffer(buffer: Pubkey, authority: Pubkey, elf: bytes) -> list[Instruction]:
    """Return the writes of a program into its buffer, each for a transaction of its own."""
    parts = [(at, elf[at : at + CHUNK]) for at in range(0, len(elf), CHUNK)]
    accounts = [writable(buffer), signer(authority)]
    return [
        Instruction(UPGRADEABLE_LOADER, pack("<IIQ", 1, at, len(part)) + part, accounts)
        for at, part in parts
    ]


def deploy(program: Pubkey, buffer: Pubkey, authority: Pubkey, length: int) -> Instruction:
    """Return the deployment of a program with room for `length` bytes, which `authority` pays."""
    accounts = [
        *(_payer(authority), writable(program_data_address(program))),
        *(writable(program), writable(buffer)),
        *map(readonly, (RENT, CLOCK, SYSTEM)),
        signer(authority),
    ]
    return Instruction(UPGRADEABLE_LOADER, pack("<IQ", 2, length), accounts)


def upgrade(program: Pubkey, buffer: Pubkey, authority: Pubkey) -> Instruction:
    """Return an upgrade to the program in the buffer, whose lamports go to the authority."""
    accounts = [
        *(writable(program_data_address(program)), writable(program), writable(buffer)),
        *(writable(authority), readonly(RENT), readonly(CLOCK), signer(authority)),
    ]
    return Instruction(UPGRADEABLE_LOADER, pack("<I", 3), accounts)


def extend(program: Pubkey, growth: int, payer: Pubkey) -> Instruction:
    """Return an extension of a program's account by `growth` bytes or the least that is allowed."""
    accounts = [writable(program_data_address(program)), writable(program)]
    accounts += [readonly(SYSTEM), _payer(payer)]
    return Instruction(UPGRADEABLE_LOADER, pack("<II", 6, max(growth, LEAST_EXTENSION)), accounts)


def _payer(key: Pubkey) -> AccountMeta:
    return AccountMeta(key, is_signer=True, is_writable=True)


@dataclass(frozen=True, slots=True)
class Loader:
    """The loader on a ledger, and the key that may upgrade what it deploys."""

    ledger: Ledger
    authority: Keypair

    def deploy(self, program: Pubkey, elf: bytes) -> None:
        """Deploy a program that does not exist, with room for its bytes alone."""
        buffer, key = self._fill_buffer(elf), self.authority.pubkey()
        create = self._create(program, PROGRAM_LENGTH)
        self._send(create, deploy(program, buffer, key, len(elf)))
        self._next_slot()

    def upgrade(self, program: Pubkey, elf: bytes) -> None:
        """Replace a program, after making room for it where it has grown."""
        buffer, key = self._fill_buffer(elf), self.authority.pubkey()
        room = len(self.ledger.data(program_data_address(program))) - PROGRAM_DATA_HEADER
        if len(elf) > room:
            self._send(extend(program, len(elf) - room, key))
            self._next_slot()
        self._send(upgrade(program, buffer, key))
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
        self._send(create, initialize_buffer(buffer, key))
        for write in write_buffer(buffer, key, elf):
            self._send(write)
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

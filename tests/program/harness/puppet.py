"""A program that runs a test's script, in the role of a caller or of a yield program.

The script is the data of its last account; `program/puppet/` documents the format.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Protocol

from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.paths import ROOT
from tests.program.harness.ledger import PROGRAM, SYSTEM, Ledger, caller_address, readonly

PUPPET = Pubkey.from_string("Puppet1111111111111111111111111111111111111")
ELF = ROOT / "tests" / "program" / "elf" / "puppet.so"


@dataclass(frozen=True, slots=True)
class Log:
    """Log `Program data: <data>`; `data` must have at least eight bytes."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Fail:
    """Fail with this custom error code."""

    code: int


@dataclass(frozen=True, slots=True)
class CallBound:
    """Call with the signature of the puppet's caller PDA that is bound to the program `bound`."""

    called: Instruction
    bound: Pubkey = PROGRAM


@dataclass(frozen=True, slots=True)
class When:
    """Run the commands only in an instruction of this name, such as `claim`."""

    name: str
    commands: tuple["Command", ...]


Command = Instruction | Log | Fail | CallBound | When
"""One command of a script. An instruction is called with the signature of `own_address`."""


class Chain(Protocol):
    """A place to write a script to, such as a `Ledger`."""

    def put(self, address: Pubkey, owner: Pubkey, data: bytes, /) -> None: ...


def with_puppet(ledger: Ledger, program: Pubkey = PUPPET) -> Ledger:
    """Deploy the puppet. The test authorizes or whitelists it."""
    ledger.svm.add_program(program, ELF.read_bytes())
    return ledger


def own_address(program: Pubkey = PUPPET) -> Pubkey:
    """Return the puppet's PDA, which signs the calls whose instruction says so."""
    return Pubkey.find_program_address([b"puppet"], program)[0]


def puppet_call(chain: Chain, *commands: Command, program: Pubkey = PUPPET) -> Instruction:
    """Return the instruction that makes the puppet run `commands` in order."""
    bound = [command.bound for command in commands if isinstance(command, CallBound)]
    pdas = [own_address(program), *(caller_address(program, to) for to in bound)]
    accounts = write_script(chain, *commands, signing_later=pdas)
    return Instruction(program, b"", accounts)


def write_script(
    chain: Chain, *commands: Command, signing_later: Collection[Pubkey] = (), after: int = 0
) -> list[AccountMeta]:
    """Write a script and return the accounts that the puppet needs to run it, the script last.

    They have the signer and writable flags that the calls need. Accounts in `signing_later` do not
    sign the transaction: the program that passes them on signs for them, as a vault does for its
    yield program. `after` is the number of accounts that this program puts before them.
    """
    accounts = _accounts(commands, signing_later)
    order = {meta.pubkey: after + at for at, meta in enumerate(accounts)}
    script = Keypair().pubkey()
    chain.put(script, SYSTEM, b"".join(_encode(command, order) for command in commands))
    return [*accounts, readonly(script)]


def _accounts(commands: Sequence[Command], signing_later: Collection[Pubkey]) -> list[AccountMeta]:
    """Return each account of the calls once, with the union of the rights that the calls need."""
    rights: dict[Pubkey, tuple[bool, bool]] = {}
    for command in unconditional(commands):
        called = command.called if isinstance(command, CallBound) else command
        if isinstance(called, Instruction):
            for meta in (*called.accounts, readonly(called.program_id)):
                signs, writable = rights.get(meta.pubkey, (False, False))
                signs |= meta.is_signer and meta.pubkey not in signing_later
                rights[meta.pubkey] = (signs, writable or meta.is_writable)
    return [AccountMeta(address, *given) for address, given in rights.items()]


def unconditional(commands: Iterable[Command]) -> Iterator[Command]:
    for command in commands:
        if isinstance(command, When):
            yield from unconditional(command.commands)
        else:
            yield command


def _encode(command: Command, order: Mapping[Pubkey, int]) -> bytes:
    match command:
        case Log(data):
            return b"\2" + _sized(data)
        case Fail(code):
            return b"\3" + code.to_bytes(4, "little")
        case When(name, within):
            skipped = b"".join(_encode(each, order) for each in within)
            return b"\5" + sha256(f"global:{name}".encode()).digest()[:8] + _sized(skipped)
        case CallBound(called, bound):
            return b"\4" + bytes(bound) + _encode(called, order)[1:]
        case Instruction():
            uses = [(order[m.pubkey], m.is_signer | m.is_writable << 1) for m in command.accounts]
            accounts = bytes([len(uses), *(byte for use in uses for byte in use)])
            return b"\1" + bytes(command.program_id) + accounts + _sized(bytes(command.data))


def _sized(data: bytes) -> bytes:
    return len(data).to_bytes(2, "little") + data

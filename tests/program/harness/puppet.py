"""A program that does what a test tells it to: any caller of the vault program, any yield program.

Its script is the data of the last account it is given; `program/puppet/` says what is in one.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.paths import ROOT
from tests.program.harness.ledger import SYSTEM, Ledger, readonly

PUPPET = Pubkey.from_string("Puppet1111111111111111111111111111111111111")
ELF = ROOT / "tests" / "program" / "elf" / "puppet.so"


@dataclass(frozen=True, slots=True)
class Log:
    """Logs `Program data: <these bytes>`, eight or more."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Fail:
    """Fails with this custom error code."""

    code: int


Act = Instruction | Log | Fail
"""What a puppet does; an instruction it calls."""


class Chain(Protocol):
    """Where a script can be written, such as a `Ledger`."""

    def put(self, address: Pubkey, owner: Pubkey, data: bytes, /) -> None: ...


def with_puppet(ledger: Ledger, program: Pubkey = PUPPET) -> Ledger:
    """Deploys the puppet; authorizing or whitelisting it is the test's."""
    ledger.svm.add_program(program, ELF.read_bytes())
    return ledger


def own_address(program: Pubkey = PUPPET) -> Pubkey:
    """An address that signs in the puppet's calls where their instruction says so."""
    return Pubkey.find_program_address([b"puppet"], program)[0]


def play(chain: Chain, *acts: Act, program: Pubkey = PUPPET) -> Instruction:
    """The instruction at which the puppet does all this, in this order."""
    accounts = stage(chain, *acts, signing_later=[own_address(program)])
    return Instruction(program, b"", accounts)


def stage(chain: Chain, *acts: Act, signing_later: Collection[Pubkey] = ()) -> list[AccountMeta]:
    """Writes a script; the accounts, itself last, that a puppet must be given to follow it.

    They sign and are writable as the calls need it. Whoever is `signing_later` does so by the
    program that passes it on, as a vault does for its yield program, and not in the transaction.
    """
    accounts = _accounts(acts, signing_later)
    order = [meta.pubkey for meta in accounts]
    script = Keypair().pubkey()
    chain.put(script, SYSTEM, b"".join(_encode(act, order) for act in acts))
    return [*accounts, readonly(script)]


def _accounts(acts: Sequence[Act], signing_later: Collection[Pubkey]) -> list[AccountMeta]:
    """Each account of the calls once, with all the rights that any of them needs."""
    rights: dict[Pubkey, tuple[bool, bool]] = {}
    for act in acts:
        if isinstance(act, Instruction):
            for meta in (*act.accounts, readonly(act.program_id)):
                signs, writable = rights.get(meta.pubkey, (False, False))
                signs |= meta.is_signer and meta.pubkey not in signing_later
                rights[meta.pubkey] = (signs, writable or meta.is_writable)
    return [AccountMeta(address, *given) for address, given in rights.items()]


def _encode(act: Act, order: Sequence[Pubkey]) -> bytes:
    match act:
        case Log(data):
            return b"\2" + _sized(data)
        case Fail(code):
            return b"\3" + code.to_bytes(4, "little")
        case Instruction():
            uses = [(order.index(m.pubkey), m.is_signer | m.is_writable << 1) for m in act.accounts]
            accounts = bytes([len(uses), *(byte for use in uses for byte in use)])
            return b"\1" + bytes(act.program_id) + accounts + _sized(bytes(act.data))


def _sized(data: bytes) -> bytes:
    return len(data).to_bytes(2, "little") + data

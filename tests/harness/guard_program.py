"""Stand-ins for the program whose instructions wallets add: one that approves, and a hostile one.

Nobody may redistribute the code that is deployed as Lighthouse. What matters here is which accounts
a guard gets, so a program that returns at once approves like an assertion that holds.
"""

from __future__ import annotations

import struct

from solders.account import Account
from solders.pubkey import Pubkey

from cvms.config.operator_settings import LIGHTHOUSE
from cvms.localnet.ledger.program_deployment import deploy
from tests.harness.localnet import Localnet
from tests.program.harness.puppet import ELF, PUPPET

GUARD = Pubkey.from_string(LIGHTHOUSE)
HOSTILE = PUPPET
"""A guard program that calls whatever its last account says, with all that it is given."""

_RETURN_ZERO = bytes.fromhex("b700000000000000 9500000000000000")


def deploy_guards(localnet: Localnet) -> None:
    """Deploy both."""
    chain = localnet.running.chain
    elf = ELF.read_bytes()
    entry = _entry_offset(elf)
    approving = elf[:entry] + _RETURN_ZERO + elf[entry + len(_RETURN_ZERO) :]
    deploy(chain, GUARD, approving)
    deploy(chain, HOSTILE, elf)


def _entry_offset(elf: bytes) -> int:
    """Return where in the file the entry point is, by the segments that the ELF header lists."""
    entry, table = struct.unpack_from("<QQ", elf, 0x18)
    (segments,) = struct.unpack_from("<H", elf, 0x38)
    for index in range(segments):
        offset, start, _, length = struct.unpack_from("<4Q", elf, table + index * 56 + 8)
        if start <= entry < start + length:
            return int(offset + entry - start)
    raise ValueError("no segment has the entry point")


class Scripts:
    """The chain, as a place for the scripts of the hostile guard."""

    def __init__(self, localnet: Localnet) -> None:
        self._chain = localnet.running.chain

    def put(self, address: Pubkey, owner: Pubkey, data: bytes, /) -> None:
        lamports = self._chain.vm.rent_exempt(len(data))
        self._chain.overwrite(address, Account(lamports, data, owner))

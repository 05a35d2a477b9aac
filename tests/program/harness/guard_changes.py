"""Changes of an owner's guards: what each is called, at once and by request."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.program.harness.instructions import build
from tests.program.harness.ledger import PROGRAM, VAULT_IDL, Ledger, signer, vault_address

DAY = 24 * 60 * 60
WEEK = 7 * DAY

DIRECT = {
    "Multisig": "set_vault_multisig",
    "WithdrawMinDelay": "set_withdraw_min_delay",
    "WithdrawRateLimit": "set_withdraw_rate_limit",
    "WhitelistAddition": "add_withdraw_whitelist",
    "TransferAllowance": "set_transfer_allowance",
}


@dataclass(frozen=True, slots=True)
class GuardChange:
    """A change, under the name and with the fields of its variant in the interface."""

    variant: str
    fields: dict[str, Any]

    def at_once(self, owner: Keypair, *cosigners: Keypair) -> Instruction:
        remaining = [signer(each.pubkey()) for each in cosigners]
        return build(DIRECT[self.variant], owner.pubkey(), remaining=remaining, **self.fields)

    def request(self, owner: Keypair) -> Instruction:
        accounts = {"guard_change": self.address(owner.pubkey())}
        change = (self.variant, self.fields)
        return build("request_guard_change", owner.pubkey(), accounts=accounts, change=change)

    def apply(self, owner: Keypair) -> Instruction:
        accounts = {"guard_change": self.address(owner.pubkey())}
        return build("apply_guard_change", owner.pubkey(), accounts=accounts)

    def cancel(self, owner: Pubkey, *, by: Keypair) -> Instruction:
        accounts = {"guard_change": self.address(owner)}
        return build("cancel_guard_change", owner, authority=by.pubkey(), accounts=accounts)

    def borsh(self) -> bytes:
        kind = {"defined": {"name": "GuardChange"}}
        return VAULT_IDL.write(kind, (self.variant, self.fields))

    def address(self, owner: Pubkey) -> Pubkey:
        return self.found(owner)[0]

    def found(self, owner: Pubkey) -> tuple[Pubkey, int]:
        """Return the address of the request and its bump."""
        digest = hashlib.sha256(self.borsh()).digest()
        seeds = [b"guard_change", bytes(vault_address(owner)), digest]
        return Pubkey.find_program_address(seeds, PROGRAM)

    def state(self, ledger: Ledger, owner: Pubkey) -> dict[str, Any] | None:
        """Return the account of the request, or None if there is none."""
        data = ledger.data(self.address(owner))
        return VAULT_IDL.decode_account("GuardChangeRequest", data) if data else None


def multisig(signers: Sequence[Keypair], threshold: int) -> GuardChange:
    keys = [each.pubkey() for each in signers]
    return GuardChange("Multisig", {"signers": keys, "threshold": threshold})


def min_delay(seconds: int) -> GuardChange:
    return GuardChange("WithdrawMinDelay", {"seconds": seconds})


def rate_limit(window_seconds: int, max_amount: int) -> GuardChange:
    fields = {"window_seconds": window_seconds, "max_amount": max_amount}
    return GuardChange("WithdrawRateLimit", fields)


def whitelisted(address: Pubkey) -> GuardChange:
    return GuardChange("WhitelistAddition", {"address": address})


def allowance(amount: int) -> GuardChange:
    return GuardChange("TransferAllowance", {"amount": amount})

"""The chain on which every instruction is tried: its wallets, its vaults and its authority."""

from collections.abc import Iterable, Sequence
from typing import Any

from solders.account import Account
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.program.harness import ledger as chain
from tests.program.harness import positions
from tests.program.harness.ledger import POSITION_MANAGER, START, Ledger, Outcome, vault_address
from tests.program.harness.pools import YIELD_POOL
from tests.program.harness.puppet import PUPPET


class Journal(Ledger):
    """A chain that can be rewound to a marked state."""

    def __init__(self) -> None:
        self.originals: dict[Pubkey, Account | None] = {}
        super().__init__()

    def put(self, address: Pubkey, owner: Pubkey, data: bytes, lamports: int | None = None) -> None:
        self._keep([address])
        super().put(address, owner, data, lamports)

    def send(self, instructions: Instruction | Sequence[Instruction], *signers: Keypair) -> Outcome:
        given = [instructions] if isinstance(instructions, Instruction) else instructions
        self._keep(meta.pubkey for instruction in given for meta in instruction.accounts)
        return super().send(instructions, *signers)

    def mark(self) -> None:
        """Mark the current state as the one that `rewind` restores."""
        self.originals.clear()

    def rewind(self) -> None:
        for address, account in self.originals.items():
            if self.svm.get_account(address) != account:
                self.svm.set_account(address, account or Account(0, b"", chain.SYSTEM))
        self.originals.clear()

    def _keep(self, addresses: Iterable[Pubkey]) -> None:
        for address in addresses:
            self.originals.setdefault(address, self.svm.get_account(address))


class World:
    """Vaults of 100 for `owner` and `other`. `owner` has a delegate and a friend on the whitelist.

    Two programs are authorized and must name themselves; one yield program is whitelisted. All
    wallets have 50 tokens and can sign. `payer` pays for every transaction and has no other role.
    """

    def __init__(self) -> None:
        self.ledger = Journal()
        self.keys: dict[Pubkey, Keypair] = {}
        self.payer = self.ledger.wallet()
        self.governance = self.wallet()
        self.owner = self.wallet()
        self.delegate = self.wallet()
        self.friend = self.wallet()
        self.other = self.wallet()
        self.stranger = self.wallet()
        self.ledger.initialize_authority(self.keys[self.governance])
        positions.with_position_manager(self.ledger)
        self.ledger.change_authority(
            authorized_programs=[POSITION_MANAGER, PUPPET],
            cpi_enforced=True,
            yield_whitelist=[YIELD_POOL],
        )
        self.open_vault(self.owner)
        self.open_vault(self.other)
        self.change(delegates=[self.delegate], withdraw_whitelist=[self.friend])

    def wallet(self) -> Pubkey:
        keypair = self.ledger.wallet(usdt=50)
        self.keys[keypair.pubkey()] = keypair
        return keypair.pubkey()

    def open_vault(self, owner: Pubkey, *, holding: int = 100) -> None:
        self.ledger.must(chain.initialize_vault(owner), self.keys[owner])
        self.ledger.change_vault(owner, created_at=START - 1)
        if holding:
            self.ledger.put_tokens(vault_address(owner), holding)
            state = {"total_balance": holding, "available_balance": holding}
            self.ledger.change_vault(owner, **state)

    def change(self, **fields: Any) -> None:
        """Write fields of the owner's vault."""
        self.ledger.change_vault(self.owner, **fields)

    def empty(self) -> None:
        """Withdraw everything from the owner's vault."""
        self.ledger.put_tokens(vault_address(self.owner), 0)
        self.change(total_balance=0, available_balance=0)

    def program_of(self, address: Pubkey) -> Pubkey:
        account = self.ledger.svm.get_account(address)
        assert account is not None, f"there is nothing at {address}"
        return account.owner

    def put(self, owner: Pubkey, data: bytes, address: Pubkey | None = None) -> Pubkey:
        """Write an account, at a new address if none is given."""
        address = address or Keypair().pubkey()
        self.ledger.put(address, owner, data)
        return address

    def erase(self, address: Pubkey) -> Pubkey:
        """Erase the account, as if it had never existed, and return the address."""
        self.ledger.put(address, chain.SYSTEM, b"", 0)
        return address

"""Wallets of owners who call the program directly, as clients other than the service do."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from solders.account import Account
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.token.state import Mint
from solders.transaction import VersionedTransaction
from spl.token.constants import TOKEN_PROGRAM_ID

from cvms.chain.program import instructions
from cvms.chain.program.addresses import position_summary_address, token_account, vault_address
from cvms.chain.program.instructions import yield_pool
from cvms.chain.program.yield_pool_accounts import pool_address
from cvms.chain.types import Programs
from cvms.localnet.ledger.chain import LocalnetChain, TransactionRefused
from cvms.localnet.node.faults import NodeFaults
from cvms.localnet.node.node import Node
from cvms.localnet.rpc.call.params import Params
from cvms.localnet.rpc.methods.cheatcodes import set_token_account
from cvms.localnet.types import Commitment, Entry

SOL = 1_000_000_000
WALLET_TOKENS = 10**12
"""Initial balance of each wallet."""
MAX_AMOUNT = 1_000_000
"""Token units. Requests to the service use larger amounts, which identify them."""

INITIAL_DEPOSIT = 40 * MAX_AMOUNT
UNLIMITED = 2**64 - 1
"""Into each vault, so that withdrawals through the service can succeed."""

Steps = Sequence[Instruction]


@dataclass(slots=True)
class Wallets:
    """Wallets with a vault each, and random actions on the vaults."""

    chain: LocalnetChain
    programs: Programs
    operator: Keypair
    rng: random.Random
    owners: list[Keypair] = field(default_factory=list)
    other_mint_owner: Keypair = field(init=False)
    """Owner of a vault of another mint, which anybody can create."""
    other_mint_programs: Programs = field(init=False)

    def __post_init__(self) -> None:
        self.other_mint_owner = Keypair.from_seed(self.rng.randbytes(32))
        mint = Keypair.from_seed(self.rng.randbytes(32)).pubkey()
        self.other_mint_programs = replace(self.programs, mint=mint)
        data = bytes(Mint(None, 0, 6, is_initialized=True))
        self.chain.overwrite(mint, Account(SOL, data, TOKEN_PROGRAM_ID))
        fund(self.chain, self.other_mint_programs, self.other_mint_owner)
        self.send_or_fail(
            self.other_mint_owner,
            instructions.initialize_vault(self.other_mint_programs, self.other_mint_owner.pubkey()),
        )

    def add_owner(self, key: Keypair) -> Keypair:
        """Fund a wallet, and open its vault and the vault's position in the yield pool."""
        fund(self.chain, self.programs, key)
        vault = vault_address(self.programs, key.pubkey())
        self.send_or_fail(
            key,
            instructions.initialize_vault(self.programs, key.pubkey()),
            instructions.init_position_summary(
                self.programs, payer=key.pubkey(), owner=key.pubkey()
            ),
            yield_pool.open_position(
                self.programs, payer=key.pubkey(), owner=vault, pool=self.pool
            ),
            self.deposit_step(key, INITIAL_DEPOSIT),
            instructions.set_transfer_allowance(
                self.programs, owner=key.pubkey(), amount=UNLIMITED
            ),
        )
        self.owners.append(key)
        return key

    def empty_and_reopen(self, owner: Keypair) -> None:
        """Empty, close and reopen the vault, so that its account's sums start at zero again."""
        key = owner.pubkey()
        close = instructions.close_vault(self.programs, key)
        again = instructions.initialize_vault(self.programs, key)
        self.send_or_fail(owner, self.withdraw_step(owner, INITIAL_DEPOSIT), close, again)
        self.send_or_fail(owner, self.deposit_step(owner, INITIAL_DEPOSIT))

    def act(self) -> str | None:
        """Send a random action of a random owner. Return its signature if it landed.

        A landed transaction may have failed.
        """
        owner = self.rng.choice(self.owners)
        actions = {
            self.deposit: 40,
            self.withdraw: 14,
            self.position: 16,
            self.rebalance: 8,
            self.timelock: 10,
            self.invest: 8,
            self.combine: 6,
            self.configure: 3,
            self.reopen: 1,
            self.deposit_other_mint: 2,
        }
        [action] = self.rng.choices(list(actions), list(actions.values()))
        signer, steps = action(owner)
        return self.send(signer, steps)

    def send(self, signer: Keypair, steps: Steps) -> str | None:
        """Put a transaction into a block. Return None if the chain refuses it."""
        block = self.chain.bank(Commitment.CONFIRMED)
        message = MessageV0.try_compile(signer.pubkey(), list(steps), [], block.blockhash)
        try:
            return self.chain.process(VersionedTransaction(message, [signer])).signature
        except TransactionRefused:
            return None

    def send_or_fail(self, signer: Keypair, *steps: Instruction) -> Entry:
        """Put a transaction into a block. It must succeed."""
        block = self.chain.bank(Commitment.PROCESSED)
        message = MessageV0.try_compile(signer.pubkey(), list(steps), [], block.blockhash)
        entry = self.chain.process(VersionedTransaction(message, [signer]))
        assert entry.err is None, entry.meta["logMessages"]
        return entry

    # --- actions: the signer and the instructions ----------------------------------------------

    def amount(self) -> int:
        """Return a random amount of widely varying size."""
        return self.rng.choice((1, 10, 1000, MAX_AMOUNT)) * self.rng.randint(1, 9) % MAX_AMOUNT + 1

    def deposit(self, owner: Keypair) -> tuple[Keypair, Steps]:
        return owner, [self.deposit_step(owner, self.amount())]

    def deposit_step(self, owner: Keypair, amount: int) -> Instruction:
        key = owner.pubkey()
        return instructions.deposit(self.programs, authority=key, owner=key, amount=amount)

    def deposit_other_mint(self, _: Keypair) -> tuple[Keypair, Steps]:
        """Deposit into the vault of another mint. Its event must not be counted."""
        key = self.other_mint_owner.pubkey()
        step = instructions.deposit(
            self.other_mint_programs, authority=key, owner=key, amount=self.amount()
        )
        return self.other_mint_owner, [step]

    def withdraw(self, owner: Keypair) -> tuple[Keypair, Steps]:
        key, programs = owner.pubkey(), self.programs
        if self.rng.random() < 0.2:
            by = self.rng.choice((owner, self.operator))
            return by, [
                instructions.emergency_withdraw(
                    programs, authority=by.pubkey(), owner=key, amount=self.amount()
                )
            ]
        return owner, [self.withdraw_step(owner, self.amount())]

    def withdraw_step(self, owner: Keypair, amount: int) -> Instruction:
        key, programs = owner.pubkey(), self.programs
        vault = vault_address(programs, key)
        return instructions.withdraw(
            programs,
            authority=key,
            owner=key,
            recipient_token_account=token_account(key, programs.mint),
            position_summaries=[position_summary_address(programs.position_manager, vault)],
            amount=amount,
        )

    def position(self, owner: Keypair) -> tuple[Keypair, Steps]:
        change = self.rng.choice((instructions.open_position, instructions.close_position))
        key = owner.pubkey()
        return owner, [change(self.programs, authority=key, owner=key, amount=self.amount())]

    def rebalance(self, owner: Keypair) -> tuple[Keypair, Steps]:
        """Move collateral between two vaults by governance, as in a liquidation."""
        other = self.rng.choice(self.owners)
        step = instructions.rebalance_collateral(
            self.programs,
            authority=self.operator.pubkey(),
            from_owner=owner.pubkey(),
            to_owner=other.pubkey(),
            amount=self.amount(),
            settles=True,
        )
        return self.operator, [step]

    def timelock(self, owner: Keypair) -> tuple[Keypair, Steps]:
        key = owner.pubkey()
        if self.rng.random() < 0.4:
            return owner, [instructions.release_timelocks(self.programs, authority=key, owner=key)]
        step = instructions.schedule_timelock(
            self.programs,
            authority=key,
            owner=key,
            amount=self.amount(),
            duration_seconds=self.rng.choice((0, 0, 1, 3600)),
        )
        return owner, [step]

    def invest(self, owner: Keypair) -> tuple[Keypair, Steps]:
        key, programs = owner.pubkey(), self.programs
        accounts = yield_pool.vault_yield_accounts(
            programs, vault=vault_address(programs, key), pool=self.pool, mint=programs.mint
        )
        change = self.rng.choice((instructions.yield_deposit, instructions.yield_withdraw))
        step = change(
            programs,
            authority=key,
            owner=key,
            yield_program=programs.yield_pool,
            amount=self.amount(),
            yield_accounts=accounts,
        )
        return owner, [step]

    def combine(self, owner: Keypair) -> tuple[Keypair, Steps]:
        """Combine three actions in one transaction, which takes effect as a whole or not at all."""
        actions = (self.deposit, self.position, self.timelock, self.deposit)
        return owner, [step for action in self.rng.sample(actions, 3) for step in action(owner)[1]]

    def configure(self, owner: Keypair) -> tuple[Keypair, Steps]:
        """Change delegates or the whitelist, which moves no tokens and may emit no event."""
        key, other = owner.pubkey(), self.rng.choice(self.owners).pubkey()
        change = self.rng.choice((instructions.add_delegate, instructions.remove_delegate))
        if self.rng.random() < 0.5:
            return owner, [
                instructions.add_withdraw_whitelist(self.programs, owner=key, address=other)
            ]
        return owner, [change(self.programs, owner=key, delegate=other)]

    def reopen(self, owner: Keypair) -> tuple[Keypair, Steps]:
        """Close and reopen the vault, which succeeds only if it is empty."""
        key = owner.pubkey()
        close = instructions.close_vault(self.programs, key)
        return owner, [close, instructions.initialize_vault(self.programs, key)]

    @property
    def pool(self) -> Pubkey:
        return pool_address(self.programs, mint=self.programs.mint, admin=self.operator.pubkey())


def fund(chain: LocalnetChain, programs: Programs, key: Keypair) -> None:
    """Give a wallet SOL and tokens, visible at every commitment at once."""
    chain.overwrite(key.pubkey(), Account(10 * SOL, b"", Pubkey.default()))
    owner, mint = str(key.pubkey()), str(programs.mint)
    set_token_account(Node(chain, NodeFaults()), Params([owner, mint, {"amount": WALLET_TOKENS}]))

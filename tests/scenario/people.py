"""Owners who use the program straight, as foreign clients do: they sign, send, and may fail."""

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
from cvms.localnet.ledger.chain import Chain, Refused
from cvms.localnet.node.faults import Faults
from cvms.localnet.node.node import Node
from cvms.localnet.rpc.call.params import Params
from cvms.localnet.rpc.methods.cheatcodes import set_token_account
from cvms.localnet.types import Commitment, Entry

SOL = 1_000_000_000
TOKENS = 10**12
"""What each owner begins with in the wallet."""
MOST_AT_ONCE = 1_000_000
"""Token units in one movement; the amounts of requests to the service lie above."""

BEGINS_WITH = 40 * MOST_AT_ONCE
"""In each vault, so that requests to the service find something."""

Steps = Sequence[Instruction]


@dataclass(slots=True)
class Crowd:
    """Owners with wallets, each with a vault, and what they do to them."""

    chain: Chain
    programs: Programs
    operator: Keypair
    rng: random.Random
    owners: list[Keypair] = field(default_factory=list)
    stranger: Keypair = field(init=False)
    """Has a vault over another token, which anybody can make."""
    worthless: Programs = field(init=False)

    def __post_init__(self) -> None:
        self.stranger = Keypair.from_seed(self.rng.randbytes(32))
        mint = Keypair.from_seed(self.rng.randbytes(32)).pubkey()
        self.worthless = replace(self.programs, mint=mint)
        data = bytes(Mint(None, 0, 6, is_initialized=True))
        self.chain.overwrite(mint, Account(SOL, data, TOKEN_PROGRAM_ID))
        fund(self.chain, self.worthless, self.stranger)
        self.must(
            self.stranger, instructions.initialize_vault(self.worthless, self.stranger.pubkey())
        )

    def join(self, key: Keypair) -> Keypair:
        """A new owner with SOL, tokens, a vault, and a place for the vault in the yield pool."""
        fund(self.chain, self.programs, key)
        vault = vault_address(self.programs, key.pubkey())
        self.must(
            key,
            instructions.initialize_vault(self.programs, key.pubkey()),
            instructions.init_position_summary(
                self.programs, payer=key.pubkey(), owner=key.pubkey()
            ),
            yield_pool.open_position(
                self.programs, payer=key.pubkey(), owner=vault, pool=self.pool
            ),
            self.paying_in(key, BEGINS_WITH),
        )
        self.owners.append(key)
        return key

    def leave_and_return(self, owner: Keypair) -> None:
        """Take everything out, close the vault, and open it anew: its account begins at zero."""
        key = owner.pubkey()
        close = instructions.close_vault(self.programs, key)
        again = instructions.initialize_vault(self.programs, key)
        self.must(owner, self.taking_out(owner, BEGINS_WITH), close, again)
        self.must(owner, self.paying_in(owner, BEGINS_WITH))

    def act(self) -> str | None:
        """Somebody does something; the signature, if it is in a block. Many a thing fails there."""
        owner = self.rng.choice(self.owners)
        deeds = {
            self.deposit: 40,
            self.withdraw: 14,
            self.position: 16,
            self.move: 8,
            self.wait: 10,
            self.earn: 8,
            self.several: 6,
            self.rule: 3,
            self.reopen: 1,
            self.fool: 2,
        }
        [deed] = self.rng.choices(list(deeds), list(deeds.values()))
        signer, steps = deed(owner)
        return self.send(signer, steps)

    def send(self, signer: Keypair, steps: Steps) -> str | None:
        """Straight into a block, as a leader takes it."""
        block = self.chain.bank(Commitment.CONFIRMED)
        message = MessageV0.try_compile(signer.pubkey(), list(steps), [], block.blockhash)
        try:
            return self.chain.process(VersionedTransaction(message, [signer])).signature
        except Refused:
            return None

    def must(self, signer: Keypair, *steps: Instruction) -> Entry:
        """What the scene needs: it must succeed."""
        block = self.chain.bank(Commitment.PROCESSED)
        message = MessageV0.try_compile(signer.pubkey(), list(steps), [], block.blockhash)
        entry = self.chain.process(VersionedTransaction(message, [signer]))
        assert entry.err is None, entry.meta["logMessages"]
        return entry

    # --- deeds ---------------------------------------------------------------------------------

    def amount(self) -> int:
        """Mostly what there may be; now and then more, so that the program refuses."""
        return (
            self.rng.choice((1, 10, 1000, MOST_AT_ONCE)) * self.rng.randint(1, 9) % MOST_AT_ONCE + 1
        )

    def deposit(self, owner: Keypair) -> tuple[Keypair, Steps]:
        return owner, [self.paying_in(owner, self.amount())]

    def paying_in(self, owner: Keypair, amount: int) -> Instruction:
        key = owner.pubkey()
        return instructions.deposit(self.programs, authority=key, owner=key, amount=amount)

    def fool(self, _: Keypair) -> tuple[Keypair, Steps]:
        """What a vault over another token does is an event of the program, and worth nothing."""
        key = self.stranger.pubkey()
        step = instructions.deposit(self.worthless, authority=key, owner=key, amount=self.amount())
        return self.stranger, [step]

    def withdraw(self, owner: Keypair) -> tuple[Keypair, Steps]:
        key, programs = owner.pubkey(), self.programs
        if self.rng.random() < 0.2:
            by = self.rng.choice((owner, self.operator))
            return by, [
                instructions.emergency_withdraw(
                    programs, authority=by.pubkey(), owner=key, amount=self.amount()
                )
            ]
        return owner, [self.taking_out(owner, self.amount())]

    def taking_out(self, owner: Keypair, amount: int) -> Instruction:
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

    def move(self, owner: Keypair) -> tuple[Keypair, Steps]:
        """Governance moves collateral between two vaults: a liquidation, say."""
        other = self.rng.choice(self.owners)
        step = instructions.rebalance_collateral(
            self.programs,
            authority=self.operator.pubkey(),
            from_owner=owner.pubkey(),
            to_owner=other.pubkey(),
            amount=self.amount(),
        )
        return self.operator, [step]

    def wait(self, owner: Keypair) -> tuple[Keypair, Steps]:
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

    def earn(self, owner: Keypair) -> tuple[Keypair, Steps]:
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

    def several(self, owner: Keypair) -> tuple[Keypair, Steps]:
        """Some of these in one transaction: all of them happen or none."""
        deeds = (self.deposit, self.position, self.wait, self.deposit)
        return owner, [step for deed in self.rng.sample(deeds, 3) for step in deed(owner)[1]]

    def rule(self, owner: Keypair) -> tuple[Keypair, Steps]:
        """A change of the vault that moves nothing, some of them without an event."""
        key, other = owner.pubkey(), self.rng.choice(self.owners).pubkey()
        change = self.rng.choice((instructions.add_delegate, instructions.remove_delegate))
        if self.rng.random() < 0.5:
            return owner, [
                instructions.add_withdraw_whitelist(self.programs, owner=key, address=other)
            ]
        return owner, [change(self.programs, owner=key, delegate=other)]

    def reopen(self, owner: Keypair) -> tuple[Keypair, Steps]:
        """Close the vault, which works on an empty one only, and open it anew."""
        key = owner.pubkey()
        close = instructions.close_vault(self.programs, key)
        return owner, [close, instructions.initialize_vault(self.programs, key)]

    @property
    def pool(self) -> Pubkey:
        return pool_address(self.programs, mint=self.programs.mint, admin=self.operator.pubkey())


def fund(chain: Chain, programs: Programs, key: Keypair) -> None:
    """SOL and tokens for a wallet, at every commitment at once."""
    chain.overwrite(key.pubkey(), Account(10 * SOL, b"", Pubkey.default()))
    owner, mint = str(key.pubkey()), str(programs.mint)
    set_token_account(Node(chain, Faults()), Params([owner, mint, {"amount": TOKENS}]))

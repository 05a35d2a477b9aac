"""An exchange on the programs' first release, whose programs can be upgraded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from solders.account import Account
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.paths import PROGRAMS, ROOT
from tests.program.harness.instructions import build
from tests.program.harness.ledger import (
    POSITION_MANAGER,
    PROGRAM,
    SYSTEM,
    Ledger,
    Outcome,
    authority_address,
    govern,
    instruction,
    program_data_address,
    readonly,
    signer,
    summary_address,
    vault_address,
)
from tests.program.harness.loader import Loader, open_loader
from tests.program.harness.pools import YIELD_POOL
from tests.program.harness.positions import init_position_summary, open_position
from tests.program.harness.venues import Venue, assert_balances_match_tokens, move, open_pool

FIRST = ROOT / "tests" / "program" / "elf" / "first"
IDS = {
    "collateral_vault": PROGRAM,
    "position_manager": POSITION_MANAGER,
    "yield_pool": YIELD_POOL,
}
FRIEND = Pubkey([5] * 32)
LOGGED = "Program log: Instruction: "
DELAY, DAY = 60, 24 * 60 * 60


@dataclass(frozen=True, slots=True)
class Exchange:
    """Programs, governance, a pool, and the keys that act on a vault."""

    loader: Loader
    governance: Keypair
    venue: Venue
    delegate: Keypair = field(default_factory=Keypair)
    cosigner: Keypair = field(default_factory=Keypair)
    owners: list[Keypair] = field(default_factory=list)
    """The owners of the vaults whose balances are compared after each step."""
    succeeded: set[str] = field(default_factory=set)
    """The instructions that succeeded, as the logs name them."""

    @property
    def ledger(self) -> Ledger:
        return self.loader.ledger

    def upgrade(self) -> None:
        """Upgrade each program to that of today."""
        for name, program in IDS.items():
            self.loader.upgrade(program, (PROGRAMS / f"{name}.so").read_bytes())
        self.succeeded.clear()

    def run(self, given: Instruction, *signers: Keypair) -> Outcome:
        """Run an instruction that succeeds, and compare all vaults' balances with their tokens."""
        outcome = self.ledger.must(given, *signers)
        self.succeeded.update(
            line.removeprefix(LOGGED) for line in outcome.logs if line.startswith(LOGGED)
        )
        for owner in self.owners:
            kept = self.ledger.vault(owner.pubkey())["yield_kept"]
            assert_balances_match_tokens(self.ledger, owner.pubkey(), kept=kept)
        return outcome

    def act(self, owner: Keypair, name: str, **arguments: Any) -> Outcome:
        """Run an instruction on a vault, signed by its owner and, for a multisig, the cosigner."""
        cosigned = [signer(self.cosigner.pubkey())]
        return self.run(
            build(name, owner.pubkey(), remaining=cosigned, **arguments), owner, self.cosigner
        )

    def withdraw(self, owner: Keypair, amount: int) -> Outcome:
        """Withdraw to the owner, signed as in `act`, with the summary of the vault's positions."""
        summary = readonly(summary_address(vault_address(owner.pubkey())))
        remaining = [summary, signer(self.cosigner.pubkey())]
        given = build("withdraw", owner.pubkey(), remaining=remaining, amount=amount)
        return self.run(given, owner, self.cosigner)

    def govern(self, name: str, value: Any) -> Outcome:
        return self.run(govern(name, self.governance.pubkey(), value=value), self.governance)

    def earn(self, owner: Keypair, name: str, amount: int, *, call: bool = True) -> Outcome:
        """Run a yield instruction, signed as in `act`, with or without a call of the pool."""
        key = owner.pubkey()
        given = move(
            name,
            key,
            amount,
            program=self.venue.program,
            through=self.venue.accounts(key) if call else (),
            cosigners=[self.cosigner.pubkey()],
        )
        return self.run(given, owner, self.cosigner)


def open_exchange() -> Exchange:
    """Deploy the first release, and set governance, a position manager and a pool up."""
    ledger = Ledger()
    loader = open_loader(ledger)
    for name, program in IDS.items():
        for address in (program, program_data_address(program)):
            ledger.svm.set_account(address, Account(0, b"", SYSTEM))
        loader.deploy(program, (FIRST / f"{name}.so").read_bytes())
    governance = ledger.wallet()
    arguments = {"authorized_programs": [POSITION_MANAGER], "freeze": None}
    accounts = {"governance": governance.pubkey(), "vault_authority": authority_address()}
    ledger.must(instruction("initialize_vault_authority", arguments, accounts), governance)
    return Exchange(loader, governance, open_pool(ledger, governance))


def open_vault(exchange: Exchange, deposited: int, *, wallet: int = 0) -> Keypair:
    """Open a vault that holds `deposited`, whose owner has `wallet` outside it."""
    owner = exchange.ledger.owner(usdt=wallet, deposited=deposited)
    exchange.owners.append(owner)
    key = owner.pubkey()
    exchange.run(init_position_summary(key, payer=key), owner)
    return owner


def fill_vault(exchange: Exchange, owner: Keypair, whitelist: Sequence[Pubkey]) -> None:
    """Use every list and policy of a vault with 10,000 units, and come to hold a position."""
    key, delegate = owner.pubkey(), exchange.delegate
    exchange.ledger.svm.airdrop(delegate.pubkey(), 10**9)
    exchange.act(owner, "add_delegate", delegate=delegate.pubkey())
    for by, amount, seconds in ((owner, 200, DELAY), (delegate, 100, DAY)):
        exchange.run(
            build(
                "schedule_timelock",
                key,
                authority=by.pubkey(),
                amount=amount,
                duration_seconds=seconds,
            ),
            by,
        )
    exchange.earn(exchange.venue.enter(owner), "yield_deposit", 2_000)
    exchange.earn(owner, "yield_deposit", 300, call=False)
    exchange.act(owner, "set_withdraw_rate_limit", window_seconds=DAY, max_amount=5_000)
    exchange.withdraw(owner, 50)
    exchange.run(open_position(key, 1_000, authority=delegate.pubkey()), delegate)
    exchange.act(owner, "set_withdraw_min_delay", seconds=DELAY)
    exchange.act(owner, "request_withdraw", amount=400)
    for address in whitelist:
        exchange.act(owner, "add_withdraw_whitelist", address=address)
    signers = [key, exchange.cosigner.pubkey()]
    exchange.act(owner, "set_vault_multisig", signers=signers, threshold=2)

"""A chain on which every instruction can be measured, and the measured costs.

All keys come from seeds, so that bumps, and with them the compute units, are the same in every run.
"""

from collections.abc import Callable
from typing import Any, Self

from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.program.harness import positions
from tests.program.harness.full_vault import DELAY, KEYS, fill_vault, list_programs, made_up
from tests.program.harness.governing import recover
from tests.program.harness.guard_changes import min_delay
from tests.program.harness.instructions import build
from tests.program.harness.ledger import (
    MINT,
    POSITION_MANAGER,
    SOL,
    START,
    TOKEN,
    Ledger,
    govern,
    initialize_vault,
    mint_data,
    readonly,
    summary_address,
    token_address,
    vault_address,
    withdraw,
)
from tests.program.harness.positions import (
    close_position,
    init_position_summary,
    open_position,
    rebalance_collateral,
    settle_position_summary,
)
from tests.program.harness.venues import YEAR, open_venue

HELD = 10_000
EXIT_WAIT = 7 * 24 * 60 * 60
NEW_MINT, NEW_KEY, YIELD = made_up(3, 3)

Step = tuple[Instruction, Keypair]


class SeededLedger(Ledger):
    """A chain on which the n-th wallet has the same key in every run."""

    def __init__(self) -> None:
        super().__init__()
        self.wallets = 0

    def wallet(self, *, usdt: int = 0) -> Keypair:
        self.wallets += 1
        keypair = Keypair.from_seed(bytes([0, self.wallets] * 16))
        self.svm.airdrop(keypair.pubkey(), 10 * SOL)
        self.put_tokens(keypair.pubkey(), usdt)
        return keypair


class MeasuredChain:
    """Two traders' vaults with `entries` entries in every list, or as many as the list holds.

    The authority lists `authorized` authorized and `entries` yield programs. The position manager
    and the yield program in use come last.
    """

    def __init__(self, *, entries: int, authorized: int = 1) -> None:
        self.ledger = ledger = SeededLedger()
        self.governance = governance = ledger.wallet()
        ledger.initialize_authority(governance)
        ledger.svm.add_program(POSITION_MANAGER, positions.ELF.read_bytes())
        list_programs(ledger, governance, "authorized", POSITION_MANAGER, entries=authorized)
        list_programs(ledger, governance, "yield", YIELD, entries=entries)
        ledger.put(NEW_MINT, TOKEN, mint_data())
        self.owner, self.taker = self.trader(entries), self.trader(entries)

    def trader(self, entries: int) -> Keypair:
        trader = self.ledger.owner(usdt=HELD, deposited=HELD)
        key = trader.pubkey()
        self.ledger.must(init_position_summary(key, payer=key), trader)
        fill_vault(self.ledger, trader, entries=entries)
        return trader

    def after(self, *steps: Step) -> Self:
        for instruction, signer in steps:
            self.ledger.must(instruction, signer)
        return self

    def unguarded(self) -> Self:
        """Lift the delay, which no instruction does at once, with the requests left as they are."""
        self.ledger.change_vault(self.owner.pubkey(), min_withdraw_delay_seconds=0)
        return self

    def later(self, seconds: int) -> Self:
        self.ledger.set_time(START + seconds)
        return self

    # Instructions, each with its signer

    def by_owner(self, name: str, /, **arguments: Any) -> Step:
        return build(name, self.owner.pubkey(), **arguments), self.owner

    def by(self, given: Instruction) -> Step:
        return given, self.owner

    def by_governance(self, name: str, value: Any) -> Step:
        return govern(name, self.governance.pubkey(), value=value), self.governance

    def governs(self, name: str, /, **arguments: Any) -> Step:
        return build(name, self.governance.pubkey(), **arguments), self.governance

    def recover(self) -> Step:
        self.ledger.set_upgrade_authority(self.owner.pubkey())
        return recover(self.owner.pubkey(), NEW_KEY), self.owner

    def limit_transfers(self) -> Step:
        return self.governs("set_transfer_limits", vault_daily=10, total_daily=10)

    def remove_first(self, kind: str, listed: str) -> Step:
        first = self.ledger.authority()[listed][0]
        return self.by_governance(f"remove_{kind}_program", first)

    def withdraw(self, amount: int) -> Step:
        summary = readonly(summary_address(vault_address(self.owner.pubkey())))
        return withdraw(self.owner.pubkey(), amount, remaining=[summary]), self.owner

    def withdraw_all_requested(self) -> Step:
        pending = self.ledger.vault(self.owner.pubkey())["pending_withdrawals"]
        return self.withdraw(sum(each["amount"] for each in pending))

    def lend(self, name: str, amount: int = 10) -> Step:
        """Return a yield instruction that changes only the recorded balances."""
        argument = "compounded_amount" if name == "compound_yield" else "amount"
        return self.by_owner(name, accounts={"yield_program": YIELD}, **{argument: amount})

    def compound(self) -> Step:
        # No instruction of the vault program accrues yield without a call.
        self.ledger.change_vault(self.owner.pubkey(), yield_accrued_balance=10)
        return self.lend("compound_yield")

    def cancel_last(self, name: str, listed: str, *fields: str) -> Step:
        last = self.ledger.vault(self.owner.pubkey())[listed][-1]
        return self.by_owner(name, **{field: last[field] for field in fields})

    def release_unclaimed(self) -> Step:
        """Return a release of all that is locked, of which no summary claims anything."""
        key = self.owner.pubkey()
        self.after(self.open_position(), self.by_owner("request_exit"))
        self.ledger.put_summary(key)
        summary = readonly(summary_address(vault_address(key)))
        self.later(EXIT_WAIT)
        return self.by_owner("release_unclaimed", remaining=[summary])

    def open_position(self) -> Step:
        return open_position(self.owner.pubkey(), 10), self.owner

    def close_position(self) -> Step:
        return close_position(self.owner.pubkey(), 10), self.owner

    def rebalance(self) -> Step:
        giver, taker = self.owner.pubkey(), self.taker.pubkey()
        given = rebalance_collateral(self.governance.pubkey(), giver, taker, 10)
        return given, self.governance

    def sweep(self, held: int, mint: Pubkey = MINT) -> Step:
        key = self.owner.pubkey()
        accounts = {
            "token_account": self.ledger.put_tokens(vault_address(key), held, mint=mint),
            "recipient_token_account": self.ledger.put_tokens(key, 0, mint=mint),
        }
        return self.by_owner("sweep", accounts=accounts)

    def seize(self) -> Step:
        """Return an emergency withdrawal of more than is available."""
        self.after(self.open_position())
        key, amount = self.governance.pubkey(), HELD - 5
        given = build("emergency_withdraw", self.owner.pubkey(), authority=key, amount=amount)
        return given, self.governance


Order = Callable[[MeasuredChain], Step]

# Where the list may be full, an entry is removed before one is added.
ON_VAULTS: dict[str, Order] = {
    "get_vault_info": lambda on: on.by_owner("get_vault_info"),
    "deposit": lambda on: on.by_owner("deposit", amount=10),
    "withdraw": lambda on: on.later(DELAY).withdraw_all_requested(),
    "emergency_withdraw": lambda on: on.unguarded().by_owner("emergency_withdraw", amount=10),
    "schedule_timelock": lambda on: (
        on.later(1)
        .after(on.by_owner("release_timelocks"))
        .by_owner("schedule_timelock", amount=10, duration_seconds=9)
    ),
    "release_timelocks": lambda on: on.later(64).by_owner("release_timelocks"),
    "request_withdraw": lambda on: (
        on.later(DELAY).after(on.withdraw(1)).by_owner("request_withdraw", amount=10)
    ),
    "set_withdraw_min_delay": lambda on: on.by_owner("set_withdraw_min_delay", seconds=DELAY + 9),
    "set_withdraw_rate_limit": lambda on: on.by_owner(
        "set_withdraw_rate_limit", window_seconds=1_009, max_amount=9
    ),
    "set_transfer_allowance": lambda on: on.unguarded().by_owner(
        "set_transfer_allowance", amount=9
    ),
    "add_withdraw_whitelist": lambda on: (
        on.unguarded()
        .after(on.by_owner("remove_withdraw_whitelist", address=KEYS[0]))
        .by_owner("add_withdraw_whitelist", address=NEW_KEY)
    ),
    "remove_withdraw_whitelist": lambda on: on.by_owner(
        "remove_withdraw_whitelist", address=KEYS[0]
    ),
    "add_delegate": lambda on: on.after(on.by_owner("remove_delegate", delegate=KEYS[0])).by_owner(
        "add_delegate", delegate=NEW_KEY
    ),
    "remove_delegate": lambda on: on.by_owner("remove_delegate", delegate=KEYS[0]),
    "set_vault_multisig": lambda on: on.unguarded().by_owner(
        "set_vault_multisig",
        signers=on.ledger.vault(on.owner.pubkey())["multisig_signers"],
        threshold=1,
    ),
    "disable_vault_multisig": lambda on: on.by_owner("disable_vault_multisig"),
    "yield_deposit": lambda on: on.lend("yield_deposit"),
    "yield_withdraw": lambda on: on.after(on.lend("yield_deposit")).lend("yield_withdraw"),
    "compound_yield": lambda on: on.compound(),
    "cancel_withdraw_request": lambda on: on.cancel_last(
        "cancel_withdraw_request", "pending_withdrawals", "amount", "executable_at"
    ),
    "cancel_timelock": lambda on: on.later(DELAY).cancel_last(
        "cancel_timelock", "timelocks", "amount", "unlock_time"
    ),
    "request_exit": lambda on: on.by_owner("request_exit"),
    "release_unclaimed": lambda on: on.release_unclaimed(),
}
# The cost includes the calls that the instruction makes to the vault program.
ON_PROGRAMS: dict[str, Order] = {
    "open_position": lambda on: on.open_position(),
    "close_position": lambda on: on.after(on.open_position()).close_position(),
    "rebalance_collateral": lambda on: on.after(on.open_position()).rebalance(),
    "add_authorized_program": lambda on: on.after(
        on.remove_first("authorized", "authorized_programs")
    ).by_governance("add_authorized_program", NEW_KEY),
    "remove_authorized_program": lambda on: on.remove_first("authorized", "authorized_programs"),
    "add_yield_program": lambda on: on.after(
        on.remove_first("yield", "yield_whitelist")
    ).by_governance("add_yield_program", NEW_KEY),
    "remove_yield_program": lambda on: on.remove_first("yield", "yield_whitelist"),
    "set_freeze_flag": lambda on: on.by_governance("set_freeze_flag", True),
    "set_cpi_enforced": lambda on: on.by_governance("set_cpi_enforced", True),
    "set_risk_level": lambda on: on.by_governance("set_risk_level", 9),
    "propose_governance": lambda on: on.governs("propose_governance", proposed=NEW_KEY),
    "accept_governance": lambda on: on.after(
        on.governs("propose_governance", proposed=on.owner.pubkey())
    ).by_owner("accept_governance"),
    "pause_withdrawals": lambda on: on.governs("pause_withdrawals", seconds=60),
    "set_transfer_limits": lambda on: on.after(on.limit_transfers()).limit_transfers(),
}


def empty_vault(on: MeasuredChain) -> Keypair:
    return on.ledger.owner()


def open_vault(on: MeasuredChain) -> Step:
    wallet = on.ledger.wallet()
    return initialize_vault(wallet.pubkey()), wallet


def open_summary(on: MeasuredChain) -> Step:
    owner = empty_vault(on)
    return init_position_summary(owner.pubkey(), payer=owner.pubkey()), owner


def settle(on: MeasuredChain) -> Step:
    """Return the settlement of a position whose collateral governance has taken."""
    on.after(on.seize())
    return settle_position_summary(on.owner.pubkey()), on.owner


def close_vault(on: MeasuredChain) -> Step:
    owner = empty_vault(on)
    return build("close_vault", owner.pubkey()), owner


def update_mint(on: MeasuredChain) -> Step:
    owner = empty_vault(on).pubkey()
    tokens = token_address(vault_address(owner), NEW_MINT)
    accounts = {"new_mint": NEW_MINT, "vault_token_account": tokens}
    key = on.governance.pubkey()
    return build("update_usdt_mint", owner, authority=key, accounts=accounts), on.governance


def through_the_pool(name: str) -> Order:
    """Return an order of a yield instruction on the pool, one year after the deposit."""

    def order(on: MeasuredChain) -> Step:
        venue = open_venue(on.ledger, on.governance)
        key = venue.enter(on.owner).pubkey()
        on.after((venue.move("yield_deposit", key, 1_000), on.owner)).later(YEAR)
        return venue.move(name, key, 10), on.owner

    return order


LIFTED = min_delay(0)
ONCE: dict[str, Order] = {
    "initialize": lambda on: on.by_owner("initialize"),
    "initialize_vault": open_vault,
    "init_position_summary": open_summary,
    "settle_position_summary": settle,
    "update_usdt_mint": update_mint,
    "close_vault": close_vault,
    "sweep": lambda on: on.sweep(HELD + 5),
    "sweep of another mint": lambda on: on.sweep(5, NEW_MINT),
    "emergency_withdraw by governance": lambda on: on.seize(),
    "request_guard_change": lambda on: on.later(1).by(LIFTED.request(on.owner)),
    "apply_guard_change": lambda on: (
        on.later(1)
        .after(on.by(LIFTED.request(on.owner)))
        .later(1 + DELAY)
        .by(LIFTED.apply(on.owner))
    ),
    "cancel_guard_change": lambda on: (
        on.later(1)
        .after(on.by(LIFTED.request(on.owner)))
        .by(LIFTED.cancel(on.owner.pubkey(), by=on.owner))
    ),
    "propose_governance by the upgrade authority": lambda on: on.recover(),
    "set_transfer_limits for the first time": lambda on: on.limit_transfers(),
    "yield_deposit through the yield pool": through_the_pool("yield_deposit"),
    "yield_withdraw through the yield pool": through_the_pool("yield_withdraw"),
    "compound_yield through the yield pool": through_the_pool("compound_yield"),
}


def units(order: Order, *, entries: int, authorized: int = 1) -> int:
    """Return the compute units of the instruction when it is alone in its transaction."""
    chain = MeasuredChain(entries=entries, authorized=authorized)
    return chain.ledger.must(*order(chain)).units


def units_of_the_authority() -> int:
    ledger = SeededLedger()
    governance = ledger.wallet()
    return ledger.initialize_authority(governance).units

"""A case for each instruction of both programs, in which the instruction succeeds."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from solders.account import Account
from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

from tests.program.harness import governing, positions
from tests.program.harness import pools as yield_pool
from tests.program.harness.guard_changes import GuardChange, min_delay
from tests.program.harness.instructions import build
from tests.program.harness.ledger import (
    POSITION_IDL,
    POSITION_MANAGER,
    START,
    TOKEN,
    VAULT_IDL,
    YIELD_IDL,
    Outcome,
    authority_address,
    mint_data,
    program_data_address,
    readonly,
    summary_address,
    token_address,
    transfer_collateral,
    vault_address,
)
from tests.program.harness.puppet import PUPPET, puppet_call, with_puppet

from .world import World

# The instructions of both programs, whose names are distinct.
INTERFACE = VAULT_IDL.instructions | POSITION_IDL.instructions
NAMED = {
    name: [account["name"] for account in instruction["accounts"]]
    for name, instruction in INTERFACE.items()
}
# The accounts that the cases pass after those of the interface.
POOL = [f"pool_call_{account['name']}" for account in YIELD_IDL.instructions["deposit"]["accounts"]]
REMAINING = {
    "withdraw": ["first_summary", "second_summary"],
    "transfer_collateral": ["transfer_limits"],
    "initialize_vault_authority": ["program_data"],
    "propose_governance": ["program_data"],
    "release_unclaimed": ["first_summary", "second_summary"],
    "yield_deposit": POOL,
    "yield_withdraw": POOL,
    "compound_yield": POOL,
}

Wrap = Callable[[Instruction], Instruction]


def directly(given: Instruction) -> Instruction:
    return given


@dataclass(frozen=True, slots=True)
class Case:
    """An `instruction` that succeeds in `world` when sent as `wrap` makes it."""

    name: str
    world: World
    instruction: Instruction
    wrap: Wrap = directly

    def position(self, account: str) -> int:
        return [*NAMED[self.name], *REMAINING.get(self.name, [])].index(account)

    def address(self, account: str) -> Pubkey:
        return self.instruction.accounts[self.position(account)].pubkey

    def swapped(self, position: int, address: Pubkey, *, signing: bool = False) -> "Case":
        """Return a copy with another account, which signs if `signing` and its key is known."""
        meant = self.instruction.accounts[position]
        signs = signing and meant.is_signer and address in self.world.keys
        return self.replaced(position, AccountMeta(address, signs, meant.is_writable))

    def replaced(self, position: int, meta: AccountMeta) -> "Case":
        metas = list(self.instruction.accounts)
        metas[position] = meta
        return self.given(metas)

    def given(self, metas: list[AccountMeta]) -> "Case":
        instruction = Instruction(self.instruction.program_id, self.instruction.data, metas)
        return replace(self, instruction=instruction)

    def send(self) -> Outcome:
        sent = self.wrap(self.instruction)
        signers = {self.world.payer.pubkey(): self.world.payer} | {
            meta.pubkey: self.world.keys[meta.pubkey] for meta in sent.accounts if meta.is_signer
        }
        return self.world.ledger.send(sent, *signers.values())

    def accounts(self) -> dict[Pubkey, Account | None]:
        """Return the current state of every account that the instruction names."""
        keys = {meta.pubkey for meta in self.instruction.accounts}
        return {key: self.world.ledger.svm.get_account(key) for key in keys}


NEW_MINT = Pubkey.from_bytes(b"the mint that a vault changes to")
Prepare = Callable[[World], Instruction]


def owners(name: str, /, changes: dict[str, Any] | None = None, **arguments: Any) -> Prepare:
    """Return a case in which the owner sends it, on a vault with these fields changed."""

    def prepare(world: World) -> Instruction:
        world.change(**(changes or {}))
        return build(name, world.owner, **arguments)

    return prepare


def delegates(name: str, /, changes: dict[str, Any] | None = None, **arguments: Any) -> Prepare:
    """Return a case in which the owner's delegate sends it."""

    def prepare(world: World) -> Instruction:
        world.change(**(changes or {}))
        return build(name, world.owner, authority=world.delegate, **arguments)

    return prepare


def governs(name: str, /, **arguments: Any) -> Prepare:
    def prepare(world: World) -> Instruction:
        return build(name, world.owner, authority=world.governance, **arguments)

    return prepare


def summaries(world: World) -> list[AccountMeta]:
    """Return each authorized program's summary in order: one that exists and one that does not."""
    vault = vault_address(world.owner)
    return [readonly(summary_address(vault, program)) for program in (POSITION_MANAGER, PUPPET)]


def withdraw(world: World) -> Instruction:
    world.ledger.put_summary(world.owner)
    remaining = summaries(world)
    return build("withdraw", world.owner, authority=world.delegate, remaining=remaining, amount=5)


def release_unclaimed(world: World) -> Instruction:
    world.ledger.put_summary(world.owner)
    world.change(**LOCKED, exit_at=START)
    return build("release_unclaimed", world.owner, remaining=summaries(world))


def initialize_vault(world: World) -> Instruction:
    return build("initialize_vault", world.stranger)


def initialize_vault_authority(world: World) -> Instruction:
    world.erase(authority_address())
    arguments: dict[str, Any] = {"authorized_programs": [], "freeze": None}
    remaining = [readonly(program_data_address())]
    return build("initialize_vault_authority", world.governance, remaining=remaining, **arguments)


def propose_governance(world: World) -> Instruction:
    world.ledger.set_upgrade_authority(world.friend)
    return governing.recover(world.friend, world.stranger)


def accept_governance(world: World) -> Instruction:
    world.ledger.change_authority(pending_governance=world.friend)
    return governing.accept(world.friend)


def limit_transfers(world: World) -> Instruction:
    given = governing.limit_transfers(world.governance, 100, 100)
    world.ledger.must(given, world.keys[world.governance])
    return given


def set_multisig(world: World) -> Instruction:
    return build("set_vault_multisig", world.owner, signers=[world.friend], threshold=1)


def disable_multisig(world: World) -> Instruction:
    world.change(multisig_signers=[world.owner], multisig_threshold=1)
    return build("disable_vault_multisig", world.owner)


GUARD = {"min_withdraw_delay_seconds": 60}
LIFTED = min_delay(0)


def request_guard_change(world: World) -> Instruction:
    world.change(**GUARD)
    return LIFTED.request(world.keys[world.owner])


def requested(instruction: Callable[[GuardChange, World], Instruction]) -> Prepare:
    """Return a case on a requested change whose time has come."""

    def prepare(world: World) -> Instruction:
        owner = world.keys[world.owner]
        world.change(**GUARD)
        world.ledger.later(1)
        world.ledger.must(LIFTED.request(owner), owner)
        world.ledger.later(60)
        return instruction(LIFTED, world)

    return prepare


def remove_delegate(world: World) -> Instruction:
    return build("remove_delegate", world.owner, delegate=world.delegate)


def remove_from_whitelist(world: World) -> Instruction:
    return build("remove_withdraw_whitelist", world.owner, address=world.friend)


def update_usdt_mint(world: World) -> Instruction:
    world.empty()
    world.put(TOKEN, mint_data(), NEW_MINT)
    tokens = token_address(vault_address(world.owner), NEW_MINT)
    accounts = {"new_mint": NEW_MINT, "vault_token_account": tokens}
    return build("update_usdt_mint", world.owner, authority=world.governance, accounts=accounts)


def close_vault(world: World) -> Instruction:
    world.empty()
    return build("close_vault", world.owner)


def sweep(world: World) -> Instruction:
    world.ledger.put_tokens(vault_address(world.owner), 105)
    return build("sweep", world.owner)


def earns(name: str, argument: str = "amount") -> Prepare:
    """Return a case in which the delegate moves yield, with 20 and enough interest in the pool."""

    def prepare(world: World) -> Instruction:
        pools = yield_pool.with_yield_pool(world.ledger)
        pools.fund(10)
        vault, payer = vault_address(world.owner), world.keys[world.owner]
        opened = yield_pool.open_position(vault, pools.pool, payer=world.owner)
        world.ledger.must(opened, payer)
        metas = yield_pool.deposit(vault, pools.pool, 1).accounts
        remaining = [AccountMeta(meta.pubkey, False, meta.is_writable) for meta in metas]

        def given(name: str, authority: Pubkey, **arguments: int) -> Instruction:
            accounts = {"yield_program": yield_pool.YIELD_POOL}
            return build(
                name,
                world.owner,
                authority=authority,
                remaining=remaining,
                accounts=accounts,
                **arguments,
            )

        world.ledger.must(given("yield_deposit", world.owner, amount=20), payer)
        world.ledger.set_time(START + 365 * 24 * 60 * 60)
        return given(name, world.delegate, **{argument: 1})

    return prepare


LOCKED = {"locked_balance": 40, "available_balance": 60}


def transfer(world: World) -> Instruction:
    limit_transfers(world)
    lock_both(world)
    given = transfer_collateral(world.owner, world.other, 5, caller_program=PUPPET)
    return Instruction(given.program_id, given.data, [*given.accounts, governing.LIMITS])


def lock_both(world: World) -> None:
    """Lock in the other vault too, which could stand in for the owner's."""
    for owner in (world.owner, world.other):
        world.ledger.change_vault(owner, **LOCKED)


def through_the_puppet(world: World) -> Wrap:
    with_puppet(world.ledger)
    return lambda called: puppet_call(world.ledger, called)


def locks(name: str, changes: dict[str, Any]) -> Prepare:
    """Return a case on a vault changed as the other owner's is, which could stand in for it."""

    def prepare(world: World) -> Instruction:
        for owner in (world.owner, world.other):
            world.ledger.change_vault(owner, **changes)
        return build(name, world.owner, accounts={"caller_program": PUPPET}, amount=5)

    return prepare


def init_position_summary(world: World) -> Instruction:
    return positions.init_position_summary(world.owner, payer=world.stranger)


def open_position(world: World) -> Instruction:
    world.ledger.put_summary(world.owner)
    return positions.open_position(world.owner, 5, authority=world.delegate)


def close_position(world: World) -> Instruction:
    world.change(**LOCKED)
    world.ledger.put_summary(world.owner, open_positions=1, locked_amount=40)
    return positions.close_position(world.owner, 5, authority=world.delegate)


def settle_position_summary(world: World) -> Instruction:
    for owner in (world.owner, world.other):
        world.ledger.change_vault(owner, **LOCKED)
    world.ledger.put_summary(world.owner, open_positions=1, locked_amount=50)
    return positions.settle_position_summary(world.owner)


def rebalance_collateral(world: World) -> Instruction:
    lock_both(world)
    return positions.rebalance_collateral(world.governance, world.owner, world.other, 5)


MATURED = {"timelocks": [{"amount": 40, "unlock_time": START}], "available_balance": 60}
ADDRESS = Pubkey.from_bytes(bytes(range(32)))
REQUEST = {"amount": 5, "requested_at": START, "executable_at": START + 60}

CASES: dict[str, Prepare] = {
    "initialize": owners("initialize"),
    "initialize_vault": initialize_vault,
    "deposit": delegates("deposit", amount=5),
    "withdraw": withdraw,
    "emergency_withdraw": governs("emergency_withdraw", amount=5),
    "set_vault_multisig": set_multisig,
    "disable_vault_multisig": disable_multisig,
    "lock_collateral": locks("lock_collateral", {}),
    "unlock_collateral": locks("unlock_collateral", LOCKED),
    "transfer_collateral": transfer,
    "schedule_timelock": delegates("schedule_timelock", amount=5, duration_seconds=60),
    "release_timelocks": delegates("release_timelocks", MATURED),
    "request_withdraw": owners("request_withdraw", {"min_withdraw_delay_seconds": 60}, amount=5),
    "set_withdraw_min_delay": owners("set_withdraw_min_delay", seconds=60),
    "set_withdraw_rate_limit": owners("set_withdraw_rate_limit", window_seconds=60, max_amount=5),
    "add_withdraw_whitelist": owners("add_withdraw_whitelist", address=ADDRESS),
    "remove_withdraw_whitelist": remove_from_whitelist,
    "initialize_vault_authority": initialize_vault_authority,
    "add_authorized_program": governs("add_authorized_program", program=ADDRESS),
    "remove_authorized_program": governs("remove_authorized_program", program=PUPPET),
    "set_freeze_flag": governs("set_freeze_flag", freeze=True),
    "set_cpi_enforced": governs("set_cpi_enforced", cpi_enforced=False),
    "add_yield_program": governs("add_yield_program", program=ADDRESS),
    "remove_yield_program": governs("remove_yield_program", program=yield_pool.YIELD_POOL),
    "set_risk_level": governs("set_risk_level", risk_level=3),
    "propose_governance": propose_governance,
    "accept_governance": accept_governance,
    "pause_withdrawals": governs("pause_withdrawals", seconds=60),
    "set_transfer_limits": limit_transfers,
    "add_delegate": owners("add_delegate", delegate=ADDRESS),
    "remove_delegate": remove_delegate,
    "set_transfer_allowance": owners("set_transfer_allowance", amount=5),
    "request_guard_change": request_guard_change,
    "apply_guard_change": requested(lambda change, world: change.apply(world.keys[world.owner])),
    "cancel_guard_change": requested(
        lambda change, world: change.cancel(world.owner, by=world.keys[world.owner])
    ),
    "update_usdt_mint": update_usdt_mint,
    "close_vault": close_vault,
    "sweep": sweep,
    "get_vault_info": owners("get_vault_info"),
    "yield_deposit": earns("yield_deposit"),
    "yield_withdraw": earns("yield_withdraw"),
    "compound_yield": earns("compound_yield", "compounded_amount"),
    "cancel_withdraw_request": owners(
        "cancel_withdraw_request",
        {"pending_withdrawals": [REQUEST]},
        amount=5,
        executable_at=START + 60,
    ),
    "cancel_timelock": owners("cancel_timelock", MATURED, amount=40, unlock_time=START),
    "request_exit": owners("request_exit"),
    "release_unclaimed": release_unclaimed,
    "init_position_summary": init_position_summary,
    "open_position": open_position,
    "close_position": close_position,
    "rebalance_collateral": rebalance_collateral,
    "settle_position_summary": settle_position_summary,
}

# Only a program that governance lists can call these.
CALLED = {"lock_collateral", "unlock_collateral", "transfer_collateral"}


def prepared_case(name: str) -> Case:
    """Return the case, ready to succeed, after undoing what was done to its chain before."""
    prepared = _prepared(name)
    prepared.world.ledger.rewind()
    return prepared


@lru_cache(maxsize=4)  # chains are slow to create, and the tests run instruction by instruction
def _prepared(name: str) -> Case:
    world = World()
    wrap: Wrap = through_the_puppet(world) if name in CALLED else directly
    prepared = Case(name, world, CASES[name](world), wrap)
    world.ledger.mark()
    return prepared

"""The real chain beside the model: both must hold the same state and refuse the same steps."""

import re
import struct
from functools import cache
from typing import Any

from solders.instruction import Instruction
from solders.pubkey import Pubkey

from tests.program.harness import pools, positions
from tests.program.harness.ledger import (
    AUTHORITY_RESERVE,
    POSITION_IDL,
    PROGRAM,
    SOL,
    SYSTEM,
    TOKEN,
    VAULT_IDL,
    VAULT_RESERVE,
    YIELD_IDL,
    Ledger,
    Outcome,
    authority_address,
    mint_data,
    summary_address,
    transfer_limits_address,
)
from tests.program.harness.refusals import FRAMEWORK

from . import names
from .building import at
from .counts import Counts
from .earning import RATE_BPS, reserve_of
from .model import Authority, Events, GuardChange, GuardRequest, Vault, World, vault_of
from .names import key
from .policy import UPGRADE_AUTHORITY

TOKEN_ERRORS: dict[str, int | str] = {
    "TokenInsufficientFunds": 1,
    "TokenOwnerMismatch": 4,
    "InvalidAccountData": "InstructionErrorFieldless.InvalidAccountData",
}
OWN_ERRORS = [
    (entry["name"], code)
    for idl in (VAULT_IDL, POSITION_IDL, YIELD_IDL)
    for code, entry in idl.errors.items()
]
ERRORS = {*OWN_ERRORS, *((name, code) for name, (code, _) in FRAMEWORK.items())}
ERROR_LINE = re.compile(r"Error Code: (\w+)\. Error Number: (\d+)\.")


class Chain:
    """A chain with every program, both mints, funded wallets, and the model's tokens."""

    def __init__(self, world: World, counts: Counts) -> None:
        self.counts = counts
        self.ledger = Ledger()
        self.ledger.set_upgrade_authority(key(UPGRADE_AUTHORITY))
        self.ledger.set_time(world.now)
        for program in names.POSITION_MANAGERS:
            self.ledger.svm.add_program(key(program), positions.ELF.read_bytes())
        for mint in names.MINTS:
            self.ledger.put(key(mint), TOKEN, mint_data())
        for person in [*names.PEOPLE, names.PAYER]:
            self.ledger.put(key(person), SYSTEM, b"", 10_000 * SOL)
        for program in names.YIELD_PROGRAMS:
            self.open_pool(program)
        for (holder, mint), amount in world.tokens.items():
            address = names.tokens(holder, mint)
            wallet = names.pool(holder.partition("'s ")[0]) if "pool" in holder else key(holder)
            self.ledger.put_tokens(wallet, amount, mint=key(mint), address=address)

    def open_pool(self, program: str) -> None:
        self.ledger.svm.add_program(key(program), pools.ELF.read_bytes())
        given = pools.initialize_pool(
            key(names.GOVERNANCE),
            RATE_BPS,
            pool=names.pool(program),
            pool_tokens=names.tokens(program, "usdt"),
            reserve_tokens=names.tokens(reserve_of(program), "usdt"),
        )
        assert self.send(at(program, given)).error is None

    def send(self, given: Instruction) -> Outcome:
        """Send the instruction with all required signatures, paid by the payer."""
        signers = {names.person(meta.pubkey) for meta in given.accounts if meta.is_signer}
        others = [names.keypair(name) for name in sorted(signers - {names.PAYER})]
        outcome = self.ledger.send(given, names.keypair(names.PAYER), *others)
        self.counts.add(outcome)
        return outcome

    def assert_holds(self, world: World) -> None:
        """Assert that every account equals the model, and that the invariant holds on its bytes."""
        authority = self.ledger.data(authority_address())
        if world.authority.governance:
            state = VAULT_IDL.decode_account("VaultAuthority", authority)
            limited = {"transfers_limited": world.limits is not None}
            assert state == authority_fields(world.authority) | limited
        else:
            assert authority == b""
        self.assert_holds_limits(world)
        for owner in names.OWNERS:
            self.assert_holds_vault(world, owner)
        for (program, owner), summary in world.summaries.items():
            data = self.ledger.data(summary_address(names.vault(owner), key(program)))
            assert struct.unpack_from("<2Q", data, 72) == (summary.open_positions, summary.locked)
        for (program, owner), stake in world.stakes.items():
            data = self.ledger.data(names.position(program, owner))
            assert struct.unpack_from("<Q", data, 72) == (stake.principal,)
        for (owner, change), request in world.changes.items():
            self.assert_holds_request(owner, change, request)
        for program, rate_bps in world.rates.items():
            data = self.ledger.data(names.pool(program))
            assert YIELD_IDL.decode_account("Pool", data)["rate_bps"] == rate_bps
        for (holder, mint), amount in world.tokens.items():
            assert self.ledger.tokens_at(names.tokens(holder, mint)) == amount, (holder, mint)

    def assert_holds_limits(self, world: World) -> None:
        data, limits = self.ledger.data(transfer_limits_address()), world.limits
        if limits is None:
            assert data == b""
            return
        state = VAULT_IDL.decode_account("TransferLimits", data)
        assert state == {
            "vault_daily": limits.vault_daily,
            "total_daily": limits.total_daily,
            "window_start": limits.transfers_since,
            "transferred": limits.transferred,
            "pending_vault_daily": limits.pending_vault_daily,
            "pending_total_daily": limits.pending_total_daily,
            "pending_at": limits.pending_at,
            "bump": bump(b"transfer_limits"),
            "_reserved": bytes(31),
        }

    def assert_holds_vault(self, world: World, owner: str) -> None:
        data = self.ledger.data(names.vault(owner))
        for mint in names.MINTS:
            exists = self.ledger.data(names.tokens(vault_of(owner), mint)) != b""
            assert exists == ((vault_of(owner), mint) in world.tokens)
        if owner not in world.vaults:
            assert data == b""
            return
        state = VAULT_IDL.decode_account("CollateralVault", data)
        assert state == vault_fields(world.vaults[owner])
        self.assert_invariant(data)

    def assert_holds_request(
        self, owner: str, change: GuardChange, request: GuardRequest | None
    ) -> None:
        wanted = names.guard_change(change)
        state = wanted.state(self.ledger, key(owner))
        if request is None:
            assert state is None
            return
        assert state is not None
        assert (state["vault"], state["owner"]) == (names.vault(owner), key(owner))
        assert state["change"] == (wanted.variant, wanted.fields)
        times = (state["requested_at"], state["executable_at"])
        assert times == (request.requested_at, request.executable_at)

    def assert_invariant(self, data: bytes) -> None:
        """Assert the invariant on the account's raw bytes, without a codec."""
        total, locked, available, _, _, in_yield = struct.unpack_from("<6Q", data, 104)
        after = 210
        for _ in ("multisig signers", "delegates"):
            after += 4 + 32 * struct.unpack_from("<I", data, after)[0]
        count = struct.unpack_from("<I", data, after)[0]
        amounts = [struct.unpack_from("<Q", data, after + 4 + 16 * n)[0] for n in range(count)]
        assert total == available + locked + sum(amounts) + in_yield
        assert self.ledger.tokens_at(Pubkey.from_bytes(data[40:72])) >= total - in_yield


def assert_refused(outcome: Outcome, error: str) -> None:
    """Assert this error by name and number, a pair that no two programs share."""
    if error in TOKEN_ERRORS:
        assert outcome.error == TOKEN_ERRORS[error], outcome
        return
    logged = [found.groups() for line in outcome.logs if (found := ERROR_LINE.search(line))]
    assert logged, outcome
    assert logged[-1][0] == error, f"{logged[-1]}, not {error}"
    assert int(logged[-1][1]) == outcome.error
    assert (error, outcome.error) in ERRORS


def assert_events(outcome: Outcome, events: Events) -> None:
    assert list(outcome.events) == [(name, event_fields(fields)) for name, fields in events]


def event_fields(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: event_field(name, value) for name, value in fields.items()}


def event_field(name: str, value: Any) -> Any:
    match name:
        case "vault" | "from_vault" | "to_vault":
            return names.vault(value)
        case "pool":
            return names.pool(value)
        case "position":
            return names.position(*value)
        case "token_account" | "recipient":
            return names.tokens(*value)
        case "change":
            change = names.guard_change(value)
            return change.variant, change.fields
    return value if name == "transaction_type" else names.program_value(value)


@cache
def bump(*seeds: bytes) -> int:
    return Pubkey.find_program_address(seeds, PROGRAM)[1]


def authority_fields(authority: Authority) -> dict[str, Any]:
    return {
        "governance": key(authority.governance),
        "authorized_programs": [key(program) for program in authority.programs],
        "bump": bump(b"vault_authority"),
        "freeze": authority.freeze,
        "cpi_enforced": authority.cpi_enforced,
        "yield_whitelist": [key(program) for program in authority.yield_programs],
        "risk_level": authority.risk_level,
        **AUTHORITY_RESERVE,
        "pending_governance": key(authority.proposed),
        "withdrawals_paused_until": authority.paused_until,
        "pause_allowed_at": authority.pause_allowed_at,
    }


def vault_fields(vault: Vault) -> dict[str, Any]:
    owner = key(vault.owner)
    program = vault.yield_program
    return {
        "owner": owner,
        "token_account": names.tokens(vault_of(vault.owner), vault.mint),
        "usdt_mint": key(vault.mint),
        "total_balance": vault.total,
        "locked_balance": vault.locked,
        "available_balance": vault.available,
        "total_deposited": vault.deposited,
        "total_withdrawn": vault.withdrawn,
        "yield_deposited_balance": vault.in_yield,
        "yield_accrued_balance": 0,
        "last_compounded_at": vault.compounded_at,
        "active_yield_program": Pubkey.default() if program is None else key(program),
        "created_at": vault.created_at,
        "bump": bump(b"vault", bytes(owner)),
        "multisig_threshold": vault.threshold,
        "multisig_signers": [key(name) for name in vault.signers],
        "delegates": [key(name) for name in vault.delegates],
        "timelocks": [
            {"amount": timelock.amount, "unlock_time": timelock.unlock_time}
            for timelock in vault.timelocks
        ],
        "min_withdraw_delay_seconds": vault.delay,
        "pending_withdrawals": [
            {
                "amount": request.amount,
                "requested_at": request.requested_at,
                "executable_at": request.executable_at,
            }
            for request in vault.requests
        ],
        "withdraw_whitelist": [key(name) for name in vault.whitelist],
        "rate_window_seconds": vault.rate.window_seconds,
        "rate_limit_amount": vault.rate.limit,
        "last_withdrawal_window_start": vault.rate.window_start,
        "withdrawn_in_window": vault.rate.withdrawn,
        **VAULT_RESERVE,
        "yield_kept": vault.kept,
        "transfer_allowance": vault.allowance,
        "transferred_in_window": vault.transferred,
        "transfer_window_start": vault.transfers_since,
        "requested_total": vault.requested,
        "exit_at": vault.exit_at,
        "delegate_timelocks": sum(
            timelock.by_delegate << at for at, timelock in enumerate(vault.timelocks)
        ),
    }

"""The program in a real virtual machine, and the state around it that tests set up."""

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from solders.account import Account
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.litesvm import LiteSVM
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction
from solders.transaction_metadata import FailedTransactionMetadata

from tests.paths import PROGRAMS
from tests.program.harness.idl import Idl

PROGRAM = Pubkey.from_string("5qgA2qcz6zXYiJJkomV1LJv8UhKueyNsqeCWJd6jC9pT")
POSITION_MANAGER = Pubkey.from_string("EMHew6227FX9PUhDGKwc8FHsEASZf5Fd4GWryuEXokT")
MINT = Pubkey.from_string("4QHVBbG3H8kbwvcSwPnze3sC91kdeYWxNf8S5hkZ9nbZ")
SYSTEM = Pubkey.from_string("11111111111111111111111111111111")
TOKEN = Pubkey.from_string("TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA")
ASSOCIATED = Pubkey.from_string("ATokenGPvbdGVxr1b2hvZbsiqW5xWH25efTNsLJA8knL")
UPGRADEABLE_LOADER = Pubkey.from_string("BPFLoaderUpgradeab1e11111111111111111111111")
RENT = Pubkey.from_string("SysvarRent111111111111111111111111111111111")

ELF = PROGRAMS / "collateral_vault.so"
SOL = 10**9
USDT = 10**6
START = 1_800_000_000
VAULT_LENGTH = 4746
AUTHORITY_LENGTH = 4212

VAULT_IDL = Idl("collateral_vault")
POSITION_IDL = Idl("position_manager")
YIELD_IDL = Idl("yield_pool")

Event = tuple[str, dict[str, Any]]

VAULT_RESERVE: dict[str, Any] = {
    "yield_kept": 0,
    "transfer_allowance": 0,
    "transferred_in_window": 0,
    "transfer_window_start": 0,
    "requested_total": 0,
    "exit_at": 0,
    "delegate_timelocks": 0,
    "_reserved": bytes(8),
}
"""The last fields of a vault on which nothing has happened."""
AUTHORITY_RESERVE: dict[str, Any] = {
    "pending_governance": Pubkey.default(),
    "withdrawals_paused_until": 0,
    "pause_allowed_at": 0,
    "transfers_limited": False,
    "_reserved": bytes(15),
}
"""The last fields of an authority on which nothing has happened."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a transaction. `error` is None, a custom error code, or the error's text."""

    error: int | str | None
    logs: tuple[str, ...]
    events: tuple[Event, ...]
    units: int


def vault_address(owner: Pubkey, program: Pubkey = PROGRAM) -> Pubkey:
    return Pubkey.find_program_address([b"vault", bytes(owner)], program)[0]


def authority_address(program: Pubkey = PROGRAM) -> Pubkey:
    return Pubkey.find_program_address([b"vault_authority"], program)[0]


def caller_address(program: Pubkey = POSITION_MANAGER, vault_program: Pubkey = PROGRAM) -> Pubkey:
    """Return the PDA with which `program` signs its calls of `vault_program`."""
    return Pubkey.find_program_address([b"caller", bytes(vault_program)], program)[0]


def transfer_limits_address() -> Pubkey:
    return Pubkey.find_program_address([b"transfer_limits"], PROGRAM)[0]


def program_data_address(program: Pubkey = PROGRAM) -> Pubkey:
    return Pubkey.find_program_address([bytes(program)], UPGRADEABLE_LOADER)[0]


def summary_address(vault: Pubkey, program: Pubkey = POSITION_MANAGER) -> Pubkey:
    return Pubkey.find_program_address([b"position_summary", bytes(vault)], program)[0]


def token_address(wallet: Pubkey, mint: Pubkey = MINT) -> Pubkey:
    return Pubkey.find_program_address([bytes(wallet), bytes(TOKEN), bytes(mint)], ASSOCIATED)[0]


def mint_data(supply: int = 0) -> bytes:
    """Return an initialized SPL mint with six decimals and no authorities."""
    return bytes(4 + 32) + supply.to_bytes(8, "little") + bytes([6, 1]) + bytes(4 + 32)


def token_data(owner: Pubkey, amount: int, mint: Pubkey = MINT) -> bytes:
    """Return an initialized SPL token account."""
    return bytes(mint) + bytes(owner) + amount.to_bytes(8, "little") + bytes(36) + b"\1" + bytes(56)


class Ledger:
    """A chain with the program and the mint, whose clock starts at START."""

    def __init__(self) -> None:
        self.svm = LiteSVM()
        assert self.svm.get_sigverify()
        self.svm.add_program(PROGRAM, ELF.read_bytes())
        self.put(MINT, TOKEN, mint_data())
        self.set_time(START)

    # State

    def put(self, address: Pubkey, owner: Pubkey, data: bytes, lamports: int | None = None) -> None:
        if lamports is None:
            lamports = self.svm.minimum_balance_for_rent_exemption(len(data))
        self.svm.set_account(address, Account(lamports, data, owner))

    def put_tokens(
        self, owner: Pubkey, amount: int, *, mint: Pubkey = MINT, address: Pubkey | None = None
    ) -> Pubkey:
        address = address or token_address(owner, mint)
        self.put(address, TOKEN, token_data(owner, amount, mint))
        return address

    def data(self, address: Pubkey) -> bytes:
        account = self.svm.get_account(address)
        return b"" if account is None else bytes(account.data)

    def tokens(self, wallet: Pubkey) -> int:
        return self.tokens_at(token_address(wallet))

    def tokens_at(self, address: Pubkey) -> int:
        return int.from_bytes(self.data(address)[64:72], "little")

    def vault(self, owner: Pubkey) -> dict[str, Any]:
        data = self.data(vault_address(owner))
        assert len(data) == VAULT_LENGTH
        return VAULT_IDL.decode_account("CollateralVault", data)

    def change_vault(self, owner: Pubkey, **fields: Any) -> None:
        """Write fields of a vault to values that no instruction under test can produce."""
        state = self.vault(owner)
        assert fields.keys() <= state.keys()
        data = VAULT_IDL.encode_account("CollateralVault", state | fields, VAULT_LENGTH)
        self.put(vault_address(owner), PROGRAM, data)

    def change_authority(self, **fields: Any) -> None:
        state = self.authority()
        assert fields.keys() <= state.keys()
        data = VAULT_IDL.encode_account("VaultAuthority", state | fields, AUTHORITY_LENGTH)
        self.put(authority_address(), PROGRAM, data)

    def authority(self) -> dict[str, Any]:
        data = self.data(authority_address())
        assert len(data) == AUTHORITY_LENGTH
        return VAULT_IDL.decode_account("VaultAuthority", data)

    def set_upgrade_authority(self, key: Pubkey | None) -> None:
        """Make `key`, or nobody, the vault program's upgrade authority."""
        data = self.data(program_data_address())
        option = b"\0" * 33 if key is None else b"\1" + bytes(key)
        self.put(program_data_address(), UPGRADEABLE_LOADER, data[:12] + option + data[45:])

    def initialize_authority(
        self, governance: Keypair, programs: Sequence[Pubkey] = (), *, freeze: bool | None = None
    ) -> Outcome:
        """Let `governance`, who deployed the program, create the authority account."""
        self.set_upgrade_authority(governance.pubkey())
        given = initialize_vault_authority(governance.pubkey(), programs, freeze=freeze)
        return self.must(given, governance)

    def put_summary(
        self, owner: Pubkey, /, *, program: Pubkey = POSITION_MANAGER, **fields: Any
    ) -> Pubkey:
        """Write the position summary that a position manager would keep for `owner`'s vault."""
        vault = vault_address(owner)
        state = {"vault": vault, "owner": owner, "open_positions": 0, "locked_amount": 0}
        state |= {"last_updated_slot": 1} | fields
        data = POSITION_IDL.encode_account("PositionSummaryAccount", state)
        address = summary_address(vault, program)
        self.put(address, program, data)
        return address

    def later(self, seconds: int) -> None:
        self.set_time(self.svm.get_clock().unix_timestamp + seconds)

    def set_time(self, seconds: int) -> None:
        clock = self.svm.get_clock()
        clock.unix_timestamp = seconds
        self.svm.set_clock(clock)

    # Wallets

    def wallet(self, *, usdt: int = 0) -> Keypair:
        keypair = Keypair()
        self.svm.airdrop(keypair.pubkey(), 10 * SOL)
        self.put_tokens(keypair.pubkey(), usdt)
        return keypair

    def owner(self, *, usdt: int = 0, deposited: int = 0) -> Keypair:
        """Create a wallet with a vault that holds `deposited`, and `usdt` outside the vault."""
        keypair = self.wallet(usdt=usdt + deposited)
        self.must(initialize_vault(keypair.pubkey()), keypair)
        if deposited:
            self.must(deposit(keypair.pubkey(), deposited), keypair)
        return keypair

    # Transactions

    def send(self, instructions: Instruction | Sequence[Instruction], *signers: Keypair) -> Outcome:
        """Run one transaction, paid by the first signer."""
        if isinstance(instructions, Instruction):
            instructions = [instructions]
        self.svm.expire_blockhash()  # permits the same transaction twice
        blockhash = self.svm.latest_blockhash()
        message = MessageV0.try_compile(signers[0].pubkey(), instructions, [], blockhash)
        result = self.svm.send_transaction(VersionedTransaction(message, signers))
        if isinstance(result, FailedTransactionMetadata):
            meta, error = result.meta(), _error(result.err())
        else:
            meta, error = result, None
        logs = tuple(meta.logs())
        return Outcome(error, logs, tuple(_events(logs)), meta.compute_units_consumed())

    def must(self, instruction: Instruction, *signers: Keypair) -> Outcome:
        outcome = self.send(instruction, *signers)
        assert outcome.error is None, outcome
        return outcome


def _error(error: Any) -> int | str:
    inner = getattr(error, "err", error)
    code = getattr(inner, "code", None)
    return code if isinstance(code, int) else str(inner)


def _events(logs: Iterable[str]) -> Iterable[Event]:
    for line in logs:
        if line.startswith("Program data: "):
            data = base64.b64decode(line.removeprefix("Program data: "))
            idl = YIELD_IDL if data[:8] in YIELD_IDL.events else VAULT_IDL
            yield idl.decode_event(data)


# Instructions, with their accounts named as in the interface


def instruction(
    name: str,
    arguments: dict[str, Any],
    accounts: dict[str, Pubkey],
    remaining: Sequence[AccountMeta] = (),
) -> Instruction:
    metas = []
    for given in VAULT_IDL.instructions[name]["accounts"]:
        fixed = given.get("address")
        address = accounts.get(given["name"]) or Pubkey.from_string(fixed)
        metas.append(AccountMeta(address, given.get("signer", False), given.get("writable", False)))
    data = VAULT_IDL.instruction_data(name, arguments)
    return Instruction(PROGRAM, data, [*metas, *remaining])


def initialize_vault_authority(
    governance: Pubkey, programs: Sequence[Pubkey] = (), *, freeze: bool | None = None
) -> Instruction:
    accounts = {"governance": governance, "vault_authority": authority_address()}
    arguments = {"authorized_programs": programs, "freeze": freeze}
    program_data = readonly(program_data_address())
    return instruction("initialize_vault_authority", arguments, accounts, [program_data])


def initialize_vault(user: Pubkey, /, **substitutes: Pubkey) -> Instruction:
    vault = vault_address(user)
    accounts = {"user": user, "vault": vault, "vault_token_account": token_address(vault)}
    return instruction("initialize_vault", {}, accounts | {"usdt_mint": MINT} | substitutes)


def deposit(
    owner: Pubkey, amount: int, /, *, authority: Pubkey | None = None, **substitutes: Pubkey
) -> Instruction:
    vault, authority = vault_address(owner), authority or owner
    accounts = {
        "authority": authority,
        "owner": owner,
        "vault": vault,
        "user_token_account": token_address(authority),
        "vault_token_account": token_address(vault),
    }
    return instruction("deposit", {"amount": amount}, accounts | substitutes)


def withdraw(
    owner: Pubkey,
    amount: int,
    /,
    *,
    authority: Pubkey | None = None,
    remaining: Sequence[AccountMeta] = (),
    **substitutes: Pubkey,
) -> Instruction:
    vault = vault_address(owner)
    accounts = {
        "authority": authority or owner,
        "owner": owner,
        "vault": vault,
        "vault_authority": authority_address(),
        "vault_token_account": token_address(vault),
        "user_token_account": token_address(owner),
    }
    return instruction("withdraw", {"amount": amount}, accounts | substitutes, remaining)


def add_delegate(owner: Pubkey, delegate: Pubkey, /, **substitutes: Pubkey) -> Instruction:
    accounts = {"owner": owner, "vault": vault_address(owner)}
    return instruction("add_delegate", {"delegate": delegate}, accounts | substitutes)


def remove_delegate(owner: Pubkey, delegate: Pubkey, /, **substitutes: Pubkey) -> Instruction:
    accounts = {"owner": owner, "vault": vault_address(owner)}
    return instruction("remove_delegate", {"delegate": delegate}, accounts | substitutes)


def get_vault_info(owner: Pubkey, /, **substitutes: Pubkey) -> Instruction:
    return instruction("get_vault_info", {}, {"vault": vault_address(owner)} | substitutes)


def govern(name: str, governance: Pubkey, /, *, value: Any, **substitutes: Pubkey) -> Instruction:
    """Return a governance instruction with one argument, for example `set_freeze_flag`."""
    (argument,) = VAULT_IDL.instructions[name]["args"]
    accounts = {"governance": governance, "vault_authority": authority_address()}
    return instruction(name, {argument["name"]: value}, accounts | substitutes)


def change_lock(name: str, owner: Pubkey, amount: int, /, **substitutes: Pubkey) -> Instruction:
    """Return a direct call of `lock_collateral` or `unlock_collateral`."""
    accounts = {
        "caller_program": POSITION_MANAGER,
        "vault_authority": authority_address(),
        "vault": vault_address(owner),
    }
    return instruction(name, {"amount": amount}, accounts | substitutes)


def transfer_collateral(
    giver: Pubkey, taker: Pubkey, amount: int, /, **substitutes: Pubkey
) -> Instruction:
    """Return a direct call of `transfer_collateral`."""
    accounts = {
        "caller_program": POSITION_MANAGER,
        "vault_authority": authority_address(),
        "from_vault": vault_address(giver),
        "to_vault": vault_address(taker),
        "from_vault_token_account": token_address(vault_address(giver)),
        "to_vault_token_account": token_address(vault_address(taker)),
    }
    return instruction("transfer_collateral", {"amount": amount}, accounts | substitutes)


def without(
    given: Instruction, *, signer: int | None = None, writable: int | None = None
) -> Instruction:
    """Return the instruction with the signer or writable flag of one account removed."""
    metas = [
        AccountMeta(
            meta.pubkey, meta.is_signer and at != signer, meta.is_writable and at != writable
        )
        for at, meta in enumerate(given.accounts)
    ]
    return Instruction(given.program_id, bytes(given.data), metas)


def readonly(address: Pubkey) -> AccountMeta:
    return AccountMeta(address, is_signer=False, is_writable=False)


def signer(address: Pubkey) -> AccountMeta:
    return AccountMeta(address, is_signer=True, is_writable=False)

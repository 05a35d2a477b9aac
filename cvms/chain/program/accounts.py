"""Accounts that the service reads: those of the vault program, and token accounts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from solana.constants import SYSTEM_PROGRAM_ID
from solders.pubkey import Pubkey
from spl.token.constants import ACCOUNT_LEN, MINT_LEN, TOKEN_PROGRAM_ID

from cvms.chain import borsh
from cvms.chain.borsh import I64, U8, U32, U64, Bytes8, Bytes15, Bytes31
from cvms.chain.program.guard_changes import GuardChange
from cvms.chain.types import Account, Programs
from cvms.errors import DecodeError

T = TypeVar("T")

VALID_SECONDS = 7 * 24 * 60 * 60
"""How long a request to withdraw, or an exit, may be used once its time has come."""
_MULTISIG_WAIT = VALID_SECONDS
_LONGEST_WAIT = 365 * 24 * 60 * 60
VAULT_LENGTH = 8 + 322 + 10 * 32 + 16 * 32 + 64 * 16 + 64 * 24 + 32 * 32
"""Bytes of a vault's account: the discriminator, the fixed fields, and every list when full."""
_MINT_DECIMALS, _MINT_INITIALIZED, _MINT_FREEZE_AUTHORITY = 44, 45, 46  # offsets
_TOKEN_ACCOUNT_STATE = 108  # offset of the state: 0 uninitialized, 1 initialized, 2 frozen


@dataclass(frozen=True, slots=True)
class TimelockEntry:
    amount: U64
    unlock_time: I64


@dataclass(frozen=True, slots=True)
class PendingWithdrawalEntry:
    amount: U64
    requested_at: I64
    executable_at: I64


@dataclass(frozen=True, slots=True)
class Vault:
    """A CollateralVault, as in the IDL. Times are Unix seconds, amounts token units."""

    owner: Pubkey
    token_account: Pubkey
    usdt_mint: Pubkey
    total_balance: U64
    locked_balance: U64
    available_balance: U64
    total_deposited: U64
    total_withdrawn: U64
    yield_deposited_balance: U64
    yield_accrued_balance: U64
    last_compounded_at: I64
    active_yield_program: Pubkey
    created_at: I64
    bump: U8
    multisig_threshold: U8
    multisig_signers: tuple[Pubkey, ...]
    delegates: tuple[Pubkey, ...]
    timelocks: tuple[TimelockEntry, ...]
    min_withdraw_delay_seconds: I64
    pending_withdrawals: tuple[PendingWithdrawalEntry, ...]
    withdraw_whitelist: tuple[Pubkey, ...]
    rate_window_seconds: U32
    rate_limit_amount: U64
    last_withdrawal_window_start: I64
    withdrawn_in_window: U64
    yield_kept: U64
    transfer_allowance: U64
    transferred_in_window: U64
    transfer_window_start: I64
    requested_total: U64
    exit_at: I64
    delegate_timelocks: U64
    _reserved: Bytes8

    @property
    def timelocked(self) -> int:
        """The sum of all timelock entries, matured or not."""
        return sum(entry.amount for entry in self.timelocks)

    @property
    def guard_wait(self) -> int:
        """The seconds that a requested change of guards waits; 0 if no guard is in force."""
        delay = min(max(self.min_withdraw_delay_seconds, 0), _LONGEST_WAIT)
        return delay if self.multisig_threshold == 0 else max(delay, _MULTISIG_WAIT)


@dataclass(frozen=True, slots=True)
class VaultAuthority:
    """The account of governance, as in the IDL."""

    governance: Pubkey
    authorized_programs: tuple[Pubkey, ...]
    bump: U8
    freeze: bool
    cpi_enforced: bool
    yield_whitelist: tuple[Pubkey, ...]
    risk_level: U8
    pending_governance: Pubkey
    withdrawals_paused_until: I64
    pause_allowed_at: I64
    transfers_limited: bool
    _reserved: Bytes15


@dataclass(frozen=True, slots=True)
class TransferLimits:
    """How much programs may transfer between vaults within a day, as in the IDL.

    Higher limits are pending until `pending_at`, which is 0 without any.
    """

    vault_daily: U64
    total_daily: U64
    window_start: I64
    transferred: U64
    pending_vault_daily: U64
    pending_total_daily: U64
    pending_at: I64
    bump: U8
    _reserved: Bytes31


@dataclass(frozen=True, slots=True)
class GuardChangeRequest:
    """A requested loosening of an owner's guards, as in the IDL."""

    vault: Pubkey
    owner: Pubkey
    requested_at: I64
    executable_at: I64
    bump: U8
    change: GuardChange


@dataclass(frozen=True, slots=True)
class PositionSummary:
    """What the position manager's open positions claim of a vault, as in its IDL."""

    vault: Pubkey
    owner: Pubkey
    open_positions: U64
    locked_amount: U64
    last_updated_slot: U64


@dataclass(frozen=True, slots=True)
class SplTokenAccount:
    """The first three fields of an SPL token account."""

    mint: Pubkey
    owner: Pubkey
    amount: U64


VAULT_DISCRIMINATOR = borsh.discriminator("account", "CollateralVault")
VAULT_AUTHORITY_DISCRIMINATOR = borsh.discriminator("account", "VaultAuthority")
TRANSFER_LIMITS_DISCRIMINATOR = borsh.discriminator("account", "TransferLimits")
GUARD_CHANGE_DISCRIMINATOR = borsh.discriminator("account", "GuardChangeRequest")
POSITION_SUMMARY_DISCRIMINATOR = borsh.discriminator("account", "PositionSummaryAccount")


def decode_vault(data: bytes) -> Vault:
    """Decode a vault. Raises DecodeError when `data` is something else."""
    return decode_account(Vault, VAULT_DISCRIMINATOR, data)


def decode_vault_authority(data: bytes) -> VaultAuthority:
    """Decode the vault authority. Raises DecodeError when `data` is something else."""
    return decode_account(VaultAuthority, VAULT_AUTHORITY_DISCRIMINATOR, data)


def decode_transfer_limits(data: bytes) -> TransferLimits:
    """Decode the transfer limits. Raises DecodeError when `data` is something else."""
    return decode_account(TransferLimits, TRANSFER_LIMITS_DISCRIMINATOR, data)


def decode_guard_change(data: bytes) -> GuardChangeRequest:
    """Decode a requested change of guards. Raises DecodeError when `data` is something else."""
    return decode_account(GuardChangeRequest, GUARD_CHANGE_DISCRIMINATOR, data)


def decode_position_summary(data: bytes) -> PositionSummary:
    """Decode a summary of positions. Raises DecodeError when `data` is something else."""
    return decode_account(PositionSummary, POSITION_SUMMARY_DISCRIMINATOR, data)


def decode_token_account(data: bytes) -> SplTokenAccount:
    """Decode an SPL token account. Raises DecodeError when `data` is none, or uninitialized."""
    if len(data) < ACCOUNT_LEN or data[_TOKEN_ACCOUNT_STATE] not in (1, 2):
        raise DecodeError("not an initialized token account")
    return borsh.decode(SplTokenAccount, data, trailing=True)


def mint_decimals(data: bytes) -> int:
    """Return the decimals of an SPL mint. Raises DecodeError when `data` is none."""
    if len(data) < MINT_LEN or data[_MINT_INITIALIZED] != 1:
        raise DecodeError("not an initialized mint")
    return data[_MINT_DECIMALS]


def mint_freeze_authority(data: bytes) -> Pubkey | None:
    """Return who can freeze the accounts of an initialized SPL mint, None for nobody."""
    option, key = data[_MINT_FREEZE_AUTHORITY : _MINT_FREEZE_AUTHORITY + 4], data[50:82]
    return Pubkey.from_bytes(key) if any(option) else None


def read_vault(account: Account | None, programs: Programs) -> Vault | None:
    """Return the vault in an account fetched at a vault's address, None when there is none.

    Raises DecodeError when another program owns the account, or its data are not a vault.
    """
    return read_account(account, programs.vault, decode_vault)


def read_vault_authority(account: Account | None, programs: Programs) -> VaultAuthority | None:
    """Return the vault authority; as `read_vault`."""
    return read_account(account, programs.vault, decode_vault_authority)


def read_transfer_limits(account: Account | None, programs: Programs) -> TransferLimits | None:
    """Return the transfer limits; as `read_vault`."""
    return read_account(account, programs.vault, decode_transfer_limits)


def read_guard_change(account: Account | None, programs: Programs) -> GuardChangeRequest | None:
    """Return the requested change of guards; as `read_vault`."""
    return read_account(account, programs.vault, decode_guard_change)


def read_position_summary(account: Account | None, programs: Programs) -> PositionSummary | None:
    """Return the position manager's summary of a vault; as `read_vault`."""
    return read_account(account, programs.position_manager, decode_position_summary)


def read_token_account(account: Account | None) -> SplTokenAccount | None:
    """Return the SPL token account; as `read_vault`."""
    return read_account(account, TOKEN_PROGRAM_ID, decode_token_account)


def read_account(
    account: Account | None, program: Pubkey, decode: Callable[[bytes], T]
) -> T | None:
    """Return the decoded account of a program; as `read_vault`."""
    owned = owned_by(account, program)
    return None if owned is None else decode(owned.data)


def owned_by(account: Account | None, program: Pubkey) -> Account | None:
    """Return the account, None for none. Raises DecodeError if another program owns it."""
    # Anyone can send lamports to an address before its account exists.
    if account is None or (account.owner == SYSTEM_PROGRAM_ID and not account.data):
        return None
    if account.owner != program:
        raise DecodeError(f"the account belongs to {account.owner}, not to {program}")
    return account


def decode_account(layout: type[T], discriminator: bytes, data: bytes) -> T:
    """Decode a `layout` after its discriminator. Raises DecodeError when that is another."""
    if data[:8] != discriminator:
        raise DecodeError(f"not a {layout.__name__}: discriminator {data[:8].hex()}")
    return borsh.decode(layout, data, offset=8, trailing=True)

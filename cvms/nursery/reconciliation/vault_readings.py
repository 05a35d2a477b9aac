"""Readings of vault accounts and their token accounts as of one slot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog
from solders.pubkey import Pubkey

from cvms.chain.program.accounts import SplTokenAccount, Vault, read_token_account, read_vault
from cvms.chain.program.addresses import token_account, vault_address
from cvms.chain.rpc.call_params import ACCOUNTS_PER_CALL
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Commitment, Programs, Slot
from cvms.errors import DecodeError
from cvms.nursery.ledger.vault_rows import vault_row_at
from cvms.nursery.reconciliation.comparison import ExpectedState
from cvms.store.reconciliation.vault_ledger import VaultLedger

log = structlog.get_logger(__name__)

VAULTS_PER_CALL = ACCOUNTS_PER_CALL // 2
"""A reading is two accounts, and the accounts of one call are of one slot."""


@dataclass(frozen=True, slots=True)
class VaultReading:
    """The accounts at an owner's vault address and its token account; None for no account."""

    owner: str
    address: Pubkey
    vault: Vault | None
    tokens: SplTokenAccount | None
    slot: Slot


async def read_vaults(
    rpc: RpcClient,
    programs: Programs,
    owners: Sequence[str],
    *,
    commitment: Commitment,
    at_least: Slot | None = None,
) -> list[VaultReading]:
    """Return the vaults of up to VAULTS_PER_CALL owners as of one slot.

    Addresses are derived, not taken from the database. An owner whose vault cannot be decoded is
    logged and left out. Raises whatever `rpc` raises.
    """
    addresses = {each: vault_address(programs, key) for each in owners if (key := _key(each))}
    token_accounts = [token_account(address, programs.mint) for address in addresses.values()]
    read = await rpc.get_accounts(
        [*addresses.values(), *token_accounts], commitment=commitment, min_context_slot=at_least
    )
    halves = read.accounts[: len(addresses)], read.accounts[len(addresses) :]
    readings = []
    for (owner, address), account, tokens in zip(addresses.items(), *halves, strict=True):
        try:
            vault, decoded_tokens = read_vault(account, programs), read_token_account(tokens)
        except DecodeError as error:
            log.error("vault_not_decodable", owner=owner, address=str(address), problem=str(error))
            continue
        readings.append(VaultReading(owner, address, vault, decoded_tokens, read.slot))
    return readings


def expected_states(
    readings: Sequence[VaultReading], ledgers: Mapping[str, VaultLedger], *, mint: Pubkey
) -> list[ExpectedState]:
    """Return the state that each reading demands; none for a vault that has and needs no row."""
    states = []
    for reading in readings:
        at = reading.address, reading.vault, reading.slot
        row = vault_row_at(*at, mint=str(mint), before=ledgers[reading.owner].row)
        if row is not None:
            states.append(ExpectedState(row, reading.vault, reading.tokens, reading.slot))
    return states


def _key(owner: str) -> Pubkey | None:
    try:
        return Pubkey.from_string(owner)
    except ValueError:
        log.error("owner_not_a_public_key", owner=owner)
        return None

"""Vaults' accounts and their tokens as of one slot, ready to be held against the books."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog
from solders.pubkey import Pubkey

from cvms.chain.program.accounts import SplTokenAccount, Vault, read_token_account, read_vault
from cvms.chain.program.addresses import token_account, vault_address
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Commitment, Programs, Slot
from cvms.errors import DecodeError
from cvms.nursery.ledger.vault_rows import vault_row_at
from cvms.nursery.reconciliation.comparison import ExpectedState
from cvms.store.vaults.vaults import VaultRow

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class VaultReading:
    """What is at an owner's vault address, None where nothing is."""

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
    """The vaults of up to 50 owners as of one slot. Raises whatever `rpc` raises.

    Addresses are derived, not taken from the books. An owner whose vault cannot be read is left
    out, and told in the log.
    """
    addresses = {each: vault_address(programs, key) for each in owners if (key := _key(each))}
    tokens = [token_account(address, programs.mint) for address in addresses.values()]
    wanted = [*addresses.values(), *tokens]
    found = await rpc.get_accounts(wanted, commitment=commitment, min_context_slot=at_least)
    halves = found.accounts[: len(addresses)], found.accounts[len(addresses) :]
    read = []
    for (owner, address), account, held in zip(addresses.items(), *halves, strict=True):
        try:
            vault, amount = read_vault(account, programs), read_token_account(held)
        except DecodeError as error:
            log.error("vault_not_readable", owner=owner, address=str(address), problem=str(error))
            continue
        read.append(VaultReading(owner, address, vault, amount, found.slot))
    return read


def expected_states(
    readings: Sequence[VaultReading], rows: Mapping[str, VaultRow | None], *, mint: Pubkey
) -> list[ExpectedState]:
    """The readings beside the rows they ask for; without those that have none and need none."""
    expected = [
        (
            each,
            vault_row_at(
                each.address, each.vault, each.slot, mint=str(mint), before=rows[each.owner]
            ),
        )
        for each in readings
    ]
    return [
        ExpectedState(row, each.vault, each.tokens, each.slot)
        for each, row in expected
        if row is not None
    ]


def _key(owner: str) -> Pubkey | None:
    try:
        return Pubkey.from_string(owner)
    except ValueError:
        log.error("owner_is_no_key", owner=owner)
        return None

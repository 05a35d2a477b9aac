"""Fetch of vault accounts at or after a slot."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import structlog
from solders.pubkey import Pubkey

from cvms.chain.program.accounts import Vault, read_vault
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Commitment, Programs, Slot
from cvms.errors import DecodeError

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class FetchedVault:
    """A vault's account, if there is one, as of `slot`, at or after the slot of `signature`."""

    address: Pubkey
    vault: Vault | None
    slot: Slot
    signature: str


async def fetch_vaults(
    rpc: RpcClient, programs: Programs, touched: Mapping[Pubkey, str], *, at_least: Slot
) -> list[FetchedVault]:
    """Return the vaults at these addresses, confirmed as of the slot `at_least` or later.

    `touched` maps each address to a signature. An account that is not a vault is left out.
    """
    if not touched:
        return []
    # In the same order everywhere, so that writers of the same rows cannot deadlock.
    addresses = sorted(touched, key=str)
    read = await rpc.get_accounts(
        addresses, commitment=Commitment.CONFIRMED, min_context_slot=at_least
    )
    fetched: list[FetchedVault] = []
    for address, account, slot in zip(addresses, read.accounts, read.slots, strict=True):
        try:
            vault = read_vault(account, programs)
        except DecodeError as error:
            # Anyone may pass any account to an instruction that does not check it.
            log.error("account_not_a_vault", address=str(address), problem=str(error))
            continue
        fetched.append(FetchedVault(address, vault, slot, touched[address]))
    return fetched

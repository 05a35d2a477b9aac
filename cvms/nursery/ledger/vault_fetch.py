"""Vaults' accounts as the chain holds them now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import structlog
from solders.pubkey import Pubkey

from cvms.chain.program.accounts import Vault, read_vault
from cvms.chain.rpc.limits import ACCOUNTS_PER_CALL
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Commitment, Programs, Slot
from cvms.errors import DecodeError

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class FetchedVault:
    """A vault's account as of `slot`, None when there is none; last touched by `signature`.

    `slot` may be later than the batch.
    """

    address: Pubkey
    vault: Vault | None
    slot: Slot
    signature: str


async def fetch_vaults(
    rpc: RpcClient, programs: Programs, touched: Mapping[Pubkey, str], *, at_least: Slot
) -> list[FetchedVault]:
    """The vaults at these addresses, confirmed in `at_least` or later. What is none is left out."""
    fetched: list[FetchedVault] = []
    # In one order everywhere, so that two writers of the same rows cannot wait for each other.
    addresses = sorted(touched, key=str)
    for first in range(0, len(addresses), ACCOUNTS_PER_CALL):
        chunk = addresses[first : first + ACCOUNTS_PER_CALL]
        found = await rpc.get_accounts(
            chunk, commitment=Commitment.CONFIRMED, min_context_slot=at_least
        )
        for address, account in zip(chunk, found.accounts, strict=True):
            try:
                vault = read_vault(account, programs)
            except DecodeError as error:
                # Someone may pass any account to an instruction that does not look at it.
                log.error("not_a_vault", address=str(address), problem=str(error))
                continue
            fetched.append(FetchedVault(address, vault, found.slot, touched[address]))
    return fetched

"""The cluster that is deployed to: which it is, and what its accounts cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from solders.pubkey import Pubkey

from cvms.chain.program.cluster_features import REQUIRED_FEATURES, missing_features
from cvms.chain.rpc.responses import Count, reader
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Account, Commitment
from cvms.errors import RpcError, StepFailed

MAINNET = "5eykt4UsFv8P8NJdTREpY1vzqKqZKvdpKuc147dw2N9d"
NAMES = {
    MAINNET: "mainnet",
    "EtWTRABZaYq6iMfeYKouRu166VU2xqa1wcaWoxPkrZBG": "devnet",
    "4uhcVJyU9pJkvQyS88uRDiswHXSCkY3zQawwpjk2NsNY": "testnet",
}
"""By the hash of the genesis block. Every other cluster is somebody's own."""
OWN = "localnet"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A cluster, read at one commitment: confirmed."""

    rpc: RpcClient
    genesis: str

    @property
    def name(self) -> str:
        """The name as in Sign-In-With-Solana messages."""
        return NAMES.get(self.genesis, OWN)

    @property
    def is_mainnet(self) -> bool:
        return self.genesis == MAINNET

    async def accounts(self, *addresses: Pubkey) -> Sequence[Account | None]:
        return (await self.rpc.get_accounts(addresses, commitment=Commitment.CONFIRMED)).accounts

    async def account(self, address: Pubkey) -> Account | None:
        return (await self.accounts(address))[0]

    async def rent(self, length: int) -> int:
        """Return the lamports that exempt an account of `length` bytes from rent."""
        method = "getMinimumBalanceForRentExemption"
        lamports: int = await self.rpc.call(method, [length], parse=reader(Count, method))
        return lamports

    async def check_features(self) -> None:
        """Raise StepFailed if the cluster cannot load the programs."""
        found = await self.accounts(*(feature.address for feature in REQUIRED_FEATURES))
        if missing := missing_features(found):
            names = ", ".join(f"{each.name} ({each.address})" for each in missing)
            raise StepFailed(
                f"the cluster cannot run the programs yet: {names} is not active on it; "
                "docs/programs.md says how to ask for the feature"
            )


async def open_cluster(rpc: RpcClient) -> Cluster:
    """Return the cluster that the endpoints serve. Raises StepFailed if they do not tell it."""
    method = "getGenesisHash"
    try:
        return Cluster(rpc, await rpc.call(method, [], parse=reader(str, method)))
    except RpcError as error:
        raise StepFailed(
            f"the endpoint does not tell which cluster it serves ({method}: {error}); name another "
            "one with --rpc-url"
        ) from None

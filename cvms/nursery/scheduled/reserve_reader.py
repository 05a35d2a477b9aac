"""Readings of what covers the vaults: token accounts and positions, each reading of one slot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from solders.pubkey import Pubkey

from cvms.chain.program.accounts import Vault, read_token_account, read_vault
from cvms.chain.program.addresses import token_account, vault_address
from cvms.chain.program.yield_pool_accounts import position_address, read_pool, read_position
from cvms.chain.rpc.call_params import ACCOUNTS_PER_CALL
from cvms.chain.rpc.rpc_client import RpcClient
from cvms.chain.types import Account, Commitment, Programs, Slot
from cvms.errors import ProofInvalid
from cvms.proofs.reserve_lines import PoolLine, VaultLine
from cvms.store.proofs.leaves import LeafRow

NOTHING = (0, 0, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Reading:
    """A vault's line, and its five balances in its account at the line's slot."""

    line: VaultLine
    balances: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReserveReader:
    """Reads final accounts, none of them before a slot. Raises whatever `rpc` raises, and
    DecodeError for an account that is none of the program's.
    """

    rpc: RpcClient
    programs: Programs
    pools: Sequence[Pubkey]
    slot: int

    async def read_vaults(self, leaves: Sequence[LeafRow]) -> list[Reading]:
        """Return a reading for each leaf, in their order."""
        found: dict[str, Reading] = {}
        plain = [each for each in leaves if not each.yield_deposited]
        lending = [each for each in leaves if each.yield_deposited]
        for some, pools in ((plain, ()), (lending, self.pools)):
            size = ACCOUNTS_PER_CALL // (2 + len(pools))
            for start in range(0, len(some), size):
                found |= await self._read(some[start : start + size], pools)
        # What a vault has lent since then is seen in its account, but its position was not read.
        since = [each for each in plain if int(found[each.owner].line.lent)]
        for each in since:
            found |= await self._read([each], self.pools)
        return [found[each.owner] for each in leaves]

    async def read_pool(self, address: str) -> PoolLine:
        """Return the line of a pool. Raises ProofInvalid if its accounts are not there."""
        key = Pubkey.from_string(address)
        tokens = token_account(key, self.programs.mint)
        read = await self._accounts([key, tokens])
        pool, held = read_pool(read[1][0], self.programs), read_token_account(read[1][1])
        account = read[1][1]
        if pool is None or held is None or account is None:
            raise ProofInvalid("pool_cannot_pay", f"the pool {address} has no accounts")
        return PoolLine(
            pool=address,
            account=str(tokens),
            slot=read[0],
            principal=str(pool.total_principal),
            amount=str(held.amount),
            lamports=str(account.lamports),
            hash=sha256(account.data).hexdigest(),
        )

    async def _read(self, leaves: Sequence[LeafRow], pools: Sequence[Pubkey]) -> dict[str, Reading]:
        vaults = [vault_address(self.programs, Pubkey.from_string(each.owner)) for each in leaves]
        addresses = [
            address
            for vault in vaults
            for address in (
                vault,
                token_account(vault, self.programs.mint),
                *(position_address(self.programs, pool=pool, owner=vault) for pool in pools),
            )
        ]
        slot, accounts = await self._accounts(addresses)
        each_has, readings = 2 + len(pools), {}
        for index, leaf in enumerate(leaves):
            start = index * each_has
            own = accounts[start : start + each_has]
            readings[leaf.owner] = self._reading(leaf, slot, addresses[start + 1], own, pools)
        return readings

    async def _accounts(self, addresses: Sequence[Pubkey]) -> tuple[Slot, Sequence[Account | None]]:
        read = await self.rpc.get_accounts(
            addresses, commitment=Commitment.FINALIZED, min_context_slot=Slot(self.slot)
        )
        return read.slot, read.accounts

    def _reading(
        self,
        leaf: LeafRow,
        slot: Slot,
        address: Pubkey,
        accounts: Sequence[Account | None],
        pools: Sequence[Pubkey],
    ) -> Reading:
        vault = read_vault(accounts[0], self.programs)
        tokens, account = read_token_account(accounts[1]), accounts[1]
        lent = 0 if vault is None else vault.yield_deposited_balance - vault.yield_kept
        pool, principal = self._position(vault, lent, accounts[2:], pools)
        line = VaultLine(
            owner=leaf.owner,
            account=str(address),
            slot=slot,
            books=str(leaf.total),
            books_lent=str(leaf.yield_deposited),
            total=str(vault.total_balance if vault else 0),
            lent=str(lent),
            amount=str(tokens.amount if tokens else 0),
            lamports=str(account.lamports if account else 0),
            hash=sha256(account.data if account else b"").hexdigest(),
            pool=pool,
            principal=principal,
        )
        return Reading(line, balances_of(vault))

    def _position(
        self,
        vault: Vault | None,
        lent: int,
        accounts: Sequence[Account | None],
        pools: Sequence[Pubkey],
    ) -> tuple[str, str] | tuple[None, None]:
        """Return the pool that holds all that is lent, and the principal there."""
        if vault is None or not lent or vault.active_yield_program != self.programs.yield_pool:
            return None, None
        for pool, account in zip(pools, accounts, strict=True):
            position = read_position(account, self.programs)
            if position is not None and position.principal >= lent:
                return str(pool), str(position.principal)
        return None, None


def balances_of(vault: Vault | None) -> tuple[int, ...]:
    """Return the five balances in a vault's account, zeros if there is none."""
    if vault is None:
        return NOTHING
    return (
        vault.total_balance,
        vault.available_balance,
        vault.locked_balance,
        vault.timelocked,
        vault.yield_deposited_balance,
    )

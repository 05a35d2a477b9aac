"""The operator's pool of the yield program, into which vaults may lend."""

from __future__ import annotations

from dataclasses import dataclass

from solders.keypair import Keypair
from solders.pubkey import Pubkey
from spl.token.constants import ACCOUNT_LEN

from cvms.bootstrap.authority import paid_for
from cvms.bootstrap.cluster import Cluster
from cvms.bootstrap.steps import Cost, Prices, Step
from cvms.bootstrap.transactions import Draft, TransactionSender
from cvms.chain.program.instructions import yield_pool
from cvms.chain.program.yield_pool_accounts import pool_address, read_pool
from cvms.chain.types import Programs
from cvms.errors import DecodeError, StepFailed

TITLE = "yield pool"
POOL_LENGTH = 165


@dataclass(frozen=True, slots=True)
class PoolSetup:
    """The pool of `admin`, which pays `rate_bps` a year once somebody has funded its reserve."""

    cluster: Cluster
    sender: TransactionSender
    programs: Programs
    admin: Keypair
    rate_bps: int

    @property
    def address(self) -> Pubkey:
        admin = self.admin.pubkey()
        return pool_address(self.programs, mint=self.programs.mint, admin=admin)

    async def step(self, prices: Prices) -> Step:
        if await self._exists():
            return Step(TITLE, str(self.address))
        action = f"create it with {self.rate_bps} basis points a year; fund its reserve yourself"
        cost = Cost(await self._rent(), prices.fees(signatures=2))
        return Step(TITLE, "not there", (action,), cost, self.run)

    async def run(self) -> None:
        if await self._exists():
            return
        admin, payer = self.admin.pubkey(), self.sender.payer.pubkey()
        create = yield_pool.initialize_pool(
            self.programs, admin=admin, mint=self.programs.mint, rate_bps=self.rate_bps
        )
        paid = paid_for(payer, admin, await self._rent())
        await self.sender.send(Draft("create the yield pool", (*paid, create), (self.admin,)))

    async def _exists(self) -> bool:
        try:
            account = await self.cluster.account(self.address)
            return read_pool(account, self.programs) is not None
        except DecodeError as error:
            raise StepFailed(f"{TITLE} {self.address}: {error}") from None

    async def _rent(self) -> int:
        """Return the rent of the pool, its token account and its reserve."""
        return await self.cluster.rent(POOL_LENGTH) + 2 * await self.cluster.rent(ACCOUNT_LEN)

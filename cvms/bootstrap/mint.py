"""The mint of USDT: checked, or made on a test cluster."""

from __future__ import annotations

from dataclasses import dataclass

from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.system_program import CreateAccountParams, create_account
from solders.token.state import Mint
from spl.token.constants import MINT_LEN, TOKEN_2022_PROGRAM_ID, TOKEN_PROGRAM_ID
from spl.token.instructions import initialize_mint2
from spl.token.models import InitializeMint2Params

from cvms.bootstrap.cluster import Cluster
from cvms.bootstrap.steps import Cost, Prices, Step
from cvms.bootstrap.transactions import Draft, TransactionSender
from cvms.chain.types import Account
from cvms.errors import StepFailed

TITLE = "mint"
DECIMALS = 6


def checked_mint(address: Pubkey, account: Account) -> str:
    """Describe a mint that vaults can hold. Raises StepFailed for any other account."""
    if account.owner == TOKEN_2022_PROGRAM_ID:
        raise StepFailed(
            f"{address} is a mint of Token-2022, whose extensions may take tokens out of a vault "
            "(permanent delegate), charge fees of transfers or run code in them, so that balances "
            "would not add up; the programs hold mints of SPL Token only"
        )
    if account.owner != TOKEN_PROGRAM_ID or len(account.data) != MINT_LEN:
        raise StepFailed(f"{address} is not a mint of SPL Token; check --mint")
    mint = Mint.from_bytes(account.data)
    if not mint.is_initialized:
        raise StepFailed(f"{address} is a mint that is not initialized; check --mint")
    if mint.decimals != DECIMALS:
        raise StepFailed(
            f"{address} has {mint.decimals} decimals, where USDT has {DECIMALS}; check --mint"
        )
    return (
        f"{address}, {mint.decimals} decimals, mint authority {mint.mint_authority or 'none'}, "
        f"freeze authority {mint.freeze_authority or 'none'}"
    )


@dataclass(frozen=True, slots=True)
class MintSetup:
    """The mint at an address. `key` is the address's key, if the mint is to be made."""

    cluster: Cluster
    sender: TransactionSender
    address: Pubkey
    key: Keypair | None
    authority: Pubkey

    async def step(self, prices: Prices) -> Step:
        """Return the step that makes the mint where it is missing. Raises StepFailed."""
        account = await self.cluster.account(self.address)
        if account is not None:
            return Step(TITLE, checked_mint(self.address, account))
        if self.key is None:
            raise StepFailed(f"there is no mint {self.address} on this cluster; check --mint")
        cost = Cost(await self.cluster.rent(MINT_LEN), prices.fees(signatures=2))
        action = f"make it, {DECIMALS} decimals, with the mint authority {self.authority}"
        return Step(TITLE, f"{self.address} is not there", (action,), cost, self.run)

    async def run(self) -> None:
        assert self.key is not None
        if await self.cluster.account(self.address) is not None:
            return
        params = CreateAccountParams(
            from_pubkey=self.sender.payer.pubkey(),
            to_pubkey=self.address,
            lamports=await self.cluster.rent(MINT_LEN),
            space=MINT_LEN,
            owner=TOKEN_PROGRAM_ID,
        )
        initialize = initialize_mint2(
            InitializeMint2Params(
                decimals=DECIMALS,
                program_id=TOKEN_PROGRAM_ID,
                mint=self.address,
                mint_authority=self.authority,
            )
        )
        await self.sender.send(
            Draft("make the mint", (create_account(params), initialize), (self.key,))
        )

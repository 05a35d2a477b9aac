"""An instruction that succeeds, and the replacement of one of its accounts."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from solders.account import Account
from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey

from tests.program.harness.ledger import POSITION_IDL, VAULT_IDL, YIELD_IDL, Outcome

from .world import World

# The instructions of both programs, whose names are distinct.
INTERFACE = VAULT_IDL.instructions | POSITION_IDL.instructions
NAMED = {
    name: [account["name"] for account in instruction["accounts"]]
    for name, instruction in INTERFACE.items()
}
# The accounts that the scenes pass after those of the interface.
POOL = [f"pool_call_{account['name']}" for account in YIELD_IDL.instructions["deposit"]["accounts"]]
REMAINING = {
    "withdraw": ["first_summary", "second_summary"],
    "yield_deposit": POOL,
    "yield_withdraw": POOL,
    "compound_yield": POOL,
}

Wrap = Callable[[Instruction], Instruction]


def directly(given: Instruction) -> Instruction:
    return given


@dataclass(frozen=True, slots=True)
class Scene:
    """An `instruction` that succeeds in `world` when sent as `wrap` makes it."""

    name: str
    world: World
    instruction: Instruction
    wrap: Wrap = directly

    def position(self, account: str) -> int:
        return [*NAMED[self.name], *REMAINING.get(self.name, [])].index(account)

    def address(self, account: str) -> Pubkey:
        return self.instruction.accounts[self.position(account)].pubkey

    def swapped(self, position: int, address: Pubkey, *, signing: bool = False) -> "Scene":
        """Return a copy with another account, which signs if `signing` and its key is known."""
        meant = self.instruction.accounts[position]
        signs = signing and meant.is_signer and address in self.world.keys
        return self.replaced(position, AccountMeta(address, signs, meant.is_writable))

    def replaced(self, position: int, meta: AccountMeta) -> "Scene":
        metas = list(self.instruction.accounts)
        metas[position] = meta
        return self.given(metas)

    def given(self, metas: list[AccountMeta]) -> "Scene":
        instruction = Instruction(self.instruction.program_id, self.instruction.data, metas)
        return replace(self, instruction=instruction)

    def send(self) -> Outcome:
        sent = self.wrap(self.instruction)
        signers = {
            meta.pubkey: self.world.keys[meta.pubkey] for meta in sent.accounts if meta.is_signer
        }
        return self.world.ledger.send(sent, self.world.payer, *signers.values())

    def accounts(self) -> dict[Pubkey, Account | None]:
        """Return the current state of every account that the instruction names."""
        keys = {meta.pubkey for meta in self.instruction.accounts}
        return {key: self.world.ledger.svm.get_account(key) for key in keys}

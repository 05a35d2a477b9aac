"""Vaults that earn yield: the vault program's yield instructions on pools of the yield program."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from tests.program.harness import pools
from tests.program.harness.idl import Idl
from tests.program.harness.instructions import build
from tests.program.harness.ledger import (
    MINT,
    VAULT_IDL,
    YIELD_IDL,
    Ledger,
    Outcome,
    govern,
    signer,
    token_address,
    vault_address,
)
from tests.program.harness.pools import YIELD_POOL
from tests.program.harness.refusals import assert_refused

YEAR = 365 * 24 * 60 * 60


@dataclass(frozen=True, slots=True)
class Venue:
    """A deployment of the yield program with one pool."""

    ledger: Ledger
    program: Pubkey
    admin: Keypair

    @property
    def pool(self) -> Pubkey:
        return self.derived(b"pool", MINT, self.admin.pubkey())

    @property
    def reserve(self) -> Pubkey:
        return self.derived(b"reserve", self.pool)

    def position(self, vault: Pubkey) -> Pubkey:
        return self.derived(b"position", self.pool, vault)

    def derived(self, seed: bytes, *keys: Pubkey) -> Pubkey:
        return Pubkey.find_program_address([seed, *map(bytes, keys)], self.program)[0]

    def pool_state(self) -> dict[str, Any]:
        return YIELD_IDL.decode_account("Pool", self.ledger.data(self.pool))

    def position_state(self, owner: Pubkey) -> dict[str, Any]:
        data = self.ledger.data(self.position(vault_address(owner)))
        return YIELD_IDL.decode_account("Position", data)

    def run(self, given: Instruction, *signers: Keypair) -> Outcome:
        """Run an instruction of the yield program on this deployment."""
        here = Instruction(self.program, bytes(given.data), given.accounts)
        return self.ledger.must(here, *signers)

    def fund(self, amount: int) -> None:
        self.ledger.put_tokens(self.pool, amount, address=self.reserve)

    def accounts(self, owner: Pubkey) -> list[AccountMeta]:
        """Return the accounts that a yield instruction on `owner`'s vault passes on, unsigned."""
        vault = vault_address(owner)
        given = pools.deposit(
            vault,
            self.pool,
            1,
            position=self.position(vault),
            reserve_tokens=self.reserve,
        )
        return [AccountMeta(meta.pubkey, False, meta.is_writable) for meta in given.accounts]

    def enter(self, owner: Keypair) -> Keypair:
        """Open the position of the owner's vault."""
        vault, payer = vault_address(owner.pubkey()), owner.pubkey()
        position = self.position(vault)
        given = pools.open_position(vault, self.pool, payer=payer, position=position)
        self.run(given, owner)
        return owner

    def move(self, name: str, owner: Pubkey, amount: int, /, **changes: Any) -> Instruction:
        """Return a yield instruction that calls this deployment."""
        return move(
            name, owner, amount, program=self.program, through=self.accounts(owner), **changes
        )


def open_venue(
    ledger: Ledger, governance: Keypair, *, program: Pubkey = YIELD_POOL, rate_bps: int = 500
) -> Venue:
    """Deploy the yield program, open a pool with a full reserve, and whitelist the program."""
    ledger.svm.add_program(program, pools.ELF.read_bytes())
    return open_pool(ledger, governance, program=program, rate_bps=rate_bps)


def open_pool(
    ledger: Ledger, governance: Keypair, *, program: Pubkey = YIELD_POOL, rate_bps: int = 500
) -> Venue:
    """Do as `open_venue` with a yield program that is deployed."""
    venue = Venue(ledger, program, ledger.wallet())
    pool = venue.pool
    given = pools.initialize_pool(
        venue.admin.pubkey(),
        rate_bps,
        pool=pool,
        pool_tokens=token_address(pool),
        reserve_tokens=venue.reserve,
    )
    venue.run(given, venue.admin)
    venue.fund(10**12)
    whitelist(ledger, governance, program)
    return venue


def whitelist(ledger: Ledger, governance: Keypair, program: Pubkey) -> None:
    given = govern("add_yield_program", governance.pubkey(), value=program)
    ledger.must(given, governance)


def lend_to_another(ledger: Ledger, owner: Pubkey, program: Pubkey) -> None:
    """Make `program` the active one, whoever holds what: once a vault could lend to several."""
    ledger.change_vault(owner, active_yield_program=program)


def move(
    name: str,
    owner: Pubkey,
    amount: int,
    /,
    *,
    program: Pubkey,
    through: Sequence[AccountMeta] = (),
    authority: Pubkey | None = None,
    cosigners: Sequence[Pubkey] = (),
) -> Instruction:
    """Return a yield instruction that passes on the accounts `through`.

    Without them it changes only the recorded balances.
    """
    argument = "compounded_amount" if name == "compound_yield" else "amount"
    return build(
        name,
        owner,
        authority=authority,
        accounts={"yield_program": program},
        remaining=[*through, *map(signer, cosigners)],
        **{argument: amount},
    )


def refused(
    ledger: Ledger, given: Instruction, *signers: Keypair, error: str | None, idl: Idl = VAULT_IDL
) -> Outcome:
    """Assert that the instruction fails and changes no account it names, except for the payer's
    fee.

    `error` is Anchor's or that of the program that `idl` describes; None accepts any error.
    """
    payer = signers[0].pubkey()
    touched = {meta.pubkey for meta in given.accounts} - {payer}
    before = {key: ledger.svm.get_account(key) for key in touched}
    outcome = ledger.send(given, *signers)
    assert outcome.error is not None
    if error is not None:
        assert_refused(outcome, error, idl=idl)
    assert {key: ledger.svm.get_account(key) for key in touched} == before
    return outcome


pool_refused = partial(refused, idl=YIELD_IDL)


def assert_balances_match_tokens(ledger: Ledger, owner: Pubkey, *, kept: int = 0) -> None:
    """Assert that the vault's balances add up and that its tokens cover all that is not lent out.

    `kept` is the part of the yield balance that never left the vault's token account.
    """
    state = ledger.vault(owner)
    beside = state["total_balance"] - state["yield_deposited_balance"]
    timelocked = sum(entry["amount"] for entry in state["timelocks"])
    assert beside == state["available_balance"] + state["locked_balance"] + timelocked
    assert ledger.tokens(vault_address(owner)) == beside + kept


def writable(address: Pubkey) -> AccountMeta:
    return AccountMeta(address, is_signer=False, is_writable=True)

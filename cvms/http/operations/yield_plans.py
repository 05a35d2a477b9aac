"""Plans of the yield routes: the pool that a request is about, and its transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from solders.instruction import AccountMeta, Instruction
from solders.pubkey import Pubkey
from spl.token.constants import TOKEN_PROGRAM_ID

from cvms.chain.program import instructions
from cvms.chain.program.accounts import read_vault_authority
from cvms.chain.program.addresses import vault_address, vault_authority_address
from cvms.chain.program.instructions import yield_pool
from cvms.chain.program.instructions.encoding import readonly
from cvms.chain.transactions.vault_builders import fetch_vault
from cvms.chain.transactions.versioned import build_transaction
from cvms.chain.types import Commitment, Programs
from cvms.chain.yields.positions import PoolPosition, read_positions
from cvms.chain.yields.sources import pools_among
from cvms.errors import YieldProgramUnsupported
from cvms.http.framework.dependencies import Dependencies
from cvms.http.framework.request import MAX_AMOUNT
from cvms.http.operations.plans import TransactionPlan, operator_signing_alone


@dataclass(frozen=True, slots=True)
class YieldMovementKind:
    """A kind of yield movement: the signed action, its instruction, and the most that a position
    allows.
    """

    action: str
    instruction: Callable[..., Instruction]
    allowed: Callable[[PoolPosition], int]
    opens: bool = False


@dataclass(frozen=True, slots=True)
class Venue:
    """The accounts that the vault program passes to the yield program, and the instructions that
    create missing ones.
    """

    accounts: Sequence[AccountMeta]
    setup: Sequence[Instruction] = ()


def _compound(programs: Programs, *, amount: int, **given: Any) -> Instruction:
    return instructions.compound_yield(programs, compounded_amount=amount, **given)


DEPOSIT = YieldMovementKind(
    "yield_deposit", instructions.yield_deposit, lambda _: MAX_AMOUNT, opens=True
)
WITHDRAW = YieldMovementKind(
    "yield_withdraw", instructions.yield_withdraw, lambda position: position.principal
)
COMPOUND = YieldMovementKind("compound_yield", _compound, lambda position: position.claimable)


def pools_of(deps: Dependencies) -> list[Pubkey]:
    """Return the configured pools, the preferred one first."""
    return pools_among(deps.yield_rates.sources)


async def move(
    deps: Dependencies,
    kind: YieldMovementKind,
    owner: Pubkey,
    *,
    amount: int,
    yield_program: Pubkey,
) -> TransactionPlan:
    """Plan a movement of tokens between the vault and a yield program, or a compounding.

    Raises YieldProgramUnsupported for a whitelisted program of which the service has no pool.
    """
    vault = await fetch_vault(deps.rpc, deps.programs, owner)
    venue = await _venue(deps, kind, owner, amount, yield_program)
    # As with token accounts: the owner pays for what is created, and therefore signs. A delegate
    # adds only to the program that the owner has chosen by a deposit.
    chosen = kind is WITHDRAW or vault.active_yield_program == yield_program
    delegate = operator_signing_alone(deps, vault) if chosen and not venue.setup else None
    instruction = kind.instruction(
        deps.programs,
        authority=delegate or owner,
        owner=owner,
        yield_program=yield_program,
        amount=amount,
        yield_accounts=venue.accounts,
    )
    blockhash = await deps.rpc.get_latest_blockhash(Commitment.CONFIRMED)
    built = build_transaction(
        instruction,
        fee_payer=delegate or deps.operator.payer_for(owner),
        blockhash=blockhash,
        setup=venue.setup,
    )
    details = {"yield_program": str(yield_program)}
    return TransactionPlan(
        built, operator_signs=delegate is not None, amount=amount, details=details
    )


async def _venue(
    deps: Dependencies, kind: YieldMovementKind, owner: Pubkey, amount: int, yield_program: Pubkey
) -> Venue:
    programs = deps.programs
    vault = vault_address(programs, owner)
    pools = pools_of(deps) if yield_program == programs.yield_pool else []
    _, positions = await read_positions(deps.rpc, programs, pools=pools, owner=vault)
    if not positions:
        await _refuse_if_whitelisted(deps, yield_program)
        # The program will refuse this. If governance whitelists the yield program meanwhile, the
        # instruction must still name an account: without one only the balances would move.
        return Venue([readonly(TOKEN_PROGRAM_ID)])
    enough = (each for each in positions if kind.allowed(each) >= amount)
    position = next(enough, None) or max(positions, key=kind.allowed)
    opening = yield_pool.open_position(programs, payer=owner, owner=vault, pool=position.pool)
    return Venue(
        yield_pool.vault_yield_accounts(
            programs, vault=vault, pool=position.pool, mint=programs.mint
        ),
        [opening] if kind.opens and not position.opened else [],
    )


async def _refuse_if_whitelisted(deps: Dependencies, yield_program: Pubkey) -> None:
    address = vault_authority_address(deps.programs)
    found = await deps.rpc.get_accounts([address], commitment=Commitment.CONFIRMED)
    authority = read_vault_authority(found.accounts[0], deps.programs)
    if authority is not None and yield_program in authority.yield_whitelist:
        raise YieldProgramUnsupported(
            f"Vaults may use {yield_program}, but this service has no pool of it. "
            "Send the instruction yourself, or use a program that has one."
        )

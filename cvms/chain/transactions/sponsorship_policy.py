"""Policy for the operator's key: the last check before it signs a transaction as fee payer.

Nothing that the service builds fails this check. It protects against a bug elsewhere, or tampering
with the database, that would make the operator pay for something else, or sign as more than a fee
payer.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from solders.compute_budget import ID as COMPUTE_BUDGET_PROGRAM
from solders.instruction import CompiledInstruction
from solders.message import MessageV0
from solders.pubkey import Pubkey
from spl.memo.constants import MEMO_PROGRAM_ID
from spl.token.constants import ASSOCIATED_TOKEN_PROGRAM_ID

from cvms.chain.borsh import discriminator
from cvms.chain.program.idl import ProgramName, load_idl
from cvms.chain.transactions.versioned import MAX_COMPUTE_UNITS, AnyMessage, required_signers
from cvms.chain.types import Lamports, Programs
from cvms.errors import NotSponsored

LAMPORTS_PER_SIGNATURE = 5_000
TOKEN_ACCOUNT_RENT = 2_039_280
"""Lamports that exempt a token account's 165 bytes from rent."""
TRANSFER_LIMITS_RENT = 1_559_040
"""The same for the 96 bytes of the transfer limits, which their first setting creates."""
MICRO = 1_000_000

_SET_TRANSFER_LIMITS = discriminator("global", "set_transfer_limits")
_SET_LIMIT, _SET_PRICE = 2, 3  # first byte of the compute budget program's instructions

# Instructions in which the operator's key may also be an account: only the one that must sign.
AS_DELEGATE = (
    "withdraw",
    "schedule_timelock",
    "release_timelocks",
    "yield_deposit",
    "yield_withdraw",
    "compound_yield",
)
AS_GOVERNANCE = (
    "emergency_withdraw",
    "add_authorized_program",
    "remove_authorized_program",
    "set_freeze_flag",
    "set_cpi_enforced",
    "add_yield_program",
    "remove_yield_program",
    "set_risk_level",
    "update_usdt_mint",
    "propose_governance",
    "accept_governance",
    "pause_withdrawals",
    "set_transfer_limits",
)
ALSO_OF_OWNERS = ("emergency_withdraw",)
"""Of governance's instructions, those that owners have too."""
AS_POSITION_MANAGERS_GOVERNANCE = ("rebalance_collateral",)


@dataclass(frozen=True, slots=True)
class FeeCaps:
    """Limits of one transaction: `price` in micro-lamports per compute unit, `lamports` of fees in
    total, and the number of signatures.
    """

    price: int = 100_000
    lamports: int = 100_000
    signatures: int = 12


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of a transaction that lands, for its fee payer: the fee, and rent for new accounts."""

    fee: Lamports
    rent: Lamports

    @property
    def lamports(self) -> int:
        """The total."""
        return self.fee + self.rent


def fee_of(*, signatures: int, units: int, price: int) -> Lamports:
    """Return the fee of a transaction that lands, even if it fails.

    Source: Agave, `FeeStructure::calculate_fee`.
    """
    return Lamports(LAMPORTS_PER_SIGNATURE * signatures + -(-units * price // MICRO))


def max_price(caps: FeeCaps, *, signatures: int, units: int) -> int:
    """Return the highest price per unit at which neither the price nor the fee exceeds its cap.

    It is 0 when the signatures alone exhaust the cap.
    """
    available = caps.lamports - LAMPORTS_PER_SIGNATURE * signatures
    return max(0, min(caps.price, available * MICRO // max(units, 1)))


def check_sponsored(
    message: AnyMessage,
    *,
    operator: Pubkey,
    programs: Programs,
    caps: FeeCaps,
    acts: bool,
    guards: frozenset[Pubkey] = frozenset(),
) -> Cost:
    """Check a message that the operator is to sign, and return its cost. Raises NotSponsored.

    With `acts`, the service itself decided on the transaction, as a vault's delegate or as
    governance. Otherwise the operator may be the fee payer and nothing else, of what owners and
    delegates do, not of what another key does as governance. The wallet may then have added
    instructions of `guards`, which get the operator's account in no case.
    """
    if isinstance(message, MessageV0) and message.address_table_lookups:
        raise NotSponsored("its accounts are in lookup tables")
    if len(set(message.account_keys)) != len(message.account_keys):
        raise NotSponsored("an account is in it twice")
    signers = required_signers(message)
    if signers[0] != operator:
        raise NotSponsored("the operator is not its fee payer")
    if len(signers) > caps.signatures:
        raise NotSponsored(f"it has more than {caps.signatures} signatures")
    fee, rent = fee_within(message, caps), 0
    for instruction in message.instructions:
        program = _program(message, instruction)
        if program == COMPUTE_BUDGET_PROGRAM:
            continue
        if program == ASSOCIATED_TOKEN_PROGRAM_ID:
            rent += _token_accounts_rent(instruction, acts=acts)
        elif program in guards and not acts:
            if 0 in bytes(instruction.accounts):
                raise NotSponsored("it gives the operator's account to a guard program")
        else:
            rent += _check_instruction(instruction, program, programs, acts=acts)
    return Cost(fee, Lamports(rent))


def fee_within(message: AnyMessage, caps: FeeCaps) -> Lamports:
    """Return the fee of the message. Raises NotSponsored if it exceeds the caps or has no limit."""
    budget: dict[int, int] = {}
    for instruction in message.instructions:
        if _program(message, instruction) == COMPUTE_BUDGET_PROGRAM:
            kind, value = _budget(bytes(instruction.data))
            if kind in budget:
                raise NotSponsored("it sets its compute budget twice")
            budget[kind] = value
    units, price = budget.get(_SET_LIMIT), budget.get(_SET_PRICE, 0)
    if units is None or units > MAX_COMPUTE_UNITS:
        raise NotSponsored("it does not limit its compute units")
    fee = fee_of(signatures=len(required_signers(message)), units=units, price=price)
    if price > caps.price or fee > caps.lamports:
        raise NotSponsored(f"its fee would be {fee} lamports at a price of {price}")
    return fee


def _program(message: AnyMessage, instruction: CompiledInstruction) -> Pubkey:
    return message.account_keys[instruction.program_id_index]


def _budget(data: bytes) -> tuple[int, int]:
    lengths = {_SET_LIMIT: 5, _SET_PRICE: 9}
    if not data or lengths.get(data[0]) != len(data):
        raise NotSponsored("it asks for more than compute units")
    return data[0], int.from_bytes(data[1:], "little")


def _token_accounts_rent(instruction: CompiledInstruction, *, acts: bool) -> int:
    accounts = bytes(instruction.accounts)
    if 0 not in accounts:
        return 0
    if not acts or accounts[0] != 0 or accounts.count(0) > 1:
        raise NotSponsored("the operator would pay for a token account")
    return TOKEN_ACCOUNT_RENT


def _check_instruction(
    instruction: CompiledInstruction, program: Pubkey, programs: Programs, *, acts: bool
) -> int:
    """Check an instruction of our programs, and return the rent that the operator may pay in it."""
    if program == MEMO_PROGRAM_ID and acts and not instruction.accounts:
        return 0
    if program not in {programs.vault, programs.position_manager, programs.yield_pool}:
        raise NotSponsored(f"it calls {program}")
    kind = (program, bytes(instruction.data[:8]))
    if not acts and kind in _of_governance(programs):
        raise NotSponsored("it is for governance, which pays itself")
    indexes = [at for at, account in enumerate(bytes(instruction.accounts)) if account == 0]
    if not indexes:
        return 0
    if not acts or indexes != [_signers(programs).get(kind)]:
        raise NotSponsored("it gives the operator's account to a program")
    return TRANSFER_LIMITS_RENT if kind == (programs.vault, _SET_TRANSFER_LIMITS) else 0


@cache
def _of_governance(programs: Programs) -> frozenset[tuple[Pubkey, bytes]]:
    """Return the instructions that only governance has a use for."""
    names = tuple(name for name in AS_GOVERNANCE if name not in ALSO_OF_OWNERS)
    vault = _signer_indexes("collateral_vault", names)
    manager = _signer_indexes("position_manager", AS_POSITION_MANAGERS_GOVERNANCE)
    return frozenset(
        {(programs.vault, each) for each in vault}
        | {(programs.position_manager, each) for each in manager}
    )


@cache
def _signers(programs: Programs) -> dict[tuple[Pubkey, bytes], int]:
    """Return the index of the operator's account in each instruction that it may sign."""
    vault = _signer_indexes("collateral_vault", (*AS_DELEGATE, *AS_GOVERNANCE))
    manager = _signer_indexes("position_manager", AS_POSITION_MANAGERS_GOVERNANCE)
    return {
        **{(programs.vault, each): index for each, index in vault.items()},
        **{(programs.position_manager, each): index for each, index in manager.items()},
    }


def _signer_indexes(program: ProgramName, names: tuple[str, ...]) -> dict[bytes, int]:
    layouts = {each.name: each for each in load_idl(program).instructions}
    return {
        bytes(layouts[name].discriminator): next(
            index for index, slot in enumerate(layouts[name].accounts) if slot.signer
        )
        for name in names
    }

"""Transactions that resemble a plan and are another one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from solders.address_lookup_table_account import AddressLookupTableAccount
from solders.instruction import AccountMeta, Instruction
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.system_program import (
    AdvanceNonceAccountParams,
    TransferParams,
    advance_nonce_account,
    transfer,
)

from cvms.chain.program.addresses import token_account, vault_address
from cvms.chain.transactions.versioned import AnyMessage
from cvms.chain.types import Programs
from tests.harness.guard_program import GUARD
from tests.harness.service import Service
from tests.http.operations.wallet_rewrites import (
    ASSERT_AFTER,
    ASSERT_BEFORE,
    assertion,
    budget_and_rest,
    compiled,
)
from tests.http.wallets import USDT

MEMO = "MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr"
STRANGER = Keypair()


@dataclass(frozen=True, slots=True)
class Made:
    """A planned deposit, and what it consists of."""

    message: AnyMessage
    budget: list[Instruction]
    ours: Instruction
    wallet: Pubkey
    operator: Pubkey
    programs: Programs

    @classmethod
    def of_plan(cls, front: Service, wallet: Keypair, message: AnyMessage) -> Made:
        budget, (ours,) = budget_and_rest(message)
        operator = front.operator.pubkey()
        return cls(message, budget, ours, wallet.pubkey(), operator, front.config.programs)

    def of(self, instructions: list[Instruction]) -> AnyMessage:
        return compiled(self.message, instructions)

    def copy(
        self, *, data: bytes | None = None, accounts: list[AccountMeta] | None = None
    ) -> Instruction:
        ours = self.ours
        return Instruction(ours.program_id, data or bytes(ours.data), accounts or ours.accounts)


def replaced(meta: AccountMeta) -> AccountMeta:
    return AccountMeta(STRANGER.pubkey(), meta.is_signer, meta.is_writable)


def another_amount(made: Made) -> AnyMessage:
    data = bytes(made.ours.data)
    return made.of([*made.budget, made.copy(data=data[:8] + (51 * USDT).to_bytes(8, "little"))])


def another_account(made: Made) -> AnyMessage:
    *accounts, last = made.ours.accounts
    return made.of([*made.budget, made.copy(accounts=[*accounts, replaced(last)])])


def another_privilege(made: Made) -> AnyMessage:
    index = next(at for at, each in enumerate(made.ours.accounts) if not each.is_writable)
    accounts = list(made.ours.accounts)
    accounts[index] = AccountMeta(accounts[index].pubkey, accounts[index].is_signer, True)
    return made.of([*made.budget, made.copy(accounts=accounts)])


def twice(made: Made) -> AnyMessage:
    return made.of([*made.budget, made.ours, made.ours])


def without_it(made: Made) -> AnyMessage:
    return made.of([*made.budget, assertion(b"", made.wallet)])


def a_transfer_besides(made: Made) -> AnyMessage:
    paid = TransferParams(from_pubkey=made.operator, to_pubkey=made.wallet, lamports=1)
    return made.of([*made.budget, made.ours, transfer(paid)])


def another_signer(made: Made) -> AnyMessage:
    signs = AccountMeta(STRANGER.pubkey(), is_signer=True, is_writable=False)
    return made.of([*made.budget, made.ours, Instruction(GUARD, b"", [signs])])


def a_guard_that_gets_the_operator(made: Made) -> AnyMessage:
    return made.of([*made.budget, made.ours, assertion(ASSERT_AFTER, made.operator)])


def a_guard_that_gets_the_vault(made: Made) -> AnyMessage:
    vault = vault_address(made.programs, made.wallet)
    return made.of([*made.budget, assertion(ASSERT_BEFORE, vault), made.ours])


def a_guard_that_gets_the_vaults_tokens(made: Made) -> AnyMessage:
    tokens = token_account(vault_address(made.programs, made.wallet), made.programs.mint)
    return made.of([*made.budget, assertion(ASSERT_BEFORE, tokens), made.ours])


def a_program_that_is_no_guard(made: Made) -> AnyMessage:
    memo = Instruction(Pubkey.from_string(MEMO), b"hello", [])
    return made.of([*made.budget, made.ours, memo])


def a_durable_nonce(made: Made) -> AnyMessage:
    nonce = AdvanceNonceAccountParams(nonce_pubkey=STRANGER.pubkey(), authorized_pubkey=made.wallet)
    return made.of([advance_nonce_account(nonce), *made.budget, made.ours])


def the_wallet_as_fee_payer(made: Made) -> AnyMessage:
    return compiled(made.message, [*made.budget, made.ours], payer=made.wallet)


def a_lookup_table(made: Made) -> AnyMessage:
    table = AddressLookupTableAccount(
        Pubkey.new_unique(), [each.pubkey for each in made.ours.accounts]
    )
    return MessageV0.try_compile(
        made.operator, [*made.budget, made.ours], [table], made.message.recent_blockhash
    )


Attack = Callable[[Made], AnyMessage]
ATTACKS: tuple[Attack, ...] = (
    another_amount,
    another_account,
    another_privilege,
    twice,
    without_it,
    a_transfer_besides,
    another_signer,
    a_guard_that_gets_the_operator,
    a_guard_that_gets_the_vault,
    a_guard_that_gets_the_vaults_tokens,
    a_program_that_is_no_guard,
    a_durable_nonce,
    the_wallet_as_fee_payer,
    a_lookup_table,
)

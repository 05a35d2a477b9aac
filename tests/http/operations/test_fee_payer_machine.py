"""Mutated plans against the real service and chain: the operator pays what a plan costs, no more.

`make wallet-fuzz` runs 20,000 mutations, and WALLET_MUTATIONS=N any number.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
import structlog
import trio
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from solders.account import Account
from solders.hash import Hash
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.system_program import ID as SYSTEM
from solders.system_program import (
    AdvanceNonceAccountParams,
    TransferParams,
    advance_nonce_account,
    transfer,
)
from solders.transaction import VersionedTransaction
from spl.token.constants import TOKEN_PROGRAM_ID
from spl.token.instructions import create_idempotent_associated_token_account

from cvms.chain.program import instructions
from cvms.chain.program.addresses import token_account, vault_address, vault_authority_address
from cvms.chain.transactions.sponsorship_policy import FeeCaps, fee_within
from cvms.chain.transactions.versioned import AnyMessage, message_of, parse_base64, parse_wire
from cvms.config.operator_settings import Sponsoring
from cvms.localnet.types import Commitment
from tests.harness.guard_program import GUARD, HOSTILE, Scripts, deploy_guards
from tests.harness.localnet import Localnet
from tests.harness.service import Service, running
from tests.http.operations.plan_mutations import MUTATIONS, Draft, Mutation, mutated
from tests.http.operations.wallet_rewrites import body_of
from tests.http.wallets import rows, signed, with_vault
from tests.nursery.world import held_clock
from tests.program.harness.puppet import write_script

pytestmark = pytest.mark.slow(seconds=30)

COUNT = int(os.environ.get("WALLET_MUTATIONS", "300"))
STEPS = 40
log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Attacked:
    """A service with its chain, a wallet that attacks it, and what has happened so far."""

    front: Service
    localnet: Localnet
    wallet: Keypair
    stranger: Keypair
    script: Pubkey
    thefts: list[bytes]
    outcomes: Counter[str] = field(default_factory=Counter)
    plan: AnyMessage | None = None
    planned: int = 0

    @property
    def operator(self) -> Pubkey:
        return self.front.operator.pubkey()

    @property
    def count(self) -> int:
        """The number of mutations."""
        return self.outcomes.total() - self.outcomes["landed"] - self.outcomes["failed on chain"]

    def lamports(self) -> int:
        account = self.localnet.running.chain.accounts.latest(self.operator)
        return account.lamports if account is not None else 0

    def vault_tokens(self) -> int:
        programs = self.front.config.programs
        address = token_account(vault_address(programs, self.wallet.pubkey()), programs.mint)
        account = self.localnet.running.chain.accounts.latest(address)
        assert account is not None
        return int.from_bytes(bytes(account.data)[64:72], "little")

    def set_script(self, data: bytes) -> None:
        self.localnet.running.chain.overwrite(self.script, Account(10**9, data, SYSTEM))

    async def make_plan(self, action: str, amount: int) -> None:
        async with self.front.database.connection() as conn:
            await conn.execute("DELETE FROM submissions")
        body = await signed(self.front, self.wallet, action, ("amount", amount))
        reply = await self.front.post(f"/api/vault/{action}", body)
        assert reply.status_code == 200, reply.text
        self.plan = message_of(parse_base64(reply.json()["transaction"]))
        self.planned = amount if action == "deposit" else -amount

    async def post(self, mutations: list[Mutation], theft: int) -> None:
        """Post the mutated plan, change what guards do, land it, and compare the balances."""
        assert self.plan is not None
        self.set_script(b"")
        try:
            message = mutated(self.draft(self.plan), mutations)
            body = body_of(message, self.wallet, self.stranger)
        except (ValueError, OverflowError, LookupError):
            self.outcomes["no message"] += 1
            return
        before, tokens = self.lamports(), self.vault_tokens()
        reply = await self.front.post("/api/transactions", body)
        assert reply.status_code in {202, 400, 401, 409, 422}, reply.text
        self.outcomes[str(reply.json().get("code", reply.status_code))] += 1
        if reply.status_code != 202:
            assert await rows(self.front, "SELECT state FROM submissions") == [{"state": "built"}]
            assert self.lamports() == before
            return
        (row,) = await rows(self.front, "SELECT wire, sponsored_lamports FROM submissions")
        landing = parse_wire(row["wire"])
        fee = fee_within(message_of(landing), FeeCaps())
        assert fee == row["sponsored_lamports"] <= FeeCaps().lamports
        # What lands is not what was simulated: the guard steals if it can.
        self.set_script(self.thefts[theft % len(self.thefts)])
        succeeded = self.land(landing)
        self.outcomes["landed" if succeeded else "failed on chain"] += 1
        assert before - self.lamports() == fee
        assert self.vault_tokens() - tokens == (self.planned if succeeded else 0)
        await self.post_again(body, before - fee)

    async def post_again(self, body: Any, lamports: int) -> None:
        """See that the plan is used up, in this form and in its own."""
        assert self.plan is not None
        own = body_of(self.plan, self.wallet)
        replies = [await self.front.post("/api/transactions", each) for each in (body, own)]
        assert replies[0].json()["signature"] == replies[1].json()["signature"]
        assert self.lamports() == lamports
        assert await rows(self.front, "SELECT count(*) AS n FROM submissions") == [{"n": 1}]
        self.plan = None

    def land(self, transaction: VersionedTransaction) -> bool:
        chain = self.localnet.running.chain
        entry = chain.process(transaction)
        chain.advance(2)
        return entry.meta["err"] is None

    def draft(self, message: AnyMessage) -> Draft:
        programs, wallet = self.front.config.programs, self.wallet.pubkey()
        vault, chain = vault_address(programs, wallet), self.localnet.running.chain
        tip = chain.tip
        return Draft.of(
            message,
            pool=(
                wallet,
                token_account(wallet, programs.mint),
                self.operator,
                self.operator,
                vault,
                token_account(vault, programs.mint),
                vault_authority_address(programs),
                programs.mint,
                programs.vault,
                self.stranger.pubkey(),
                TOKEN_PROGRAM_ID,
                SYSTEM,
                self.script,
            ),
            guards=(GUARD, HOSTILE),
            others=self.others(),
            blockhashes=(
                tip.blockhash,
                chain.blocks.at(Commitment.CONFIRMED).blockhash,
                Hash.default(),
            ),
        )

    def others(self) -> list[Instruction]:
        programs, wallet, operator = self.front.config.programs, self.wallet.pubkey(), self.operator
        stranger = self.stranger.pubkey()
        nonce = AdvanceNonceAccountParams(nonce_pubkey=stranger, authorized_pubkey=operator)
        return [
            *(
                instructions.withdraw(
                    programs,
                    authority=authority,
                    owner=wallet,
                    recipient_token_account=token_account(wallet, programs.mint),
                    position_summaries=[],
                    amount=1,
                )
                for authority in (wallet, operator)
            ),
            instructions.deposit(programs, authority=wallet, owner=wallet, amount=1),
            create_idempotent_associated_token_account(operator, stranger, programs.mint),
            advance_nonce_account(nonce),
            transfer(TransferParams(from_pubkey=operator, to_pubkey=wallet, lamports=10**6)),
            Instruction(HOSTILE, b"", write_script(_Nowhere(), _theft(operator, wallet))),
        ]


class _Nowhere:
    """Keeps no script: the accounts of one are wanted, not its account."""

    def put(self, address: Pubkey, owner: Pubkey, data: bytes, /) -> None: ...


def _theft(victim: Pubkey, thief: Pubkey) -> Instruction:
    return transfer(TransferParams(from_pubkey=victim, to_pubkey=thief, lamports=10**6))


def _scripts() -> list[bytes]:
    """Return scripts that pay from one to another of the first accounts that a guard gets."""
    pay = bytes([2, 0, 0, 0]) + (10**6).to_bytes(8, "little")
    return [
        b"\1" + bytes(SYSTEM) + bytes([2, a, 3, b, 2]) + len(pay).to_bytes(2, "little") + pay
        for a in range(3)
        for b in range(3)
        if a != b
    ] + [b""]


class FeePayer(RuleBasedStateMachine):
    """Plans a movement, and posts mutations of it until one is accepted."""

    attacked: Attacked

    # No precondition: what is drawn must not depend on what the chain has answered.
    @rule(
        action=st.sampled_from(["deposit", "withdraw"]),
        amount=st.integers(1, 1000),
        mutations=MUTATIONS,
        theft=st.integers(0, 255),
    )
    def posts(self, action: str, amount: int, mutations: list[Mutation], theft: int) -> None:
        if self.attacked.count >= COUNT:
            return
        if self.attacked.plan is None:
            trio.from_thread.run(self.attacked.make_plan, action, amount)
        trio.from_thread.run(self.attacked.post, mutations, theft)

    def teardown(self) -> None:
        self.attacked.plan = None


async def test_no_mutation_of_a_plan_takes_more_from_the_operator_than_its_fee(
    database_url: str, localnet: Localnet
) -> None:
    deploy_guards(localnet)
    sponsoring = Sponsoring(guard_programs=(GUARD, HOSTILE), owner_a_day=None, everybody_a_day=None)
    async with running(database_url, sponsoring=sponsoring, **localnet.settings) as front:
        wallet, stranger = await with_vault(front, amount=10**9), Keypair()
        operator = front.operator.pubkey()
        chain = localnet.running.chain
        chain.overwrite(operator, Account(10**15, b"", SYSTEM))
        script = Keypair().pubkey()
        attacked = Attacked(front, localnet, wallet, stranger, script, _scripts())
        Scripts(localnet).put(script, SYSTEM, b"")
        machine = type("Machine", (FeePayer,), {"attacked": attacked})
        profile = settings(
            max_examples=max(1, COUNT // STEPS),
            stateful_step_count=STEPS,
            deadline=None,
            derandomize=COUNT <= 300,
            database=None,
            print_blob=True,
            phases=[Phase.generate],  # a failure is four mutations at most, and a run takes long
            suppress_health_check=list(HealthCheck),
        )
        with held_clock(chain):
            chain.advance(2)
            while (done := attacked.count) < COUNT:
                await trio.to_thread.run_sync(
                    lambda: run_state_machine_as_test(machine, settings=profile)
                )
                log.info("plans_mutated", count=done, **attacked.outcomes)
    log.info("plans_mutated", **attacked.outcomes)
    assert attacked.outcomes["landed"] > COUNT // 20
    assert attacked.outcomes["unknown_transaction"] > COUNT // 20

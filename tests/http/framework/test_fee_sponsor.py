"""Fee sponsorship: nobody can spend the operator's SOL beyond what it allows."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from solders.instruction import Instruction
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer

from cvms.chain.program import instructions
from cvms.chain.transactions.versioned import (
    build_transaction,
    message_of,
    parse_base64,
    parse_wire,
    required_signers,
    sign_as,
)
from cvms.config.operator_settings import Sponsoring
from cvms.store.submissions import submissions
from tests.harness.localnet import Localnet
from tests.harness.service import Json, Service, running
from tests.http.multisig.signers import approve, propose, shared_vault
from tests.http.wallets import (
    at_once,
    cosigned,
    deposit,
    funded,
    initialize,
    landed,
    rows,
    sent,
    signed,
    submit,
    with_vault,
)

DEPOSIT = 10_000  # lamports: two signatures
OPENED = 2 * DEPOSIT  # a vault opened, and a first deposit

Start = Callable[..., AbstractAsyncContextManager[Service]]

pytestmark = pytest.mark.usefixtures("database_at_noon")


@pytest.fixture
def start(database_url: str, localnet: Localnet) -> Start:
    """Return a function that runs a front end with its own settings."""

    @asynccontextmanager
    async def starting(**limits: Any) -> AsyncIterator[Service]:
        sponsoring = Sponsoring(**limits)
        async with running(database_url, sponsoring=sponsoring, **localnet.settings) as service:
            yield service

    return starting


async def spent(service: Service, owner: str = "") -> int:
    found = await rows(service, f"SELECT lamports FROM sponsored WHERE owner = '{owner}'")
    return sum(row["lamports"] for row in found)


async def withdraw(service: Service, wallet: Keypair, amount: int) -> Json:
    return await signed(service, wallet, "withdraw", ("amount", amount))


async def test_of_many_signed_transactions_only_as_many_as_the_budget_allows_are_sponsored(
    start: Start,
) -> None:
    async with start(owner_a_day=OPENED + 2 * DEPOSIT + 1) as front:
        wallet, other = await with_vault(front, amount=1), await with_vault(front, amount=1)
        offers = [await deposit(front, wallet, amount) for amount in range(1, 7)]
        answers = await at_once(
            front, "/api/transactions", [cosigned(wallet, each) for each in offers]
        )
        assert sorted(each.status_code for each in answers) == [202] * 2 + [429] * 4
        refused = next(each for each in answers if each.status_code == 429)
        assert refused.json()["code"] == "sponsorship_exhausted"
        assert 1 <= int(refused.headers["Retry-After"]) <= 86_400
        assert len(await rows(front, "SELECT 1 FROM submissions WHERE state = 'pending'")) == 2
        assert await spent(front, str(wallet.pubkey())) == OPENED + 2 * DEPOSIT

        late = await deposit(front, wallet, 7)
        assert (late.status_code, late.json()["code"]) == (429, "sponsorship_exhausted")
        assert (await deposit(front, other, 1)).status_code == 200


async def test_a_request_refused_for_its_budget_may_be_repeated(
    start: Start,
) -> None:
    async with start(owner_a_day=OPENED + DEPOSIT) as front:
        wallet = await with_vault(front, amount=10, delegate=True)
        body = await withdraw(front, wallet, 5)
        refused = await front.post("/api/vault/withdraw", body)
        assert (refused.status_code, refused.json()["code"]) == (429, "sponsorship_exhausted")
        assert not await rows(front, "SELECT 1 FROM submissions")
    async with start() as front:
        again = await front.post("/api/vault/withdraw", body)
        assert (again.status_code, again.json()["mode"]) == (202, "submitted")
        assert await spent(front, str(wallet.pubkey())) == OPENED + DEPOSIT + 5_000


async def test_all_owners_together_have_a_budget(start: Start) -> None:
    async with start(everybody_a_day=OPENED + DEPOSIT) as front:
        await with_vault(front, amount=1)
        stranger = await funded(front)
        assert (await submit(front, stranger, await initialize(front, stranger))).status_code == 202
        another = await funded(front)
        refused = await initialize(front, another)
        assert (refused.status_code, refused.json()["code"]) == (429, "sponsorship_exhausted")


async def test_unsigned_requests_do_not_use_up_an_owners_budget(
    start: Start, localnet: Localnet
) -> None:
    locked = OPENED + DEPOSIT
    async with start(owner_a_day=locked) as front:
        wallet = await with_vault(front, amount=10)
        fields = ("amount", 4), ("duration_seconds", 60)
        body = await signed(front, wallet, "schedule", *fields)
        await sent(front, wallet, await front.post("/api/vault/schedule-withdraw", body))
        chain = localnet.running.chain
        chain.move_time(chain.time.now() + 60)
        chain.advance(2)
        release = {"owner": str(wallet.pubkey())}
        released = await front.post("/api/vault/release-timelocks", release)
        assert (released.status_code, released.json()["mode"]) == (202, "submitted")
        assert await spent(front, str(wallet.pubkey())) == locked
        assert await spent(front) == locked + 5_000


async def test_the_same_transaction_is_charged_once(start: Start) -> None:
    async with start() as front:
        wallet = await with_vault(front, amount=1)
        body = cosigned(wallet, await deposit(front, wallet, 1))
        answers = await at_once(front, "/api/transactions", [body] * 5)
        assert {each.status_code for each in answers} == {202}
        assert await spent(front, str(wallet.pubkey())) == OPENED + DEPOSIT
        assert await spent(front) == OPENED + DEPOSIT


async def test_with_too_little_sol_the_owner_pays_and_signs(start: Start) -> None:
    async with start(operator_minimum=1000) as front:
        funds = front.resources.signers.preferred.funds
        wallet = await with_vault(front, amount=10, delegate=True)
        before = await spent(front)
        early = await deposit(front, wallet, 1)
        funds.lamports = 999
        late = await submit(front, wallet, early)
        assert (late.status_code, late.json()["code"]) == (503, "sponsorship_paused")
        offered = await front.post("/api/vault/withdraw", await withdraw(front, wallet, 4))
        assert offered.json()["mode"] == "cosign", "the delegate would have to pay"
        message = message_of(parse_base64(offered.json()["transaction"]))
        assert required_signers(message) == (wallet.pubkey(),)
        assert (await submit(front, wallet, offered)).status_code == 202
        (row,) = await rows(front, "SELECT wire FROM submissions WHERE state = 'pending'")
        await landed(front.rpc, await front.rpc.send_transaction(row["wire"]))
        assert await spent(front) == before

        funds.lamports = 1000
        at_once = await front.post("/api/vault/withdraw", await withdraw(front, wallet, 4))
        assert at_once.json()["mode"] == "submitted"


async def test_with_too_little_sol_what_only_the_operator_can_pay_is_paused(
    start: Start,
) -> None:
    async with start(operator_minimum=1000) as front:
        funds = front.resources.signers.preferred.funds
        shared = await shared_vault(front, signers=2, threshold=2)
        proposal = await propose(front, shared)
        funds.lamports = 999
        first, last = [await approve(front, proposal, signer) for signer in shared.signers]
        assert first.status_code == 200, first.text
        assert (last.status_code, last.json()["code"]) == (503, "sponsorship_paused")
        release = {"owner": str(shared.owner.pubkey())}
        for route in ("/api/vault/release-timelocks", "/api/pm/settle"):
            waiting = await front.post(route, release)
            assert (waiting.status_code, waiting.json()["code"]) == (503, "sponsorship_paused")


async def test_the_operator_signs_only_what_it_sponsors_whatever_the_database_contains(
    start: Start, localnet: Localnet
) -> None:
    """Write access to the database is not enough to obtain the operator's SOL."""
    async with start() as front:
        thief = await funded(front)
        operator = localnet.operator.pubkey()
        theft = transfer(
            TransferParams(from_pubkey=operator, to_pubkey=thief.pubkey(), lamports=10**9)
        )
        body = await planted(front, theft, payer=operator)
        refused = await front.post("/api/transactions", body)
        assert (refused.status_code, refused.json()["code"]) == (422, "not_sponsored")
        assert not await rows(front, "SELECT 1 FROM submissions WHERE state <> 'built'")


async def planted(front: Service, instruction: Instruction, *, payer: Pubkey) -> Json:
    """Return the body for a transaction that somebody inserted into the database."""
    blockhash = await front.rpc.get_latest_blockhash()
    built = build_transaction(instruction, fee_payer=payer, blockhash=blockhash)
    async with front.database.connection() as conn:
        await submissions.record_built(
            conn,
            message_hash=built.message_hash,
            kind="deposit",
            owner="somebody",
            message=bytes(built.message),
            last_valid_block_height=built.last_valid_block_height,
            since_slot=built.since_slot,
        )
    return {"transaction": base64.b64encode(built.unsigned_wire).decode()}


async def test_a_new_transaction_has_the_current_priority_fee(
    start: Start, localnet: Localnet
) -> None:
    async with start() as front:
        wallet = await with_vault(front, amount=10, delegate=True)

        async def price() -> int:
            body = await withdraw(front, wallet, 1)
            assert (await front.post("/api/vault/withdraw", body)).status_code == 202
            newest = "SELECT wire FROM submissions ORDER BY created_at DESC LIMIT 1"
            (row,) = await rows(front, newest)
            return price_in(row["wire"])

        assert await price() == 0
        await crowd(localnet, front, wallet, price=40_000)
        assert await price() == 40_000
        await crowd(localnet, front, wallet, price=9_000_000)
        assert await price() == 100_000, "and never more than the cap"


def price_in(wire: bytes) -> int:
    message = parse_wire(wire).message
    prices = [bytes(each.data) for each in message.instructions if bytes(each.data)[:1] == b"\3"]
    return int.from_bytes(prices[0][1:], "little") if prices else 0


async def crowd(localnet: Localnet, front: Service, wallet: Keypair, *, price: int) -> None:
    """Put a transaction on the same accounts, at this price, into each of the next blocks."""
    chain, owner = localnet.running.chain, wallet.pubkey()
    chain.pause()
    for amount in range(1, 61):
        built = build_transaction(
            instructions.deposit(localnet.programs, authority=owner, owner=owner, amount=amount),
            fee_payer=localnet.operator.pubkey(),
            blockhash=await front.rpc.get_latest_blockhash(),
            compute_unit_price=price,
        )
        await front.rpc.send_transaction(bytes(sign_as(built.message, localnet.operator, wallet)))
        chain.advance()
    chain.resume()

"""The client's requests, on the whole service and a real chain."""

from __future__ import annotations

import inspect
import itertools
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pyotp
import pytest
import trio
from cryptography.fernet import Fernet
from msgspec.structs import replace
from solders.keypair import Keypair

from cvms.client import (
    Client,
    ClientError,
    CoSign,
    Problem,
    ServiceUnavailable,
    Statement,
    Submitted,
    TransactionFailed,
    UnexpectedText,
    Wallet,
    open_client,
)
from cvms.config.settings import Rates
from cvms.store.redis.rate_limiter import Rate
from tests.client.gate import gated
from tests.harness.localnet import Localnet
from tests.harness.service import Served, Service, running
from tests.http.multisig.signers import shared_vault
from tests.http.wallets import USDT, funded, rows, with_vault


@asynccontextmanager
async def opened(service: Served, keypair: Keypair, **options: Any) -> AsyncIterator[Client]:
    async with open_client(service.url, wallet=Wallet(keypair), **options) as client:
        yield client


async def test_a_vault_from_opening_to_closing(system: Served) -> None:
    keypair = await funded(system)
    operator = str(system.operator.pubkey())
    with trio.fail_after(60):
        async with opened(system, keypair) as client:
            await client.finish(await client.open_vault())
            state = await client.finish(await client.deposit(1_000 * USDT))
            assert (state.kind, state.owner, state.amount) == (
                "deposit",
                client.address,
                1_000 * USDT,
            )
            cosigned = await client.withdraw(100 * USDT)
            assert isinstance(cosigned, CoSign)
            await client.finish(cosigned)

            await client.finish(await client.add_delegate(operator))
            delegated = await client.withdraw(200 * USDT)
            assert isinstance(delegated, Submitted)
            await client.finish(delegated)

            await client.finish(await client.lock(300 * USDT))
            await client.finish(await client.unlock(300 * USDT))
            await client.finish(await client.schedule_withdraw(50 * USDT, 0))
            await until_released(client)
            last = await client.finish(await client.withdraw(700 * USDT))
            assert last.slot is not None
            await until_indexed(client, last.slot)

            kinds = [movement.kind for movement in await client.movements()]
            assert kinds == [
                "withdraw",
                "timelock_release",
                "timelock",
                "unlock",
                "lock",
                "withdraw",
                "withdraw",
                "deposit",
            ]
            page = await client.history(kind="withdraw", limit=2)
            assert [movement.amount for movement in page.transactions] == [700 * USDT, 200 * USDT]
            rest = await client.history(kind="withdraw", limit=2, cursor=page.next_cursor)
            assert [movement.amount for movement in rest.transactions] == [100 * USDT]
            assert len(await client.movements(at_most=3)) == 3

            assert (await client.tvl()).total == 0
            assert (await client.vault()).total_deposited == 1_000 * USDT
            assert (await client.config()).delegates == [operator]
            closed = await client.finish(await client.close_vault())
            assert (await client.settled(closed.signature, finalized=True)).status == "finalized"


async def until_released(client: Client) -> None:
    """Wait until the service has released the matured timelocks."""
    while (await client.timelocks()).timelocked:  # noqa: ASYNC110 - as below
        await trio.sleep(0.05)


async def test_a_client_learns_the_deployment(front: Service) -> None:
    async with open_client(front.url) as client:
        told = await client.deployment()
    programs = front.config.programs
    assert told.programs["collateral_vault"] == str(programs.vault)
    assert (told.mint, told.decimals) == (str(programs.mint), 6)
    assert told.operator == str(front.operator.pubkey())
    assert told.chain["genesis_hash"] == await front.rpc.call("getGenesisHash", [])


async def until_indexed(client: Client, slot: int) -> None:
    """Wait until the service has indexed the vault up to this slot."""
    while (await client.balance()).slot < slot:  # noqa: ASYNC110 - there is no event to wait for
        await trio.sleep(0.05)


async def test_a_refusal_raises_a_problem_with_its_code(front: Service) -> None:
    async with opened(front, await with_vault(front)) as client:
        with pytest.raises(Problem) as refused:
            await client.withdraw(1 * USDT)
        assert (refused.value.status, refused.value.code) == (422, "program_error")
        assert refused.value.program_error == "InsufficientFunds"
        with pytest.raises(Problem) as unknown:
            await client.balance(str(Keypair().pubkey()))
        assert (unknown.value.status, unknown.value.code) == (404, "vault_not_found")
        assert unknown.value.program_error is None


async def test_a_withdrawal_to_a_recipient_is_signed_with_the_recipient(front: Service) -> None:
    keypair = await with_vault(front, amount=10 * USDT)
    recipient = str(Keypair().pubkey())
    async with opened(front, keypair) as client:
        with pytest.raises(Problem) as refused:
            await client.withdraw(USDT, recipient=recipient)
    assert refused.value.code == "invalid_request", refused.value
    assert refused.value.body["errors"][0]["path"] == "recipient"


async def test_a_text_that_says_something_else_is_not_signed() -> None:
    """A service in a thief's hands could ask for a signature of a withdrawal to the thief."""
    thief, asked = str(Keypair().pubkey()), []

    def answer(request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        asked.append(request.url.path)
        text = f"withdraw:{body['owner']}:{USDT}:{thief}:{'f' * 48}"
        expires_at = "2027-01-31T12:05:00Z"
        reply = {"nonce": "f" * 48, "expires_at": expires_at, "message": text}
        return httpx.Response(200, json=reply)

    async with (
        httpx.AsyncClient(transport=httpx.MockTransport(answer)) as http,
        open_client("http://service", wallet=Wallet(Keypair()), http=http) as client,
    ):
        with pytest.raises(UnexpectedText, match=thief):
            await client.withdraw(USDT)
    assert asked == ["/api/auth/nonce"]


async def test_without_a_wallet_a_client_reads_and_names_what_is_missing(service: Service) -> None:
    async with open_client(service.url) as client:
        assert (await client.tvl()).vaults == 0
        with pytest.raises(ClientError, match="needs a wallet"):
            await client.deposit(1)


async def test_a_permanent_503_is_raised_at_once(service: Service) -> None:
    """The reason of this 503 is a missing setting."""
    async with opened(service, Keypair()) as client:
        with trio.fail_after(5), pytest.raises(Problem, match="twofa_disabled"):
            await client.second_factor()


async def test_a_lost_reply_is_requested_again_and_takes_effect_once(
    front: Service,
) -> None:
    keypair = await with_vault(front, amount=100 * USDT, delegate=True)
    keys: list[str] = []

    async def note(request: httpx.Request) -> None:
        keys.append(request.headers.get("Idempotency-Key", ""))
        # The nonce's reply arrives, that of the withdrawal is lost twice.
        gate.answers_to_lose = int(1 < len(keys) < 4)

    async with (
        gated(front.port) as (gate, url),
        httpx.AsyncClient(event_hooks={"request": [note]}) as http,
        open_client(url, wallet=Wallet(keypair), http=http) as client,
    ):
        outcome = await client.withdraw(1 * USDT)
    assert isinstance(outcome, Submitted)
    assert (len(keys), len(set(keys[1:]))) == (4, 1)
    kept = await rows(front, "SELECT signature FROM submissions WHERE kind = 'withdraw'")
    assert kept == [{"signature": outcome.signature}]


async def test_a_request_without_a_key_is_not_repeated(service: Service) -> None:
    async with (
        gated(service.port) as (gate, url),
        open_client(url, wallet=Wallet(Keypair())) as client,
    ):
        gate.answers_to_lose = 2
        with trio.fail_after(5), pytest.raises(ServiceUnavailable):
            await client.verify_second_factor("123456")
        assert gate.answers_to_lose == 1


async def test_an_unreachable_service_is_retried_within_patience(
    service: Service,
) -> None:
    async with gated(service.port) as (gate, url):
        gate.open = False
        async with open_client(url, patience=1.0) as hasty, open_client(url) as patient:
            with trio.fail_after(5), pytest.raises(ServiceUnavailable, match="/api/vault/tvl") as e:
                await hasty.tvl()
            assert isinstance(e.value.__cause__, httpx.TransportError)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(patient.tvl)
                refused = gate.connections
                with trio.fail_after(5):
                    while gate.connections == refused:  # noqa: ASYNC110
                        await trio.sleep(0.01)
                gate.open = True


async def test_an_unavailable_chain_is_raised_when_patience_ends(service: Service) -> None:
    """Without a chain each reply is a 503."""
    async with opened(service, Keypair(), patience=2.0) as client:
        with trio.fail_after(10), pytest.raises(ServiceUnavailable) as failed:
            await client.open_vault()
    assert isinstance(failed.value.__cause__, Problem)
    assert failed.value.__cause__.code == "chain_unavailable"


async def test_patience_limits_the_wait_for_a_reply() -> None:
    async with trio.open_nursery() as nursery:
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, _never_reply, [listener])
        url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        async with open_client(url, patience=0.2) as client:
            with trio.fail_after(5), pytest.raises(ServiceUnavailable, match="no answer"):
                await client.tvl()
        nursery.cancel_scope.cancel()


async def _never_reply(stream: trio.SocketStream) -> None:
    async for _ in stream:
        pass


async def test_a_rate_limited_client_waits_for_retry_after(database_url: str) -> None:
    async with running(database_url, rates=Rates(address=Rate(2, 2.0))) as service:
        refused: list[int] = []

        async def note(reply: httpx.Response) -> None:
            refused.append(reply.status_code)

        async with (
            httpx.AsyncClient(event_hooks={"response": [note]}) as http,
            open_client(service.url, http=http) as client,
        ):
            with trio.fail_after(20):
                for _ in range(4):
                    await client.tvl()
    assert 429 in refused
    assert len(refused) - refused.count(429) == 4
    assert refused.count(429) <= 2  # it does not retry before that


async def test_a_failed_transaction_raises(front: Service) -> None:
    async with opened(front, await with_vault(front)) as client:
        built = await client.deposit(1 * USDT)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_let_expire, front)
            with trio.fail_after(10), pytest.raises(TransactionFailed) as failed:
                await client.finish(built)
    assert failed.value.status == "expired"


async def _let_expire(front: Service) -> None:
    """Do what the submitter, which does not run here, would do."""
    pending = "SELECT 1 FROM submissions WHERE state = 'pending'"
    while not await rows(front, pending):  # noqa: ASYNC110
        await trio.sleep(0.02)
    async with front.database.connection() as conn:
        await conn.execute("UPDATE submissions SET state = 'expired'")


@pytest.fixture
async def secured(database_url: str, localnet: Localnet) -> AsyncIterator[Service]:
    """The front end on a real chain, with second factors."""
    async with running(
        database_url,
        **localnet.settings,
        data_encryption_keys=(Fernet.generate_key(),),
    ) as service:
        yield service


async def test_with_a_second_factor_a_withdrawal_needs_a_code(secured: Service) -> None:
    keypair = await with_vault(secured, amount=10 * USDT, delegate=True)
    async with opened(secured, keypair) as client:
        assert not (await client.second_factor()).enabled
        factor = await client.set_up_second_factor()
        code = pyotp.TOTP(factor.secret).now()
        assert (await client.verify_second_factor(code)).enabled
        with pytest.raises(Problem, match="second_factor_required"):
            await client.withdraw(1 * USDT)
        outcome = await client.withdraw(1 * USDT, code=factor.recovery_codes[0])
        assert isinstance(outcome, Submitted)
        assert (await client.second_factor()).recovery_codes_left == 9
        assert not (await client.disable_second_factor(factor.recovery_codes[1])).enabled


async def test_two_signers_withdraw_together(front: Service) -> None:
    shared = await shared_vault(front)
    [first, second, _] = shared.signers
    async with (
        opened(front, shared.owner) as owner,
        opened(front, first) as one,
        opened(front, second) as other,
    ):
        proposal = await owner.propose_withdraw(40 * USDT, threshold=2)
        assert (proposal.threshold, proposal.transaction) == (2, None)
        await one.approve_withdraw(proposal.proposal_id)
        approved = await other.approve_withdraw(proposal.proposal_id)
        assert approved.transaction is not None
        collected = await one.submit(one.wallet.cosign(approved.transaction))
        assert (collected.signature, collected.missing) == (None, [other.address])
        done = await other.submit(other.wallet.cosign(approved.transaction))
        assert done.signature is not None
        assert (await owner.proposal(proposal.proposal_id)).state == "submitted"


async def test_a_statement_adds_up_over_its_pages(system: Served) -> None:
    keypair = await funded(system)
    with trio.fail_after(60):
        async with opened(system, keypair) as client:
            await client.finish(await client.open_vault())
            for amount in (5, 6, 7):
                last = await client.finish(await client.deposit(amount))
            assert last.signature is not None
            final = await client.settled(last.signature, finalized=True)
            assert final.slot is not None
            pages = await statement_up_to(client, final.slot)
    assert [line.amount for page in pages for line in page.lines] == [5, 6, 7]
    assert all(page.adds_up for page in pages)
    assert len(pages) == 3
    assert pages[-1].closing.total == 18
    for before, after in itertools.pairwise(pages):
        assert before.closing == after.opening
    [line] = pages[0].lines
    wrong = replace(line, change=replace(line.change, total=4))
    assert not replace(pages[0], lines=[wrong]).adds_up
    assert not replace(pages[0], lines=[]).adds_up


async def statement_up_to(client: Client, slot: int) -> list[Statement]:
    """Return the pages of the statement that ends with the slot, once it is final here."""
    while True:
        until = slot + 1
        pages = [page async for page in client.statements(until=until, limit=1)]
        if pages[-1].status == "complete":
            return [page for page in pages if page.lines]
        await trio.sleep(0.05)


async def test_every_route_for_wallets_has_a_method_that_signs_it(
    secured: Service,
) -> None:
    """Most requests are refused by the vault's state, but none as malformed or badly signed."""
    asked: set[str] = set()
    codes: dict[str, str] = {}
    wallet = Wallet(await with_vault(secured))

    async def note(request: httpx.Request) -> None:
        asked.add(f"{request.method} {request.url.path}")

    async with (
        httpx.AsyncClient(event_hooks={"request": [note]}) as http,
        open_client(secured.url, wallet=wallet, http=http, patience=5.0) as client,
    ):
        built = await client.deposit(1)
        await client.submit(client.wallet.cosign(built.transaction))
        for name, method in inspect.getmembers(client, inspect.iscoroutinefunction):
            if name.startswith("_") or name in {"submit", "finish", "settled", "signed", "request"}:
                continue
            try:
                await method(**_arguments(method))
            except Problem as problem:
                codes[name] = problem.code
    assert not {"invalid_signature", "invalid_request", "unknown"} & set(codes.values()), codes
    paths = (await secured.get("/openapi.json")).json()["paths"]
    for path, item in paths.items():
        route = re.sub(r"\{\w+\}", r"[\\w-]{32,}", path)
        for method, operation in item.items():
            twin = method == "delete" and "post" in item
            if _is_for_wallets(path, operation) and not twin:
                found = [each for each in asked if re.fullmatch(f"{method.upper()} {route}", each)]
                assert found, f"no method of the client asks for {method.upper()} {path}"


def _is_for_wallets(path: str, operation: dict[str, Any]) -> bool:
    """Return True unless the route is for administrators, analytics, IDLs or verifiers."""
    others = ("/api/analytics/", "/api/idl/", "/api/proofs")
    if not path.startswith("/api/") or path.startswith(others):
        return False
    security: object = operation.get("security")
    return security != [{"admin": []}]


# A value for each parameter that the methods have.
VALUES: dict[str, Any] = {
    "amount": 1,
    "duration_seconds": 60,
    "seconds": 60,
    "window_seconds": 60,
    "executable_at": 60,
    "unlock_time": 60,
    "change": "min_delay=0",
    "allowance": "unlimited",
    "max_amount": 1,
    "threshold": 2,
    "auto_compound": True,
    "min_amount": 1,
    "url": "https://example.com/hook",
    "code": "123456",
    "signature": str(Keypair().sign_message(b"")),
    "proposal_id": "00000000-0000-4000-8000-000000000000",
    "endpoint": "00000000-0000-4000-8000-000000000000",
    "webhook_id": "00000000-0000-4000-8000-000000000000",
}


def _arguments(method: Any) -> dict[str, Any]:
    needed = [
        name
        for name, parameter in inspect.signature(method).parameters.items()
        if parameter.default is inspect.Parameter.empty
    ]
    return {name: VALUES.get(name, str(Keypair().pubkey())) for name in needed}

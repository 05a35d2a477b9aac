"""While a signer is away, owners pay and sign, or another key does; nothing is signed twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from cvms.chain.transactions.versioned import message_of, parse_base64, parse_wire, required_signers
from cvms.config.operator_settings import SignerSettings, SignerUri, Sponsoring
from cvms.errors import SignerUnavailable
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
)
from tests.signing.conftest import with_entry_points
from tests.signing.faulty_signer import SIGNERS, Fault, FaultySigner, signs_again
from tests.signing.hedged_signer import KEYPAIRS

FAULTS: tuple[Fault, ...] = ("slow", "dead", "wrong")
TRANSACTIONS = "/api/transactions"


@pytest.fixture
async def signers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, localnet: Localnet
) -> AsyncIterator[list[FaultySigner]]:
    """Three remote signers with SOL, of which the first is governance."""
    with_entry_points(tmp_path, monkeypatch)
    for number in range(3):
        SIGNERS[str(number)] = FaultySigner(localnet.operator if number == 0 else Keypair())
    yield list(SIGNERS.values())
    SIGNERS.clear()


@asynccontextmanager
async def front_of(
    database_url: str, localnet: Localnet, *numbers: int, **settings: Any
) -> AsyncIterator[Service]:
    """Run a front end with these signers, in their order."""
    chain = {name: value for name, value in localnet.settings.items() if name != "operator"}
    operators = tuple(
        SignerUri("faulty", str(number), SIGNERS[str(number)].address) for number in numbers
    )
    settings = {"signing": SignerSettings(seconds=0.1)} | settings
    async with running(database_url, operators=operators, **chain, **settings) as front:
        for number in numbers:
            await give_sol(front, SIGNERS[str(number)].address)
        yield front


async def give_sol(front: Service, address: Pubkey) -> None:
    await front.rpc.call("surfnet_setAccount", [str(address), {"lamports": 10**10}])


def payer_of(reply: httpx.Response) -> Pubkey:
    return required_signers(message_of(parse_base64(reply.json()["transaction"])))[0]


async def vault_of(front: Service, *, delegate: FaultySigner | None = None) -> Keypair:
    """Create a wallet with 100 in its vault, of which the signer's key is a delegate."""
    wallet = await funded(front)
    await sent(front, wallet, await initialize(front, wallet))
    await sent(front, wallet, await deposit(front, wallet, 100))
    if delegate is not None:
        body = await signed(front, wallet, "delegate_add", ("delegate", str(delegate.address)))
        await sent(front, wallet, await front.post("/api/vault/delegate/add", body))
    return wallet


async def lands(front: Service, wallet: Keypair, reply: httpx.Response) -> None:
    """Submit, and send the stored transaction as the submitter would."""
    submitted = await submit(front, wallet, reply)
    assert submitted.status_code == 202, submitted.text
    signature = submitted.json()["signature"]
    [row] = await rows(front, f"SELECT wire FROM submissions WHERE signature = '{signature}'")
    await landed(front.rpc, await front.rpc.send_transaction(row["wire"]))


async def withdrawal(front: Service, wallet: Keypair, amount: int) -> httpx.Response:
    body = await signed(front, wallet, "withdraw", ("amount", amount))
    return await front.post("/api/vault/withdraw", body)


async def stored(front: Service) -> list[tuple[str, str | None]]:
    found = await rows(front, "SELECT state, signature FROM submissions ORDER BY created_at")
    return [(row["state"], row["signature"]) for row in found]


@pytest.mark.parametrize("fault", FAULTS)
async def test_while_the_signer_is_away_owners_pay_and_afterwards_it_signs_what_was_planned(
    database_url: str, localnet: Localnet, signers: list[FaultySigner], fault: Fault
) -> None:
    [signer, *_] = signers
    async with front_of(database_url, localnet, 0) as front:
        wallet = await vault_of(front)
        spent = await rows(front, "SELECT lamports FROM sponsored ORDER BY owner")
        planned = await deposit(front, wallet, 1)
        assert payer_of(planned) == signer.address
        signer.signed.clear()

        signer.fault = fault
        refused = await submit(front, wallet, planned)
        assert (refused.status_code, refused.json()["code"]) == (503, "sponsorship_paused")
        assert await stored(front) == [("built", None)]
        assert await rows(front, "SELECT lamports FROM sponsored ORDER BY owner") == spent
        own = await deposit(front, wallet, 2)
        assert payer_of(own) == wallet.pubkey()
        await lands(front, wallet, own)

        signer.fault = None
        await signs_again(front.resources.signers)
        again = [await submit(front, wallet, planned) for _ in range(2)]
        assert [reply.status_code for reply in again] == [202, 202]
        assert again[0].json() == again[1].json()
        assert len(signer.signed) == 1, "what is stored is not signed again"
        assert payer_of(await deposit(front, wallet, 3)) == signer.address


async def test_a_request_that_is_cancelled_while_it_is_signed_leaves_nothing(
    database_url: str, localnet: Localnet, signers: list[FaultySigner]
) -> None:
    [signer, *_] = signers
    patient = {"signing": SignerSettings(seconds=600), "shutdown_deadline": 1.0}
    async with front_of(database_url, localnet, 0) as other:
        wallet = await vault_of(other)
        async with front_of(database_url, localnet, 0, **patient) as front:
            body = cosigned(wallet, await deposit(front, wallet, 1))
            spent = await rows(other, "SELECT lamports FROM sponsored ORDER BY owner")
            signer.fault, signer.asked = "slow", trio.Event()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_failing_post, front, body)
                await signer.asked.wait()
                front.shutdown.set()  # the request does not end in time
        assert await stored(other) == [("built", None)]
        assert await rows(other, "SELECT lamports FROM sponsored ORDER BY owner") == spent
        signer.fault = None
        assert (await other.post(TRANSACTIONS, body)).status_code == 202


async def _failing_post(front: Service, body: Json) -> None:
    try:
        reply = await front.post(TRANSACTIONS, body)
    except httpx.TransportError:
        return
    assert reply.status_code >= 500


async def test_another_key_stands_by_and_the_first_still_signs_what_names_it(
    database_url: str, localnet: Localnet, signers: list[FaultySigner]
) -> None:
    first, second, _ = signers
    async with front_of(database_url, localnet, 0, 1) as front:
        wallet = await vault_of(front)
        planned = await deposit(front, wallet, 1)
        first.fault = "dead"
        assert (await submit(front, wallet, planned)).status_code == 503
        by_second = await deposit(front, wallet, 2)
        assert payer_of(by_second) == second.address
        first.fault = None
        await signs_again(front.resources.signers)
        assert payer_of(await deposit(front, wallet, 3)) == first.address
        for reply in (planned, by_second):
            await lands(front, wallet, reply)


async def test_a_key_that_is_short_of_sol_leaves_it_to_the_next(
    database_url: str, localnet: Localnet, signers: list[FaultySigner]
) -> None:
    first, second, _ = signers
    limits = {"sponsoring": Sponsoring(operator_minimum=1000)}
    async with front_of(database_url, localnet, 0, 1, **limits) as front:
        wallet = await vault_of(front)
        planned = await deposit(front, wallet, 1)
        one, other = front.resources.signers.signers
        one.funds.lamports = 999
        assert payer_of(await deposit(front, wallet, 2)) == second.address
        late = await submit(front, wallet, planned)
        assert (late.status_code, late.json()["code"]) == (503, "sponsorship_paused")
        other.funds.lamports = 999
        assert payer_of(await deposit(front, wallet, 3)) == wallet.pubkey()
        one.funds.lamports = 1000
        assert payer_of(await deposit(front, wallet, 4)) == first.address


async def test_any_of_the_keys_may_be_a_vaults_delegate(
    database_url: str, localnet: Localnet, signers: list[FaultySigner]
) -> None:
    _, second, _ = signers
    async with front_of(database_url, localnet, 0, 1) as front:
        wallet = await vault_of(front, delegate=second)
        reply = await withdrawal(front, wallet, 10)
        assert reply.json()["mode"] == "submitted", reply.text
        [row] = await rows(front, "SELECT wire FROM submissions WHERE state = 'pending'")
        assert required_signers(message_of(parse_wire(row["wire"]))) == (second.address,)
        await landed(front.rpc, await front.rpc.send_transaction(row["wire"]))
        second.fault = "dead"
        nonce_unused = await withdrawal(front, wallet, 20)
        assert nonce_unused.json()["code"] == "sponsorship_paused"
        assert (await withdrawal(front, wallet, 20)).json()["mode"] == "cosign"


async def test_a_key_in_front_does_not_let_the_one_behind_it_sign_as_a_second_signer(
    database_url: str, localnet: Localnet, signers: list[FaultySigner]
) -> None:
    """Only the fee payer's signature is the operator's to give."""
    first, second, _ = signers
    async with front_of(database_url, localnet, 0, 1) as front:
        wallet = await vault_of(front, delegate=second)
        reply = await deposit(front, wallet, 1)
        message = message_of(parse_base64(reply.json()["transaction"]))
        assert front.app is not None
        assert required_signers(message) == (first.address, wallet.pubkey())
        assert second.signed == []


async def test_while_keys_are_rotated_each_replica_signs_what_the_other_planned(
    database_url: str, localnet: Localnet, signers: list[FaultySigner]
) -> None:
    old, new, _ = signers
    async with (
        front_of(database_url, localnet, 0, 1) as before,
        front_of(database_url, localnet, 1, 0) as after,
    ):
        wallet = await vault_of(before)
        one, two = await deposit(before, wallet, 1), await deposit(after, wallet, 2)
        assert (payer_of(one), payer_of(two)) == (old.address, new.address)
        await lands(after, wallet, one)
        await lands(before, wallet, two)


async def test_two_replicas_that_are_given_one_transaction_store_it_once(
    database_url: str, localnet: Localnet, signers: list[FaultySigner]
) -> None:
    async with (
        front_of(database_url, localnet, 0) as one,
        front_of(database_url, localnet, 0) as other,
    ):
        wallet = await vault_of(one)
        body = cosigned(wallet, await deposit(one, wallet, 1))
        replies: list[httpx.Response] = []

        async def post(front: Service) -> None:
            replies.extend(await at_once(front, TRANSACTIONS, [body] * 5))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(post, one)
            nursery.start_soon(post, other)
        assert {reply.status_code for reply in replies} == {202}
        assert len({reply.json()["signature"] for reply in replies}) == 1
        assert [state for state, _ in await stored(one)] == ["pending"]


async def test_a_signer_whose_signatures_differ_gives_each_transaction_one(
    database_url: str, localnet: Localnet, signers: list[FaultySigner]
) -> None:
    KEYPAIRS["one"] = localnet.operator
    operators = (SignerUri("hedged", "one"),)
    chain = {name: value for name, value in localnet.settings.items() if name != "operator"}
    patient = SignerSettings(seconds=60)
    async with running(database_url, operators=operators, signing=patient, **chain) as front:
        signer = front.resources.signers.preferred
        assert not signer.deterministic
        assert await signer.sign(b"text") != await signer.sign(b"text")
        wallet = await vault_of(front)
        body = cosigned(wallet, await deposit(front, wallet, 1))
        replies = [await front.post(TRANSACTIONS, body) for _ in range(2)]
        assert [reply.status_code for reply in replies] == [202, 202]
        assert replies[0].json() == replies[1].json()
        is_known = front.resources.signers.is_deterministic
        assert not is_known(signer.address), "its submissions' ends are proven without a shortcut"
    KEYPAIRS.clear()


async def test_a_proposal_waits_for_the_signer_and_is_then_submitted(
    database_url: str, localnet: Localnet, signers: list[FaultySigner]
) -> None:
    [signer, *_] = signers
    async with front_of(database_url, localnet, 0) as front:
        shared = await shared_vault(front, signers=2, threshold=2)
        proposal = await propose(front, shared)
        signer.fault = "dead"
        with pytest.raises(SignerUnavailable):
            await front.resources.signers.preferred.check()
        first, last = [await approve(front, proposal, each) for each in shared.signers]
        assert first.status_code == 200, first.text
        assert (last.status_code, last.json()["code"]) == (503, "sponsorship_paused")
        signer.fault = None
        await signs_again(front.resources.signers)
        again = await approve(front, proposal, shared.signers[1])
        assert again.status_code == 200, again.text
        assert payer_of(again) == signer.address

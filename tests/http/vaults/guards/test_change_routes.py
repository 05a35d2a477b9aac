"""Changes that loosen a guard: refused at once, made after the delay, cancelled by a signer."""

from __future__ import annotations

from typing import Any

import pytest
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from cvms.chain.program.instructions import (
    close_vault,
    initialize_vault,
    request_guard_change,
    set_withdraw_min_delay,
)
from cvms.chain.types import Commitment
from cvms.dev.chain_setup import land as land_on_chain
from cvms.http.vaults.guards.change_text import read_change
from tests.harness.localnet import Localnet
from tests.harness.service import Json, Service
from tests.http.multisig.signers import set_multisig, shared_vault
from tests.http.vaults.guards.chain_steps import (
    DAY,
    WEEK,
    pass_time,
    refusal,
    sent_by,
    vault_of,
)
from tests.http.wallets import USDT, rows, signed, with_vault

REQUEST, APPLY, CANCEL = (
    f"/api/vault/guard-changes/{step}" for step in ("request", "apply", "cancel")
)
WHITELIST = "/api/admin/withdraw/whitelist/add"
MIN_DELAY = "/api/admin/withdraw/min-delay/set"
DELAY = 3600


async def guarded(front: Service, *, seconds: int = DELAY) -> Keypair:
    """Create a vault with a minimum delay."""
    wallet = await with_vault(front, amount=10 * USDT)
    body = await signed(front, wallet, "min_delay_set", ("seconds", seconds))
    await sent_by(front, [wallet], await front.post(MIN_DELAY, body))
    return wallet


async def request(front: Service, localnet: Localnet, wallet: Keypair, change: str) -> None:
    """Request the change, not in the second in which the vault was opened."""
    pass_time(localnet, 1)
    body = await signed(front, wallet, "guard_request", ("change", change))
    await sent_by(front, [wallet], await front.post(REQUEST, body))


async def listed(front: Service, wallet: Keypair) -> list[Json]:
    reply = await front.get(f"/api/vault/guard-changes/{wallet.pubkey()}")
    assert reply.status_code == 200, reply.text
    assert reply.json()["owner"] == str(wallet.pubkey())
    changes: list[Json] = reply.json()["changes"]
    return changes


async def cancellation(
    front: Service, owner: Keypair, change: str, signer: Keypair, **changes: Any
) -> Json:
    """Return the body of a request of `signer` to cancel a change of the owner's vault."""
    nonce = await front.nonce(signer)
    body = await signed(
        front, owner, "guard_cancel", ("change", change), nonce=nonce, signer=signer
    )
    return body | {"signer": str(signer.pubkey())} | changes


async def test_a_loosening_change_is_requested_then_applied_after_the_delay(
    front: Service, localnet: Localnet
) -> None:
    wallet = await guarded(front)
    body = await signed(front, wallet, "min_delay_set", ("seconds", 0))
    at_once = await front.post(MIN_DELAY, body)
    assert refusal(at_once) == "GuardInForce"
    assert "request the change" in at_once.json()["detail"]

    await request(front, localnet, wallet, "min_delay=0")
    [change] = await listed(front, wallet)
    assert change["change"] == "min_delay=0"
    assert change["executable_at"] - change["requested_at"] == DELAY
    assert change["expires_at"] - change["executable_at"] == WEEK
    assert change["executable"] is False
    apply = "guard_apply", ("change", "min_delay=0")
    early = await front.post(APPLY, await signed(front, wallet, *apply))
    assert refusal(early) == "NotExecutableNow"
    assert (await vault_of(front, wallet)).min_withdraw_delay_seconds == DELAY

    pass_time(localnet, DELAY)
    [change] = await listed(front, wallet)
    assert change["executable"] is True
    due = await front.post(APPLY, await signed(front, wallet, *apply))
    await sent_by(front, [wallet], due)
    assert (await vault_of(front, wallet)).min_withdraw_delay_seconds == 0
    assert await listed(front, wallet) == []
    again = await front.post(APPLY, await signed(front, wallet, *apply))
    assert (again.status_code, again.json()["code"]) == (404, "not_found")


async def test_what_the_list_calls_executable_is_what_the_program_applies(
    front: Service, localnet: Localnet
) -> None:
    wallet = await guarded(front)
    await request(front, localnet, wallet, f"whitelist={Pubkey([7] * 32)}")
    await request(front, localnet, wallet, "transfer_allowance=unlimited")
    body = await signed(front, wallet, "min_delay_set", ("seconds", 3 * DAY))
    await sent_by(front, [wallet], await front.post(MIN_DELAY, body))

    async def check(*, executable: bool) -> None:
        changes = await listed(front, wallet)
        assert [each["executable"] for each in changes] == [executable] * 2
        for each in changes:
            apply = await signed(front, wallet, "guard_apply", ("change", each["change"]))
            assert (await front.post(APPLY, apply)).status_code == (200 if executable else 422)

    pass_time(localnet, DELAY + 60)  # by the delay of then, not by that of now
    await check(executable=False)
    pass_time(localnet, 3 * DAY)
    await check(executable=True)
    pass_time(localnet, WEEK)  # expired
    await check(executable=False)


async def test_a_change_of_the_second_in_which_the_vault_is_opened_again_is_not_executable(
    front: Service, localnet: Localnet
) -> None:
    """One transaction may request a change, and close and open the vault."""
    wallet, programs = await with_vault(front), front.config.programs
    key = wallet.pubkey()
    delay = set_withdraw_min_delay(programs, owner=key, seconds=DELAY)
    await land_on_chain(front.rpc, wallet, [delay])
    steps = [
        request_guard_change(programs, owner=key, change=read_change("min_delay=0")),
        close_vault(programs, key),
        initialize_vault(programs, key),
        delay,
    ]
    await land_on_chain(front.rpc, wallet, steps)
    pass_time(localnet, DELAY)
    [change] = await listed(front, wallet)
    assert change["executable"] is False
    body = await signed(front, wallet, "guard_apply", ("change", "min_delay=0"))
    assert refusal(await front.post(APPLY, body)) == "NotExecutableNow"


async def test_one_signer_of_the_multisig_cancels_a_change_and_a_stranger_does_not(
    front: Service, localnet: Localnet
) -> None:
    shared = await shared_vault(front)
    owner, signer = shared.owner, shared.signers[0]
    before = await front.rpc.get_balance(owner.pubkey(), commitment=Commitment.CONFIRMED)
    await request(front, localnet, owner, "multisig=0")
    [change] = await listed(front, owner)
    assert change["executable_at"] - change["requested_at"] == WEEK

    body = await cancellation(front, owner, "multisig=0", Keypair())
    assert refusal(await front.post(CANCEL, body)) == "Unauthorized"
    body = await cancellation(front, owner, "multisig=0", signer)
    forged = body | {"signer": str(shared.signers[1].pubkey())}
    assert (await front.post(CANCEL, forged)).json()["code"] == "invalid_signature"
    await sent_by(front, [signer], await front.post(CANCEL, body))
    assert await listed(front, owner) == []
    after = await front.rpc.get_balance(owner.pubkey(), commitment=Commitment.CONFIRMED)
    assert after == before
    audit = await rows(
        front, "SELECT actor, owner FROM audit_logs WHERE action = 'guard_cancel' ORDER BY id"
    )
    assert audit[-1] == {"actor": str(signer.pubkey()), "owner": str(owner.pubkey())}
    body = await cancellation(front, owner, "multisig=0", signer)
    assert (await front.post(CANCEL, body)).status_code == 404


async def test_the_owner_cancels_without_naming_a_signer(
    front: Service, localnet: Localnet
) -> None:
    wallet = await guarded(front)
    await request(front, localnet, wallet, "rate_limit=0/0")
    body = await signed(front, wallet, "guard_cancel", ("change", "rate_limit=0/0"))
    await sent_by(front, [wallet], await front.post(CANCEL, body))
    assert await listed(front, wallet) == []


async def test_a_stranger_who_cancels_does_not_claim_the_owners_idempotency_key(
    front: Service, localnet: Localnet
) -> None:
    wallet = await guarded(front)
    await request(front, localnet, wallet, "min_delay=0")
    url, key = front.url + CANCEL, {"Idempotency-Key": "0123456789abcdef"}
    strangers = await cancellation(front, wallet, "min_delay=0", Keypair())
    reply = await front.http.post(url, json=strangers, headers=key)
    assert refusal(reply) == "Unauthorized"
    body = await signed(front, wallet, "guard_cancel", ("change", "min_delay=0"))
    reply = await front.http.post(url, json=body, headers=key)
    assert reply.status_code == 200, reply.text


async def test_as_many_signers_as_the_multisig_needs_loosen_at_once(front: Service) -> None:
    shared = await shared_vault(front)
    owner, (first, second, _) = shared.owner, shared.signers
    address = Pubkey([7] * 32)
    fields = ("address", str(address))

    async def ask(*signers: Keypair) -> Any:
        named = {"signers": [str(each.pubkey()) for each in signers]} if signers else {}
        return await front.post(
            WHITELIST, await signed(front, owner, "whitelist_add", fields, **named)
        )

    alone = await ask()
    assert refusal(alone) == "GuardInForce"
    assert "signers sign" in alone.json()["detail"]
    assert refusal(await ask(first)) == "GuardInForce"
    await sent_by(front, [owner, first, second], await ask(first, second))
    assert (await vault_of(front, owner)).withdraw_whitelist == (address,)
    stranger = await ask(first, Keypair())
    assert stranger.status_code == 400
    assert stranger.json()["errors"][0]["path"] == "signers"
    await set_multisig(front, owner, (), 0, co_signers=(first, second))
    assert (await ask(first)).json()["code"] == "no_multisig"


async def test_two_signers_remove_their_multisig_by_a_requested_change(
    front: Service, localnet: Localnet
) -> None:
    shared = await shared_vault(front)
    await request(front, localnet, shared.owner, "multisig=0")
    pass_time(localnet, WEEK)
    apply = await signed(front, shared.owner, "guard_apply", ("change", "multisig=0"))
    await sent_by(front, [shared.owner], await front.post(APPLY, apply))
    assert (await vault_of(front, shared.owner)).multisig_threshold == 0


@pytest.mark.parametrize("route", [REQUEST, APPLY, CANCEL])
@pytest.mark.parametrize("change", ["", "min_delay=01", "min_delay=0:1", "freeze=1", 5])
async def test_a_change_that_says_nothing_is_refused(
    front: Service, route: str, change: object
) -> None:
    body = await signed(front, Keypair(), "guard_request", ("change", change))
    reply = await front.post(route, body)
    assert reply.status_code == 400
    assert reply.json()["errors"][0]["path"] == "change"


async def test_without_a_guard_nothing_is_requested(front: Service) -> None:
    wallet = await with_vault(front)
    body = await signed(front, wallet, "guard_request", ("change", "min_delay=5"))
    assert refusal(await front.post(REQUEST, body)) == "Unauthorized"
    assert await listed(front, wallet) == []
    assert (await front.get(f"/api/vault/guard-changes/{'x' * 40}")).status_code == 400

"""Signers register webhooks, and get a message about each change of a proposal."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator

import pytest
from cryptography.fernet import Fernet
from solders.keypair import Keypair

from cvms.store.security.encryption import SecretBox
from tests.harness.localnet import Localnet
from tests.harness.service import Json, Service, running
from tests.http.multisig.signers import (
    SUBMIT,
    approved,
    let_block_hashes_expire,
    shared_vault,
    with_signatures,
)
from tests.http.wallets import rows

CONTACT = "/api/vault/signer-contact"
URL = "https://hooks.example/cvms"


@pytest.fixture
async def sealing(database_url: str, localnet: Localnet) -> AsyncIterator[Service]:
    """Run the front end on a real chain, with an encryption key."""
    async with running(
        database_url,
        **localnet.settings,
        data_encryption_keys=(Fernet.generate_key(),),
    ) as service:
        yield service


async def contact(
    front: Service, signer: Keypair, url: str = URL, *, by: Keypair | None = None
) -> Json:
    nonce = await front.nonce(signer)
    text = f"signer_contact:{signer.pubkey()}:{url}:{nonce}"
    signature = str((by or signer).sign_message(text.encode()))
    return {"signer": str(signer.pubkey()), "url": url, "nonce": nonce, "signature": signature}


async def test_the_secret_is_shown_once_and_stored_encrypted(sealing: Service) -> None:
    signer = Keypair()
    body = await contact(sealing, signer)
    reply = await sealing.post(CONTACT, body)
    assert reply.status_code == 200, reply.text
    secret = base64.b64decode(reply.json()["secret"].removeprefix("whsec_"))
    [row] = await rows(sealing, "SELECT signer, url, secret FROM signer_contacts")
    assert (row["signer"], row["url"]) == (str(signer.pubkey()), URL)
    assert secret not in row["secret"]
    secret_box = SecretBox(sealing.config.data_encryption_keys)
    assert secret_box.open(row["secret"], about=f"signer_contact:{signer.pubkey()}") == secret
    assert (await sealing.post(CONTACT, body)).json()["code"] == "nonce_used"
    again = await sealing.post(CONTACT, await contact(sealing, signer))
    assert again.json()["secret"] != reply.json()["secret"]
    [entry, _] = await rows(sealing, "SELECT actor, details FROM audit_logs")
    assert (entry["actor"], entry["details"]) == (str(signer.pubkey()), {"host": "hooks.example"})


async def test_only_the_signer_registers_its_webhook(sealing: Service) -> None:
    signer, mallory = Keypair(), Keypair()
    forged = await contact(sealing, signer, by=mallory)
    elsewhere = await contact(sealing, signer) | {"url": "https://mallory.example/"}
    for body in (forged, elsewhere):
        reply = await sealing.post(CONTACT, body)
        assert (reply.status_code, reply.json()["code"]) == (401, "invalid_signature")
    assert not await rows(sealing, "SELECT 1 FROM signer_contacts")


@pytest.mark.parametrize("url", ["http://hooks.example/", "https://2130706433/", "https://[::1]/"])
async def test_a_webhook_with_a_private_address_is_refused(sealing: Service, url: str) -> None:
    reply = await sealing.post(CONTACT, await contact(sealing, Keypair(), url))
    assert reply.status_code == 400
    assert reply.json()["errors"][0]["path"] == "url"


async def test_without_an_encryption_key_no_webhook_is_registered(front: Service) -> None:
    reply = await front.post(CONTACT, await contact(front, Keypair()))
    assert reply.status_code == 503
    assert not await rows(front, "SELECT 1 FROM signer_contacts")


async def test_signers_get_a_message_for_every_step(sealing: Service, localnet: Localnet) -> None:
    shared = await shared_vault(sealing)
    for signer in shared.signers[:2]:
        assert (await sealing.post(CONTACT, await contact(sealing, signer))).status_code == 200
    ready = await approved(sealing, shared, 0, 1)
    let_block_hashes_expire(localnet)
    body = with_signatures(ready["transaction"], *shared.signers[:2])
    rebuilt = (await sealing.post(SUBMIT, body)).json()
    body = with_signatures(rebuilt["transaction"], *shared.signers[:2])
    await sealing.post(SUBMIT, body)
    deliveries = await rows(
        sealing,
        """
        SELECT event, array_agg(signer ORDER BY signer) AS signers
        FROM webhook_deliveries
        GROUP BY event
        ORDER BY min(created_at)
        """,
    )
    both = sorted(str(each.pubkey()) for each in shared.signers[:2])
    steps = ["created", "approved", "rebuilt", "submitted"]
    assert deliveries == [{"event": f"proposal.{step}", "signers": both} for step in steps]

"""The operators' webhook is connected to, and nothing is sent."""

from __future__ import annotations

import ssl
from functools import partial

import trio
import trustme

from tests.checks.conftest import Setup
from tests.harness.webhook_receiver import WebhookReceiver

SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh9="


async def test_a_webhook_that_accepts_connections_gets_no_request(
    deployed: Setup, nursery: trio.Nursery
) -> None:
    receiver = await WebhookReceiver().start(nursery)
    deployed.set(
        ALERT_WEBHOOK_URL=receiver.url,
        ALERT_WEBHOOK_SECRET=SECRET,
        WEBHOOK_PRIVATE_ADDRESSES="on",
    )
    checked = await deployed.check("--only", "webhooks")
    assert (checked.status, checked.line("webhook_reachable").level) == (0, "ok")
    await receiver.connected()
    assert receiver.connections == 1
    assert (receiver.received, receiver.invalid) == ([], [])


async def test_a_webhook_that_is_away_fails_without_its_path(deployed: Setup) -> None:
    deployed.set(
        ALERT_WEBHOOK_URL="https://127.0.0.1:1/secret",
        ALERT_WEBHOOK_SECRET=SECRET,
        WEBHOOK_PRIVATE_ADDRESSES="on",
    )
    status, printed = await deployed.run("--only", "webhooks")
    assert status == 1
    assert "(127.0.0.1:1): " in printed
    assert "secret" not in printed


async def test_a_certificate_of_nobody_fails(deployed: Setup, nursery: trio.Nursery) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)

    async def serve(stream: trio.SSLStream[trio.SocketStream]) -> None:
        try:
            await stream.do_handshake()
        except (trio.BrokenResourceError, ssl.SSLError):
            return  # the client refuses the certificate

    [listener] = await nursery.start(
        partial(trio.serve_ssl_over_tcp, serve, 0, context, host="127.0.0.1")
    )
    port = listener.transport_listener.socket.getsockname()[1]
    deployed.set(
        ALERT_WEBHOOK_URL=f"https://127.0.0.1:{port}/",
        ALERT_WEBHOOK_SECRET=SECRET,
        WEBHOOK_PRIVATE_ADDRESSES="on",
    )
    checked = await deployed.check("--only", "webhooks")
    assert (checked.status, checked.failures) == (1, {"webhook_reachable"})

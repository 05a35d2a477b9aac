"""Webhooks are delivered with a valid signature, and never to private addresses."""

from __future__ import annotations

import base64
import hashlib
import hmac
import socket
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import trio
import trustme
from cryptography.fernet import Fernet
from structlog.testing import capture_logs

from cvms.config.webhook_url import target_of
from cvms.metrics import Metrics
from cvms.nursery.channels.status_board import StatusBoard
from cvms.nursery.delivery.webhook_client import NotDelivered, deliver
from cvms.nursery.delivery.webhook_dispatcher import (
    MAX_RETRY_SECONDS,
    MAX_TRIES,
    AlertsQueue,
    SignersQueue,
    WebhookDispatcher,
    retry_delay,
)
from cvms.store.messaging import webhook_deliveries
from cvms.store.postgres.database import Database
from cvms.store.security import signer_webhooks
from cvms.store.security.encryption import SecretBox

SECRET = b"s" * 32
SIGNER = "signer"
PRIVATE_HOSTS = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "0.0.0.0",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "169.254.169.254",
    "0xa9fea9fe",
    "224.0.0.1",
    "255.255.255.255",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:169.254.169.254]",
    "[::127.0.0.1]",
    "[fe80::1]",
    "[fd00::1]",
    "[fec0::1]",
    "192.0.0.9",
    "[3fff::1]",
    "[64:ff9b::a9fe:a9fe]",
    "[ff02::1]",
    "[64:ff9b::7f00:1]",
    "[2002:7f00:1::]",
]


@dataclass
class Receiver:
    """A server on loopback with a configurable reply, which stores its requests."""

    url: str = ""
    answer: bytes = b"HTTP/1.1 204 No Content\r\n\r\n"
    silent: bool = False
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    @classmethod
    async def start(cls, nursery: trio.Nursery) -> Receiver:
        """Serve on a free port until the nursery ends."""
        receiver = cls()
        listeners = await nursery.start(
            partial(trio.serve_tcp, receiver.serve, port=0, host="127.0.0.1")
        )
        port = listeners[0].socket.getsockname()[1]
        receiver.url = f"http://127.0.0.1:{port}/hook?a=b"
        return receiver

    async def serve_tls(self, stream: trio.SSLStream[trio.SocketStream]) -> None:
        with suppress(trio.BrokenResourceError):  # a client that rejects the certificate
            await self.serve(stream)

    async def serve(self, stream: trio.abc.Stream) -> None:
        got = b""
        while b"\r\n\r\n" not in got:
            got += await stream.receive_some()
        head, _, body = got.partition(b"\r\n\r\n")
        lines = [line.split(": ", 1) for line in head.decode().split("\r\n")[1:]]
        headers = {name.lower(): value for name, value in lines}
        while len(body) < int(headers["content-length"]):
            body += await stream.receive_some()
        self.requests.append((headers, body))
        if self.silent:
            await trio.sleep_forever()
        with suppress(trio.BrokenResourceError):  # a client that has read enough
            await stream.send_all(self.answer)


@pytest.fixture
async def receiver(nursery: trio.Nursery) -> Receiver:
    return await Receiver.start(nursery)


@pytest.fixture
async def secret_box(database: Database, receiver: Receiver) -> SecretBox:
    """A key. The signer's webhook is the receiver, and one message waits for it."""
    secret_box = SecretBox([Fernet.generate_key()])
    secret = secret_box.seal(SECRET, about=f"signer_contact:{SIGNER}")
    async with database.connection() as conn:
        await signer_webhooks.put(conn, SIGNER, receiver.url, secret)
        await webhook_deliveries.add(
            conn, [SIGNER, "nobody"], event="proposal.created", body='{"a":1}'
        )
    return secret_box


def dispatcher(
    database: Database, secret_box: SecretBox, *, private: bool = True
) -> WebhookDispatcher:
    return WebhookDispatcher(
        metrics=Metrics(),
        database=database,
        queue=SignersQueue(secret_box=secret_box),
        private=private,
        board=StatusBoard(),
        context=ssl.create_default_context(),
        timeout=5,
        wall_clock=lambda: 1_700_000_000.9,
    )


async def queue(database: Database) -> list[tuple[str, int, str | None]]:
    async with database.connection() as conn:
        cursor = await conn.execute("SELECT state, tries, last_error FROM webhook_deliveries")
        return [(str(state), int(tries), error) for state, tries, error in await cursor.fetchall()]


async def make_due(database: Database) -> None:
    async with database.connection() as conn:
        await conn.execute("UPDATE webhook_deliveries SET due_at = clock_timestamp()")


async def test_a_signer_receives_one_message_with_a_valid_signature(
    database: Database, receiver: Receiver, secret_box: SecretBox
) -> None:
    service = dispatcher(database, secret_box)
    assert await service.run_once() == 1
    assert await service.run_once() == 0
    [(headers, body)] = receiver.requests
    assert body == b'{"a":1}'
    assert headers["webhook-timestamp"] == "1700000000"
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
    expected = base64.b64encode(hmac.new(SECRET, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{expected}"
    assert await queue(database) == [("delivered", 1, None)]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 500 Oops\r\n\r\n", "replied with status 500"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\n\r\n", "replied with status 302"),
        (b"nonsense\r\n\r\n", "RemoteProtocolError"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 200_000, "RemoteProtocolError"),
        (b"", "RemoteProtocolError"),
    ],
)
async def test_a_failed_delivery_is_repeated_later_under_the_same_id(
    database: Database, receiver: Receiver, secret_box: SecretBox, answer: bytes, reason: str
) -> None:
    good, receiver.answer = receiver.answer, answer
    service = dispatcher(database, secret_box)
    with capture_logs() as logs:
        await service.run_once()
    assert await service.run_once() == 0  # not at once
    [(state, tries, error)] = await queue(database)
    assert (state, tries) == ("pending", 1)
    assert error is not None
    assert error.startswith((reason, "BrokenResourceError"))
    assert "whsec" not in str(logs)
    assert SECRET.decode() not in str(logs)
    receiver.answer = good
    await make_due(database)
    await service.run_once()
    first, second = receiver.requests
    assert first[0]["webhook-id"] == second[0]["webhook-id"]
    assert await queue(database) == [("delivered", 2, None)]


async def test_attempts_and_the_time_between_them_are_bounded(
    database: Database, receiver: Receiver, secret_box: SecretBox
) -> None:
    receiver.answer = b"HTTP/1.1 503 No\r\n\r\n"
    service = dispatcher(database, secret_box)
    for _ in range(MAX_TRIES + 3):
        await service.run_once()
        await make_due(database)
    assert await queue(database) == [("given_up", MAX_TRIES, "replied with status 503")]
    assert len(receiver.requests) == MAX_TRIES
    assert 2.5 <= retry_delay(1) <= 5
    assert MAX_RETRY_SECONDS / 2 <= retry_delay(MAX_TRIES) <= MAX_RETRY_SECONDS


async def test_a_message_that_is_a_day_old_is_given_up(
    database: Database, receiver: Receiver, secret_box: SecretBox
) -> None:
    receiver.answer = b"HTTP/1.1 503 No\r\n\r\n"
    async with database.connection() as conn:
        await conn.execute("UPDATE webhook_deliveries SET created_at = now() - INTERVAL '2 days'")
    await dispatcher(database, secret_box).run_once()
    assert [row[0] for row in await queue(database)] == ["given_up"]


async def test_two_replicas_send_a_message_once_and_replace_one_that_was_killed(
    database: Database, receiver: Receiver, secret_box: SecretBox
) -> None:
    async with database.connection() as conn:
        [taken] = await webhook_deliveries.take(conn, limit=9, lease=timedelta(seconds=60))
    assert taken.tries == 1
    service = dispatcher(database, secret_box)
    assert await service.run_once() == 0  # another dispatcher has leased it
    await make_due(database)  # which was killed
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(service.run_once)
    assert len(receiver.requests) == 1


async def test_a_missing_reply_ends_with_the_deadline(
    receiver: Receiver, autojump_clock: trio.testing.MockClock
) -> None:
    receiver.silent = True
    context = ssl.create_default_context()
    with pytest.raises(NotDelivered, match="no reply within 10 s"):
        await deliver(receiver.url, {}, b"{}", private=True, timeout=10, context=context)


async def test_with_the_setting_off_nothing_is_sent_to_private_addresses(
    database: Database, receiver: Receiver, secret_box: SecretBox
) -> None:
    await dispatcher(database, secret_box, private=False).run_once()
    assert not receiver.requests
    assert [row[2] for row in await queue(database)] == ["Expected an https:// URL"]


@pytest.mark.parametrize("host", PRIVATE_HOSTS)
async def test_an_address_that_is_not_public_is_refused_in_every_form(host: str) -> None:
    context = ssl.create_default_context()
    with pytest.raises(ValueError, match="public address"):
        target_of(f"https://{host}/", private=False)
    with pytest.raises(NotDelivered, match="public"):
        await deliver(f"https://{host}/", {}, b"", private=False, timeout=5, context=context)


class Resolver:
    """Name servers that give another answer each time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *answers: tuple[str, ...]) -> None:
        self.answers = list(answers)
        self._real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self.getaddrinfo)

    def getaddrinfo(self, host: Any, port: Any, *args: Any, **kwargs: Any) -> Any:
        if not str(host).endswith(".example"):
            return self._real(host, port, *args, **kwargs)
        inet, stream = socket.AF_INET, socket.SOCK_STREAM
        return [(inet, stream, 6, "", (address, port)) for address in self.answers.pop(0)]


async def test_a_name_that_also_resolves_to_a_private_address_is_refused(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = receiver.url.split(":")[2].split("/")[0]
    Resolver(monkeypatch, ("1.1.1.1", "127.0.0.1"))
    context = ssl.create_default_context()
    url = f"https://hooks.example:{port}/"
    with pytest.raises(NotDelivered, match="the host resolves to an address that is not"):
        await deliver(url, {}, b"", private=False, timeout=5, context=context)
    assert not receiver.requests


async def test_the_address_that_was_checked_is_the_one_connected_to(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = receiver.url.split(":")[2].split("/")[0]
    resolver = Resolver(monkeypatch, ("127.0.0.1",), ("127.0.0.2",))
    context = ssl.create_default_context()
    await deliver(
        f"http://hooks.example:{port}/", {}, b"", private=True, timeout=5, context=context
    )
    assert receiver.requests[0][0]["host"] == f"hooks.example:{port}"
    assert resolver.answers == [("127.0.0.2",)]  # resolved only once


async def test_the_certificate_has_to_match_the_name(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    served = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trusting = ssl.create_default_context()
    authority.issue_cert("right.example").configure_cert(served)
    authority.configure_trust(trusting)
    receiver = Receiver()
    listeners = await nursery.start(
        partial(
            trio.serve_ssl_over_tcp,
            receiver.serve_tls,
            0,
            served,
            host="127.0.0.1",
            https_compatible=True,
        )
    )
    port = listeners[0].transport_listener.socket.getsockname()[1]
    Resolver(monkeypatch, ("127.0.0.1",), ("127.0.0.1",))
    to = partial(deliver, headers={}, body=b"", private=True, timeout=5, context=trusting)
    with pytest.raises(NotDelivered, match=r"^BrokenResourceError$"):
        await to(f"https://wrong.example:{port}/")
    await to(f"https://right.example:{port}/")
    assert len(receiver.requests) == 1


async def test_operators_receive_alerts_at_the_configured_url(
    database: Database, receiver: Receiver, secret_box: SecretBox
) -> None:
    """Their queue is separate from that of the signers."""
    key = b"k" * 32
    async with database.connection() as conn:
        await webhook_deliveries.add_alert(
            conn, event="alert.raised", body='{"type":"alert.raised"}'
        )
    operators = WebhookDispatcher(
        metrics=Metrics(),
        database=database,
        queue=AlertsQueue(url=receiver.url, secret=key),
        private=True,
        board=StatusBoard(),
        context=ssl.create_default_context(),
        wall_clock=lambda: 1_700_000_000,
    )
    assert [await operators.run_once(), await operators.run_once()] == [1, 0]
    [(headers, body)] = receiver.requests
    assert body == b'{"type":"alert.raised"}'
    signed = f"{headers['webhook-id']}.1700000000.".encode() + body
    digest = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert headers["webhook-signature"] == f"v1,{digest}"

    assert await dispatcher(database, secret_box).run_once() == 1  # only the signer's own message
    assert len(receiver.requests) == 2


async def test_operators_receive_nothing_at_private_addresses_unless_allowed(
    database: Database, receiver: Receiver
) -> None:
    async with database.connection() as conn:
        await webhook_deliveries.add_alert(conn, event="alert.raised", body="{}")
    operators = WebhookDispatcher(
        metrics=Metrics(),
        database=database,
        queue=AlertsQueue(url=receiver.url, secret=b"k" * 32),
        private=False,
        board=StatusBoard(),
        context=ssl.create_default_context(),
    )
    assert await operators.run_once() == 1
    assert receiver.requests == []
    [(state, tries, _)] = await queue(database)
    assert (state, tries) == ("pending", 1)


async def test_after_a_key_rotation_signers_still_receive_messages(
    database: Database, receiver: Receiver
) -> None:
    old, new = Fernet.generate_key(), Fernet.generate_key()
    async with database.connection() as conn:
        secret = SecretBox([old]).seal(SECRET, about=signer_webhooks.about(SIGNER))
        await signer_webhooks.put(conn, SIGNER, receiver.url, secret)
        await webhook_deliveries.add(conn, [SIGNER], event="proposal.created", body="{}")
        assert await signer_webhooks.reseal(conn, SecretBox([new, old])) == 1
        assert await signer_webhooks.reseal(conn, SecretBox([new, old])) == 0
    await dispatcher(database, SecretBox([new])).run_once()
    assert [state for state, _, _ in await queue(database)] == ["delivered"]


async def test_a_secret_that_no_key_opens_is_told_and_tried_again(
    database: Database, receiver: Receiver, secret_box: SecretBox
) -> None:
    await dispatcher(database, SecretBox([Fernet.generate_key()])).run_once()
    [(state, _, error)] = await queue(database)
    assert state == "pending"
    assert error is not None
    assert error.startswith("No key of DATA_ENCRYPTION_KEYS opens")
    await make_due(database)
    await dispatcher(database, secret_box).run_once()
    assert [row[0] for row in await queue(database)] == ["delivered"]


def test_the_parts_of_a_url() -> None:
    assert target_of("https://hooks.example/a?b=c", private=False).path == "/a?b=c"
    assert target_of("https://hooks.example:8443/", private=False).authority == "hooks.example:8443"


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.example/",
        "ftp://hooks.example/",
        "https://user:pass@hooks.example/",
        "https:///path",
        "https://hooks.example/#fragment",
        "https://hooks.example/\r\nX-Injected: 1",
        "https://hooks.example:99999/",
        "https://hooks.example:8080x/",
        "https://[::1/",
        "https://[hooks]/",
        "https://hooks.example/" + "a" * 500,
    ],
)
def test_what_is_no_good_url_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"^Expected") as refused:
        target_of(url, private=False)
    assert not any(part in str(refused.value) for part in ("hooks", "pass", "999", "::1"))

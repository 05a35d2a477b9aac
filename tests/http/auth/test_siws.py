"""A Sign-In-With-Solana message is accepted if it states the request, to this service, and now."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from solders.keypair import Keypair
from solders.pubkey import Pubkey

from cvms.errors import InvalidSignature
from cvms.http.auth.siws import SKEW, check_message
from cvms.http.auth.wallet_signature import verify
from tests.harness.localnet import Localnet
from tests.harness.service import Json, Service, running
from tests.http.auth.sign_in import ALLOWED, message_of
from tests.http.wallets import USDT, rows, with_vault

NOW = datetime(2027, 1, 31, 12, 0, tzinfo=UTC)
OWNER = Keypair()
ADDRESS = OWNER.pubkey()
NONCE = "0123456789abcdef"
STATEMENT = f"withdraw:{ADDRESS}:400:{NONCE}"
TIMES = {"issued": "2027-01-31T11:59:00.000Z", "expires": "2027-01-31T12:05:00.000Z"}


def message_with(
    owner: Pubkey = ADDRESS, statement: str = STATEMENT, nonce: str = NONCE, **changes: str
) -> str:
    return message_of(owner, statement, nonce, **TIMES | changes)


def accepts(message: str) -> bool:
    try:
        check_message(message, ALLOWED, signer=ADDRESS, statement=STATEMENT, nonce=NONCE, now=NOW)
    except InvalidSignature:
        return False
    return True


@pytest.mark.parametrize(
    "message",
    [
        message_with(),
        message_with(domain="localhost:3000", uri="http://localhost:3000"),
        message_with(uri="https://app.example"),
        message_with(uri="https://app.example/a?b=c#d"),
        message_with(issued=(NOW + SKEW).isoformat()),
        message_with(issued="2027-01-31T13:59:00+02:00", expires="2027-01-31T12:00:00.000001000Z"),
        message_with(expires="2027-01-31T12:00:01Z"),
    ],
)
def test_messages_as_wallets_write_them_are_accepted(message: str) -> None:
    assert accepts(message)


REFUSED = {
    "another domain": message_with(domain="app.example.evil", uri="https://app.example.evil/"),
    "no domain": message_with(domain=""),
    "another's address": message_with(Keypair().pubkey()),
    "another amount": message_with(statement=STATEMENT.replace("400", "4000")),
    "more in the statement": message_with(statement=f"{STATEMENT} and all the rest"),
    "no statement": message_with(statement=""),
    "another page's URI": message_with(uri="https://evil.example/vault"),
    "a URI that only begins so": message_with(uri="https://app.example.evil/"),
    "a URI with another host behind @": message_with(uri="https://app.example@evil.example/"),
    "a URI with a port": message_with(uri="https://app.example:8443/"),
    "a URI that is a script": message_with(uri="javascript:app.example"),
    "a URI with a space": message_with(uri="https://app.example/a b"),
    "version 2": message_with(version="2"),
    "another chain": message_with(chain_id="devnet"),
    "another nonce": message_with(nonce="f" * 16),
    "a future issue": message_with(issued=(NOW + SKEW + timedelta(seconds=1)).isoformat()),
    "expired now": message_with(expires=NOW.isoformat()),
    "expired long ago": message_with(expires="2026-01-31T12:00:00Z"),
    "no time": message_with(issued=""),
    "a time without a zone": message_with(expires="2027-01-31T12:05:00"),
    "a date": message_with(issued="2027-01-31"),
    "a week": message_with(issued="2027-W04-7T12:00:00Z"),
    "a 13th month": message_with(issued="2027-13-31T12:00:00Z"),
    "a 61st second": message_with(issued="2027-01-31T11:00:60Z"),
    "a zone of 99 hours": message_with(expires="2027-01-31T12:05:00+99:00"),
    "other digits": message_with(expires="٢٠٢٧-01-31T12:05:00Z"),
    "the end of time": message_with(expires="9999-12-31T23:59:59-23:59", issued="0001-01-01"),
    "a line at the end": message_with() + "\n",
    "a line at the start": "\n" + message_with(),
    "Windows' lines": message_with().replace("\n", "\r\n"),
    "resources": message_with() + "\nResources:\n- https://app.example/",
    "a request id": message_with() + "\nRequest ID: 7",
    "not before": message_with() + "\nNot Before: 2027-01-31T11:00:00Z",
    "no expiration": message_with().rpartition("\n")[0],
    "the text alone": STATEMENT,
    "nothing": "",
    "empty lines": "\n" * 10,
    "the domain alone": "app.example",
    "Ethereum's": message_with().replace("Solana", "Ethereum"),
    "two statements": message_with(statement=f"{STATEMENT}\n{STATEMENT}"),
    "fields in another order": message_with().replace(
        "Version: 1\nChain ID: mainnet", "Chain ID: mainnet\nVersion: 1"
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_anything_else_is_refused(name: str) -> None:
    assert not accepts(REFUSED[name])


@pytest.mark.parametrize("extreme", ["0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"])
def test_times_at_the_limits_of_the_calendar_are_compared(extreme: str) -> None:
    assert accepts(message_with(issued=extreme)) == extreme.startswith("0001")
    assert accepts(message_with(expires=extreme)) == extreme.startswith("9999")


def test_the_detail_names_the_line() -> None:
    with pytest.raises(InvalidSignature, match=r"Line 8 .* it is 'Chain ID: devnet'"):
        check_message(
            message_with(chain_id="devnet"),
            ALLOWED,
            signer=ADDRESS,
            statement=STATEMENT,
            nonce=NONCE,
            now=NOW,
        )


@st.composite
def mutations(draw: st.DrawFn) -> str:
    """Draw an accepted message with pieces of it, or any text, inserted, removed or moved."""
    message = message_with()
    piece = st.one_of(
        st.text(max_size=3),
        st.sampled_from(["\n", "\n\n", " ", "\r", "\0", "\u2028", "0", "https://app.example"]),
        st.sampled_from(message.split("\n")),
    )
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(message)))
        end = draw(st.integers(start, min(len(message), start + draw(st.sampled_from([0, 1, 80])))))
        message = message[:start] + draw(piece) + message[end:]
    return message


# Whoever signs may choose these: the page's path, and the times.
CHOSEN = {5: "URI: http", 9: "Issued At: ", 10: "Expiration Time: "}


@given(mutations())
def test_no_mutation_is_accepted(message: str) -> None:
    assume(message != message_with())
    if accepts(message):
        for number, (line, accepted) in enumerate(
            zip(message.split("\n"), message_with().split("\n"), strict=True)
        ):
            assert line == accepted or line.startswith(CHOSEN[number])
    signature = str(OWNER.sign_message(message_with().encode()))
    with pytest.raises(InvalidSignature):
        verify(ADDRESS, [message.encode()], message, signature)


# --- over HTTP ----------------------------------------------------------------------------------


async def in_message(
    service: Service, owner: Keypair, action: str, *fields: tuple[str, object], **changes: str
) -> Json:
    """Return a body with the signature of a message."""
    nonce = await service.nonce(owner)
    body = {"owner": str(owner.pubkey()), **dict(fields), "nonce": nonce}
    statement = ":".join([action, *(str(value) for value in body.values())])
    message = message_of(owner.pubkey(), statement, nonce, **changes)
    signature = str(owner.sign_message(message.encode()))
    return body | {"message": message, "signature": signature}


@pytest.fixture
async def page(database_url: str, localnet: Localnet) -> AsyncIterator[Service]:
    """Run the front end on a real chain, for the pages of one domain."""
    async with running(
        database_url,
        **localnet.settings,
        sign_in=ALLOWED,
    ) as service:
        yield service


async def test_a_request_may_be_signed_as_a_message(page: Service) -> None:
    wallet = await with_vault(page, amount=10 * USDT, delegate=True)
    amount = ("amount", 4 * USDT)
    body = await in_message(page, wallet, "withdraw", amount)
    reply = await page.post("/api/vault/withdraw", body)
    assert reply.status_code == 202, reply.text
    again = await page.post("/api/vault/withdraw", body)
    assert (again.status_code, again.json()["code"]) == (409, "nonce_used")
    policy = await in_message(page, wallet, "min_delay_set", ("seconds", 60))
    assert (await page.post("/api/admin/withdraw/min-delay/set", policy)).status_code == 200


async def test_a_message_with_another_statement_changes_nothing(page: Service) -> None:
    wallet = await with_vault(page, amount=10 * USDT, delegate=True)
    amount = ("amount", 4 * USDT)
    good = await in_message(page, wallet, "withdraw", amount)
    changed = {
        "a larger amount": good | {"amount": 5 * USDT},
        "the text alone signed": good
        | {"signature": str(wallet.sign_message(good["message"].split("\n")[3].encode()))},
        "the message unsaid": {name: each for name, each in good.items() if name != "message"},
        "for another page": await in_message(
            page, wallet, "withdraw", amount, domain="evil.example", uri="https://evil.example"
        ),
        "expired": await in_message(
            page, wallet, "withdraw", amount, expires=datetime.now(UTC).isoformat()
        ),
    }
    for name, body in changed.items():
        reply = await page.post("/api/vault/withdraw", body)
        assert (reply.status_code, reply.json()["code"]) == (401, "invalid_signature"), name
    long = await page.post("/api/vault/withdraw", good | {"message": "x" * 2049})
    assert (long.status_code, long.json()["errors"][0]["path"]) == (400, "message")
    assert not await rows(page, "SELECT 1 FROM submissions")
    assert (await page.post("/api/vault/withdraw", good)).status_code == 202


async def test_without_a_domain_every_message_is_refused(front: Service) -> None:
    body = await in_message(front, Keypair(), "deposit", ("amount", 1))
    reply = await front.post("/api/vault/deposit", body)
    assert (reply.status_code, reply.json()["code"]) == (401, "invalid_signature")
    assert "SIWS_DOMAINS" in reply.json()["detail"]


async def test_a_nonce_is_alphanumeric_as_messages_require(service: Service) -> None:
    for _ in range(20):
        nonce = await service.nonce(OWNER)
        assert nonce.isascii()
        assert nonce.isalnum()

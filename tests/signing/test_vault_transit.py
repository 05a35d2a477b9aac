"""A key in a transit engine signs, over a real connection to what answers as the documents say."""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
import trustme
from solders.keypair import Keypair
from solders.pubkey import Pubkey
from structlog.testing import capture_logs

from cvms.config.operator_settings import SignerSettings, SignerUri
from cvms.errors import BadValue, ConfigurationError, SignerFailed
from cvms.signing.open_signers import open_signers
from cvms.signing.vault_transit import TransitSigner, open_vault_transit, parse_transit_uri
from tests.harness.free_ports import free_port
from tests.signing.transit_server import TransitServer


@pytest.fixture
async def server(nursery: trio.Nursery) -> TransitServer:
    return await TransitServer().start(nursery)


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    return write(tmp_path / "token", "hvs.first\n")


def write(file: Path, token: str, *, mode: int = 0o600) -> Path:
    file.write_text(token)
    file.chmod(mode)
    return file


@asynccontextmanager
async def opened(
    location: str, address: Pubkey | None = None, *, token: str | None = "hvs.first"
) -> AsyncIterator[TransitSigner]:
    settings = SignerSettings(seconds=60, vault_token=token)
    async with open_vault_transit(SignerUri("vault-transit", location, address), settings) as found:
        yield found


async def test_the_latest_version_of_the_key_signs(server: TransitServer) -> None:
    server.versions[2] = Keypair()
    async with opened(server.location()) as signer:
        assert signer.address == server.versions[2].pubkey()
        assert (await signer.sign(b"text")).verify(signer.address, b"text")
    assert server.requests[-1][3]["key_version"] == 2


async def test_after_the_key_was_rotated_there_the_same_version_still_signs(
    server: TransitServer,
) -> None:
    """A new version is another address, of which the chain knows nothing."""
    async with opened(server.location()) as signer:
        server.versions[2] = Keypair()
        assert (await signer.sign(b"text")).verify(signer.address, b"text")
    first = server.versions[1].pubkey()
    async with opened(server.location(), first) as signer:
        assert (await signer.sign(b"text")).verify(first, b"text")
    async with opened(server.location("?version=1")) as signer:
        assert signer.address == first


async def test_a_version_with_the_configured_address_must_exist(server: TransitServer) -> None:
    async with opened(server.location(), Keypair().pubkey()) as signer:
        with pytest.raises(SignerFailed, match="no version of the key operator has the address"):
            await signer.sign(b"text")
    with pytest.raises(SignerFailed, match="has the number 7"):
        async with opened(server.location("?version=7")):
            pass


async def test_the_token_of_a_file_is_read_again_when_it_has_changed(
    server: TransitServer, token_file: Path
) -> None:
    async with opened(server.location(f"?token-file={token_file}"), token=None) as signer:
        await signer.sign(b"text")
        server.token = "hvs.second, longer"
        with pytest.raises(SignerFailed, match="403 permission denied"):
            await signer.sign(b"text")
        write(token_file, "hvs.second, longer")
        await signer.sign(b"text")
        await trio.Path(token_file).unlink()
        with pytest.raises(SignerFailed, match="No such file"):
            await signer.sign(b"text")
        write(token_file, "hvs.second, longer", mode=0o644)
        with pytest.raises(SignerFailed, match="chmod 600"):
            await signer.sign(b"text")


async def test_the_namespace_is_sent(server: TransitServer) -> None:
    async with opened(server.location("?namespace=trading/prod")):
        pass
    assert server.requests[0][2]["x-vault-namespace"] == "trading/prod"


SEALED = (503, {"errors": ["Vault is sealed"]})


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (SEALED, "503 Vault is sealed"),
        ((404, {"errors": []}), "404"),
        ((307, {}), "307"),
        ((200, {"data": {}}), "not one of a transit engine"),
        ((200, {"data": {"signature": "vault:v2:AAAA"}}), "does not begin with vault:v1:"),
        ((200, {"data": {"signature": "vault:v1:AAAA"}}), "not one of Ed25519"),
        ((200, {"data": {"signature": "vault:v1:!"}}), "not one of Ed25519"),
    ],
)
async def test_any_other_answer_is_no_signature(
    server: TransitServer, failure: tuple[int, dict[str, Any]], reason: str
) -> None:
    async with opened(server.location()) as signer:
        server.failure = failure
        with pytest.raises(SignerFailed, match=reason):
            await signer.sign(b"text")


async def test_a_key_of_another_type_is_refused(server: TransitServer) -> None:
    server.kind = "aes256-gcm96"
    with pytest.raises(SignerFailed, match="is aes256-gcm96, not a plain ed25519"):
        async with opened(server.location()):
            pass


async def test_a_server_that_is_away_or_hangs_is_said(server: TransitServer) -> None:
    async with opened(server.location()) as signer:
        server.hangs = True
        with trio.move_on_after(0.05) as waited:
            await signer.sign(b"text")
        assert waited.cancelled_caught
        server.hangs = False
        await signer.sign(b"text")
    location = f"http://127.0.0.1:{free_port()}/transit/keys/operator"
    with pytest.raises(SignerFailed, match="Connection refused"):
        async with opened(location):
            pass


async def test_the_token_is_in_no_text(server: TransitServer, token_file: Path) -> None:
    with capture_logs() as logs:
        async with opened(server.location(f"?token-file={token_file}")) as signer:
            await signer.sign(b"text")
            server.failure = SEALED
            with pytest.raises(SignerFailed) as raised:
                await signer.sign(b"text")
            assert "hvs" not in f"{logs} {signer!r} {signer.key!r} {raised.value}"


@pytest.mark.parametrize("token", ["", "hvs.first\nSECRET", "hvs.first\tSECRET", "hvs.SECRÉT"])
async def test_a_token_that_cannot_be_sent_is_refused_without_being_quoted(
    server: TransitServer, token_file: Path, token: str
) -> None:
    """An HTTP library quotes a header that it refuses."""
    write(token_file, token)
    with pytest.raises(SignerFailed, match="not one line of ASCII") as raised:
        async with opened(server.location(f"?token-file={token_file}")):
            pass
    assert "SECR" not in str(raised.value)
    assert server.requests == []


async def test_the_certificate_is_checked_against_the_given_authority(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    authority, other = trustme.CA(), trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = await TransitServer().start(nursery, context)
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    other.cert_pem.write_to_path(str(tmp_path / "other.pem"))
    async with opened(server.location(f"?ca-file={tmp_path}/ca.pem", scheme="https")) as signer:
        await signer.sign(b"text")
    for options in (f"?ca-file={tmp_path}/other.pem", ""):
        with pytest.raises(SignerFailed, match="certificate verify failed"):
            async with opened(server.location(options, scheme="https")):
                pass
    with pytest.raises(ConfigurationError, match="No such file"):
        async with opened(server.location("?ca-file=/nowhere.pem", scheme="https")):
            pass


async def test_without_a_token_it_cannot_start(server: TransitServer) -> None:
    with pytest.raises(ConfigurationError, match="VAULT_TOKEN is not set"):
        async with opened(server.location(), token=None):
            pass


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("http://vault.example.com/transit/keys/operator", "only this machine"),
        ("ftp://localhost/transit/keys/operator", "not https://"),
        ("https://user:SECRET@localhost/transit/keys/operator", "not https://"),
        ("https://localhost:99999/transit/keys/operator", "not a URL"),
        ("https://localhost/transit/operator", "not /MOUNT/keys/NAME"),
        ("https://localhost/keys/operator", "not /MOUNT/keys/NAME"),
        ("https://localhost/transit/keys/operator?token=SECRET", "none of token-file"),
        ("https://localhost/transit/keys/operator?version=0", "not a number"),
        ("https://localhost/transit/keys/operator?namespace=SECRET%0A", "one line of ASCII"),
        ("https://localhost/SECRET\x01/keys/operator", "not /MOUNT/keys/NAME"),
    ],
)
def test_a_bad_location_is_refused_without_being_quoted(location: str, reason: str) -> None:
    with pytest.raises(BadValue, match=reason) as raised:
        parse_transit_uri(location)
    assert "SECRET" not in str(raised.value)


def test_an_engine_may_be_mounted_anywhere() -> None:
    for path in ("/team/a/transit/keys/the%20key", "/v1/team/a/transit/keys/the%20key"):
        uri = parse_transit_uri(f"https://[::1]:8200{path}")
        assert (uri.url, uri.mount, uri.name) == (
            "https://[::1]:8200",
            "team/a/transit",
            "the%20key",
        )


@pytest.mark.parametrize("program", ["vault", "bao"])
async def test_a_real_server_signs(program: str, nursery: trio.Nursery) -> None:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not on the PATH")
    address = f"http://127.0.0.1:{free_port()}"
    listen = ("-dev-listen-address", address.removeprefix("http://"))
    await nursery.start(
        trio.run_process,
        [found, "server", "-dev", "-dev-root-token-id", "hvs.first", *listen],
    )
    environ = os.environ | {"VAULT_ADDR": address, "VAULT_TOKEN": "hvs.first", "BAO_ADDR": address}
    async with httpx.AsyncClient() as http:
        with trio.fail_after(60):
            while not await _answers(http, address):  # noqa: ASYNC110 - another process
                await trio.sleep(0.05)
    for command in (
        ("secrets", "enable", "transit"),
        ("write", "-f", "transit/keys/operator", "type=ed25519"),
    ):
        await trio.run_process([found, *command], env=environ, stdout=subprocess.DEVNULL)
    uri = SignerUri("vault-transit", f"{address}/transit/keys/operator")
    settings = SignerSettings(seconds=60, vault_token="hvs.first")
    async with open_signers([uri], settings) as signers:
        assert signers.preferred.deterministic
    nursery.cancel_scope.cancel()


async def _answers(http: httpx.AsyncClient, address: str) -> bool:
    try:
        return (await http.get(f"{address}/v1/sys/health")).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False

"""Debian's nginx with the configuration of deploy/, before real replicas on loopback."""

from __future__ import annotations

import os
import shutil
import ssl
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import httpx
import trio
import trustme

from tests.harness.debian_programs import missing
from tests.harness.free_ports import free_port
from tests.harness.processes import HANG_SECONDS
from tests.paths import ROOT

CONFIGURATION = ROOT / "deploy" / "nginx.conf"
REPLICAS, TLS = "/etc/nginx/cvms-replicas.conf", "/etc/nginx/tls"
TEMPORARY = "".join(
    f"{name}_temp_path {name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
)


@dataclass(frozen=True, slots=True)
class Site:
    """A running nginx, as clients see it."""

    plain_port: int
    port: int
    trusting: ssl.SSLContext

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def client(self, address: str = "127.0.0.1") -> httpx.AsyncClient:
        """Return a client that connects from one of this machine's addresses."""
        transport = httpx.AsyncHTTPTransport(verify=self.trusting, local_address=address)
        return httpx.AsyncClient(base_url=self.url, transport=transport, timeout=30)


def nginx() -> Path:
    """Return the path of nginx, or skip the test."""
    found = shutil.which("nginx", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    return Path(found) if found else missing("the Debian package nginx-light")


def issue_certificate(folder: Path, expires: datetime | None = None) -> trustme.CA:
    """Write a certificate and its key into a new folder, and return the authority."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "localhost", not_after=expires)
    folder.mkdir()
    certificate.private_key_pem.write_to_path(str(folder / "privkey.pem"))
    for part in certificate.cert_chain_pems:
        part.write_to_path(str(folder / "fullchain.pem"), append=True)
    return authority


@contextmanager
def configured(
    folder: Path, replicas: Sequence[int], expires: datetime | None = None
) -> Iterator[tuple[list[str], Site]]:
    """Yield the command that runs nginx in `folder`, and its site."""
    authority = issue_certificate(folder / "tls", expires)
    lines = "".join(f"server 127.0.0.1:{port} max_fails=0;\n" for port in replicas)
    (folder / "replicas.conf").write_text(lines)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    site = Site(free_port(), free_port(), trusting)
    text = CONFIGURATION.read_text()
    for shipped, here in {
        REPLICAS: str(folder / "replicas.conf"),
        TLS: str(folder / "tls"),
        "8080": str(site.plain_port),
        "8443": str(site.port),
        "http {": "http {\n" + TEMPORARY,
    }.items():
        assert shipped in text
        text = text.replace(shipped, here)
    (folder / "nginx.conf").write_text(text)
    yield nginx_command(folder), site


def nginx_command(folder: Path) -> list[str]:
    """Return the command that runs nginx with the configuration in `folder`."""
    settings = f"daemon off; pid {folder}/nginx.pid; error_log stderr warn;"
    return [str(nginx()), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", settings]


@asynccontextmanager
async def proxy(
    folder: Path, replicas: Sequence[int], expires: datetime | None = None
) -> AsyncIterator[Site]:
    """Run nginx before the replicas' ports for the block. It may write no warnings."""
    with (
        configured(folder, replicas, expires) as (command, site),
        (folder / "log").open("w") as log,
    ):
        process = await trio.lowlevel.open_process(command, stderr=log, stdout=log)
        try:
            async with httpx.AsyncClient() as http:
                with trio.fail_after(HANG_SECONDS):
                    while process.poll() is None:
                        try:
                            await http.get(f"http://127.0.0.1:{site.plain_port}")
                            break
                        except httpx.TransportError:
                            await trio.sleep(0.05)
            assert process.poll() is None, (folder / "log").read_text()
            yield site
        finally:
            process.terminate()
            with trio.CancelScope(shield=True):
                await process.wait()

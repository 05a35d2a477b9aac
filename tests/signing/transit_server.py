"""A server that answers as the transit engine of HashiCorp Vault and OpenBao, as far as documented.

Source of the shapes: the API documentation of both, "Read key", "Sign data" and "Errors".
"""

from __future__ import annotations

import base64
import json
import ssl
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import h11
import trio
from solders.keypair import Keypair

CLOSED = (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError)


@dataclass(slots=True, eq=False)
class TransitServer:
    """Serves one key, `transit/keys/operator`, with the secrets of its versions."""

    token: str = "hvs.first"
    kind: str = "ed25519"
    versions: dict[int, Keypair] = field(default_factory=lambda: {1: Keypair()})
    failure: tuple[int, dict[str, Any]] | None = None
    """What every request is answered with, instead."""
    hangs: bool = False
    requests: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)
    port: int = 0

    async def start(
        self, nursery: trio.Nursery, context: ssl.SSLContext | None = None
    ) -> TransitServer:
        """Serve on a free port of loopback until the nursery ends."""
        if context is None:
            listeners = await nursery.start(
                partial(trio.serve_tcp, self._serve, port=0, host="127.0.0.1")
            )
            self.port = listeners[0].socket.getsockname()[1]
        else:
            tls = await nursery.start(
                partial(
                    trio.serve_ssl_over_tcp,
                    self._serve,
                    port=0,
                    ssl_context=context,
                    host="127.0.0.1",
                    https_compatible=True,
                )
            )
            self.port = tls[0].transport_listener.socket.getsockname()[1]
        return self

    def location(self, options: str = "", *, scheme: str = "http") -> str:
        """Return what follows `vault-transit:`."""
        return f"{scheme}://127.0.0.1:{self.port}/transit/keys/operator{options}"

    async def _serve(self, stream: trio.abc.Stream) -> None:
        http = h11.Connection(h11.SERVER)
        with suppress(*CLOSED):
            while (request := await _request(stream, http)) is not None:
                status, body = await self._answer(*request)
                content = json.dumps(body).encode()
                headers = [("Content-Type", "application/json")]
                headers.append(("Content-Length", str(len(content))))
                answer = http.send(h11.Response(status_code=status, headers=headers))
                answer += http.send(h11.Data(content))
                await stream.send_all(answer + http.send(h11.EndOfMessage()))
                http.start_next_cycle()

    async def _answer(
        self, method: str, path: str, headers: dict[str, str], body: Any
    ) -> tuple[int, dict[str, Any]]:
        self.requests.append((method, path, headers, body))
        if self.hangs:
            await trio.sleep_forever()
        if self.failure is not None:
            return self.failure
        if headers.get("x-vault-token") != self.token:
            return 403, {"errors": ["permission denied"]}
        if (method, path) == ("GET", "/v1/transit/keys/operator"):
            return 200, _reply(self._key())
        if (method, path) == ("POST", "/v1/transit/sign/operator"):
            version = body.get("key_version") or max(self.versions)
            signature = self.versions[version].sign_message(base64.b64decode(body["input"]))
            text = base64.b64encode(bytes(signature)).decode()
            return 200, _reply({"key_version": version, "signature": f"vault:v{version}:{text}"})
        return 404, {"errors": []}

    def _key(self) -> dict[str, Any]:
        made = "2026-01-30T10:11:12.131415Z"
        if self.kind == "ed25519":
            keys: dict[str, Any] = {
                str(number): {
                    "creation_time": made,
                    "name": "ed25519",
                    "public_key": base64.b64encode(bytes(key.pubkey())).decode(),
                }
                for number, key in self.versions.items()
            }
        else:
            keys = {str(number): 1442851412 for number in self.versions}
        return {
            "allow_plaintext_backup": False,
            "deletion_allowed": False,
            "derived": False,
            "exportable": False,
            "keys": keys,
            "latest_version": max(self.versions),
            "min_decryption_version": 1,
            "min_encryption_version": 0,
            "name": "operator",
            "supports_signing": self.kind == "ed25519",
            "type": self.kind,
        }


def _reply(data: dict[str, Any]) -> dict[str, Any]:
    return {
        "request_id": "0b1b1b5c-2f3c-4c1a-9d0a-7f3b0a1c2d3e",
        "lease_id": "",
        "renewable": False,
        "lease_duration": 0,
        "data": data,
        "wrap_info": None,
        "warnings": None,
        "auth": None,
    }


async def _request(
    stream: trio.abc.Stream, http: h11.Connection
) -> tuple[str, str, dict[str, str], Any] | None:
    method = path = ""
    headers: dict[str, str] = {}
    body = b""
    while not isinstance(event := http.next_event(), h11.EndOfMessage):
        if event is h11.NEED_DATA:
            http.receive_data(bytes(await stream.receive_some(65536)))
        elif isinstance(event, h11.Request):
            method, path = event.method.decode(), event.target.decode()
            headers = {name.decode(): value.decode() for name, value in event.headers}
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        else:
            return None
    return method, path, headers, json.loads(body) if body else None

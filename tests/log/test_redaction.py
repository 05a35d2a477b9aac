"""No line has a secret, even if a library's text quotes one."""

from __future__ import annotations

import pytest

from cvms.http.framework.admin_tokens import Role, mint
from cvms.log.redaction import redact, redacted_text

TOKEN = mint(b"s" * 32, subject="carol", role=Role.ADMIN, seconds=60)

SECRETS = {
    "a key in the path of an endpoint": "https://rpc.example.com/v2/k3yk3yk3y failed",
    "a key in its query": "GET https://rpc.example.com/?api-key=k3yk3yk3y: 401",
    "a password of the database": "could not connect to postgresql://cvms:k3yk3yk3y@db:5432/cvms",
    "a password with an @": "postgresql://cvms:a@k3yk3yk3y@db:5432/cvms does not answer",
    "a password with a slash": "postgresql://cvms:k3yk3yk3y/a@db:5432/cvms does not answer",
    "a password of Redis": "rediss://:k3yk3yk3y@cache:6379/0 does not answer",
    "a connection string": "host=db user=cvms password=k3yk3yk3y dbname=cvms",
    "a signature in a path": "/api/vault/x/statement?nonce=k3yk3yk3y&signature=k3yk3yk3y",
    "a header": "Authorization: Bearer k3yk3yk3y",
    "a value of JSON": '{"token": "k3yk3yk3y"}',
    "a PIN": "pkcs11:token=hsm?pin-value=k3yk3yk3y",
}


@pytest.mark.parametrize("text", SECRETS.values(), ids=SECRETS)
def test_a_secret_is_hidden_wherever_a_text_quotes_it(text: str) -> None:
    shown = redacted_text(text)
    assert "k3y" not in shown
    assert "…" in shown


def test_a_token_of_an_administrator_is_hidden_in_nested_values() -> None:
    line = {"event": "x", "exception": [{"exc_value": f"bad {TOKEN}"}], "token": "k3yk3yk3y"}
    shown = str(redact(None, "info", line))
    assert TOKEN not in shown
    assert "k3y" not in shown


def test_what_is_no_secret_is_shown() -> None:
    for text in (
        "no reply within 5 s from https://rpc.example.com:8899/",
        "The vault's token account on chain is 9xQeWvG816bUx9EPjHmaT23yvVM2ZWbrrpZb9PusVFin",
        "the signature 5VERv8NMvzbJMEkV8xnrLkEaWRtSz9CosKDYjCJjBRnbJLgp8uirBgmQpjKhoR4t",
    ):
        assert redacted_text(text) == text

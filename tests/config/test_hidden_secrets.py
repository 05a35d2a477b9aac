"""No part of a secret in a URL is told, wherever it stands and whatever characters it has."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from urllib.parse import quote

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict
from solders.keypair import Keypair

from cvms.config.loader import load_config
from cvms.config.settings import Config
from cvms.config.webhook_url import target_of
from cvms.dev.data_folder import write_private
from cvms.errors import leaves
from cvms.secret_urls import host_of

FRAGMENT = 4
"""Characters of a secret in a row that must not be told."""

# No lower-case letters, and no digits of the bounds: what a message says is then no coincidence.
WORDS = st.text("QXZJKVW124789", min_size=4, max_size=9)
PUNCTUATION = st.text("@#/?:%&=+ [],;'\"\\|é\n", max_size=3)
SECRETS = st.lists(st.tuples(WORDS, PUNCTUATION), min_size=1, max_size=3).map(
    lambda pairs: "".join(word + mark for word, mark in pairs)
)

TEMPLATES = {
    "DATABASE_URL": (
        "postgresql://user:{}@host.example/db",
        "postgresql://user:{}@one.example:5432,two.example/db?sslmode=require",
        "postgresql://user:{}@host.example:x/db",
        "postgresql://user:{}@host.example/db?sslmod=require",
        "postgresql://user:{}@host.example/db?sslmode=requir",
        "postgresql://host.example/db?user=user&password={}",
        "postgresql://host.example/db?password={}&sslpassword={}&sslmode=requir",
        "host=host.example user=user password={} dbname=db",
        "host=host.example user=user password='{}' dbname=db",
        "host=host.example password={} sslmod=require",
        "mysql://user:{}@host.example/db",
        "{}",
    ),
    "DATABASE_READ_URLS": (
        "postgresql://user:{}@host.example/db",
        "postgresql://one.example/db, postgresql://user:{}@host.example:x/db",
        "postgresql://user:{}@one.example,two.example/db",
        "postgresql://user:{}@host.example/db, postgresql://user:{}@host.example/db",
        "host=host.example user=user password={} dbname=db",
        "{}",
    ),
    "SOLANA_RPC_URL": (
        "https://rpc.example/{}",
        "https://rpc.example/v2/{}/x?y=z",
        "https://rpc.example?api-key={}",
        "https://user:{}@rpc.example:8899/",
        "https://{}@rpc.example",
        "https://user:{}@rpc.example:x/",
        "https://one.example, https://user:{}@two.example",
        "ftp://rpc.example/{}",
        "{}",
    ),
    "SOLANA_WS_URL": ("wss://ws.example/{}", "wss://user:{}@ws.example", "ws://:{}@h:0", "{}"),
    "REDIS_URL": (
        "redis://:{}@redis.example:6379/0",
        "rediss://user:{}@redis.example",
        "redis://{}@redis.example/x",
        "unix://user:{}@/run/redis.sock?db=0",
        "redis://redis.example/0?password={}",
        "{}",
    ),
    "ALERT_WEBHOOK_URL": ("https://hooks.example/{}", "https://hooks.example:x/{}", "{}"),
    "ALERT_WEBHOOK_SECRET": ("whsec_{}", "{}"),
    "DEPLOYER_KEYPAIR_BASE64": ("{}",),
    "ADMIN_JWT_SECRET": ("{}",),
    "ADMIN_JWT_SECRETS": ("{}", "new:{}", "new:{},new:{}", ":{}"),
    "DATA_ENCRYPTION_KEYS": ("{}",),
}
CASES = [(name, template) for name, templates in TEMPLATES.items() for template in templates]


def fragments(secret: str) -> Iterator[str]:
    for at in range(len(secret) - FRAGMENT + 1):
        fragment = secret[at : at + FRAGMENT]
        if sum(each.isalnum() for each in fragment) > 1:  # else it tells nothing
            yield fragment


def assert_hidden(secret: str, text: str, *, anyway: str = "") -> None:
    """Fail if a fragment is in the text, unless that is told `anyway`, whatever the secret is."""
    for form in (secret, quote(secret, safe="")):
        for fragment in fragments(form):
            assert fragment not in text or fragment in anyway, (fragment, text)


def told(environ: Mapping[str, str]) -> str:
    """Return the errors of the settings, or what may be shown of them later."""
    try:
        config = load_config(environ)
    except Exception as error:
        return "\n".join(str(each) for each in leaves(error))
    return f"{config!r} {shown_later(config)}"


def shown_later(config: Config) -> list[str]:
    """Return the parts of URLs that logs name."""
    params = conninfo_to_dict(config.database_url)
    webhook = config.alerts.webhook_url
    return [
        *(str(params.get(name)) for name in ("host", "hostaddr", "port", "user", "dbname")),
        *map(host_of, config.rpc_urls + config.ws_urls),
        *([target_of(webhook, private=False).authority] if webhook else []),
    ]


@pytest.fixture(scope="module")
def required(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    path = tmp_path_factory.mktemp("key") / "operator.json"
    write_private(path, json.dumps(list(bytes(Keypair()))))
    return {
        "DEPLOYER_KEYPAIR_PATH": str(path),
        "DATABASE_URL": "postgresql://",
        "ALERT_WEBHOOK_URL": "https://hooks.example",
        "ALERT_WEBHOOK_SECRET": "whsec_" + "c2VjcmV0" * 4,
    }


@pytest.mark.parametrize(("name", "template"), CASES)
@settings(max_examples=40)
@given(secret=SECRETS)
@example("XQ1247@XQZZ")
@example("1247/XQ@ZZKK")
@example("1247?XQ=ZZ@KK")
@example("XQZ%zzKJVW")
@example("XQZJ KVWX=1247")
@example("XQZJ&KVWX=1247")
@example("XQZJ#KVWX")
@example("[XQZJ]KVWX")
def test_a_secret_is_not_told(
    required: dict[str, str], name: str, template: str, secret: str
) -> None:
    anyway = told(required) + told(required | {name: template.replace("{}", "neutral")})
    for text in (secret, quote(secret, safe="")):
        environ = required | {name: template.replace("{}", text)}
        assert_hidden(secret, told(environ), anyway=anyway)


def test_the_test_sees_what_is_told(required: dict[str, str]) -> None:
    assert "rpc.example" in told(required | {"SOLANA_RPC_URL": "https://rpc.example/key"})
    with pytest.raises(AssertionError):
        assert_hidden("XQZJ124", "the value QZJ1 is bad")

"""Loading of the settings from the environment, checked once at start-up.

Every error is one line: the variable, what it holds (never a secret) and what is expected.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast
from urllib.parse import urlsplit, urlunsplit

from solders.keypair import Keypair
from solders.pubkey import Pubkey

from cvms.chain.types import Programs
from cvms.config.alert_settings import AlertSettings
from cvms.config.fields import Setting, settings_of
from cvms.config.settings import Config
from cvms.config.webhook_url import target_of
from cvms.errors import ConfigurationError

_LAST_PORT = 65535


def load_config(environ: Mapping[str, str]) -> Config:
    """Read every setting. Raises ConfigurationError naming the first bad variable."""
    if not environ.get("SOLANA_WS_URL"):
        environ = {**environ, "SOLANA_WS_URL": ",".join(map(pubsub_url, load_rpc_urls(environ)))}
    config: Config = settings_of(Config).read(environ)
    _check_webhook(config.alerts, private=config.webhook_private_addresses)
    _check_vault_authority(config)
    return config


def load_database_url(environ: Mapping[str, str]) -> str:
    return cast(str, settings_of(Config).members["database_url"].read(environ))


def load_rpc_urls(environ: Mapping[str, str]) -> tuple[str, ...]:
    return cast(tuple[str, ...], settings_of(Config).members["rpc_urls"].read(environ))


def load_programs(environ: Mapping[str, str]) -> Programs:
    return cast(Programs, settings_of(Config).members["programs"].read(environ))


def load_operator(environ: Mapping[str, str]) -> Keypair:
    return cast(Keypair, settings_of(Config).members["operator"].read(environ))


def load_admin_secret(environ: Mapping[str, str]) -> bytes:
    """Return ADMIN_JWT_SECRET. Raises ConfigurationError if it is not set."""
    return cast(bytes, _read_required("admin_jwt_secret", environ))


def load_encryption_keys(environ: Mapping[str, str]) -> tuple[bytes, ...]:
    """Return DATA_ENCRYPTION_KEYS. Raises ConfigurationError if it is not set."""
    return cast(tuple[bytes, ...], _read_required("data_encryption_keys", environ))


def pubsub_url(rpc_url: str) -> str:
    """Return the PubSub URL that belongs to an RPC URL, by Solana's convention.

    A validator's PubSub port follows its RPC port (8899 and 8900). Behind the scheme's own port, or
    without one, only the scheme differs. Raises ConfigurationError when there is no next port.
    """
    parts = urlsplit(rpc_url)
    secure = parts.scheme == "https"
    host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname
    user = parts.netloc.rpartition("@")[0]
    netloc = f"{user}@{host}" if user else f"{host}"
    if (port := parts.port) is not None:
        netloc += f":{port if port == (443 if secure else 80) else port + 1}"
    if port == _LAST_PORT:
        raise _setting(Config, "rpc_urls").bad_value(
            rpc_url, f"no port follows {port}, so set SOLANA_WS_URL as well"
        )
    return urlunsplit(("wss" if secure else "ws", netloc, parts.path, parts.query, ""))


def _setting(settings: type[Any], field: str) -> Setting:
    found = settings_of(settings).members[field]
    assert isinstance(found, Setting)
    return found


def _read_required(field: str, environ: Mapping[str, str]) -> Any:
    return replace(_setting(Config, field), default=None).read(environ)


def _check_webhook(alerts: AlertSettings, *, private: bool) -> None:
    url, secret = alerts.webhook_url, alerts.webhook_secret
    if (url is None) != (secret is None):
        names = ("ALERT_WEBHOOK_URL", "ALERT_WEBHOOK_SECRET")
        missing, other = names if url is None else reversed(names)
        raise ConfigurationError(f"{missing} is not set; expected beside {other}, which is")
    if url is not None:
        try:
            target_of(url, private=private)
        except ValueError as error:
            raise _setting(AlertSettings, "webhook_url").bad_value(url, str(error)) from None


def _check_vault_authority(config: Config) -> None:
    given = config.vault_authority
    derived, _ = Pubkey.find_program_address([b"vault_authority"], config.programs.vault)
    if given is not None and given != derived:
        raise _setting(Config, "vault_authority").bad_value(
            str(given), f"PROGRAM_ID's is {derived}"
        )

"""Loading of the settings from the environment, checked once at start-up.

Every error is one line: the variable, what it holds (never a secret) and what is expected.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, cast
from urllib.parse import urlsplit, urlunsplit

from solders.pubkey import Pubkey

from cvms.chain.types import Programs
from cvms.config.admin_settings import AdminSettings
from cvms.config.alert_settings import AlertSettings
from cvms.config.fields import Setting, read_all, settings_of
from cvms.config.operator_settings import OperatorSource, SignerSettings, Sponsoring
from cvms.config.settings import Config
from cvms.config.webhook_url import target_of
from cvms.errors import ConfigurationError
from cvms.secret_urls import LAST_PORT


def load_config(environ: Mapping[str, str]) -> Config:
    """Read every setting. Raises ConfigurationError, or a group with one for each bad setting."""
    members = settings_of(Config).members
    reads: dict[str, Callable[[], Any]] = {
        name: partial(member.read, environ) for name, member in members.items()
    }
    if not environ.get("SOLANA_WS_URL"):
        reads["ws_urls"] = partial(_default_ws_urls, environ)
    reads["alerts"] = partial(_read_alerts, environ)
    reads["vault_authority"] = partial(_read_vault_authority, environ)
    reads["sponsoring"] = partial(_read_sponsoring, environ)
    return Config(**read_all(reads))


def load_database_url(environ: Mapping[str, str]) -> str:
    return cast(str, settings_of(Config).members["database_url"].read(environ))


def load_rpc_urls(environ: Mapping[str, str]) -> tuple[str, ...]:
    return cast(tuple[str, ...], settings_of(Config).members["rpc_urls"].read(environ))


def load_programs(environ: Mapping[str, str]) -> Programs:
    return cast(Programs, settings_of(Config).members["programs"].read(environ))


def load_alerts(environ: Mapping[str, str]) -> AlertSettings:
    return _read_alerts(environ)


def load_operators(environ: Mapping[str, str]) -> tuple[OperatorSource, ...]:
    """Return the operator's keys, or where they are; the one that pays first."""
    return cast(tuple[OperatorSource, ...], settings_of(Config).members["operators"].read(environ))


def load_signing(environ: Mapping[str, str]) -> SignerSettings:
    return cast(SignerSettings, settings_of(Config).members["signing"].read(environ))


def load_admin_secret(environ: Mapping[str, str]) -> bytes:
    """Return ADMIN_JWT_SECRET. Raises ConfigurationError if it is not set."""
    return cast(bytes, _read_required("admin_jwt_secret", environ))


def load_signing_secret(environ: Mapping[str, str]) -> tuple[str | None, bytes]:
    """Return the secret that signs administrators' tokens, and its name; ADMIN_JWT_SECRET has none.

    Raises ConfigurationError if neither it nor ADMIN_JWT_SECRETS is set.
    """
    named: tuple[tuple[str, bytes], ...] = _setting(AdminSettings, "token_secrets").read(environ)
    return named[0] if named else (None, load_admin_secret(environ))


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
    if port == LAST_PORT:
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


def _default_ws_urls(environ: Mapping[str, str]) -> tuple[str, ...]:
    try:
        rpc_urls = load_rpc_urls(environ)
    except ConfigurationError:
        return ()  # SOLANA_RPC_URL is reported by itself
    return tuple(map(pubsub_url, rpc_urls))


def _read_alerts(environ: Mapping[str, str]) -> AlertSettings:
    alerts: AlertSettings = settings_of(AlertSettings).read(environ)
    url, secret = alerts.webhook_url, alerts.webhook_secret
    if (url is None) != (secret is None):
        names = ("ALERT_WEBHOOK_URL", "ALERT_WEBHOOK_SECRET")
        missing, other = names if url is None else reversed(names)
        raise ConfigurationError(f"{missing} is not set; expected beside {other}, which is")
    if url is not None:
        try:
            private = _setting(Config, "webhook_private_addresses").read(environ)
        except ConfigurationError:
            return alerts  # it is reported by itself
        try:
            target_of(url, private=private)
        except ValueError as error:
            raise _setting(AlertSettings, "webhook_url").bad_value(url, str(error)) from None
    return alerts


def _read_sponsoring(environ: Mapping[str, str]) -> Sponsoring:
    sponsoring: Sponsoring = settings_of(Sponsoring).read(environ)
    try:
        programs = load_programs(environ)
    except (ConfigurationError, ExceptionGroup):
        return sponsoring  # it is reported by itself
    own = {programs.vault, programs.position_manager, programs.yield_pool}
    for each in own.intersection(sponsoring.guard_programs):
        setting = _setting(Sponsoring, "guard_programs")
        raise setting.bad_value(str(each), "it is a program of the service itself")
    return sponsoring


def _read_vault_authority(environ: Mapping[str, str]) -> Pubkey | None:
    setting = _setting(Config, "vault_authority")
    given = cast(Pubkey | None, setting.read(environ))
    if given is None:
        return None
    try:
        vault_program = load_programs(environ).vault
    except (ConfigurationError, ExceptionGroup):
        return given  # it is reported by itself
    derived, _ = Pubkey.find_program_address([b"vault_authority"], vault_program)
    if given != derived:
        raise setting.bad_value(str(given), f"PROGRAM_ID's is {derived}")
    return given

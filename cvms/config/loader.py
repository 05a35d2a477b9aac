"""Settings from the environment and `.env`, checked once at start-up.

Every problem is one line: the variable, what it holds (never a secret), what is expected.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit, urlunsplit

from solders.keypair import Keypair
from solders.pubkey import Pubkey

from cvms.chain.types import (
    POSITION_MANAGER_PROGRAM,
    USDT_MINT,
    VAULT_PROGRAM,
    YIELD_POOL_PROGRAM,
    Programs,
)
from cvms.config import parsers as value
from cvms.config.alert_settings import read_alert_settings
from cvms.config.settings import Config, Rates, SignIn
from cvms.config.sponsorship import read_sponsoring
from cvms.errors import ConfigurationError

T = TypeVar("T")


def load_config(environ: Mapping[str, str]) -> Config:
    """Read every setting. Raises ConfigurationError naming the first bad variable."""
    read = _Reader(environ)
    programs = load_programs(environ)
    rpc_urls = load_rpc_urls(environ)
    ws_default = ",".join(pubsub_url(url) for url in rpc_urls)
    private = read("WEBHOOK_PRIVATE_ADDRESSES", value.switch, "off", "on or off")
    config = Config(
        operator=read("DEPLOYER_KEYPAIR_PATH", load_keypair, None, _KEYPAIR_FILE),
        database_url=load_database_url(environ),
        host=read("HOST", value.text, "127.0.0.1", "an address to listen on"),
        port=read("PORT", value.port, "8080", "a TCP port, 0 to 65535"),
        rpc_urls=rpc_urls,
        ws_urls=read("SOLANA_WS_URL", value.urls("ws", "wss"), ws_default, _WS_URLS, secret=True),
        programs=programs,
        admin_jwt_secret=read("ADMIN_JWT_SECRET", value.jwt_secret, "", _ADMIN, secret=True),
        data_encryption_keys=read(
            "DATA_ENCRYPTION_KEYS", value.encryption_keys, "", _ENCRYPTION_KEYS, secret=True
        ),
        redis_url=read(
            "REDIS_URL", value.redis_url, "", "redis://host:port/db, or unset", secret=True
        ),
        reconciliation_threshold=read(
            "RECONCILIATION_THRESHOLD",
            value.amount,
            "0",
            _UNITS,
        ),
        reconciliation_interval=read(
            "RECONCILIATION_INTERVAL_SECONDS", value.seconds, "60", "seconds, above 0"
        ),
        low_balance_threshold=read(
            "LOW_BALANCE_THRESHOLD",
            value.amount,
            "10000000",
            _UNITS,
        ),
        alerts=read_alert_settings(read, private=private),
        cache_ttl=read("CACHE_TTL_SECONDS", value.seconds, "5", "seconds, above 0"),
        balance_monitor_interval=read(
            "BALANCE_MONITOR_INTERVAL_SECONDS", value.seconds, "60", "seconds, above 0"
        ),
        nonce_ttl=read("NONCE_TTL_SECONDS", value.seconds, "300", "seconds, above 0"),
        proposal_ttl=read("PROPOSAL_TTL_SECONDS", value.seconds, "86400", "seconds, above 0"),
        webhook_private_addresses=private,
        yield_sources=environ.get("YIELD_SOURCES", ""),
        yield_rates_seconds=read("YIELD_RATES_SECONDS", value.seconds, "60", "seconds, above 0"),
        timelock_notice_seconds=read(
            "TIMELOCK_NOTICE_SECONDS",
            value.notice_seconds,
            "3600",
            "whole seconds, 0 to 1000000000",
        ),
        timelock_release=read("TIMELOCK_RELEASE", value.switch, "on", "on or off"),
        yield_compound_min_amount=read(
            "YIELD_COMPOUND_MIN_AMOUNT", value.amount, "100000", "a whole number of token units"
        ),
        yield_compound_seconds=read(
            "YIELD_COMPOUND_SECONDS", value.seconds, "600", "seconds, above 0"
        ),
        operator_max_fee=read("OPERATOR_MAX_FEE", value.fee, "25000", "lamports, 5000 or more"),
        indexer_max_lag_slots=read(
            "INDEXER_MAX_LAG_SLOTS", value.amount, "50", "a whole number of slots, 0 or more"
        ),
        sign_in=SignIn(
            domains=read("SIWS_DOMAINS", value.domains, "", _DOMAINS),
            chain_id=read("SIWS_CHAIN_ID", value.chain_id, "localnet", _CHAIN_ID),
        ),
        rates=Rates(
            address=read("RATE_LIMIT_ADDRESS", value.rate, "3000/60", _RATE),
            sensitive=read("RATE_LIMIT_SENSITIVE", value.rate, "300/60", _RATE),
            owner=read("RATE_LIMIT_OWNER", value.rate, "300/60", _RATE),
            everybody=read("RATE_LIMIT_GLOBAL", value.rate, "off", _RATE),
        ),
        sponsoring=read_sponsoring(read),
        trusted_proxies=read("TRUSTED_PROXIES", value.networks, "", _NETWORKS),
        cors_origins=read("CORS_ORIGINS", value.origins, "", _ORIGINS),
        log_format=read("LOG_FORMAT", value.log_format, "json", "json or console"),
    )
    read("VAULT_AUTHORITY_PUBKEY", _vault_authority(programs.vault), "", _AUTHORITY)
    return config


def load_database_url(environ: Mapping[str, str]) -> str:
    """DATABASE_URL."""
    read = _Reader(environ)
    expected = "postgresql://user:password@host/db"
    return read("DATABASE_URL", value.database_url, None, expected, secret=True)


def load_rpc_urls(environ: Mapping[str, str]) -> tuple[str, ...]:
    """SOLANA_RPC_URL."""
    read, default = _Reader(environ), "http://127.0.0.1:8899"
    # A provider's address often carries its API key.
    return read("SOLANA_RPC_URL", value.urls("http", "https"), default, _HTTP_URLS, secret=True)


def load_admin_secret(environ: Mapping[str, str]) -> bytes:
    """ADMIN_JWT_SECRET, which must be set."""
    secret = _Reader(environ)("ADMIN_JWT_SECRET", value.jwt_secret, None, _ADMIN, secret=True)
    assert secret is not None
    return secret


def load_encryption_keys(environ: Mapping[str, str]) -> tuple[bytes, ...]:
    """DATA_ENCRYPTION_KEYS, which must be set."""
    read = _Reader(environ)
    return read("DATA_ENCRYPTION_KEYS", value.encryption_keys, None, _ENCRYPTION_KEYS, secret=True)


def load_programs(environ: Mapping[str, str]) -> Programs:
    """PROGRAM_ID, POSITION_MANAGER_PROGRAM_ID, YIELD_POOL_PROGRAM_ID, USDT_MINT.

    By default the local chain's.
    """
    read = _Reader(environ)
    expected = "a base58 public key"
    return Programs(
        vault=read("PROGRAM_ID", value.pubkey, VAULT_PROGRAM, expected),
        position_manager=read(
            "POSITION_MANAGER_PROGRAM_ID", value.pubkey, POSITION_MANAGER_PROGRAM, expected
        ),
        mint=read("USDT_MINT", value.pubkey, USDT_MINT, expected),
        yield_pool=read("YIELD_POOL_PROGRAM_ID", value.pubkey, YIELD_POOL_PROGRAM, expected),
    )


_HTTP_URLS = "one or more http(s):// URLs, separated by commas"
_WS_URLS = "one or more ws(s):// URLs, separated by commas"
_KEYPAIR_FILE = "the path of a Solana keypair file (a JSON array of 64 bytes)"
_UNITS = "a whole number of token units, 0 or more"
_REDIS_URL = "redis://host:port/db, or unset"
_ADMIN = "at least 32 bytes, or unset"
_RATE = "requests/seconds such as 300/60, or off"
_ENCRYPTION_KEYS = "keys of 32 bytes in URL-safe base64, separated by commas, or unset"
_NETWORKS = "addresses or networks such as 10.0.0.0/8, separated by commas, or unset"
_ORIGINS = "origins such as https://app.example.com, separated by commas, or unset"
_DOMAINS = "domains such as app.example.com or localhost:3000, separated by commas, or unset"
_CHAIN_ID = "a chain id such as mainnet, or solana:mainnet"
_AUTHORITY = "the vault authority account of PROGRAM_ID, or unset"


class _Reader:
    """Reads one variable at a time and turns any failure into the one-line error."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ

    def __call__(
        self,
        name: str,
        parse: Callable[[str], T],
        default: str | None,
        expected: str,
        *,
        secret: bool = False,
    ) -> T:
        raw = self._environ.get(name, "") or default
        if raw is None:
            raise ConfigurationError(f"{name} is not set; expected {expected}")
        try:
            return parse(raw)
        except ValueError as error:
            held = f"a value of {len(raw)} characters" if secret else repr(raw)
            reason = "" if secret or not str(error) else f" ({error})"
            raise ConfigurationError(f"{name} holds {held}{reason}; expected {expected}") from None


def pubsub_url(rpc_url: str) -> str:
    """The PubSub address that goes with an RPC address, by Solana's convention.

    An explicit port is followed by the PubSub port (8899 and 8900); without one the scheme changes.
    """
    parts = urlsplit(rpc_url)
    scheme = "wss" if parts.scheme == "https" else "ws"
    host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname
    user = parts.netloc.rpartition("@")[0]
    netloc = f"{user}@{host}" if user else f"{host}"
    if parts.port is not None:
        netloc += f":{parts.port + 1}"
    return urlunsplit((scheme, netloc, parts.path, parts.query, ""))


def load_keypair(path: str) -> Keypair:
    """The keypair in a Solana command-line file. Raises ValueError; never quotes the content."""
    try:
        numbers = json.loads(Path(path).expanduser().read_text())
        return Keypair.from_bytes(bytes(numbers))
    except OSError as error:
        raise ValueError(error.strerror or "cannot be read") from None
    except (ValueError, TypeError):
        raise ValueError("the file is not a keypair") from None


def _vault_authority(program_id: Pubkey) -> Callable[[str], None]:
    def check(raw: str) -> None:
        expected, _ = Pubkey.find_program_address([b"vault_authority"], program_id)
        if raw and Pubkey.from_string(raw) != expected:
            raise ValueError(f"PROGRAM_ID's is {expected}")

    return check

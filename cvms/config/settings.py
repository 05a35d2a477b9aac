"""Settings of the service, as loaded and checked at start-up."""

from __future__ import annotations

from dataclasses import dataclass, field

from solders.keypair import Keypair

from cvms.chain.types import (
    Programs,
)
from cvms.config.alert_settings import AlertSettings
from cvms.config.parsers import Network
from cvms.config.sponsorship import Sponsoring
from cvms.store.redis.rate_limiter import Rate


@dataclass(frozen=True, slots=True)
class Rates:
    """What clients may ask; None is without bound."""

    address: Rate | None = None
    sensitive: Rate | None = None
    owner: Rate | None = None
    everybody: Rate | None = None


@dataclass(frozen=True, slots=True)
class SignIn:
    """Which Sign-In-With-Solana messages count: of pages of these domains, about this chain."""

    domains: tuple[str, ...] = ()
    chain_id: str = "localnet"


@dataclass(frozen=True, slots=True)
class Config:
    """Everything an operator can set. Durations in seconds, amounts in token units."""

    operator: Keypair = field(repr=False)
    database_url: str = field(repr=False)
    programs: Programs
    host: str = "127.0.0.1"
    port: int = 8080
    rpc_urls: tuple[str, ...] = field(default=("http://127.0.0.1:8899",), repr=False)
    ws_urls: tuple[str, ...] = field(default=("ws://127.0.0.1:8900",), repr=False)
    admin_jwt_secret: bytes | None = field(default=None, repr=False)
    data_encryption_keys: tuple[bytes, ...] = field(default=(), repr=False)
    redis_url: str | None = field(default=None, repr=False)
    reconciliation_threshold: int = 0
    reconciliation_interval: float = 60.0
    low_balance_threshold: int = 10_000_000
    alerts: AlertSettings = field(default_factory=AlertSettings)
    cache_ttl: float = 5.0
    balance_monitor_interval: float = 60.0
    nonce_ttl: float = 300.0
    proposal_ttl: float = 86_400.0
    webhook_private_addresses: bool = False
    # As it was set: what the protocols are is for the composition root to know.
    yield_sources: str = ""
    yield_rates_seconds: float = 60.0
    timelock_notice_seconds: int = 3_600
    timelock_release: bool = True
    yield_compound_min_amount: int = 100_000
    yield_compound_seconds: float = 600.0
    operator_max_fee: int = 25_000
    indexer_max_lag_slots: int = 50
    sign_in: SignIn = field(default_factory=SignIn)
    rates: Rates = field(default_factory=Rates)
    sponsoring: Sponsoring = field(default_factory=Sponsoring)
    trusted_proxies: tuple[Network, ...] = ()
    cors_origins: tuple[str, ...] = ()
    shutdown_deadline: float = 4.0
    log_format: str = "json"

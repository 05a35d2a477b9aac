"""Every setting of the service: its variable, parser, default and description.

To add one, declare a field here or in a module *_settings: `make settings` writes README's table.
"""

from __future__ import annotations

from dataclasses import field
from ipaddress import ip_network

from solders.pubkey import Pubkey

from cvms.chain.types import (
    POSITION_MANAGER_PROGRAM,
    USDT_MINT,
    VAULT_PROGRAM,
    YIELD_POOL_PROGRAM,
    Programs,
)
from cvms.config import parsers as parse
from cvms.config.admin_settings import AdminSettings
from cvms.config.alert_settings import AlertSettings
from cvms.config.connection_settings import ListenSettings, ReplicaSettings, TraceSettings
from cvms.config.fields import group, setting, settings_class
from cvms.config.operator_settings import (
    OperatorSource,
    SignerSettings,
    Sponsoring,
    operator_sources,
)
from cvms.config.parsers import Network
from cvms.store.redis.rate_limiter import Rate

_PUBKEY = "a base58 public key"
_UNITS = "a whole number of token units, 0 or more"
_ON_OR_OFF = "on or off"

_domain = parse.matching(r"[a-z0-9.-]+(:[0-9]{1,5})?")


def _duration(name: str, *, default: str, about: str) -> float:
    return setting(name, parse.seconds, default=default, expected="seconds, above 0", about=about)


def _rate_limit(name: str, *, default: str, about: str) -> Rate | None:
    expected = "requests/seconds such as 300/60, or off"
    parser = parse.unless_off(parse.rate)
    return setting(name, parser, default=default, expected=expected, about=about)


@settings_class
class Rates:
    """Rate limits of clients. None is no limit."""

    address: Rate | None = _rate_limit(
        "RATE_LIMIT_ADDRESS",
        default="3000/60",
        about="Requests/seconds of one address, which may come all at once; or `off`. Replicas "
        "share the limits through Redis if it is configured",
    )
    sensitive: Rate | None = _rate_limit(
        "RATE_LIMIT_SENSITIVE",
        default="300/60",
        about="The same for one address and one route that authenticates or moves money",
    )
    owner: Rate | None = _rate_limit(
        "RATE_LIMIT_OWNER",
        default="300/60",
        about="The same for the requests that one owner has signed",
    )
    everybody: Rate | None = _rate_limit(
        "RATE_LIMIT_GLOBAL",
        default="off",
        about="The same for all clients together",
    )


@settings_class
class SignIn:
    """Domains and chain of the Sign-In-With-Solana messages that are accepted."""

    domains: tuple[str, ...] = setting(
        "SIWS_DOMAINS",
        parse.comma_separated(_domain),
        default="",
        expected="domains such as app.example.com or localhost:3000, separated by commas, or unset",
        about="Domains of the pages whose Sign-In-With-Solana messages are accepted, as browsers "
        "show them (`app.example.com`, `localhost:3000`), separated by commas. "
        "The default of `cvms dev` is `localhost`",
    )
    chain_id: str = setting(
        "SIWS_CHAIN_ID",
        parse.matching(r"[-_:a-zA-Z0-9]{1,64}"),
        default="localnet",
        expected="a chain id such as mainnet, or solana:mainnet",
        about="Chain that those messages must name, such as `mainnet`",
    )


@settings_class
class Config:
    """Everything that an operator can set. Durations are in seconds, amounts in token units."""

    operators: tuple[OperatorSource, ...] = operator_sources()
    signing: SignerSettings = field(default_factory=SignerSettings)
    database_url: str = setting(
        "DATABASE_URL",
        parse.database_url,
        expected="postgresql://user:password@host/db",
        about="`postgresql://…`, or parameters such as `host=… dbname=…`; several hosts and TLS "
        "as in libpq. In a URL, `@`, `/`, `:` and `%` of a password are percent-encoded",
        secret=True,
    )
    database_connections: int = setting(
        "DB_MAX_CONNECTIONS",
        parse.integer(2, 1000),
        default="8",
        expected="a whole number of connections, 2 to 1000",
        about="Connections of a process to `DATABASE_URL` for its queries. Up to six "
        "more are for the lease, notifications and long checks",
    )
    migrate: bool = setting(
        "MIGRATE",
        parse.auto_or_off,
        default="auto",
        expected="auto or off",
        about="`auto`: a start applies the database's migrations. `off`: it ends if some are "
        "pending, which `cvms migrate` applies: "
        "[docs/operations/upgrade.md](docs/operations/upgrade.md)",
    )
    replicas: ReplicaSettings = field(default_factory=ReplicaSettings)
    host: str = setting(
        "HOST",
        str,
        default="127.0.0.1",
        expected="an address to listen on",
        about="Address to listen on; `::` is every address, of IPv4 too",
    )
    port: int = setting(
        "PORT",
        parse.integer(0, 65535),
        default="8080",
        expected="a TCP port, 0 to 65535",
        about="TCP port to listen on; 0 picks a free one",
    )
    listening: ListenSettings = field(default_factory=ListenSettings)
    rpc_urls: tuple[str, ...] = setting(
        "SOLANA_RPC_URL",
        parse.urls("http", "https"),
        default="http://127.0.0.1:8899",
        expected="one or more http(s):// URLs with ports from 1 to 65535, separated by commas",
        about="RPC endpoints, separated by commas, the preferred one first: "
        "[docs/endpoints.md](docs/endpoints.md) describes the failover",
        secret=True,
    )
    ws_urls: tuple[str, ...] = setting(
        "SOLANA_WS_URL",
        parse.urls("ws", "wss"),
        default="ws://127.0.0.1:8900",
        expected="one or more ws(s):// URLs with ports from 1 to 65535, separated by commas",
        about="PubSub endpoints, separated by commas. The default follows from `SOLANA_RPC_URL`: "
        "`ws` for `http`, and the next port where a URL names another than the scheme's own",
        secret=True,
    )
    programs: Programs = group(
        Programs,
        vault=setting(
            "PROGRAM_ID",
            Pubkey.from_string,
            default=VAULT_PROGRAM,
            expected=_PUBKEY,
            about="Vault program. The default of each program and of the mint is the local chain's",
        ),
        position_manager=setting(
            "POSITION_MANAGER_PROGRAM_ID",
            Pubkey.from_string,
            default=POSITION_MANAGER_PROGRAM,
            expected=_PUBKEY,
            about="Position manager program",
        ),
        yield_pool=setting(
            "YIELD_POOL_PROGRAM_ID",
            Pubkey.from_string,
            default=YIELD_POOL_PROGRAM,
            expected=_PUBKEY,
            about="Yield pool program",
        ),
        mint=setting(
            "USDT_MINT",
            Pubkey.from_string,
            default=USDT_MINT,
            expected=_PUBKEY,
            about="Mint of USDT",
        ),
    )
    vault_authority: Pubkey | None = setting(
        "VAULT_AUTHORITY_PUBKEY",
        parse.optional(Pubkey.from_string),
        default="",
        expected="the vault authority account of PROGRAM_ID, or unset",
        about="Vault authority account. It is derived from `PROGRAM_ID`, and only compared "
        "with this value if it is set",
    )
    admin_jwt_secret: bytes | None = setting(
        "ADMIN_JWT_SECRET",
        parse.optional(parse.jwt_secret),
        default="",
        expected="at least 32 bytes, or unset",
        about="At least 32 bytes, with which `cvms token` signs administrators' tokens. If "
        "neither it nor `ADMIN_JWT_SECRETS` is set, administrators' routes answer 503",
        secret=True,
    )
    admin: AdminSettings = field(default_factory=AdminSettings)
    data_encryption_keys: tuple[bytes, ...] = setting(
        "DATA_ENCRYPTION_KEYS",
        parse.comma_separated(parse.encryption_key),
        default="",
        expected="keys of 32 bytes in URL-safe base64, separated by commas, or unset",
        about="Fernet keys, separated by commas, for the secrets in the database (second factors, "
        "webhooks). The first encrypts, any of them decrypts. If unset, those routes "
        "answer 503. To change the key, put a new one in front, restart, run `cvms reseal`, then "
        "remove the old one",
        secret=True,
    )
    redis_url: str | None = setting(
        "REDIS_URL",
        parse.optional(parse.redis_url),
        default="",
        expected="redis://host:port/db with a port from 1 to 65535, or unset",
        about="Redis 6 or later, which shares rate limits and notifies replicas of events. "
        "Optional. The certificate of a `rediss://` host is verified",
        secret=True,
    )
    cache_ttl: float = _duration(
        "CACHE_TTL_SECONDS",
        default="5",
        about="How long a balance is answered from memory, unless something says it has changed",
    )
    reply_cache_bytes: int = setting(
        "REPLY_CACHE_BYTES",
        parse.integer(0),
        default="33554432",
        expected="a whole number of bytes, 0 or more",
        about="Memory of each process for replies that are answered without the database, about "
        "750 bytes for each balance; 0 disables them: [docs/http.md](docs/http.md)",
    )
    reconciliation_threshold: int = setting(
        "RECONCILIATION_THRESHOLD",
        parse.integer(),
        default="0",
        expected=_UNITS,
        about="Largest difference between a vault and the chain that is tolerated, in token units",
    )
    reconciliation_interval: float = _duration(
        "RECONCILIATION_INTERVAL_SECONDS",
        default="60",
        about="Time between the starts of two passes over all vaults. If a pass takes longer, "
        "the next one follows at once",
    )
    low_balance_threshold: int = setting(
        "LOW_BALANCE_THRESHOLD",
        parse.integer(),
        default="10000000",
        expected=_UNITS,
        about="A vault that holds fewer token units raises an alert; 0 disables it",
    )
    alerts: AlertSettings = field(default_factory=AlertSettings)
    balance_monitor_interval: float = _duration(
        "BALANCE_MONITOR_INTERVAL_SECONDS",
        default="60",
        about="Time between two refreshes of the totals",
    )
    proof_seconds: float = _duration(
        "PROOF_SECONDS",
        default="3600",
        about="Time between two proofs of reserves: [docs/proofs.md](docs/proofs.md). The default "
        "of `cvms dev` is 60",
    )
    proof_memo: bool = setting(
        "PROOF_MEMO",
        parse.switch,
        default="off",
        expected=_ON_OR_OFF,
        about="Write the hash of each proof to the chain, in a transaction of the operator",
    )
    sponsoring: Sponsoring = field(default_factory=Sponsoring)
    nonce_ttl: float = _duration(
        "NONCE_TTL_SECONDS",
        default="300",
        about="How long a nonce is valid, which is the time a wallet has to sign",
    )
    # Parsed by cvms.chain.yields.sources, which knows the protocols.
    yield_sources: str = setting(
        "YIELD_SOURCES",
        str,
        default="",
        expected="protocol:address, separated by commas, or unset",
        about="Accounts of yield protocols, as `protocol:address` separated by commas: "
        "[docs/yield.md](docs/yield.md). The default of `cvms dev` is a pool of its own",
    )
    yield_rates_seconds: float = _duration(
        "YIELD_RATES_SECONDS",
        default="60",
        about="Time between two readings of the yield rates, which are kept for a year",
    )
    timelock_notice_seconds: int = setting(
        "TIMELOCK_NOTICE_SECONDS",
        parse.integer(0, 10**9),
        default="3600",
        expected="whole seconds, 0 to 1000000000",
        about="How long before a timelock matures its owner is notified",
    )
    timelock_release: bool = setting(
        "TIMELOCK_RELEASE",
        parse.switch,
        default="on",
        expected=_ON_OR_OFF,
        about="`off`: matured timelocks are released only on request",
    )
    operator_max_fee: int = setting(
        "OPERATOR_MAX_FEE",
        parse.integer(5_000),  # the fee of one signature, without which nothing lands
        default="25000",
        expected="lamports, 5000 or more",
        about="Highest fee in lamports of a transaction that the operator starts itself: the "
        "release of matured timelocks (of up to twelve vaults), a compounding. "
        "5000 of it is the signature",
    )
    yield_compound_min_amount: int = setting(
        "YIELD_COMPOUND_MIN_AMOUNT",
        parse.integer(),
        default="100000",
        expected="a whole number of token units",
        about="Smallest yield in token units that is compounded, whatever owners have set",
    )
    yield_compound_seconds: float = _duration(
        "YIELD_COMPOUND_SECONDS",
        default="600",
        about="Time between two checks of the vaults whose owners want compounding",
    )
    proposal_ttl: float = _duration(
        "PROPOSAL_TTL_SECONDS",
        default="86400",
        about="How long a proposed withdrawal waits for its signers",
    )
    webhook_private_addresses: bool = setting(
        "WEBHOOK_PRIVATE_ADDRESSES",
        parse.switch,
        default="off",
        expected=_ON_OR_OFF,
        about="`on`: webhooks may be plain HTTP and lead to private addresses",
    )
    indexer_max_lag_slots: int = setting(
        "INDEXER_MAX_LAG_SLOTS",
        parse.integer(),
        default="50",
        expected="a whole number of slots, 0 or more",
        about="`/ready` fails if the indexer is further behind the chain than this many slots",
    )
    rates: Rates = field(default_factory=Rates)
    trusted_proxies: tuple[Network, ...] = setting(
        "TRUSTED_PROXIES",
        parse.comma_separated(ip_network),
        default="",
        expected="addresses or networks such as 10.0.0.0/8, separated by commas, or unset",
        about="Proxies whose `X-Forwarded-For` or `Forwarded`, `X-Request-Id` and `traceparent` "
        "are trusted: addresses or networks, separated by commas",
    )
    sign_in: SignIn = field(default_factory=SignIn)
    cors_origins: tuple[str, ...] = setting(
        "CORS_ORIGINS",
        parse.comma_separated(parse.origin),
        default="",
        expected="origins such as https://app.example.com, separated by commas, or unset",
        about="Origins of web pages that may call the service, separated by commas. `make dev` "
        "allows those of this machine on every port: `http://localhost:*,http://127.0.0.1:*`",
    )
    log_format: str = setting(
        "LOG_FORMAT",
        parse.one_of("json", "console"),
        default="json",
        expected="json or console",
        about="`json` or `console`",
    )
    log_level: str = setting(
        "LOG_LEVEL",
        parse.log_level,
        default="info",
        expected="debug, info, warning or error",
        about="Lowest level that is logged: `debug`, `info`, `warning` or `error`",
    )
    tracing: TraceSettings = field(default_factory=TraceSettings)
    shutdown_deadline: float = 4.0
    own_chain: bool = False
    """The chain was made for this process, as `cvms dev` does: it may have been reset, and one key
    has every role."""

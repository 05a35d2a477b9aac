"""Loading of settings, and errors for bad ones."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from solders.keypair import Keypair

from cvms.config.loader import load_config, pubsub_url
from cvms.config.operator_settings import Sponsoring
from cvms.dev.data_folder import write_private
from cvms.errors import ConfigurationError
from cvms.store.redis.rate_limiter import Rate


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """Only the required settings."""
    path = tmp_path / "operator.json"
    write_private(path, json.dumps(list(bytes(Keypair()))))
    return {"DEPLOYER_KEYPAIR_PATH": str(path), "DATABASE_URL": "postgresql://u:s3cret@db/cvms"}


def test_defaults_serve_the_local_chain(environ: dict[str, str]) -> None:
    config = load_config(environ)
    assert config.rpc_urls == ("http://127.0.0.1:8899",)
    assert config.ws_urls == ("ws://127.0.0.1:8900",)
    assert config.port == 8080
    assert str(config.programs.mint) == "4QHVBbG3H8kbwvcSwPnze3sC91kdeYWxNf8S5hkZ9nbZ"


def test_rate_limits_can_be_set_and_disabled(environ: dict[str, str]) -> None:
    assert load_config(environ).rates.everybody is None
    environ |= {"RATE_LIMIT_GLOBAL": "500/10", "RATE_LIMIT_ADDRESS": "off"}
    environ |= {"TRUSTED_PROXIES": "10.0.0.0/8, ::1", "CORS_ORIGINS": "https://app.example"}
    config = load_config(environ)
    assert config.rates.everybody == Rate(500, 10)
    assert config.rates.address is None
    assert [str(each) for each in config.trusted_proxies] == ["10.0.0.0/8", "::1/128"]
    assert config.cors_origins == ("https://app.example",)


def test_sponsorship_limits_can_be_set_and_disabled(environ: dict[str, str]) -> None:
    assert load_config(environ).sponsoring == Sponsoring()
    environ |= {"MAX_FEE_LAMPORTS": "7", "SPONSOR_OWNER_LAMPORTS_PER_DAY": "0"}
    environ |= {"SPONSOR_TOTAL_LAMPORTS_PER_DAY": "off", "OPERATOR_MIN_LAMPORTS": "9"}
    sponsoring = load_config(environ).sponsoring
    assert (sponsoring.transaction, sponsoring.operator_minimum) == (7, 9)
    assert (sponsoring.owner_a_day, sponsoring.everybody_a_day) == (0, None)


def test_guard_programs_are_lighthouse_unless_set(environ: dict[str, str]) -> None:
    (lighthouse,) = load_config(environ).sponsoring.guard_programs
    assert str(lighthouse) == "L2TExMFKdjpN9kozasaurPirfHy9P8sbXoAN1qA3S95"
    others = [str(Keypair().pubkey()) for _ in range(2)]
    environ["WALLET_GUARD_PROGRAMS"] = ", ".join(others)
    assert list(map(str, load_config(environ).sponsoring.guard_programs)) == others
    environ["WALLET_GUARD_PROGRAMS"] = " "
    assert load_config(environ).sponsoring.guard_programs == ()


@pytest.mark.parametrize(
    "program",
    [
        "11111111111111111111111111111111",
        "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA",
        "5qgA2qcz6zXYiJJkomV1LJv8UhKueyNsqeCWJd6jC9pT",
        "Lighthouse",
    ],
)
def test_a_program_that_moves_money_is_no_guard(environ: dict[str, str], program: str) -> None:
    environ["WALLET_GUARD_PROGRAMS"] = program
    with pytest.raises(ConfigurationError, match=f"^WALLET_GUARD_PROGRAMS holds '{program}'"):
        load_config(environ)


def test_several_endpoints_are_separated_by_commas(environ: dict[str, str]) -> None:
    environ["SOLANA_RPC_URL"] = "https://one.example/key, http://two.example:8899"
    config = load_config(environ)
    assert config.rpc_urls == ("https://one.example/key", "http://two.example:8899")
    assert config.ws_urls == ("wss://one.example/key", "ws://two.example:8900")


def test_replicas_are_urls_of_one_server_each(environ: dict[str, str]) -> None:
    assert load_config(environ).replicas.urls == ()
    one, two = (
        "postgresql://u:a,b%40c@one.example/db?sslmode=require",
        "postgres://two.example:6432/db",
    )
    environ["DATABASE_READ_URLS"] = f"{one} , {two},"
    assert load_config(environ).replicas.urls == (one, two)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("host=one.example dbname=db", "its scheme is not postgresql or postgres"),
        ("postgresql://one.example,two.example/db", "it names several hosts"),
        ("postgresql:///db?host=one.example,two.example", "it names several hosts"),
        ("postgresql://one.example/db, mysql://two.example/db", "URL 2: its scheme is not"),
        ("postgresql://one.example/db,postgresql://one.example/db", "URL 2: it is there twice"),
    ],
)
def test_other_lists_of_replicas_are_refused(
    environ: dict[str, str], value: str, reason: str
) -> None:
    environ["DATABASE_READ_URLS"] = value
    with pytest.raises(ConfigurationError, match="DATABASE_READ_URLS holds") as refused:
        load_config(environ)
    assert reason in str(refused.value)


@pytest.mark.parametrize(
    ("variable", "value", "held"),
    [
        ("PORT", "eighty", "'eighty'"),
        ("PORT", "70000", "'70000'"),
        ("RATE_LIMIT_ADDRESS", "60", "'60'"),
        ("SPONSOR_OWNER_LAMPORTS_PER_DAY", "-1", "'-1'"),
        ("MAX_FEE_LAMPORTS", "off", "'off'"),
        ("RATE_LIMIT_ADDRESS", "0/60", "'0/60'"),
        ("RATE_LIMIT_OWNER", "60/0", "'60/0'"),
        ("YIELD_RATES_SECONDS", "0", "'0'"),
        ("TIMELOCK_NOTICE_SECONDS", "-1", "'-1'"),
        ("TIMELOCK_RELEASE", "yes", "'yes'"),
        ("YIELD_COMPOUND_MIN_AMOUNT", "-1", "'-1'"),
        ("YIELD_COMPOUND_SECONDS", "0", "'0'"),
        ("OPERATOR_MAX_FEE", "4999", "'4999'"),
        ("TRUSTED_PROXIES", "10.0.0.1/8", "'10.0.0.1/8'"),
        ("CORS_ORIGINS", "*", "'*'"),
        ("SIWS_DOMAINS", "https://app.example", "'https://app.example'"),
        ("SIWS_DOMAINS", "app.example, *", "'app.example, *'"),
        ("SIWS_CHAIN_ID", "main net", "'main net'"),
        ("CORS_ORIGINS", "https://app.example/", "'https://app.example/'"),
        ("PROGRAM_ID", "not-a-key", "'not-a-key'"),
        ("PROPOSAL_TTL_SECONDS", "0", "'0'"),
        ("WEBHOOK_PRIVATE_ADDRESSES", "yes", "'yes'"),
        ("USDT_MINT", "1", "'1'"),
        ("LARGE_WITHDRAWAL_PERCENT", "101", "'101'"),
        ("WITHDRAWALS_PER_HOUR", "-1", "'-1'"),
        ("ALERT_WEBHOOK_SEVERITY", "loud", "'loud'"),
        ("RECONCILIATION_THRESHOLD", "-1", "'-1'"),
        ("CACHE_TTL_SECONDS", "nan", "'nan'"),
        ("BALANCE_MONITOR_INTERVAL_SECONDS", "0", "'0'"),
        ("VAULT_AUTHORITY_PUBKEY", "4QHVBbG3H8kbwvcSwPnze3sC91kdeYWxNf8S5hkZ9nbZ", "'4QHV"),
        ("DEPLOYER_KEYPAIR_PATH", "/nowhere/key.json", "'/nowhere/key.json'"),
    ],
)
def test_a_bad_value_is_one_line_with_name_value_and_expectation(
    environ: dict[str, str], variable: str, value: str, held: str
) -> None:
    environ[variable] = value
    with pytest.raises(ConfigurationError) as raised:
        load_config(environ)
    message = str(raised.value)
    assert message.startswith(f"{variable} holds {held}")
    assert "; expected " in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("variable", "secret"),
    [
        ("DATABASE_URL", "mysql://root:hunter2@db"),
        ("ADMIN_JWT_SECRET", "hunter2"),
        ("ADMIN_JWT_SECRETS", "hunter2"),
        ("ADMIN_JWT_SECRETS", "new:hunter2"),
        ("ADMIN_JWT_SECRETS", f"{'hunter2' * 9}:{'s' * 32}, x{'hunter2' * 9}"),
        ("ADMIN_JWT_SECRETS", f"new:{'hunter2' * 9},new:{'hunter2' * 9}"),
        ("ADMIN_JWT_SECRETS", f"new:{'hunter2' * 9},old:{'hunter2' * 9}"),
        ("DATA_ENCRYPTION_KEYS", "hunter2"),
        ("DATA_ENCRYPTION_KEYS", f"{'A' * 43}=,hunter2hunter2hunter2hunter2hunter2hunter2hunt"),
        ("REDIS_URL", "http://:hunter2@cache"),
        ("SOLANA_RPC_URL", "ftp://provider.example/hunter2"),
        ("SOLANA_WS_URL", "ftp://provider.example/hunter2"),
        ("ALERT_WEBHOOK_SECRET", "whsec_hunter2"),
        ("ALERT_WEBHOOK_SECRET", "aHVudGVyMg=="),
        ("ALERT_WEBHOOK_URL", "https://hooks.example/hunter2"),  # without a secret
    ],
)
def test_a_secret_is_never_quoted(environ: dict[str, str], variable: str, secret: str) -> None:
    environ[variable] = secret
    with pytest.raises(ConfigurationError) as raised:
        load_config(environ)
    assert variable in str(raised.value)
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("url", "private", "good"),
    [
        ("https://hooks.example/a", "off", True),
        ("http://hooks.example/a", "off", False),
        ("https://127.0.0.1/a", "off", False),
        ("https://0x7f.1/a", "off", False),
        ("http://127.0.0.1:8000/a", "on", True),
        ("ftp://hooks.example/a", "on", False),
    ],
)
def test_the_alert_webhook_must_be_public_unless_private_is_allowed(
    environ: dict[str, str], url: str, private: str, good: bool
) -> None:
    environ |= {
        "ALERT_WEBHOOK_URL": url,
        "ALERT_WEBHOOK_SECRET": "whsec_" + "c2VjcmV0" * 4,
        "WEBHOOK_PRIVATE_ADDRESSES": private,
    }
    if good:
        assert load_config(environ).alerts.webhooks == [(url, b"secret" * 4)]
    else:
        with pytest.raises(ConfigurationError, match="ALERT_WEBHOOK_URL holds a value of"):
            load_config(environ)


def test_a_broken_keypair_file_is_named_but_not_quoted(
    environ: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "broken.json"
    write_private(path, "[1, 2, 77]")
    environ["DEPLOYER_KEYPAIR_PATH"] = str(path)
    with pytest.raises(ConfigurationError) as raised:
        load_config(environ)
    assert str(path) in str(raised.value)
    assert "77" not in str(raised.value).replace(str(path), "")


def test_the_operators_key_may_be_in_the_environment(environ: dict[str, str]) -> None:
    key = Keypair()
    del environ["DEPLOYER_KEYPAIR_PATH"]
    environ["DEPLOYER_KEYPAIR_BASE64"] = base64.b64encode(bytes(key)).decode()
    config = load_config(environ)
    assert config.operators == (key,)
    assert str(key) not in repr(config)


def test_the_operators_key_is_in_one_place_only(environ: dict[str, str]) -> None:
    environ["DEPLOYER_KEYPAIR_BASE64"] = base64.b64encode(bytes(Keypair())).decode()
    with pytest.raises(ConfigurationError, match="set beside DEPLOYER_KEYPAIR_PATH") as raised:
        load_config(environ)
    assert environ["DEPLOYER_KEYPAIR_BASE64"] not in str(raised.value)


@pytest.mark.parametrize("text", ["x" * 88, base64.b64encode(bytes(64)).decode(), "W10="])
def test_a_broken_key_in_the_environment_is_not_quoted(environ: dict[str, str], text: str) -> None:
    del environ["DEPLOYER_KEYPAIR_PATH"]
    environ["DEPLOYER_KEYPAIR_BASE64"] = text
    with pytest.raises(ConfigurationError, match="DEPLOYER_KEYPAIR_BASE64 holds a value") as raised:
        load_config(environ)
    assert text not in str(raised.value)


def test_log_levels_are_read_in_any_case(environ: dict[str, str]) -> None:
    assert load_config(environ).log_level == "info"
    assert load_config(environ | {"LOG_LEVEL": "WARNING"}).log_level == "warning"
    with pytest.raises(ConfigurationError, match="expected debug, info, warning or error"):
        load_config(environ | {"LOG_LEVEL": "loud"})


def test_the_number_of_database_connections_is_a_setting(environ: dict[str, str]) -> None:
    assert load_config(environ).database_connections == 8
    assert load_config(environ | {"DB_MAX_CONNECTIONS": "30"}).database_connections == 30


def test_administrators_are_two_and_unlimited_unless_set(environ: dict[str, str]) -> None:
    admin = load_config(environ).admin
    assert (admin.approvals, admin.transfer_limit, admin.transfer_limit_per_day) == (2, None, None)
    assert (admin.transfer_destinations, admin.token_secrets) == ((), ())
    friends = [Keypair().pubkey() for _ in "12"]
    environ |= {
        "ADMIN_APPROVALS": "1",
        "ADMIN_TRANSFER_LIMIT": "5",
        "ADMIN_TRANSFER_LIMIT_PER_DAY": "off",
        "ADMIN_TRANSFER_DESTINATIONS": ", ".join(map(str, friends)),
        "ADMIN_JWT_SECRETS": f"new:{'n' * 32}, old:{'o' * 33}:x",
    }
    admin = load_config(environ).admin
    assert (admin.approvals, admin.transfer_limit, admin.transfer_limit_per_day) == (1, 5, None)
    assert admin.transfer_destinations == tuple(friends)
    assert admin.token_secrets == (("new", b"n" * 32), ("old", b"o" * 33 + b":x"))
    assert "nnn" not in repr(load_config(environ))


@pytest.mark.parametrize("value", ["0", "3", "two", "off"])
def test_administrators_are_one_or_two(environ: dict[str, str], value: str) -> None:
    with pytest.raises(ConfigurationError, match=r"ADMIN_APPROVALS holds .*; expected 1 or 2"):
        load_config(environ | {"ADMIN_APPROVALS": value})


def test_settings_do_not_show_their_secrets(environ: dict[str, str]) -> None:
    environ["ADMIN_JWT_SECRET"] = "x" * 32
    environ["DATA_ENCRYPTION_KEYS"] = "c2VjcmV0" + "A" * 35 + "="
    environ["REDIS_URL"] = "redis://:s3cret@cache:6379/0"
    environ |= {"ALERT_WEBHOOK_URL": "https://hooks.example/s3cret"}
    environ |= {"ALERT_WEBHOOK_SECRET": "c2VjcmV0" + "A" * 40}
    shown = repr(load_config(environ))
    assert "s3cret" not in shown
    assert "x" * 32 not in shown
    assert "c2VjcmV0" not in shown


def test_a_missing_setting_is_named(environ: dict[str, str]) -> None:
    del environ["DATABASE_URL"]
    with pytest.raises(ConfigurationError, match="DATABASE_URL is not set; expected postgresql://"):
        load_config(environ)


@pytest.mark.parametrize(
    ("rpc", "pubsub"),
    [
        ("http://127.0.0.1:8899", "ws://127.0.0.1:8900"),
        ("https://api.example/v1?key=1", "wss://api.example/v1?key=1"),
        ("http://[::1]:8899", "ws://[::1]:8900"),
        ("https://user:pw@host:10", "wss://user:pw@host:11"),
        ("https://api.example:443/v1", "wss://api.example:443/v1"),
        ("http://api.example:80", "ws://api.example:80"),
        ("https://user:pw@[::1]:443", "wss://user:pw@[::1]:443"),
        ("http://host:443", "ws://host:444"),
        ("https://host:80", "wss://host:81"),
        ("http://host:65534", "ws://host:65535"),
    ],
)
def test_the_pubsub_url_follows_from_the_rpc_url(rpc: str, pubsub: str) -> None:
    assert pubsub_url(rpc) == pubsub


@pytest.mark.parametrize("variable", ["SOLANA_RPC_URL", "SOLANA_WS_URL", "REDIS_URL"])
@pytest.mark.parametrize("port", ["65536", "0", "-1", "abc", "8899x"])
def test_a_port_that_does_not_exist_is_one_line(
    environ: dict[str, str], variable: str, port: str
) -> None:
    scheme = {"SOLANA_RPC_URL": "http", "SOLANA_WS_URL": "ws", "REDIS_URL": "redis"}[variable]
    environ[variable] = f"{scheme}://user:hunter2@host:{port}"
    with pytest.raises(
        ConfigurationError, match=rf"^{variable} holds .* ports? from 1 to"
    ) as error:
        load_config(environ)
    assert "hunter2" not in str(error.value)
    assert "\n" not in str(error.value)


def test_without_a_next_port_for_pubsub_its_url_has_to_be_set(environ: dict[str, str]) -> None:
    environ["SOLANA_RPC_URL"] = "https://one.example,http://user:hunter2@two.example:65535"
    with pytest.raises(ConfigurationError) as error:
        load_config(environ)
    assert str(error.value).startswith("SOLANA_RPC_URL holds ")
    assert "no port follows 65535, so set SOLANA_WS_URL as well" in str(error.value)
    assert "hunter2" not in str(error.value)
    environ["SOLANA_WS_URL"] = "wss://one.example"
    assert load_config(environ).ws_urls == ("wss://one.example",)

"""Administrators see every setting, and no secret."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

from solders.keypair import Keypair

from cvms.config.alert_settings import AlertSettings
from cvms.config.fields import settings_of
from cvms.config.settings import Config, Rates
from cvms.http.admin.console.setting_values import ShownSetting, shown_settings
from cvms.store.redis.rate_limiter import Rate
from tests.harness.resources import config_for_tests
from tests.harness.service import Service
from tests.http.admin.console.asking import shown
from tests.http.admin.test_admin_routes import SECRET

HIDDEN = "hidden-secret"
URL = f"https://{HIDDEN}:{HIDDEN}@node.example:8899/{HIDDEN},{HIDDEN}?api-key={HIDDEN}#{HIDDEN}"


def by_name(config: Config) -> dict[str, ShownSetting]:
    return {each.name: each for each in shown_settings(config)}


async def test_every_setting_is_listed_in_order(office: Service) -> None:
    reply = await shown(office, "/api/admin/settings")
    listed = [each["name"] for each in reply["settings"]]
    assert listed == [each.name for each in settings_of(Config)]
    assert SECRET.decode() not in str(reply)


def test_no_secret_and_no_part_of_one_is_shown() -> None:
    operator = Keypair()
    config = config_for_tests(
        f"postgresql://{HIDDEN}:{HIDDEN},{HIDDEN}@db.example:5432,db2.example/{HIDDEN}?x={HIDDEN}",
        operator=operator,
        rpc_urls=(URL, "http://127.0.0.1:1"),
        redis_url=f"redis://:{HIDDEN}@cache.example:6379/1",
        admin_jwt_secret=HIDDEN.encode() * 4,
        data_encryption_keys=(HIDDEN.encode(),),
        yield_sources=URL,
        alerts=AlertSettings(webhook_url=URL, webhook_secret=HIDDEN.encode()),
    )
    found = by_name(config)
    assert HIDDEN not in str(found)
    assert str(operator) not in str(found)
    assert found["SOLANA_RPC_URL"].value == "https://node.example:8899,http://127.0.0.1:1"
    assert found["DATABASE_URL"].value == "postgresql://db.example:5432,db2.example"
    assert found["REDIS_URL"].value == "redis://cache.example:6379"
    assert found["YIELD_SOURCES"].value == "https://node.example:8899"
    assert found["ALERT_WEBHOOK_URL"].value == "https://node.example:8899"
    secrets = ("ADMIN_JWT_SECRET", "DATA_ENCRYPTION_KEYS", "ALERT_WEBHOOK_SECRET")
    for name in secrets:
        assert (found[name].value, found[name].secret, found[name].set) == (None, True, True)
    unset = found["ADMIN_JWT_SECRETS"]
    assert (unset.value, unset.secret, unset.set) == (None, True, False)
    operators = found["DEPLOYER_KEYPAIR_PATH"]
    assert (operators.value, operators.secret, operators.set) == (None, True, None)
    for url in (f"host=db password={HIDDEN}", f"postgresql://u:{HIDDEN}/x@host/db"):
        assert by_name(replace(config, database_url=url))["DATABASE_URL"].value is None


def test_a_value_is_shown_as_its_variable_would_hold_it() -> None:
    proxies = (ip_network("10.0.0.0/8"), ip_network("::1"))
    config = config_for_tests("", trusted_proxies=proxies, cache_ttl=2.5, timelock_release=False)
    found = {name: each.value for name, each in by_name(config).items()}
    assert found["TRUSTED_PROXIES"] == "10.0.0.0/8,::1/128"
    assert (found["CACHE_TTL_SECONDS"], found["TIMELOCK_RELEASE"]) == ("2.5", "off")
    assert (found["MIGRATE"], found["RATE_LIMIT_GLOBAL"], found["PORT"]) == ("auto", "off", "0")
    rates = Rates(owner=Rate(5, 0.5))
    config = replace(config, rates=rates, cors_origins=("http://localhost:*", "https://a.example"))
    found = {name: each.value for name, each in by_name(config).items()}
    assert (found["RATE_LIMIT_OWNER"], found["RATE_LIMIT_ADDRESS"]) == ("5/0.5", "3000/60")
    assert found["CORS_ORIGINS"] == "http://localhost:*,https://a.example"


def test_every_default_is_shown_as_it_is_written() -> None:
    config = config_for_tests("postgresql://h/d")
    # Those that the tests set, and whose default is not spelled as it would be shown.
    own = {"DATABASE_URL", "SOLANA_RPC_URL", "SOLANA_WS_URL", "PORT", "ADMIN_APPROVALS"}
    own |= {each.name for each in settings_of(Rates)}
    for each in shown_settings(config):
        if not each.secret and each.name not in own:
            assert each.value == each.default, each

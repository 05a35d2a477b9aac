"""Checks of the settings: that they can be used, and the strength of the secrets."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping

from cvms.checks.finding import Finding, failure, ok, warning
from cvms.config.environment import misspelt
from cvms.config.loader import load_config
from cvms.config.settings import Config
from cvms.errors import ConfigurationError, leaves, one_line

MIN_DISTINCT_BYTES = 10
"""32 random bytes have 30, 32 random hexadecimal digits have 14."""
RANDOM = "make it of random bytes: `openssl rand -base64 48`"


def load_checked(environ: Mapping[str, str]) -> tuple[Config | None, list[Finding]]:
    """Return the settings, None if any is bad, and the findings."""
    findings: list[Finding] = []
    config: Config | None = None
    try:
        config = load_config(environ)
    except* ConfigurationError as group:
        findings += [
            failure("settings_loaded", one_line(each), "correct it: README.md lists the settings")
            for each in leaves(group)
        ]
    if config is not None:
        findings += [ok("settings_loaded", "all can be used"), *_secret_findings(config)]
    findings += [
        warning("settings_known", f"{name} is no setting", f"is {setting} meant?", subject=name)
        for name, setting in misspelt(environ).items()
    ]
    return config, findings


def _secret_findings(config: Config) -> Iterator[Finding]:
    jwt = config.admin_jwt_secret
    keys = [base64.b64decode(each, altchars=b"-_") for each in config.data_encryption_keys]
    webhooks = [secret for _, secret in config.alerts.webhooks]
    named_jwts = [secret for _, secret in config.admin.token_secrets]
    if jwt is None and not named_jwts:
        advice = "set it, or administrators' routes answer 503"
        yield warning("settings_secrets", "not set", advice, subject="ADMIN_JWT_SECRET")
    if not keys:
        advice = "set it, or second factors and webhooks answer 503"
        yield warning("settings_secrets", "not set", advice, subject="DATA_ENCRYPTION_KEYS")
    if not webhooks:
        advice = "set it, or alerts are only shown in `GET /api/admin/alerts`"
        yield warning("settings_secrets", "not set", advice, subject="ALERT_WEBHOOK_URL")
    named = [
        ("ADMIN_JWT_SECRET", [jwt] if jwt is not None else []),
        ("ADMIN_JWT_SECRETS", named_jwts),
        ("DATA_ENCRYPTION_KEYS", keys),
        ("ALERT_WEBHOOK_SECRET", webhooks),
    ]
    for name, secrets in named:
        if any(len(set(each)) < MIN_DISTINCT_BYTES for each in secrets):
            seen = f"it has fewer than {MIN_DISTINCT_BYTES} different bytes"
            yield failure("settings_secrets", seen, RANDOM, subject=name)
        elif secrets:
            yield ok("settings_secrets", f"set, {len(secrets[0])} bytes", subject=name)
    # A token's secret may have two names while it is replaced.
    tokens = {each for each in (jwt, *named_jwts) if each is not None}
    if tokens & {*keys, *webhooks} or {*keys} & {*webhooks}:
        seen = "one secret has two purposes"
        yield failure("settings_secrets", seen, "make one for each: " + RANDOM)

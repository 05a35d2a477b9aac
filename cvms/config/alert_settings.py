"""The settings of alerts: when there is one, and where operators are told."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from cvms.config.webhook_url import target_of
from cvms.errors import ConfigurationError

T = TypeVar("T")

_UNITS = "a whole number of token units, 0 for never"
_NUMBER = "a whole number, 0 for never"
_PERCENT = "a whole percentage, 0 for never"
_RANDOM = "24 to 64 random bytes in base64, such as whsec_..., or unset"
_SEVERITIES = ("info", "warning", "critical")


class Read(Protocol):
    """Reads one variable, or raises ConfigurationError (see cvms.config.loader)."""

    def __call__(
        self,
        name: str,
        parse: Callable[[str], T],
        default: str | None,
        expected: str,
        *,
        secret: bool = False,
    ) -> T: ...


@dataclass(frozen=True, slots=True)
class AlertSettings:
    """When operators are alerted, and where they are told. Amounts in units; 0 is never."""

    large_withdrawal: int = 100_000_000_000
    large_withdrawal_percent: int = 10
    unusual_withdrawal_factor: int = 10
    withdrawals_per_hour: int = 20
    fee_payer_minimum_lamports: int = 100_000_000
    webhook_url: str | None = field(default=None, repr=False)
    webhook_secret: bytes | None = field(default=None, repr=False)
    webhook_severity: str = "info"

    @property
    def webhooks(self) -> list[tuple[str, bytes]]:
        """Where operators are told and what signs it, if they are."""
        url, secret = self.webhook_url, self.webhook_secret
        return [] if url is None or secret is None else [(url, secret)]

    @property
    def webhook_minimum(self) -> str | None:
        """The least severity that goes to the webhook, None without a webhook."""
        return self.webhook_severity if self.webhooks else None


def read_alert_settings(read: Read, *, private: bool) -> AlertSettings:
    """All of them. With `private` the webhook may be plain HTTP and lead anywhere."""
    settings = AlertSettings(
        large_withdrawal=read("LARGE_WITHDRAWAL_AMOUNT", _whole, "100000000000", _UNITS),
        large_withdrawal_percent=read("LARGE_WITHDRAWAL_PERCENT", _percent, "10", _PERCENT),
        unusual_withdrawal_factor=read("UNUSUAL_WITHDRAWAL_FACTOR", _whole, "10", _NUMBER),
        withdrawals_per_hour=read("WITHDRAWALS_PER_HOUR", _whole, "20", _NUMBER),
        fee_payer_minimum_lamports=read(
            "FEE_PAYER_MINIMUM_LAMPORTS", _whole, "100000000", "lamports, 0 for never"
        ),
        # Whoever has a webhook's address can often write there.
        webhook_url=read("ALERT_WEBHOOK_URL", _text, "", "a URL, or unset", secret=True) or None,
        webhook_secret=read("ALERT_WEBHOOK_SECRET", _secret, "", _RANDOM, secret=True),
        webhook_severity=read(
            "ALERT_WEBHOOK_SEVERITY", _severity, "info", "one of info, warning, critical"
        ),
    )
    _check_webhook(settings, private=private)
    return settings


def _check_webhook(settings: AlertSettings, *, private: bool) -> None:
    """No alert is lost for want of a secret, or goes where it may not."""
    url, secret = settings.webhook_url, settings.webhook_secret
    if (url is None) != (secret is None):
        names = ("ALERT_WEBHOOK_URL", "ALERT_WEBHOOK_SECRET")
        missing, other = names if url is None else reversed(names)
        raise ConfigurationError(f"{missing} is not set; expected beside {other}, which is")
    if url is not None:
        try:
            target_of(url, private=private)
        except ValueError as error:
            raise ConfigurationError(
                f"ALERT_WEBHOOK_URL holds a value of {len(url)} characters ({error}); expected "
                "an https:// URL to a public address, or any with WEBHOOK_PRIVATE_ADDRESSES=on"
            ) from None


def _text(raw: str) -> str:
    return raw


def _whole(raw: str) -> int:
    number = int(raw)
    if not 0 <= number < 2**63:
        raise ValueError
    return number


def _percent(raw: str) -> int:
    percent = int(raw)
    if not 0 <= percent <= 100:
        raise ValueError
    return percent


def _secret(raw: str) -> bytes | None:
    secret = base64.b64decode(raw.removeprefix("whsec_"), validate=True)
    if raw and not 24 <= len(secret) <= 64:
        raise ValueError
    return secret or None


def _severity(raw: str) -> str:
    if raw not in _SEVERITIES:
        raise ValueError
    return raw

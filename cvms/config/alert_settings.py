"""Settings of alerts: their thresholds and the operators' webhook."""

from __future__ import annotations

from cvms.config import parsers as parse
from cvms.config.fields import setting, settings_class

_UNITS_OR_NEVER = "a whole number of token units, 0 for never"
_NUMBER_OR_NEVER = "a whole number, 0 for never"


@settings_class
class AlertSettings:
    """Thresholds of alerts, of which 0 disables one, and the webhook that is notified of them."""

    large_withdrawal: int = setting(
        "LARGE_WITHDRAWAL_AMOUNT",
        parse.integer(),
        default="100000000000",
        expected=_UNITS_OR_NEVER,
        about="Token units from which a withdrawal raises an alert; 0 disables it: "
        "[docs/alerts.md](docs/alerts.md)",
    )
    large_withdrawal_percent: int = setting(
        "LARGE_WITHDRAWAL_PERCENT",
        parse.integer(0, 100),
        default="10",
        expected="a whole percentage, 0 for never",
        about="The same as a percentage of everything that vaults hold; 0 disables it",
    )
    unusual_withdrawal_factor: int = setting(
        "UNUSUAL_WITHDRAWAL_FACTOR",
        parse.integer(),
        default="10",
        expected=_NUMBER_OR_NEVER,
        about="A withdrawal of more than this many times the owner's median raises an alert; "
        "0 disables it",
    )
    withdrawals_per_hour: int = setting(
        "WITHDRAWALS_PER_HOUR",
        parse.integer(),
        default="20",
        expected=_NUMBER_OR_NEVER,
        about="More withdrawals of one owner within an hour raise an alert; 0 disables it",
    )
    movements_per_minute: int = setting(
        "MOVEMENTS_PER_MINUTE",
        parse.integer(0, 1000),
        default="10",
        expected="a whole number, 0 to 1000",
        about="More movements of any kind of one owner within a minute raise an alert; "
        "0 disables it",
    )
    fee_payer_minimum_lamports: int = setting(
        "FEE_PAYER_MINIMUM_LAMPORTS",
        parse.integer(),
        default="100000000",
        expected="lamports, 0 for never",
        about="An operator balance below this raises an alert; 0 disables it",
    )
    # Whoever knows a webhook's URL can often post to it, so the URL is a secret too.
    webhook_url: str | None = setting(
        "ALERT_WEBHOOK_URL",
        parse.optional(str),
        default="",
        expected="an https:// URL to a public address, or any with WEBHOOK_PRIVATE_ADDRESSES=on",
        about="Webhook that receives alerts. Needs `ALERT_WEBHOOK_SECRET`",
        secret=True,
    )
    webhook_secret: bytes | None = setting(
        "ALERT_WEBHOOK_SECRET",
        parse.optional(parse.webhook_secret),
        default="",
        expected="24 to 64 random bytes in base64, such as whsec_..., or unset",
        about="Key that signs the webhook's messages: 24 to 64 random bytes in base64",
        secret=True,
    )
    webhook_severity: str = setting(
        "ALERT_WEBHOOK_SEVERITY",
        parse.one_of("info", "warning", "critical"),
        default="info",
        expected="one of info, warning, critical",
        about="Lowest severity that is sent to the webhook: `info`, `warning` or `critical`",
    )

    @property
    def webhooks(self) -> list[tuple[str, bytes]]:
        """URL and signing key of each webhook: one, or none if it is not configured."""
        url, secret = self.webhook_url, self.webhook_secret
        return [] if url is None or secret is None else [(url, secret)]

    @property
    def webhook_minimum(self) -> str | None:
        """The lowest severity that the webhook gets, None without a webhook."""
        return self.webhook_severity if self.webhooks else None

"""Settings of administrators: their tokens, how many must agree, and what they may transfer."""

from __future__ import annotations

import re

from solders.pubkey import Pubkey

from cvms.config import parsers as parse
from cvms.config.fields import setting, settings_class
from cvms.errors import BadValue

_UNITS_OR_OFF = "a whole number of token units, or off"


def token_secrets(raw: str) -> tuple[tuple[str, bytes], ...]:
    """Return the ids of keys with their secrets, the one that signs first."""
    secrets: dict[str, bytes] = {}
    for place, item in enumerate(filter(None, map(str.strip, raw.split(","))), start=1):
        name, colon, secret = item.partition(":")
        if not colon or not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", name):
            raise BadValue(f"secret {place}: it does not begin with a name and a colon")
        if name in secrets:
            raise BadValue(f"secret {place}: its name is there twice")
        try:
            value = parse.jwt_secret(secret)
        except ValueError:
            raise BadValue(f"secret {place}: it is shorter than 32 bytes") from None
        if value in secrets.values():
            raise BadValue(f"secret {place}: another name has the same one")
        secrets[name] = value
    return tuple(secrets.items())


@settings_class
class AdminSettings:
    """Administrators. None is no limit."""

    approvals: int = setting(
        "ADMIN_APPROVALS",
        lambda raw: int(parse.one_of("1", "2")(raw)),
        default="2",
        expected="1 or 2",
        about="`2`: actions of administrators that move or expose money wait for a second "
        "administrator's approval: [docs/operations/administrators.md]"
        "(docs/operations/administrators.md). The default of `cvms dev` is `1`",
    )
    token_secrets: tuple[tuple[str, bytes], ...] = setting(
        "ADMIN_JWT_SECRETS",
        token_secrets,
        default="",
        expected="name:secret with at least 32 bytes, separated by commas, or unset",
        about="Secrets with names, for rotation: the first signs administrators' tokens, all of "
        "them and `ADMIN_JWT_SECRET` verify. To change it, put a new one in front",
        secret=True,
    )
    transfer_limit: int | None = setting(
        "ADMIN_TRANSFER_LIMIT",
        parse.unless_off(parse.integer()),
        default="off",
        expected=_UNITS_OR_OFF,
        about="Most token units that administrators may transfer between vaults at once; `off` is "
        "no limit",
    )
    transfer_limit_per_day: int | None = setting(
        "ADMIN_TRANSFER_LIMIT_PER_DAY",
        parse.unless_off(parse.integer()),
        default="off",
        expected=_UNITS_OR_OFF,
        about="The same for all transfers within 24 hours",
    )
    transfer_destinations: tuple[Pubkey, ...] = setting(
        "ADMIN_TRANSFER_DESTINATIONS",
        parse.comma_separated(Pubkey.from_string),
        default="",
        expected="base58 public keys, separated by commas, or unset",
        about="Owners to whose vaults administrators may transfer, separated by commas; empty is "
        "every vault",
    )

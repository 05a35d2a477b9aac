"""The settings of this process as text, without their secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import msgspec

from cvms.config.fields import Setting, SettingGroup, settings_of
from cvms.config.settings import Config
from cvms.store.redis.rate_limiter import Rate

URL_SETTINGS = ("_URL", "_URLS")
"""Of these the scheme and the host are shown, although the whole is a secret."""
WORDS = ("on", "off", "auto")
_HOST = r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(?:[0-9]+|\*))?"
_URL = re.compile(
    rf"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?:[^/?#]*@)?(?P<hosts>{_HOST}(?:,{_HOST})*)(?:[/?#][^@]*)?",
    re.DOTALL,
)
_NOT_KEPT = object()


class ShownSetting(msgspec.Struct, frozen=True, kw_only=True):
    """A setting, its value in effect and its default, as the variable would hold them.

    The `value` of a secret is null, and of a URL only the scheme and the host. `set`: whether it
    has a value; null where this process has not kept it, as with the operator's keys.
    """

    name: str
    value: str | None
    default: str | None
    secret: bool
    set: bool | None


def shown_settings(config: Config) -> list[ShownSetting]:
    """Return every setting, in the order of the README."""
    return list(_shown(settings_of(Config), config))


def _shown(group: SettingGroup, holder: object) -> Iterator[ShownSetting]:
    for field, member in group.members.items():
        value = getattr(holder, field, _NOT_KEPT)
        if isinstance(member, SettingGroup):
            yield from _shown(member, value)
        else:
            yield _setting(member, value)


def _setting(setting: Setting, value: object) -> ShownSetting:
    not_kept = value is _NOT_KEPT
    secret = setting.secret or not_kept
    text = None
    if not not_kept and (not secret or setting.name.endswith(URL_SETTINGS)):
        text = _text(setting, value)
    return ShownSetting(
        name=setting.name,
        value=text,
        default=setting.default,
        secret=secret,
        set=None if not_kept else value not in (None, (), ""),
    )


def _text(setting: Setting, value: Any) -> str | None:
    """Return the text of a value, of URLs the scheme and the hosts; None if it may not be shown."""
    items = value if isinstance(value, tuple) else (value,)
    words = [_word(setting, each) for each in items if each is not None or not setting.secret]
    shown = [_without_secrets(each, is_url=setting.secret) for each in words]
    return (
        None if None in shown or (not shown and setting.secret) else ",".join(filter(None, shown))
    )


def _without_secrets(text: str, *, is_url: bool) -> str | None:
    """Return a URL without user, password, path and query; None if that cannot be told apart."""
    if not is_url and "://" not in text:
        return text
    url = _URL.fullmatch(text)
    return None if url is None else f"{url['scheme']}://{url['hosts']}"


def _word(setting: Setting, value: Any) -> str:
    match value:
        case None | bool():
            return next((word for word in WORDS if _means(setting, word, value)), "")
        case float():
            return f"{value:g}"
        case Rate():
            return f"{value.requests}/{value.seconds:g}"
    return str(value)


def _means(setting: Setting, word: str, value: object) -> bool:
    with suppress(ValueError):
        return bool(setting.parse(word) is value)
    return False

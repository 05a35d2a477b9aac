"""Dataclass fields that declare settings: one declaration has all that is known of a setting."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import Field, dataclass, field, fields, is_dataclass
from functools import cache, partial
from typing import Any, ParamSpec, TypeVar, cast, dataclass_transform

from cvms.errors import BadValue, ConfigurationError, leaves

T = TypeVar("T")
P = ParamSpec("P")

OR_UNSET = ", or unset"
"""Ends what is expected of a setting that some commands need and others do not."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One environment variable.

    `parse` raises ValueError for a bad value. Without a `default` the variable must be set; an
    empty variable counts as unset. `expected` ends the error message, `about` is the README's text.
    The value of a `secret` is never quoted.
    """

    name: str
    parse: Callable[[str], Any]
    default: str | None
    expected: str
    about: str
    secret: bool

    def read(self, environ: Mapping[str, str]) -> Any:
        """Return the parsed value. Raises ConfigurationError if it is missing or bad."""
        raw = environ.get(self.name) or self.default
        if raw is None:
            expected = self.expected.removesuffix(OR_UNSET)
            raise ConfigurationError(f"{self.name} is not set; expected {expected}")
        try:
            return self.parse(raw)
        except ValueError as error:
            quotes_nothing = isinstance(error, BadValue) or not self.secret
            raise self.bad_value(raw, str(error) if quotes_nothing else "") from None

    def bad_value(self, raw: str, reason: str) -> ConfigurationError:
        """Return the error that reports `raw`. `reason` must not quote a secret."""
        shown = f"a value of {len(raw)} characters" if self.secret else repr(raw)
        because = f" ({reason})" if reason else ""
        return ConfigurationError(f"{self.name} holds {shown}{because}; expected {self.expected}")

    def __iter__(self) -> Iterator[Setting]:
        yield self


@dataclass(frozen=True, slots=True)
class SettingGroup:
    """Settings and nested groups, by the parameter of `build` that each one fills."""

    build: Callable[..., Any]
    members: Mapping[str, Setting | SettingGroup]

    def read(self, environ: Mapping[str, str]) -> Any:
        """Build the value. Raises ConfigurationError, or a group with one for each bad setting."""
        reads = {name: partial(each.read, environ) for name, each in self.members.items()}
        return self.build(**read_all(reads))

    def __iter__(self) -> Iterator[Setting]:
        for member in self.members.values():
            yield from member


def read_all(reads: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
    """Return what each of `reads` returns, by its name.

    All are called, so that every error is told at once. Raises ConfigurationError, or a group of
    them.
    """
    values: dict[str, Any] = {}
    problems: list[ConfigurationError] = []
    for name, read in reads.items():
        try:
            values[name] = read()
        except* ConfigurationError as group:
            problems += [each for each in leaves(group) if isinstance(each, ConfigurationError)]
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise ExceptionGroup("bad settings", problems)
    return values


def setting(
    name: str,
    parse: Callable[[str], T],
    *,
    default: str | None = None,
    expected: str,
    about: str,
    secret: bool = False,
    repr: bool = True,  # noqa: A002 - as in dataclasses.field
) -> T:
    """Declare a field that environment variable `name` fills. See `Setting` for the arguments.

    The dataclass's own default is the parsed `default`. The repr never has a secret.
    """
    metadata = {"setting": Setting(name, parse, default, expected, about, secret)}
    shown = repr and not secret
    if default is None:
        return field(repr=shown, metadata=metadata)  # type: ignore[no-any-return]
    return field(default_factory=lambda: parse(default), repr=shown, metadata=metadata)


def group(build: Callable[P, T], *args: P.args, **members: P.kwargs) -> T:
    """Declare a field that `build` makes of several settings, each declared with `setting()`.

    A field whose `default_factory` is a class of settings needs no `group()`.
    """
    declared: Mapping[str, Any] = members
    settings = {name: _declared_by(member) for name, member in declared.items()}
    shown = not any(each.secret for members in settings.values() for each in members)
    return field(repr=shown, metadata={"setting": SettingGroup(build, settings)})  # type: ignore[no-any-return]


@dataclass_transform(
    kw_only_default=True, frozen_default=True, field_specifiers=(setting, group, field)
)
def settings_class(cls: type[T]) -> type[T]:
    """Make `cls` a frozen, keyword-only dataclass, whose fields may be settings."""
    return dataclass(frozen=True, slots=True, kw_only=True)(cls)


def settings_of(cls: type[Any]) -> SettingGroup:
    """Return the settings that the fields of `cls` declare, in their order."""
    return _settings_of(cast(Any, cls))  # mypy takes no class for hashable


@cache
def _settings_of(cls: type[Any]) -> SettingGroup:
    declared = {each.name: _declared_by(each) for each in fields(cls)}
    return SettingGroup(cls, {name: each for name, each in declared.items() if each is not None})


def _declared_by(declared: Field[Any]) -> Any:
    if isinstance(declared.default_factory, type) and is_dataclass(declared.default_factory):
        return settings_of(declared.default_factory)
    return declared.metadata.get("setting")

"""The filters of `getProgramAccounts` and `programSubscribe`."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from based58 import b58decode
from solders.account import Account

from cvms.localnet.rpc.call.params import CallOptions, read_int, read_options, read_text
from cvms.localnet.rpc.call.rpc_errors import invalid_params
from cvms.localnet.types import Json
from cvms.localnet.vm.token_layouts import token_account

MAX_FILTERS = 4
MAX_MEMCMP_BYTES = 128


@dataclass(frozen=True, slots=True)
class Memcmp:
    offset: int
    expected: bytes

    def match(self, data: bytes) -> bool:
        return data[self.offset : self.offset + len(self.expected)] == self.expected


@dataclass(frozen=True, slots=True)
class AccountFilters:
    """Filters of accounts. An account must match all of them."""

    sizes: tuple[int, ...]
    contents: tuple[Memcmp, ...]
    token_accounts_only: bool

    def match(self, account: Account) -> bool:
        data = bytes(account.data)
        return (
            all(len(data) == size for size in self.sizes)
            and all(content.match(data) for content in self.contents)
            and (not self.token_accounts_only or token_account(account) is not None)
        )


def read_filters(config: CallOptions) -> AccountFilters:
    filters = config.items("filters")
    if len(filters) > MAX_FILTERS:
        raise invalid_params(f"Too many filters provided; max {MAX_FILTERS}")
    sizes: list[int] = []
    contents: list[Memcmp] = []
    token_accounts_only = False
    for given in filters:
        if given == "tokenAccountState":
            token_accounts_only = True
            continue
        fields = read_options(given).fields
        if "dataSize" in fields:
            sizes.append(read_int(fields["dataSize"], "dataSize"))
        elif "memcmp" in fields:
            contents.append(_read_memcmp(read_options(fields["memcmp"])))
        else:
            raise invalid_params("Invalid params: unknown filter.")
    return AccountFilters(tuple(sizes), tuple(contents), token_accounts_only)


def _read_memcmp(config: CallOptions) -> Memcmp:
    offset = read_int(config.fields.get("offset"), "offset")
    given = config.fields.get("bytes")
    if isinstance(given, list):
        expected = _read_octets(given)
    else:
        expected = _decode(read_text(given), config.text("encoding", "base58"))
    if len(expected) > MAX_MEMCMP_BYTES:
        raise invalid_params("Invalid param: WrongSize")
    return Memcmp(offset, expected)


def _decode(text: str, encoding: str) -> bytes:
    try:
        match encoding:
            case "base58" | "binary":
                return b58decode(text.encode())
            case "base64":
                return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise invalid_params(f"Invalid params: the filter's bytes are not {encoding}") from None
    raise invalid_params(f"Invalid params: unknown variant `{encoding}`.")


def _read_octets(given: list[Json]) -> bytes:
    try:
        return bytes(given)
    except (ValueError, TypeError):
        raise invalid_params("Invalid params: the filter's bytes are not octets") from None

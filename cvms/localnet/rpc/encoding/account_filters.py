"""The filters of `getProgramAccounts` and `programSubscribe`."""

from __future__ import annotations

from dataclasses import dataclass

from solders.account import Account
from solders.pubkey import Pubkey

from cvms.localnet.rpc.call.params import CallOptions
from cvms.localnet.rpc.call.rpc_errors import invalid_params
from cvms.localnet.rpc.encoding.binary_text import NotDecodable, decode_base58, decode_base64
from cvms.localnet.types import Json
from cvms.localnet.vm.token_layouts import token_account

MAX_FILTERS = 4
MAX_MEMCMP_BYTES = 128
MAX_BASE58_LENGTH, MAX_BASE64_LENGTH = 175, 172
"""The longest texts that can encode so many bytes."""

MINT_OFFSET, OWNER_OFFSET = 0, 32
"""Offsets of the mint and of the owner in a token account."""

TOO_LARGE = "Invalid param: DataTooLarge"


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

    def require_whole_keys(self) -> None:
        """Refuse to compare a part of a token account's owner or mint. Raises RpcError."""
        for name, offset in (("owner", OWNER_OFFSET), ("mint", MINT_OFFSET)):
            for content in self.contents:
                length = len(content.expected)
                if content.offset == offset and length != Pubkey.LENGTH:
                    raise invalid_params(
                        f"Incorrect byte length {length} for SPL token {name} filter, "
                        f"expected {Pubkey.LENGTH}"
                    )


def read_filters(config: CallOptions) -> AccountFilters:
    """Read filters whose types have been checked. Raises RpcError."""
    filters = config.items("filters")
    if len(filters) > MAX_FILTERS:
        raise invalid_params(f"Too many filters provided; max {MAX_FILTERS}")
    named = [each for each in filters if isinstance(each, dict)]
    return AccountFilters(
        sizes=tuple(each["dataSize"] for each in named if "dataSize" in each),
        contents=tuple(_read_memcmp(each["memcmp"]) for each in named if "memcmp" in each),
        token_accounts_only="tokenAccountState" in filters,
    )


def _read_memcmp(fields: dict[str, Json]) -> Memcmp:
    given = fields["bytes"]
    if isinstance(given, list):
        expected = bytes(given)
    else:
        base64_given = fields["encoding"] == "base64"
        if len(given) > (MAX_BASE64_LENGTH if base64_given else MAX_BASE58_LENGTH):
            raise invalid_params(TOO_LARGE)
        expected = _decode(given, base64_given=base64_given)
    if len(expected) > MAX_MEMCMP_BYTES:
        raise invalid_params(TOO_LARGE)
    return Memcmp(fields["offset"], expected)


def _decode(text: str, *, base64_given: bool) -> bytes:
    try:
        return decode_base64(text) if base64_given else decode_base58(text)
    except NotDecodable as error:
        kind = "Base64DecodeError" if base64_given else "Base58DecodeError"
        raise invalid_params(f"Invalid param: {kind}({error})") from None

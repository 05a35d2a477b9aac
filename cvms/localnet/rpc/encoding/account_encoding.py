"""Accounts as JSON, in each of a node's encodings."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import zstandard
from based58 import b58encode
from solders.account import Account
from solders.pubkey import Pubkey

from cvms.errors import RpcError
from cvms.localnet.rpc.call.params import CallOptions
from cvms.localnet.rpc.call.rpc_errors import INVALID_REQUEST
from cvms.localnet.rpc.call.view import View
from cvms.localnet.rpc.encoding.parsed_accounts import parse_account
from cvms.localnet.types import Json

MAX_BASE58_BYTES = 128


@dataclass(frozen=True, slots=True)
class DataSlice:
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class AccountFormat:
    """The encoding and the slice of accounts that a call asks for."""

    encoding: str
    slice: DataSlice | None

    def render(self, view: View, key: Pubkey, account: Account) -> Json:
        return {
            "lamports": account.lamports,
            "data": self._data(view, key, account),
            "owner": str(account.owner),
            "executable": account.executable,
            "rentEpoch": account.rent_epoch,
            "space": len(account.data),
        }

    def _data(self, view: View, key: Pubkey, account: Account) -> Json:
        if self.encoding == "jsonParsed" and (parsed := parse_account(view, key, account)):
            return parsed
        data = bytes(account.data)
        if self.slice is not None:
            data = data[self.slice.offset : self.slice.offset + self.slice.length]
        return encode_data(data, "base64" if self.encoding == "jsonParsed" else self.encoding)


def read_format(config: CallOptions, *, default: str = "binary") -> AccountFormat:
    encoding, data_slice = config.text("encoding", default), config.fields.get("dataSlice")
    return AccountFormat(encoding, None if data_slice is None else DataSlice(**data_slice))


def encode_data(data: bytes, encoding: str) -> Json:
    """Encode an account's data. Raises RpcError for more than 128 bytes in base58, as a node."""
    match encoding:
        case "binary" | "base58":
            if len(data) > MAX_BASE58_BYTES:
                raise RpcError(
                    INVALID_REQUEST,
                    "Encoded binary (base 58) data should be less than 128 bytes, "
                    "please use Base64 encoding.",
                )
            text = b58encode(data).decode()
            return text if encoding == "binary" else [text, encoding]
        case "base64+zstd":
            return [base64.b64encode(zstandard.compress(data)).decode(), encoding]
        case _:
            return [base64.b64encode(data).decode(), "base64"]

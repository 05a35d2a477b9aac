"""Methods that read accounts."""

from __future__ import annotations

from solders.account import Account
from solders.pubkey import Pubkey

from cvms.errors import RpcError
from cvms.localnet.node.node import Node
from cvms.localnet.rpc.call.params import Params, read_pubkey
from cvms.localnet.rpc.call.rpc_errors import INVALID_REQUEST, invalid_params
from cvms.localnet.rpc.call.view import open_view
from cvms.localnet.rpc.encoding.account_encoding import read_format
from cvms.localnet.rpc.encoding.account_filters import read_filters
from cvms.localnet.types import Json
from cvms.localnet.vm.token_layouts import TOKEN_PROGRAMS

MAX_MULTIPLE_ACCOUNTS = 100

MAX_DATA_BYTES = 10 * 1024 * 1024
"""The size limit of an account's data on Solana."""


def get_balance(node: Node, params: Params) -> Json:
    key = params.pubkey(0)
    view = open_view(node, params.options(1))
    account = view.account(key)
    return view.with_context(account.lamports if account else 0)


def get_account_info(node: Node, params: Params) -> Json:
    key, config = params.pubkey(0), params.options(1)
    view = open_view(node, config)
    account = view.account(key)
    shape = read_format(config)
    return view.with_context(shape.render(view, key, account) if account else None)


def get_multiple_accounts(node: Node, params: Params) -> Json:
    texts, config = params.list(0), params.options(1)
    if len(texts) > MAX_MULTIPLE_ACCOUNTS:
        raise invalid_params(f"Too many inputs provided; max {MAX_MULTIPLE_ACCOUNTS}")
    keys = [read_pubkey(text) for text in texts]
    view = open_view(node, config)
    shape = read_format(config, default="base64")
    accounts = [(key, view.account(key)) for key in keys]
    return view.with_context(
        [shape.render(view, key, account) if account else None for key, account in accounts]
    )


def get_program_accounts(node: Node, params: Params) -> Json:
    program, config = params.pubkey(0), params.options(1)
    filters = read_filters(config)
    if program in TOKEN_PROGRAMS:
        filters.require_whole_keys()
    view = open_view(node, config)
    shape = read_format(config)
    owned: list[tuple[Pubkey, Account]] = [
        (key, account)
        for key, account in node.chain.accounts.owned_by(program, view.block.slot)
        if filters.match(account)
    ]
    found = [
        {"pubkey": str(key), "account": shape.render(view, key, account)} for key, account in owned
    ]
    return view.with_context(found) if config.flag("withContext") else found


def get_minimum_balance(node: Node, params: Params) -> Json:
    length = params.integer(0)
    if length > MAX_DATA_BYTES:
        raise RpcError(INVALID_REQUEST, "Invalid request")
    return node.chain.vm.rent_exempt(length)

"""Methods about token accounts and mints."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from solders.account import Account
from solders.pubkey import Pubkey
from solders.token.state import TokenAccount

from cvms.localnet.node.node import Node
from cvms.localnet.rpc.call.params import Params, read_pubkey
from cvms.localnet.rpc.call.rpc_errors import invalid_params
from cvms.localnet.rpc.call.view import View, open_view
from cvms.localnet.rpc.encoding.account_encoding import read_format
from cvms.localnet.types import Json
from cvms.localnet.vm.token_layouts import TOKEN_PROGRAMS, token_account, token_mint, ui_amount

MAX_LARGEST = 20


def get_token_account_balance(node: Node, params: Params) -> Json:
    key = params.pubkey(0)
    view = open_view(node, params.options(1))
    token = token_account(_existing(view, key))
    if token is None:
        raise invalid_params("Invalid param: not a Token account")
    return view.with_context(ui_amount(token.amount, _mint(view, token.mint)[1]))


def get_token_supply(node: Node, params: Params) -> Json:
    key = params.pubkey(0)
    view = open_view(node, params.options(1))
    account = _existing(view, key)
    if account.owner not in TOKEN_PROGRAMS:
        raise invalid_params("Invalid param: not a Token mint")
    if (mint := token_mint(account)) is None:
        raise invalid_params("Invalid param: mint could not be unpacked")
    return view.with_context(ui_amount(mint.supply, mint.decimals))


def get_token_largest_accounts(node: Node, params: Params) -> Json:
    key = params.pubkey(0)
    view = open_view(node, params.options(1))
    _, decimals = _mint(view, key)
    holders = [(address, token.amount) for address, _, token in _all(view) if token.mint == key]
    holders.sort(key=lambda item: item[1], reverse=True)
    return view.with_context(
        [
            {"address": str(address), **ui_amount(amount, decimals)}
            for address, amount in holders[:MAX_LARGEST]
        ]
    )


def get_token_accounts_by_owner(node: Node, params: Params) -> Json:
    owner = params.pubkey(0)
    return _find(node, params, lambda token: token.owner == owner)


def get_token_accounts_by_delegate(node: Node, params: Params) -> Json:
    delegate = params.pubkey(0)
    return _find(node, params, lambda token: token.delegate == delegate)


def _find(node: Node, params: Params, wanted: Callable[[TokenAccount], bool]) -> Json:
    """Return the accepted token accounts of `[key, {mint} | {programId}, config?]`."""
    [(scope, text)] = params.at(1).items()
    given, config = read_pubkey(text), params.options(2)
    view = open_view(node, config)
    shape = read_format(config)
    if scope == "mint":
        program, _ = _mint(view, given)
        if program not in TOKEN_PROGRAMS:
            raise invalid_params("Invalid param: not a Token mint")
        found = [item for item in _all(view) if item[2].mint == given]
    elif given in TOKEN_PROGRAMS:
        found = [item for item in _all(view) if item[1].owner == given]
    else:
        raise invalid_params("Invalid param: unrecognized Token program id")
    return view.with_context(
        [
            {"pubkey": str(address), "account": shape.render(view, address, account)}
            for address, account, token in found
            if wanted(token)
        ]
    )


def _all(view: View) -> Iterator[tuple[Pubkey, Account, TokenAccount]]:
    for program in TOKEN_PROGRAMS:
        for address, account in view.chain.accounts.owned_by(program, view.block.slot):
            if (token := token_account(account)) is not None:
                yield address, account, token


def _existing(view: View, key: Pubkey) -> Account:
    account = view.account(key)
    if account is None:
        raise invalid_params("Invalid param: could not find account")
    return account


def _mint(view: View, key: Pubkey) -> tuple[Pubkey, int]:
    """Return the token program of a mint, and its decimals."""
    account = view.account(key)
    if account is None:
        raise invalid_params("Invalid param: could not find mint")
    if (mint := token_mint(account)) is None:
        raise invalid_params("Invalid param: Token mint could not be unpacked")
    return account.owner, mint.decimals

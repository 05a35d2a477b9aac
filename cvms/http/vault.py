"""The routes that change a vault: what each takes, what the wallet signs, what it plans."""

from __future__ import annotations

from functools import partial

from quart import Blueprint, Response
from solders.pubkey import Pubkey

from cvms.http import plans
from cvms.http.body import Body, Nonce, TokenAmount, WalletSignature, read_body
from cvms.http.operations import SignedRequest, carry_out
from cvms.http.services import Services
from cvms.http.wallet import signed_text


class Initialize(Body, frozen=True):
    user_pubkey: Pubkey


class Signed(Body, frozen=True):
    """A body that a wallet has signed."""

    owner: Pubkey
    nonce: Nonce
    signature: WalletSignature

    def request(self, action: str, *fields: object) -> SignedRequest:
        """The signed request with this action's text."""
        text = signed_text(action, self.owner, *fields, self.nonce)
        return SignedRequest(self.owner, text, self.nonce, self.signature)


class Deposit(Signed, frozen=True, kw_only=True):
    amount: TokenAmount


class Withdraw(Signed, frozen=True, kw_only=True):
    amount: TokenAmount
    recipient: Pubkey | None = None


class Delegate(Signed, frozen=True, kw_only=True):
    delegate: Pubkey


def routes(services: Services) -> Blueprint:
    blueprint = Blueprint("vault", __name__, url_prefix="/api/vault")
    for method, rule, view in (
        ("POST", "/initialize", initialize),
        ("POST", "/deposit", deposit),
        ("POST", "/withdraw", withdraw),
        ("POST", "/delegate/add", add_delegate),
        ("DELETE", "/delegate/remove", remove_delegate),
    ):
        blueprint.add_url_rule(rule, view.__name__, partial(view, services), methods=[method])
    return blueprint


async def initialize(services: Services) -> Response:
    """Anyone may ask: the transaction is worth nothing without the user's signature."""
    body = await read_body(Initialize)
    return await carry_out(
        services, "initialize", partial(plans.initialize, services, body.user_pubkey)
    )


async def deposit(services: Services) -> Response:
    body = await read_body(Deposit)
    signed = body.request("deposit", body.amount)
    plan = partial(plans.deposit, services, body.owner, body.amount)
    return await carry_out(services, "deposit", plan, signed)


async def withdraw(services: Services) -> Response:
    body = await read_body(Withdraw)
    signed = body.request("withdraw", body.amount)
    plan = partial(plans.withdraw, services, body.owner, body.amount, body.recipient or body.owner)
    return await carry_out(services, "withdraw", plan, signed)


async def add_delegate(services: Services) -> Response:
    body = await read_body(Delegate)
    signed = body.request("delegate_add", body.delegate)
    plan = partial(plans.add_delegate, services, body.owner, body.delegate)
    return await carry_out(services, "delegate_add", plan, signed)


async def remove_delegate(services: Services) -> Response:
    body = await read_body(Delegate)
    signed = body.request("delegate_remove", body.delegate)
    plan = partial(plans.remove_delegate, services, body.owner, body.delegate)
    return await carry_out(services, "delegate_remove", plan, signed)

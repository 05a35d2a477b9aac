"""Reads a subscribe call into the subscription it asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from cvms.localnet.pubsub.subscriptions import (
    Logs,
    OneAccount,
    ProgramAccounts,
    Roots,
    SignatureStatus,
    Slots,
    Subscription,
)
from cvms.localnet.rpc.call.params import Params, read_config, read_pubkey, read_signature
from cvms.localnet.rpc.call.rpc_errors import invalid_params
from cvms.localnet.rpc.encoding.account_encoding import read_format
from cvms.localnet.rpc.encoding.account_filters import read_filters


def logs(params: Params) -> Subscription:
    """`["all" | "allWithVotes" | {"mentions": [one address]}, {commitment}?]`"""
    wanted = params.required(0)
    commitment = params.config(1).commitment()
    if wanted in ("all", "allWithVotes"):
        return Logs(commitment=commitment, mentions=None)
    mentions = read_config(wanted).items("mentions")
    if len(mentions) != 1:
        raise invalid_params("Invalid Request: Only 1 address supported")
    return Logs(commitment=commitment, mentions=read_pubkey(mentions[0]))


def signature(params: Params) -> Subscription:
    config = params.config(1)
    return SignatureStatus(
        commitment=config.commitment(),
        signature=str(read_signature(params.required(0))),
        tell_received=config.flag("enableReceivedNotification"),
    )


def account(params: Params) -> Subscription:
    config = params.config(1)
    return OneAccount(
        commitment=config.commitment(), key=params.pubkey(0), shape=read_format(config)
    )


def program(params: Params) -> Subscription:
    config = params.config(1)
    return ProgramAccounts(
        commitment=config.commitment(),
        program=params.pubkey(0),
        shape=read_format(config),
        filters=read_filters(config),
    )


def slot(params: Params) -> Subscription:
    return Slots()


def root(params: Params) -> Subscription:
    return Roots()


SUBSCRIBE: Mapping[str, Callable[[Params], Subscription]] = MappingProxyType(
    {
        "accountSubscribe": account,
        "logsSubscribe": logs,
        "programSubscribe": program,
        "rootSubscribe": root,
        "signatureSubscribe": signature,
        "slotSubscribe": slot,
    }
)

UNSUBSCRIBE = frozenset(name.replace("Subscribe", "Unsubscribe") for name in SUBSCRIBE)

"""Subscribe calls, parsed into subscriptions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from cvms.localnet.pubsub.subscriptions import (
    AccountSubscription,
    LogsSubscription,
    ProgramSubscription,
    RootSubscription,
    SignatureSubscription,
    SlotSubscription,
    Subscription,
)
from cvms.localnet.rpc.call.params import Params, read_options, read_pubkey, read_signature
from cvms.localnet.rpc.call.rpc_errors import invalid_params
from cvms.localnet.rpc.encoding.account_encoding import read_format
from cvms.localnet.rpc.encoding.account_filters import read_filters


def logs(params: Params) -> Subscription:
    """Parse `["all" | "allWithVotes" | {"mentions": [one address]}, {commitment}?]`."""
    wanted = params.required(0)
    commitment = params.options(1).commitment()
    if wanted in ("all", "allWithVotes"):
        return LogsSubscription(commitment=commitment, mentions=None)
    mentions = read_options(wanted).items("mentions")
    if len(mentions) != 1:
        raise invalid_params("Invalid Request: Only 1 address supported")
    return LogsSubscription(commitment=commitment, mentions=read_pubkey(mentions[0]))


def signature(params: Params) -> Subscription:
    config = params.options(1)
    return SignatureSubscription(
        commitment=config.commitment(),
        signature=str(read_signature(params.required(0))),
        notify_received=config.flag("enableReceivedNotification"),
    )


def account(params: Params) -> Subscription:
    config = params.options(1)
    return AccountSubscription(
        commitment=config.commitment(), key=params.pubkey(0), shape=read_format(config)
    )


def program(params: Params) -> Subscription:
    config = params.options(1)
    return ProgramSubscription(
        commitment=config.commitment(),
        program=params.pubkey(0),
        shape=read_format(config),
        filters=read_filters(config),
    )


SUBSCRIBE: Mapping[str, Callable[[Params], Subscription]] = MappingProxyType(
    {
        "accountSubscribe": account,
        "logsSubscribe": logs,
        "programSubscribe": program,
        "rootSubscribe": lambda params: RootSubscription(),
        "signatureSubscribe": signature,
        "slotSubscribe": lambda params: SlotSubscription(),
    }
)

UNSUBSCRIBE = frozenset(name.replace("Subscribe", "Unsubscribe") for name in SUBSCRIBE)

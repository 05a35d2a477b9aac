"""Subscribe calls, parsed into subscriptions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from solders.pubkey import Pubkey
from solders.signature import Signature

from cvms.errors import RpcError
from cvms.localnet.pubsub.subscriptions import (
    AccountSubscription,
    LogsSubscription,
    ProgramSubscription,
    RootSubscription,
    SignatureSubscription,
    SlotSubscription,
    SlotsUpdatesSubscription,
    Subscription,
)
from cvms.localnet.rpc.call.params import KeyLike, Params, read_key
from cvms.localnet.rpc.call.rpc_errors import invalid_params
from cvms.localnet.rpc.encoding.account_encoding import read_format
from cvms.localnet.rpc.encoding.account_filters import read_filters


def logs(params: Params) -> Subscription:
    """Parse `["all" | "allWithVotes" | {"mentions": [one address]}, {commitment}?]`."""
    wanted, commitment = params.at(0), params.options(1).commitment()
    if isinstance(wanted, str):
        return LogsSubscription(commitment=commitment, mentions=None)
    mentions = wanted["mentions"]
    if len(mentions) != 1:
        raise invalid_params("Invalid Request: Only 1 address supported")
    return LogsSubscription(commitment=commitment, mentions=_key(Pubkey, mentions[0], "mentions"))


def signature(params: Params) -> Subscription:
    config = params.options(1)
    return SignatureSubscription(
        commitment=config.commitment(),
        signature=str(_key(Signature, params.text(0), "signature")),
        notify_received=config.flag("enableReceivedNotification"),
    )


def account(params: Params) -> Subscription:
    config = params.options(1)
    return AccountSubscription(
        commitment=config.commitment(),
        key=_key(Pubkey, params.text(0), "pubkey"),
        shape=read_format(config),
    )


def program(params: Params) -> Subscription:
    config = params.options(1)
    try:
        filters = read_filters(config)
    except RpcError as error:
        raise invalid_params(f"Invalid params: {error.message}") from None
    return ProgramSubscription(
        commitment=config.commitment(),
        program=_key(Pubkey, params.text(0), "pubkey"),
        shape=read_format(config),
        filters=filters,
    )


def _key(kind: type[KeyLike], text: str, thing: str) -> KeyLike:
    return read_key(kind, text, error=f"Invalid Request: Invalid {thing} provided")


SUBSCRIBE: Mapping[str, Callable[[Params], Subscription]] = MappingProxyType(
    {
        "accountSubscribe": account,
        "logsSubscribe": logs,
        "programSubscribe": program,
        "rootSubscribe": lambda params: RootSubscription(),
        "signatureSubscribe": signature,
        "slotSubscribe": lambda params: SlotSubscription(),
        "slotsUpdatesSubscribe": lambda params: SlotsUpdatesSubscription(),
    }
)

UNSUBSCRIBE = frozenset(name.replace("Subscribe", "Unsubscribe") for name in SUBSCRIBE)

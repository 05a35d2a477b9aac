"""A client of the service, for trio and asyncio.

    async with open_client("https://cvms.example.com", wallet=Wallet(keypair)) as client:
        await client.finish(await client.deposit(1_000_000))
        async with client.stream(Topic("deposit_event", owner=client.address)) as events:
            async for message in events:
                ...

The package imports nothing of the service. It needs httpx, httpx-ws, anyio, msgspec and solders.
"""

from cvms.client.client import Client, open_client
from cvms.client.errors import (
    ClientError,
    Problem,
    ServiceUnavailable,
    SignaturesMissing,
    SubscriptionRefused,
    TransactionFailed,
    UnexpectedText,
)
from cvms.client.schemas import (
    Accepted,
    Balance,
    CoSign,
    Deployment,
    History,
    Movement,
    Outcome,
    Proposal,
    SecondFactor,
    SecondFactorStatus,
    SignerContact,
    Submitted,
    TransactionState,
    Tvl,
    YieldPolicies,
    YieldPolicy,
)
from cvms.client.stream import Stream
from cvms.client.stream_cursors import Event, Snapshot, StreamMessage, Topic
from cvms.client.vault_schemas import (
    GuardChange,
    GuardChanges,
    Statement,
    StatementLine,
    VaultConfig,
    VaultLimits,
    VaultList,
    VaultState,
    VaultTimelocks,
)
from cvms.client.wallet import Wallet
from cvms.client.webhook_schemas import (
    ListedWebhook,
    QueuedMessage,
    Webhook,
    WebhookList,
    WebhookMessage,
    WebhookMessages,
    WebhookSecret,
)

__all__ = [
    "Accepted",
    "Balance",
    "Client",
    "ClientError",
    "CoSign",
    "Deployment",
    "Event",
    "GuardChange",
    "GuardChanges",
    "History",
    "ListedWebhook",
    "Movement",
    "Outcome",
    "Problem",
    "Proposal",
    "QueuedMessage",
    "SecondFactor",
    "SecondFactorStatus",
    "ServiceUnavailable",
    "SignaturesMissing",
    "SignerContact",
    "Snapshot",
    "Statement",
    "StatementLine",
    "Stream",
    "StreamMessage",
    "Submitted",
    "SubscriptionRefused",
    "Topic",
    "TransactionFailed",
    "TransactionState",
    "Tvl",
    "UnexpectedText",
    "VaultConfig",
    "VaultLimits",
    "VaultList",
    "VaultState",
    "VaultTimelocks",
    "Wallet",
    "Webhook",
    "WebhookList",
    "WebhookMessage",
    "WebhookMessages",
    "WebhookSecret",
    "YieldPolicies",
    "YieldPolicy",
    "open_client",
]

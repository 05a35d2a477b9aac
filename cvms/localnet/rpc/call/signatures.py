"""The parameters of every method, as Agave 4.2 declares them in `rpc.rs` and `rpc_pubsub.rs`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from cvms.localnet.rpc.call.serde import (
    Array,
    Bool,
    Default,
    Enum,
    Kind,
    Lenient,
    Optional,
    Struct,
    Text,
    Unsigned,
    Untagged,
    Wrapped,
    names,
)

U64, USIZE, U8, TEXT, BOOL = Unsigned("u64"), Unsigned("usize"), Unsigned("u8", 255), Text(), Bool()
OFF = Default(BOOL, False)

COMMITMENT_LEVEL = names("processed", "confirmed", "finalized")
ACCOUNT_ENCODING = names("binary", "base58", "base64", "jsonParsed", "base64+zstd")
TRANSACTION_ENCODING = names("binary", "base64", "base58", "json", "jsonParsed")
DETAILS = names("full", "signatures", "none", "accounts")

COMMITMENT = Struct("CommitmentConfig", {"commitment": COMMITMENT_LEVEL})
DATA_SLICE = Struct("UiDataSliceConfig", {"offset": USIZE, "length": USIZE})


def with_commitment(name: str, **fields: Kind) -> Struct:
    """Return a configuration in which a commitment is flattened: an unknown one is no error."""
    return Struct(name, {"commitment": Lenient(COMMITMENT_LEVEL), **fields}, flattened=True)


CONTEXT = with_commitment("RpcContextConfig", minContextSlot=Optional(U64))
ACCOUNT_FIELDS: Mapping[str, Kind] = {
    "encoding": Optional(ACCOUNT_ENCODING),
    "dataSlice": Optional(DATA_SLICE),
    "minContextSlot": Optional(U64),
}
ACCOUNT = with_commitment("RpcAccountInfoConfig", **ACCOUNT_FIELDS)

MEMCMP = Struct(
    "Memcmp",
    {
        "offset": USIZE,
        "bytes": Untagged("DataType", (TEXT, Array(U8))),
        "encoding": Optional(names("base58", "base64", "bytes")),
    },
    flattened=True,
)
FILTER = Enum({"dataSize": U64, "memcmp": MEMCMP, "tokenAccountState": None})
PROGRAM_ACCOUNTS = with_commitment(
    "RpcProgramAccountsConfig",
    filters=Optional(Array(FILTER)),
    withContext=Optional(BOOL),
    sortResults=Optional(BOOL),
    **ACCOUNT_FIELDS,
)
TOKEN_ACCOUNTS_FILTER = Enum({"mint": TEXT, "programId": TEXT})


def encoding_or(config: Struct) -> Untagged:
    """Return the type of a configuration for which old clients send the encoding alone."""
    alone = Wrapped("encoding", TRANSACTION_ENCODING)
    return Untagged("RpcEncodingConfigWrapper", (alone, config))


TRANSACTION = with_commitment(
    "RpcTransactionConfig",
    encoding=Optional(TRANSACTION_ENCODING),
    maxSupportedTransactionVersion=Optional(U8),
)
BLOCK = with_commitment(
    "RpcBlockConfig",
    encoding=Optional(TRANSACTION_ENCODING),
    transactionDetails=Optional(DETAILS),
    rewards=Optional(BOOL),
    maxSupportedTransactionVersion=Optional(U8),
)
SIGNATURES_FOR_ADDRESS = with_commitment(
    "RpcSignaturesForAddressConfig",
    before=Optional(TEXT),
    until=Optional(TEXT),
    limit=Optional(USIZE),
    minContextSlot=Optional(U64),
)
SEND = Struct(
    "RpcSendTransactionConfig",
    {
        "skipPreflight": OFF,
        "preflightCommitment": Optional(COMMITMENT_LEVEL),
        "encoding": Optional(TRANSACTION_ENCODING),
        "maxRetries": Optional(USIZE),
        "minContextSlot": Optional(U64),
    },
)
ACCOUNTS_AFTER = Struct(
    "RpcSimulateTransactionAccountsConfig",
    {"encoding": Optional(ACCOUNT_ENCODING), "addresses": Array(TEXT)},
)
SIMULATE = with_commitment(
    "RpcSimulateTransactionConfig",
    sigVerify=OFF,
    replaceRecentBlockhash=OFF,
    encoding=Optional(TRANSACTION_ENCODING),
    accounts=Optional(ACCOUNTS_AFTER),
    minContextSlot=Optional(U64),
    innerInstructions=OFF,
)
STATUSES = Struct("RpcSignatureStatusConfig", {"searchTransactionHistory": BOOL})
AIRDROP = with_commitment("RpcRequestAirdropConfig", recentBlockhash=Optional(TEXT))
LEADERS = with_commitment("RpcLeaderScheduleConfig", identity=Optional(TEXT))
PRODUCTION = with_commitment(
    "RpcBlockProductionConfig",
    identity=Optional(TEXT),
    range=Optional(
        Struct("RpcBlockProductionConfigRange", {"firstSlot": U64, "lastSlot": Optional(U64)})
    ),
)
VOTES = with_commitment(
    "RpcGetVoteAccountsConfig",
    votePubkey=Optional(TEXT),
    keepUnstakedDelinquents=Optional(BOOL),
    delinquentSlotDistance=Optional(U64),
)
LARGEST = with_commitment(
    "RpcLargestAccountsConfig",
    filter=Optional(names("circulating", "nonCirculating")),
    sortResults=Optional(BOOL),
)
SUPPLY = with_commitment("RpcSupplyConfig", excludeNonCirculatingAccountsList=OFF)
EPOCH = with_commitment("RpcEpochConfig", epoch=Optional(U64), minContextSlot=Optional(U64))

SET_ACCOUNT = Struct(
    "AccountUpdate",
    {
        "lamports": Optional(U64),
        "data": Optional(TEXT),
        "owner": Optional(TEXT),
        "executable": Optional(BOOL),
        "rentEpoch": Optional(U64),
        "rent_epoch": Optional(U64),
    },
)
SET_TOKEN_ACCOUNT = Struct(
    "TokenAccountUpdate",
    {
        "amount": Optional(U64),
        "delegate": Optional(TEXT),
        "state": Optional(TEXT),
        "delegatedAmount": Optional(U64),
        "closeAuthority": Optional(TEXT),
    },
)
TIME_TRAVEL = Struct(
    "TimeTravelConfig",
    {
        "absoluteTimestamp": Optional(U64),
        "absoluteSlot": Optional(U64),
        "absoluteEpoch": Optional(U64),
    },
)

NONE: tuple[Kind, ...] = ()
AT_CONTEXT: tuple[Kind, ...] = (Optional(CONTEXT),)
KEY_AT_COMMITMENT: tuple[Kind, ...] = (TEXT, Optional(COMMITMENT))
TOKEN_ACCOUNTS: tuple[Kind, ...] = (TEXT, TOKEN_ACCOUNTS_FILTER, Optional(ACCOUNT))
UNSUBSCRIBE: tuple[Kind, ...] = (U64,)

SIGNATURES: Mapping[str, tuple[Kind, ...]] = MappingProxyType(
    {
        "getAccountInfo": (TEXT, Optional(ACCOUNT)),
        "getAgGenesisCert": NONE,
        "getBalance": (TEXT, Optional(CONTEXT)),
        "getBlock": (U64, Optional(encoding_or(BLOCK))),
        "getBlockCommitment": (U64,),
        "getBlockHeight": AT_CONTEXT,
        "getBlockProduction": (Optional(PRODUCTION),),
        "getBlockTime": (U64,),
        "getBlocks": (
            U64,
            Optional(Untagged("RpcBlocksConfigWrapper", (Wrapped("endSlot", U64), CONTEXT))),
            Optional(CONTEXT),
        ),
        "getBlocksWithLimit": (U64, USIZE, Optional(CONTEXT)),
        "getClusterNodes": NONE,
        "getEpochInfo": AT_CONTEXT,
        "getEpochSchedule": NONE,
        "getFeeForMessage": (TEXT, Optional(CONTEXT)),
        "getFirstAvailableBlock": NONE,
        "getGenesisHash": NONE,
        "getHealth": NONE,
        "getHighestSnapshotSlot": NONE,
        "getIdentity": NONE,
        "getInflationGovernor": (Optional(COMMITMENT),),
        "getInflationRate": NONE,
        "getInflationReward": (Array(TEXT), Optional(EPOCH)),
        "getLargestAccounts": (Optional(LARGEST),),
        "getLatestBlockhash": AT_CONTEXT,
        "getLeaderSchedule": (
            Optional(Untagged("RpcLeaderScheduleConfigWrapper", (Wrapped("slot", U64), LEADERS))),
            Optional(LEADERS),
        ),
        "getMaxRetransmitSlot": NONE,
        "getMaxShredInsertSlot": NONE,
        "getMinimumBalanceForRentExemption": (USIZE, Optional(COMMITMENT)),
        "getMultipleAccounts": (Array(TEXT), Optional(ACCOUNT)),
        "getProgramAccounts": (TEXT, Optional(PROGRAM_ACCOUNTS)),
        "getRecentPerformanceSamples": (Optional(USIZE),),
        "getRecentPrioritizationFees": (Optional(Array(TEXT)),),
        "getSignatureStatuses": (Array(TEXT), Optional(STATUSES)),
        "getSignaturesForAddress": (TEXT, Optional(SIGNATURES_FOR_ADDRESS)),
        "getSlot": AT_CONTEXT,
        "getSlotLeader": AT_CONTEXT,
        "getSlotLeaders": (U64, U64),
        "getStakeMinimumDelegation": AT_CONTEXT,
        "getSupply": (Optional(SUPPLY),),
        "getTokenAccountBalance": KEY_AT_COMMITMENT,
        "getTokenAccountsByDelegate": TOKEN_ACCOUNTS,
        "getTokenAccountsByOwner": TOKEN_ACCOUNTS,
        "getTokenLargestAccounts": KEY_AT_COMMITMENT,
        "getTokenSupply": KEY_AT_COMMITMENT,
        "getTransaction": (TEXT, Optional(encoding_or(TRANSACTION))),
        "getTransactionCount": AT_CONTEXT,
        "getVersion": NONE,
        "getVoteAccounts": (Optional(VOTES),),
        "isBlockhashValid": (TEXT, Optional(CONTEXT)),
        "minimumLedgerSlot": NONE,
        "requestAirdrop": (TEXT, U64, Optional(AIRDROP)),
        "sendTransaction": (TEXT, Optional(SEND)),
        "simulateTransaction": (TEXT, Optional(SIMULATE)),
        "surfnet_pauseClock": NONE,
        "surfnet_resumeClock": NONE,
        "surfnet_setAccount": (TEXT, SET_ACCOUNT),
        "surfnet_setTokenAccount": (TEXT, TEXT, SET_TOKEN_ACCOUNT, Optional(TEXT)),
        "surfnet_timeTravel": (Optional(TIME_TRAVEL),),
        "surfnet_writeProgram": (TEXT, TEXT, USIZE, Optional(TEXT)),
        "accountSubscribe": (TEXT, Optional(ACCOUNT)),
        "accountUnsubscribe": UNSUBSCRIBE,
        "blockSubscribe": (
            Enum({"all": None, "mentionsAccountOrProgram": TEXT}),
            Optional(
                with_commitment(
                    "RpcBlockSubscribeConfig",
                    encoding=Optional(TRANSACTION_ENCODING),
                    transactionDetails=Optional(DETAILS),
                    showRewards=Optional(BOOL),
                    maxSupportedTransactionVersion=Optional(U8),
                )
            ),
        ),
        "blockUnsubscribe": UNSUBSCRIBE,
        "logsSubscribe": (
            Enum({"all": None, "allWithVotes": None, "mentions": Array(TEXT)}),
            Optional(with_commitment("RpcTransactionLogsConfig")),
        ),
        "logsUnsubscribe": UNSUBSCRIBE,
        "programSubscribe": (TEXT, Optional(PROGRAM_ACCOUNTS)),
        "programUnsubscribe": UNSUBSCRIBE,
        "rootSubscribe": NONE,
        "rootUnsubscribe": UNSUBSCRIBE,
        "signatureSubscribe": (
            TEXT,
            Optional(
                with_commitment(
                    "RpcSignatureSubscribeConfig", enableReceivedNotification=Optional(BOOL)
                )
            ),
        ),
        "signatureUnsubscribe": UNSUBSCRIBE,
        "slotSubscribe": NONE,
        "slotUnsubscribe": UNSUBSCRIBE,
        "slotsUpdatesSubscribe": NONE,
        "slotsUpdatesUnsubscribe": UNSUBSCRIBE,
        "voteSubscribe": NONE,
        "voteUnsubscribe": UNSUBSCRIBE,
    }
)

"""JSON-RPC errors, with the codes and texts of a validator."""

from __future__ import annotations

from cvms.errors import RpcError
from cvms.localnet.types import Json

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603

BLOCK_CLEANED_UP = -32001
PREFLIGHT_FAILURE = -32002
BLOCK_NOT_AVAILABLE = -32004
NODE_UNHEALTHY = -32005
SLOT_SKIPPED = -32007
NO_SNAPSHOT = -32008
LONG_TERM_STORAGE_SLOT_SKIPPED = -32009
UNSUPPORTED_TRANSACTION_VERSION = -32015
MIN_CONTEXT_SLOT_NOT_REACHED = -32016
SLOT_NOT_EPOCH_BOUNDARY = -32018
FILTER_TRANSACTION_NOT_FOUND = -32020


def invalid_params(message: str) -> RpcError:
    return RpcError(INVALID_PARAMS, message)


def min_context_slot_not_reached(slot: int) -> RpcError:
    message = "Minimum context slot has not been reached"
    return RpcError(MIN_CONTEXT_SLOT_NOT_REACHED, message, {"contextSlot": slot})


def block_not_available(slot: int) -> RpcError:
    return RpcError(BLOCK_NOT_AVAILABLE, f"Block not available for slot {slot}")


def block_cleaned_up(slot: int, *, first: int) -> RpcError:
    return RpcError(
        BLOCK_CLEANED_UP,
        f"Block {slot} cleaned up, does not exist on node. First available block: {first}",
    )


def node_behind(slots: int) -> RpcError:
    message = f"Node is behind by {slots} slots"
    return RpcError(NODE_UNHEALTHY, message, {"numSlotsBehind": slots})


def slot_skipped(slot: int) -> RpcError:
    return RpcError(
        SLOT_SKIPPED,
        f"Slot {slot} was skipped, or missing due to ledger jump to recent snapshot",
    )


def slot_not_epoch_boundary(slot: int) -> RpcError:
    return RpcError(
        SLOT_NOT_EPOCH_BOUNDARY,
        f"Rewards cannot be found because slot {slot} is not the epoch boundary. This may be due "
        "to gap in the queried node's local ledger or long-term storage",
        {"slot": slot},
    )


def unsupported_version(version: int) -> RpcError:
    return RpcError(
        UNSUPPORTED_TRANSACTION_VERSION,
        f"Transaction version ({version}) is not supported by the requesting client. Please try "
        "the request again with the following configuration parameter: "
        f'"maxSupportedTransactionVersion": {version}',
    )


def filter_transaction_not_found(signature: str) -> RpcError:
    return RpcError(FILTER_TRANSACTION_NOT_FOUND, f"Transaction {signature} not found")


def preflight_failure(message: str, result: Json) -> RpcError:
    return RpcError(PREFLIGHT_FAILURE, f"Transaction simulation failed: {message}", result)

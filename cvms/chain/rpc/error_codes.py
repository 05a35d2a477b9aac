"""JSON-RPC error codes of Solana nodes and of the providers in front of them.

Source: https://www.jsonrpc.org/specification and Agave's rpc-client-api/src/custom_error.rs.
"""

INVALID_REQUEST = -32600
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603

BLOCK_CLEANED_UP = -32001
PREFLIGHT_FAILURE = -32002
SIGNATURE_VERIFICATION_FAILURE = -32003
BLOCK_NOT_AVAILABLE = -32004
NODE_UNHEALTHY = -32005
"""The node is behind the cluster. Some providers use it for their rate limit."""
PRECOMPILE_VERIFICATION_FAILURE = -32006
SLOT_SKIPPED = -32007
NO_SNAPSHOT = -32008
LONG_TERM_STORAGE_SLOT_SKIPPED = -32009
HISTORY_NOT_AVAILABLE = -32011
SIGNATURE_LENGTH_MISMATCH = -32013
BLOCK_STATUS_NOT_AVAILABLE_YET = -32014
UNSUPPORTED_TRANSACTION_VERSION = -32015
MIN_CONTEXT_SLOT_NOT_REACHED = -32016
EPOCH_REWARDS_PERIOD_ACTIVE = -32017
SLOT_NOT_EPOCH_BOUNDARY = -32018
TRANSACTION_NOT_FOUND = -32020
"""getSignaturesForAddress: the node does not know `before` or `until`."""

BEHIND = frozenset({NODE_UNHEALTHY, MIN_CONTEXT_SLOT_NOT_REACHED})
"""The node has not yet seen what another node has."""
ABOUT_THE_QUESTION = frozenset(
    {
        INVALID_PARAMS,
        PREFLIGHT_FAILURE,
        SIGNATURE_VERIFICATION_FAILURE,
        PRECOMPILE_VERIFICATION_FAILURE,
        SIGNATURE_LENGTH_MISMATCH,
        UNSUPPORTED_TRANSACTION_VERSION,
        EPOCH_REWARDS_PERIOD_ACTIVE,
        SLOT_NOT_EPOCH_BOUNDARY,
    }
)
"""Every node would say the same."""
NOT_KEPT = frozenset(
    {
        BLOCK_CLEANED_UP,
        BLOCK_NOT_AVAILABLE,
        SLOT_SKIPPED,
        NO_SNAPSHOT,
        LONG_TERM_STORAGE_SLOT_SKIPPED,
        HISTORY_NOT_AVAILABLE,
        BLOCK_STATUS_NOT_AVAILABLE_YET,
        TRANSACTION_NOT_FOUND,
    }
)
"""The node does not have it, and another one may. "Skipped" says "skipped or missing"."""

RATE_LIMITED = frozenset({429, 7429, -32090, -32429})
"""Codes that providers use for nothing but their rate limit."""
MAYBE_RATE_LIMITED = frozenset(
    {-32000, -32029, -32097, NODE_UNHEALTHY, SLOT_SKIPPED, INTERNAL_ERROR, INVALID_REQUEST}
)
"""Codes that providers use for their rate limit and for other errors: the message decides."""
BATCH_REFUSED = frozenset({7701, -32403})
"""Codes that providers use for a batch that they do not take."""
